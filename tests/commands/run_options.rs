//! The options of `kiln run`: what the command finds around it.

use std::fs;

use crate::support::env::TestEnv;

/// `kiln run` of a shell script with these options.
fn sh(env: &TestEnv, options: &[&str], script: &str) -> String {
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    env.ok(&args).text()
}

/// The same must fail because of the command line, before anything is run.
#[track_caller]
fn refused(env: &TestEnv, options: &[&str], words: &[&str]) {
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "true"]);
    env.kiln(args).run().fails(2).says(words);
}

#[test]
fn variables_come_from_files_and_from_the_command_line() {
    let env = TestEnv::new();
    fs::write(env.path("env"), "# comment\nA=file\nB=two words\nHERE\nNOT_HERE\n").unwrap();
    let file = env.str("env");
    let script = "env | grep -E '^(A|B|C|HERE|NOT_HERE)=' | sort";
    let args = ["run", "--rm", "--env-file", &file, "-e", "A=given", "-e", "C", "busybox"];
    let kiln = env.kiln(args).args(["sh", "-c", script]);
    let text = kiln.env("HERE", "x").env("C", "c").run().ok().text();
    assert_eq!(text, "A=given\nB=two words\nC=c\nHERE=x");

    fs::write(env.path("bad"), "A=1\nB C=2\n").unwrap();
    refused(&env, &["--env-file", &env.str("bad")], &["bad: line 2", "'B C'"]);
    let missing = env.str("missing");
    let output = env.kiln(["run", "--env-file", &missing, "busybox", "true"]).run().fails(1);
    output.says(&[&missing, "No such file"]);
}

#[test]
fn a_variable_without_value_takes_the_images_away() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV FROM_IMAGE=1 OTHER=2\n");
    let args = ["run", "--rm", "-e", "FROM_IMAGE", "test:latest", "sh", "-c"];
    assert_eq!(env.kiln(args).args(["echo ${FROM_IMAGE-none} $OTHER"]).run().ok().text(), "none 2");
}

#[test]
fn the_working_directory_is_made() {
    let env = TestEnv::new();
    assert_eq!(sh(&env, &["-w", "/not/there"], "pwd; stat -c '%a %u:%g' ."), "/not/there\n755 0:0");
    refused(&env, &["-w", "not/absolute"], &["'not/absolute'", "absolute path"]);
}

#[test]
fn the_host_name() {
    let env = TestEnv::new();
    assert_eq!(sh(&env, &["-h", "some.name"], "hostname; echo $HOSTNAME"), "some.name\nsome.name");
    assert_eq!(sh(&env, &["--hostname=x"], "grep -c localhost.x /etc/hosts"), "1");
    refused(&env, &["-h", "a b"], &["a b"]);
}

#[test]
fn switches_can_be_said_to_be_off() {
    let env = TestEnv::new();
    let text = sh(&env, &["--tty=false", "--init=false", "--privileged=0"], "test -t 1 || echo no");
    assert_eq!(text, "no");
    let kiln = env.kiln(["run", "--rm", "-it", "busybox", "sh", "-c", "test -t 0 && echo tty"]);
    assert_eq!(kiln.run().ok().text(), "tty");
    refused(&env, &["--init=maybe"], &["--init", "maybe"]);
}

#[test]
fn what_makes_no_sense_is_told_in_dockers_words() {
    let env = TestEnv::new();
    refused(&env, &["-p", "abc"], &["--publish", "invalid containerPort: abc"]);
    refused(&env, &["-m", "1x"], &["--memory", "invalid suffix: 'x'"]);
    refused(&env, &["-m", "1m"], &["minimum memory limit allowed is 6MB"]);
    refused(&env, &["--mount", "type=bind,src=/x"], &["--mount", "target is required"]);
    refused(&env, &["-v", "/a:/b", "-v", "/c:/b"], &["Duplicate mount point: /b"]);
    refused(&env, &["--cap-add", "foo"], &["unknown capability: \"CAP_FOO\""]);
    refused(&env, &["--ulimit", "foo=1"], &["invalid ulimit type: foo"]);
    refused(&env, &["--stop-signal", "SIGFOO"], &["invalid signal: SIGFOO"]);
    refused(&env, &["--network", "mine"], &["network mine not found"]);
}

#[test]
fn what_kiln_has_no_answer_to_is_refused_and_not_ignored() {
    let env = TestEnv::new();
    refused(&env, &["--restart", "always"], &["--restart", "service manager"]);
    refused(&env, &["--link", "db"], &["--link is not supported"]);
    refused(&env, &["--gpus", "all"], &["--gpus", "--device"]);
    refused(&env, &["--pid", "host"], &["--pid"]);
    // What changes nothing is taken.
    assert_eq!(
        sh(&env, &["--restart=no", "--pid=private", "--log-driver=json-file"], "echo y"),
        "y"
    );
}

#[test]
fn pull_decides_who_is_asked_for_the_image() {
    let env = TestEnv::new();
    assert_eq!(sh(&env, &["--pull=never"], "echo here"), "here");
    let output = env.kiln(["run", "--pull=never", "127.0.0.1:1/x", "true"]).run().fails(1);
    output.says(&["127.0.0.1:1/x", "no such image"]).says_not(&["cannot reach"]);
    env.ok(&["tag", "busybox", "127.0.0.1:1/x"]);
    env.ok(&["run", "--rm", "127.0.0.1:1/x", "true"]);
    let output = env.kiln(["run", "--pull=always", "127.0.0.1:1/x", "true"]).run().fails(1);
    output.says(&["127.0.0.1:1"]);
}
