//! `kiln pause`, `unpause` and `top`.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::account::Account;
use crate::support::env::TestEnv;

/// A container that counts into a volume of the host.
fn counting(env: &TestEnv) {
    fs::create_dir(env.path("out")).unwrap();
    let bind = format!("{}:/out", env.str("out"));
    // Two processes: both have to stand still.
    let script = "(while :; do echo x >> /out/two; done) & while :; do echo x >> /out/one; done";
    let args =
        ["run", "-d", "--name", "work", "--network=none", "--stop-timeout", "0", "-v", &bind];
    env.kiln(args.iter().chain(&["busybox", "sh", "-c", script])).run().ok();
    let wait = Instant::now();
    while lengths(env).contains(&0) {
        assert!(wait.elapsed() < Duration::from_secs(30));
    }
}

fn lengths(env: &TestEnv) -> [u64; 2] {
    ["out/one", "out/two"].map(|file| fs::metadata(env.path(file)).map_or(0, |it| it.len()))
}

#[track_caller]
fn stands_still(env: &TestEnv) -> bool {
    let before = lengths(env);
    std::thread::sleep(Duration::from_millis(200));
    before == lengths(env)
}

fn status(env: &TestEnv) -> String {
    env.ok(&["ps", "-a", "--format", "{{.State}} {{.Status}}"]).text()
}

#[test]
fn everything_stands_still_until_it_goes_on() {
    let env = TestEnv::new();
    counting(&env);
    assert_eq!(env.ok(&["pause", "work"]).text(), "work");
    assert!(stands_still(&env));
    let shown = status(&env);
    assert!(shown.starts_with("paused Up ") && shown.ends_with(" (Paused)"), "{shown}");
    assert_eq!(env.ok(&["ps", "-q", "--filter", "status=paused"]).text().len(), 12);
    let state = env.ok(&["inspect", "-f", "{{.State.Paused}} {{.State.Running}}", "work"]);
    assert_eq!(state.text(), "true true");

    let refused = |args: &[&str], words: &str| {
        let output = env.kiln(args).run();
        assert!(!output.status.success(), "{args:?}");
        output.says(&[words]);
    };
    refused(&["pause", "work"], "already paused");
    refused(&["exec", "work", "true"], "is paused, unpause");
    refused(&["attach", "work"], "cannot attach to a paused container");
    refused(&["start", "work"], "is paused, unpause");
    refused(&["rm", "work"], "cannot remove");
    // It can be looked at all the same.
    env.ok(&["cp", "work:/etc/passwd", &env.str("passwd")]);
    env.ok(&["commit", "work", "made"]);
    assert!(stands_still(&env), "the end of the commit is not the end of the pause");

    assert_eq!(env.ok(&["container", "unpause", "work"]).text(), "work");
    assert!(!stands_still(&env));
    assert!(status(&env).starts_with("running Up "));
    env.kiln(["unpause", "work"]).run().fails(1).says(&["work", "is not paused"]);
    env.ok(&["stop", "work"]);
    env.kiln(["pause", "work"]).run().fails(1).says(&["work", "is not running"]);
    env.kiln(["unpause", "nosuch"]).run().fails(1).says(&["no such container"]);
}

#[test]
fn a_paused_container_can_be_ended() {
    let env = TestEnv::new();
    for (name, end) in [("a1", &["stop"][..]), ("a2", &["kill"]), ("a3", &["rm", "-f"])] {
        let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";
        env.ok(&["run", "-d", "--name", name, "--network=none", "busybox", "sh", "-c", script]);
        let wait = Instant::now();
        while env.ok(&["logs", name]).text() != "ready" {
            assert!(wait.elapsed() < Duration::from_secs(30));
        }
        env.ok(&["pause", name]);
        env.kiln(end.iter().chain(&[name])).run().ok();
    }
    // It has heard of the signal, and had no need of the ten seconds until the next one.
    assert_eq!(env.ok(&["wait", "a1", "a2"]).text(), "7\n137");
    env.ok(&["restart", "a1"]);
    assert_eq!(env.state("a1"), "running");
    env.ok(&["kill", "a1"]);
}

#[test]
fn of_an_ordinary_user() {
    let Some(account) = Account::create() else { return };
    let env = TestEnv::of(account);
    env.ok(&["run", "-d", "--name", "work", "--network=none", "busybox", "sleep", "1000"]);
    env.ok(&["pause", "work"]);
    let shown = status(&env);
    assert!(shown.ends_with("(Paused)"), "{shown}");
    assert!(env.ok(&["top", "work", "-eo", "pid,state,args"]).text().contains(" T "));
    env.ok(&["unpause", "work"]);
    env.ok(&["kill", "work"]);
}

#[test]
fn the_processes_of_a_container_and_no_others() {
    let env = TestEnv::new();
    let script = "sleep 1001 & exec sleep 1002";
    env.ok(&["run", "-d", "--name", "work", "--network=none", "busybox", "sh", "-c", script]);
    env.ok(&["run", "-d", "--name", "other", "--network=none", "busybox", "sleep", "1003"]);
    env.ok(&["exec", "-d", "work", "sleep", "1004"]);
    let wait = Instant::now();
    let text = loop {
        let text = env.ok(&["top", "work"]).text();
        if text.lines().count() == 4 && text.contains("1002") {
            break text;
        }
        assert!(wait.elapsed() < Duration::from_secs(30), "{text}");
    };
    assert!(text.starts_with("UID                 PID                 PPID                C"));
    for (command, shown) in [("1001", true), ("1002", true), ("1003", false), ("1004", true)] {
        assert_eq!(text.contains(&format!("sleep {command}")), shown, "{text}");
    }
    let pids = env.ok(&["top", "work", "-o", "pid,args"]).text();
    assert!(pids.starts_with("PID                 COMMAND\n"), "{pids}");
    env.kiln(["top", "work", "-o", "comm"]).run().fails(1).says(&["no column PID"]);
    env.kiln(["top", "work", "--no-such-option"]).run().fails(1).says(&["ps"]);
    env.ok(&["kill", "work", "other"]);
    env.kiln(["top", "work"]).run().fails(1).says(&["work", "is not running"]);
}
