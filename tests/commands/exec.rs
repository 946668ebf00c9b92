//! `kiln exec`.

use crate::support::env::{IMAGE, TestEnv};

/// A store with a container `it` that sleeps.
fn with_container(dockerfile: &str, args: &[&str]) -> TestEnv {
    let env = TestEnv::new();
    env.build_text(dockerfile);
    let run = ["run", "-d", "--network=none", "--name", "it"];
    env.kiln(run).args(args).args([IMAGE, "sleep", "1000"]).run().ok();
    env
}

#[test]
fn output_and_exit_code_are_the_commands() {
    let env = with_container("FROM busybox\n", &[]);
    let output = env.kiln(["exec", "it", "sh", "-c", "echo out; echo err >&2; exit 7"]).run();
    let output = output.fails(7);
    assert_eq!((output.text().as_str(), output.stderr.as_str()), ("out", "err\n"));
    env.kiln(["exec", "it", "sh", "-c", "kill -9 $$"]).run().fails(137);
    env.kiln(["exec", "it", "no-such"]).run().fails(127).says(&["no-such"]);
    env.kiln(["exec", "it", "/etc/passwd"]).run().fails(126).says(&["/etc/passwd"]);
    env.kiln(["exec", "missing", "true"]).run().fails(1).says(&["no such container: `missing`"]);
    // It is none of the container's own processes.
    assert_eq!(env.state("it"), "running");
    env.ok(&["kill", "it"]);
    env.kiln(["exec", "it", "true"]).run().fails(1).says(&["`it` is not running"]);
}

#[test]
fn it_finds_what_the_container_has() {
    let env = with_container(
        "FROM busybox\nENV A=image B=image\nWORKDIR /tmp\nUSER app\n",
        &["-e", "B=run", "-e", "C=run"],
    );
    let see = "echo $A $B $C $D; pwd; id -u; echo $HOME; hostname; tr '\\0' ' ' < /proc/1/cmdline";
    let output = env.ok(&["exec", "-e", "C=exec", "-e", "D=exec", "it", "sh", "-c", see]).text();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..4], ["image run exec exec", "/tmp", "1000", "/home/app"]);
    assert_eq!((lines[4].len(), lines[5]), (12, "sleep 1000"));
    env.ok(&["exec", "it", "touch", "/tmp/seen"]);
    env.ok(&["exec", "it", "ls", "/tmp/seen"]);
}

#[test]
fn user_and_directory() {
    let env = with_container("FROM busybox\nUSER app\n", &[]);
    let exec = |args: &[&str]| {
        env.kiln(["exec"])
            .args(args)
            .args(["it", "sh", "-c", "id -u; id -g; pwd; echo $HOME"])
            .run()
    };
    assert_eq!(exec(&[]).ok().text(), "1000\n1000\n/\n/home/app");
    assert_eq!(exec(&["-u", "root", "-w", "/etc"]).ok().text(), "0\n0\n/etc\n/root");
    assert_eq!(exec(&["-u", "7:8"]).ok().text(), "7\n8\n/\n/");
    exec(&["-u", "nobody-there"]).fails(126).says(&["unable to find user nobody-there"]);
    exec(&["-w", "/no/such"]).fails(126).says(&["/no/such"]);
    exec(&["-w", "relative"]).fails(2).says(&["absolute"]);
}

#[test]
fn rights_are_the_containers() {
    let env = with_container("FROM busybox\n", &[]);
    let status = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/$WHO/status";
    let of =
        |who: &str| env.ok(&["exec", "-e", &format!("WHO={who}"), "it", "sh", "-c", status]).text();
    let own = of("self");
    assert_eq!(own, of("1"));
    assert!(own.contains("00000000a80425fb") && own.contains("Seccomp:\t2"), "{own}");
    let namespaces = "for n in mnt pid ipc uts net cgroup; do readlink /proc/$WHO/ns/$n; done";
    let of = |who: &str| {
        env.ok(&["exec", "-e", &format!("WHO={who}"), "it", "sh", "-c", namespaces]).text()
    };
    assert_eq!(of("self"), of("1"));
    assert_eq!(of("self").lines().count(), 6);
}

#[test]
fn input() {
    let env = with_container("FROM busybox\n", &[]);
    let cat = |args: &[&str]| env.kiln(["exec"]).args(args).args(["it", "cat"]);
    assert_eq!(cat(&["-i"]).stdin("through").run().ok().text(), "through");
    assert_eq!(cat(&[]).stdin("kept out").run().ok().text(), "");
    let large = "0123456789abcdef".repeat(100_000);
    assert_eq!(cat(&["-i"]).stdin(large.as_str()).run().ok().text(), large);
}

#[test]
fn left_running() {
    let env = with_container("FROM busybox\n", &[]);
    let output = env.ok(&["exec", "-d", "it", "sh", "-c", "sleep 0.2; echo over; touch /over"]);
    assert_eq!(output.text(), "");
    env.ok(&["exec", "it", "sh", "-c", "until [ -e /over ]; do sleep 0.02; done"]);
    env.kiln(["exec", "-d", "it", "no-such"]).run().fails(127);
    // What a command leaves behind does not keep it from ending.
    assert_eq!(env.ok(&["exec", "it", "sh", "-c", "sleep 999 & echo done"]).text(), "done");
    let processes = env.ok(&["exec", "it", "ps"]).text();
    assert!(processes.contains("sleep 999"), "{processes}");
}

#[test]
fn many_at_once() {
    let env = with_container("FROM busybox\n", &[]);
    let running: Vec<_> = (0..8)
        .map(|n| env.kiln(["exec", "it", "sh", "-c", &format!("sleep 0.2; echo {n}")]).spawn())
        .collect();
    for (n, exec) in running.into_iter().enumerate() {
        assert_eq!(exec.wait().ok().text(), n.to_string());
    }
}

#[test]
fn a_command_ends_with_its_container() {
    let env = with_container("FROM busybox\n", &[]);
    let mut exec = env.kiln(["exec", "it", "sh", "-c", "echo up >&2; sleep 1000"]).spawn();
    exec.wait_for("up");
    env.ok(&["kill", "it"]);
    exec.wait().fails(137);
}
