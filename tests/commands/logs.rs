//! `kiln logs`.

use std::time::Duration;

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
    // One that has ended has nothing more to say, and is not waited for.
    env.ok(&["logs", "-f", "one"]);
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

#[test]
fn a_log_with_limits() {
    let env = TestEnv::new();
    let run = |name: &str, options: &[&str], script: &str| {
        env.kiln(["run", "--network=none", "--name", name])
            .args(options)
            .args(["busybox", "sh", "-c", script])
            .run()
            .ok()
    };
    let sized = ["--log-opt", "max-size=10k", "--log-opt", "max-file=3"];
    run("sized", &sized, "seq 100000 100999");
    let directory = env.container_directories().remove(0);
    let files = |directory: &std::path::Path| {
        let entries = std::fs::read_dir(directory).unwrap().map(|it| it.unwrap());
        let logs = entries.filter(|it| it.file_name().to_string_lossy().starts_with("log"));
        logs.map(|it| it.metadata().unwrap().len()).collect::<Vec<_>>()
    };
    let sizes = files(&directory);
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size < 10_200), "{sizes:?}");
    let kept = env.ok(&["logs", "sized"]).text();
    assert!(kept.ends_with("100998\n100999") && !kept.contains("100500"), "{kept}");
    let lines: Vec<u32> = kept.lines().map(|line| line.parse().unwrap()).collect();
    assert!(lines.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{kept}");
    assert_eq!(env.ok(&["logs", "--tail", "150", "sized"]).text().lines().count(), 150);
    let config = env.ok(&["inspect", "-f", "{{json .HostConfig.LogConfig}}", "sized"]).text();
    assert_eq!(config, r#"{"Type":"json-file","Config":{"max-file":"3","max-size":"10k"}}"#);
    // Started again, it goes on.
    env.ok(&["start", "-a", "sized"]);
    assert!(files(&directory).len() == 3);

    // Docker's other drivers that need no service.
    assert_eq!(run("none", &["--log-driver=none"], "echo seen").text(), "seen");
    env.kiln(["logs", "none"]).run().fails(1).says(&["`none`", "not kept"]);
    run("local", &["--log-driver=local", "--log-opt=max-size=1m"], "echo kept");
    assert_eq!(env.ok(&["logs", "local"]).text(), "kept");
    for (option, part) in [
        ("--log-driver=syslog", "syslog"),
        ("--log-opt=max-size=much", "max-size `much`"),
        ("--log-opt=nosuch=1", "unknown log opt 'nosuch'"),
    ] {
        env.kiln(["run", option, "busybox", "true"]).run().fails(125).says(&[part]);
    }
}

#[test]
fn following_a_log_with_limits() {
    let env = TestEnv::new();
    env.ok(&[
        "run", "-d", "--network=none", "--name", "one", "--log-opt=max-size=2k",
        "--log-opt=max-file=4", "busybox", "sh", "-c",
        "until [ -e /go ]; do sleep 0.02; done; for i in $(seq 100 250); do echo $i; sleep 0.01; done",
    ]);
    let following = env.kiln(["logs", "-f", "one"]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    env.ok(&["exec", "one", "touch", "/go"]);
    let expected: Vec<String> = (100..=250).map(|number| number.to_string()).collect();
    assert_eq!(following.wait().ok().text().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_kept_with_each_line() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "--network=none",
        "--name",
        "one",
        "-l",
        "team=a b,c",
        "-l",
        "other=x",
        "-e",
        "TIER=1",
        "--log-opt=labels=team,none",
        "--log-opt=env=TIER",
        "busybox",
        "echo",
        "line",
    ]);
    assert_eq!(env.ok(&["logs", "one"]).text(), "line");
    assert_eq!(env.ok(&["logs", "--details", "one"]).text(), "TIER=1,team=a+b%2Cc line");
    let both = env.ok(&["logs", "--details", "-t", "one"]).text();
    assert!(both.ends_with("Z TIER=1,team=a+b%2Cc line"), "{both}");
}
