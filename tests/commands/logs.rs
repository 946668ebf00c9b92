//! `kiln logs`.

use std::time::{Duration, Instant};

use crate::support::env::TestEnv;

fn run(env: &TestEnv, name: &str, script: &str) {
    env.ok(&["run", "-d", "--network=none", "--name", name, "busybox", "sh", "-c", script]);
}

#[test]
fn lines_go_where_they_were_written() {
    let env = TestEnv::new();
    run(&env, "one", "echo out; echo err >&2; printf unfinished");
    env.ok(&["wait", "one"]);
    let output = env.ok(&["logs", "one"]);
    assert_eq!((output.text().as_str(), output.stderr.as_str()), ("out\nunfinished", "err\n"));
    env.ok(&["create", "--name", "never", "busybox", "true"]);
    assert_eq!(env.ok(&["logs", "never"]).text(), "");
    env.kiln(["logs", "missing"]).run().fails(1).says(&["no such container: `missing`"]);
}

#[test]
fn only_the_end_and_only_a_time() {
    let env = TestEnv::new();
    run(&env, "one", "seq 100; sleep 1.2; echo late");
    env.ok(&["wait", "one"]);
    let logs = |args: &[&str]| env.kiln(["logs"]).args(args).args(["one"]).run().ok().text();
    assert_eq!(logs(&["--tail", "3"]), "99\n100\nlate");
    assert_eq!(logs(&["-n", "0"]), "");
    for all in ["all", "-1", "1000"] {
        assert_eq!(logs(&["--tail", all]).lines().count(), 101, "{all}");
    }
    let stamped = logs(&["-t", "--tail", "2"]);
    let times: Vec<&str> = stamped.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(
        times.iter().all(|time| time.len() == "2026-01-02T03:04:05.123456789Z".len()),
        "{stamped}"
    );
    assert_eq!(logs(&["--since", times[1]]), "late");
    assert_eq!(logs(&["--until", times[0]]).lines().count(), 100);
    assert_eq!(logs(&["--since", "1h"]).lines().count(), 101);
    assert_eq!(logs(&["--until", "1h"]), "");
    env.kiln(["logs", "--since", "yesterday", "one"]).run().fails(2).says(&["yesterday"]);
}

#[test]
fn following_ends_with_the_container() {
    let env = TestEnv::new();
    run(
        &env,
        "one",
        "echo first; until [ -e /go ]; do sleep 0.02; done; echo second; seq 5000; echo last",
    );
    let following = env.kiln(["logs", "-f", "one"]).spawn();
    let tail = env.kiln(["logs", "-f", "--tail", "0", "one"]).spawn();
    // Long enough to have begun.
    std::thread::sleep(Duration::from_millis(500));
    env.ok(&["exec", "one", "touch", "/go"]);
    let text = following.wait().ok().text();
    assert!(
        text.starts_with("first\nsecond\n1\n") && text.ends_with("5000\nlast"),
        "{} bytes",
        text.len()
    );
    assert_eq!(tail.wait().ok().text().lines().count(), 5_002);
    // One that has ended has nothing more to say.
    let begun = Instant::now();
    env.ok(&["logs", "-f", "one"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_terminal_has_one_stream() {
    let env = TestEnv::new();
    let args = [
        "run",
        "-dt",
        "--network=none",
        "--name",
        "one",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2",
    ];
    env.ok(&args);
    env.ok(&["wait", "one"]);
    let output = env.ok(&["logs", "one"]);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (&b"out\r\nerr\r\n"[..], ""));
}
