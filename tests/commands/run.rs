//! `kiln run`.

use crate::support::env::{IMAGE, TestEnv};

#[test]
fn output_goes_where_the_command_writes() {
    let env = TestEnv::new();
    let output = env.ok(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((output.text().as_str(), output.stderr.as_str()), ("out", "err\n"));
}

#[test]
fn the_exit_code_is_the_commands() {
    let env = TestEnv::new();
    for code in [0, 1, 2, 7, 255] {
        let script = format!("exit {code}");
        assert_eq!(
            env.kiln(["run", "--rm", "busybox", "sh", "-c", &script]).run().status.code(),
            Some(code)
        );
    }
    env.kiln(["run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"])
        .run()
        .fails(137);
    env.kiln(["run", "--rm", "busybox", "/no/such"]).run().fails(127).says(&["/no/such"]);
    env.kiln(["run", "--rm", "busybox", "/etc/passwd"]).run().fails(126).says(&["/etc/passwd"]);
}

#[test]
fn entrypoint_and_cmd_of_the_image() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENTRYPOINT [\"echo\", \"says\"]\nCMD [\"default\"]\n");
    assert_eq!(env.ok(&["run", "--rm", IMAGE]).text(), "says default");
    assert_eq!(env.ok(&["run", "--rm", IMAGE, "other", "-n"]).text(), "says other -n");
    assert_eq!(env.ok(&["run", "--rm", "--entrypoint", "/bin/echo", IMAGE, "x"]).text(), "x");
}

#[test]
fn environment_directory_and_user() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV A=image B=image\nWORKDIR /tmp\nUSER app\n");
    assert_eq!(env.sh("echo $A; pwd; id -u; echo $HOME"), "image\n/tmp\n1000\n/home/app");
    let args = ["run", "--rm", "-e", "A=given", "-e", "PASSED", "-w", "/etc", "-u", "0:5", IMAGE];
    let kiln = env.kiln(args).args(["sh", "-c", "echo $A $B $PASSED; pwd; id -u; id -g"]);
    assert_eq!(kiln.env("PASSED", "on").run().ok().text(), "given image on\n/etc\n0\n5");
}

#[test]
fn stdin_is_given_when_asked_for() {
    let env = TestEnv::new();
    let kiln = || env.kiln(["run", "--rm", "-i", "busybox", "cat"]);
    assert_eq!(kiln().stdin("through").run().ok().text(), "through");
    let large = "0123456789abcdef".repeat(100_000);
    assert_eq!(kiln().stdin(large.as_str()).run().ok().text(), large);
    assert_eq!(env.kiln(["run", "--rm", "busybox", "cat"]).stdin("kept out").run().ok().text(), "");
}

#[test]
fn what_a_container_writes_is_not_in_the_image() {
    let env = TestEnv::new();
    env.ok(&["run", "--rm", "busybox", "sh", "-c", "echo x > /written; rm /etc/passwd"]);
    let text = env
        .ok(&["run", "--rm", "busybox", "sh", "-c", "ls /written /etc/passwd 2>/dev/null; true"])
        .text();
    assert_eq!(text, "/etc/passwd");
}

#[test]
fn several_at_once() {
    let env = TestEnv::new();
    let running: Vec<_> = (0..5)
        .map(|n| {
            env.kiln([
                "run",
                "--rm",
                "busybox",
                "sh",
                "-c",
                &format!("echo {n} > /n; sleep 0.3; cat /n"),
            ])
            .spawn()
        })
        .collect();
    for (n, run) in running.into_iter().enumerate() {
        assert_eq!(run.wait().ok().text(), n.to_string());
    }
}

#[test]
fn an_image_that_is_not_there() {
    let env = TestEnv::empty();
    let output = env.kiln(["run", "--rm", "127.0.0.1:1/none:1", "true"]).run();
    assert!(!output.status.success(), "{output}");
    output.says(&["127.0.0.1:1/none:1"]);
}

#[test]
fn an_image_without_a_command() {
    let env = TestEnv::new();
    let output = env.kiln(["run", "--rm", "busybox"]).run();
    assert!(!output.status.success(), "{output}");
    output.says(&["command"]);
}

#[test]
fn a_terminal_when_asked_for() {
    let env = TestEnv::new();
    let text = env
        .ok(&["run", "--rm", "-t", "busybox", "sh", "-c", "test -t 1 && echo a terminal"])
        .text();
    assert_eq!(text, "a terminal");
}

#[test]
fn what_stands_behind_the_image_is_the_commands() {
    let env = TestEnv::new();
    let args = ["run", "--rm", "busybox", "printf", "%s ", "-e", "--rm", "x"];
    assert_eq!(env.ok(&args).text(), "-e --rm x");
    let context = env.context("FROM busybox\nENTRYPOINT [\"printf\", \"%s \"]\n");
    env.build(&context, &[]);
    assert_eq!(env.ok(&["run", "--rm", IMAGE, "-e", "A=b"]).text(), "-e A=b");
    env.kiln(["run", "--rmm", "busybox", "true"]).run().fails(125).says(&["--rmm"]);
}
