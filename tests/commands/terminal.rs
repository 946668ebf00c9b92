//! Containers with a terminal, as somebody uses them who types.

use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::Kiln;

const PROMPT: &str = "PS1=$ ";

/// A shell in a container of this name.
fn shell(env: &TestEnv, name: &str) -> Kiln {
    env.kiln(["run", "-it", "--network=none", "--name", name, "-e", PROMPT, "busybox", "sh"])
}

#[test]
fn a_shell_in_a_terminal() {
    let env = TestEnv::new();
    let mut terminal = shell(&env, "one").in_terminal();
    terminal.wait_for("$ ");
    terminal.type_keys("tty; echo $TERM\r");
    terminal.wait_for("/dev/pts/0\r\nxterm\r\n");
    // The size is ours, and follows.
    terminal.type_keys("stty size\r");
    terminal.wait_for("\r\n24 80\r\n");
    terminal.resize(33, 99);
    terminal.type_keys("until stty size | grep 33; do sleep 0.02; done\r");
    terminal.wait_for("\r\n33 99\r\n");
    // Ctrl-C is for what runs there. It has to run by then: a shell that is just starting something may lose it.
    terminal.type_keys("sh -c 'echo wait; exec sleep 1000'\r");
    terminal.wait_for("wait\r\n");
    terminal.type_keys("\x03");
    terminal.wait_for("^C");
    // The shell throws away what was typed before it asks again.
    terminal.wait_for("$ ");
    terminal.type_keys("echo still $((40 + 2))\r");
    terminal.wait_for("still 42");
    assert!(!terminal.is_cooked());
    terminal.type_keys("exit 5\r");
    let (status, _) = terminal.wait();
    assert_eq!(status.code(), Some(5));
    assert_eq!(env.state("one"), "exited");
}

#[test]
fn detach_and_attach() {
    let env = TestEnv::new();
    let mut terminal = shell(&env, "one").in_terminal();
    terminal.wait_for("$ ");
    terminal.type_keys("mark=kept\r");
    terminal.wait_for("$ ");
    terminal.type_keys("\x10\x11");
    let (status, _) = terminal.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(env.state("one"), "running");

    let mut terminal = env.kiln(["attach", "one"]).in_terminal();
    terminal.type_keys("echo $mark; stty size\r");
    terminal.wait_for("kept\r\n24 80\r\n");
    // One key of the two is a key like others.
    terminal.type_keys("echo \x10x\r");
    terminal.wait_for("x\r\n");
    terminal.type_keys("\x10\x11");
    let (status, rest) = terminal.wait();
    assert_eq!(status.code(), Some(0));
    assert!(rest.contains("read escape sequence"), "{rest:?}");

    let mut terminal = env.kiln(["attach", "--detach-keys", "ctrl-x,d", "one"]).in_terminal();
    terminal.type_keys("\x10\x11echo here\r");
    terminal.wait_for("here\r\n");
    terminal.type_keys("\x18d");
    assert_eq!(terminal.wait().0.code(), Some(0));
    assert_eq!(env.state("one"), "running");
    let mut terminal = env.kiln(["attach", "one"]).in_terminal();
    terminal.type_keys("exit 6\r");
    assert_eq!(terminal.wait().0.code(), Some(6));
    let wrong = env.kiln(["attach", "--detach-keys", "nope", "one"]).run();
    wrong.fails(2).says(&["nope"]);
}

#[test]
fn two_see_the_same() {
    let env = TestEnv::new();
    let mut one = shell(&env, "shared").in_terminal();
    one.wait_for("$ ");
    let mut two = env.kiln(["attach", "shared"]).in_terminal();
    two.type_keys("echo from two\r");
    two.wait_for("\r\nfrom two\r\n");
    one.wait_for("\r\nfrom two\r\n");
    one.type_keys("exit\r");
    assert_eq!(one.wait().0.code(), Some(0));
    assert_eq!(two.wait().0.code(), Some(0));
}

#[test]
fn exec_with_a_terminal() {
    let env = TestEnv::new();
    env.ok(&["run", "-d", "--network=none", "--name", "one", "busybox", "sleep", "1000"]);
    let mut terminal = env.kiln(["exec", "-it", "-e", PROMPT, "one", "sh"]).in_terminal();
    terminal.wait_for("$ ");
    terminal.type_keys("stty size; echo $TERM\r");
    terminal.wait_for("24 80\r\nxterm\r\n");
    terminal.resize(40, 120);
    terminal.type_keys("until stty size | grep 40; do sleep 0.02; done\r");
    terminal.wait_for("\r\n40 120\r\n");
    terminal.type_keys("exit 8\r");
    assert_eq!(terminal.wait().0.code(), Some(8));
    assert_eq!(env.state("one"), "running");
}

#[test]
fn start_again_in_a_terminal() {
    let env = TestEnv::new();
    env.ok(&["create", "-it", "--network=none", "--name", "one", "-e", PROMPT, "busybox", "sh"]);
    for round in ["first", "second"] {
        let mut terminal = env.kiln(["start", "-ai", "one"]).in_terminal();
        terminal.wait_for("$ ");
        terminal.type_keys(&format!("echo {round} >> /rounds; cat /rounds; exit 2\r"));
        terminal.wait_for(&format!("\n{round}\r\n"));
        assert_eq!(terminal.wait().0.code(), Some(2));
    }
}

#[test]
fn a_terminal_that_goes_away_leaves_the_container() {
    let env = TestEnv::new();
    let mut terminal = shell(&env, "one").in_terminal();
    terminal.wait_for("$ ");
    drop(terminal);
    assert_eq!(env.state("one"), "running");
    assert_eq!(env.ok(&["exec", "one", "echo", "there"]).text(), "there");
}

#[test]
fn input_from_a_pipe_ends_a_terminals_program() {
    let env = TestEnv::new();
    let output = shell(&env, "piped").stdin("echo $((6 * 7))\n").run().ok();
    assert!(output.text().contains("42"), "{output}");
}

/// What an image says about itself, and how its files are called, is for people to read: it has no power over their terminal.
#[test]
fn words_of_an_image_do_not_command_a_terminal() {
    let env = TestEnv::new();
    let dockerfile = "FROM busybox\nLABEL a=\"\u{1b}]0;x\u{7}\"\nENV B=\"\u{9b}2J\"\nCOPY . /c/\nCMD [\"\u{1b}[31m\"]\n";
    let context = env.context(dockerfile);
    context.write("\u{1b}[31mname", "one");
    env.build(&context, &[]);
    context.write("\u{1b}[31mname", "two");
    env.build(&context, &[]).says(&["not cached: \\u{1b}[31mname changed"]);
    env.ok(&["create", "--name=cc", IMAGE]);
    let labels = ["inspect", "--type=image", "--format={{.Config.Labels}}", IMAGE];
    for args in [
        &["history", "--no-trunc", IMAGE][..],
        &["history", "--no-trunc", "--format={{.CreatedBy}}", IMAGE],
        &labels,
        &["inspect", IMAGE],
        &["ps", "-a", "--no-trunc"],
        &["ps", "-a", "--format={{.Command}}"],
    ] {
        let (status, shown) = env.kiln(args).in_terminal().wait();
        assert!(status.success(), "{args:?}: {shown}");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{args:?}: {shown:?}");
    }
    // Who reads them by a program gets them as they are.
    assert_eq!(env.ok(&labels).text(), "map[a:\u{1b}]0;x\u{7}]");
}
