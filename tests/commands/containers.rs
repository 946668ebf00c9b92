//! The life of containers: made, started, stopped, removed; and what is left when something is killed.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::account::Account;
use crate::support::base;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::{Kiln, eventually};

/// Starts a container that sleeps; returns its id.
#[track_caller]
fn sleeping(env: &TestEnv, name: &str) -> String {
    env.ok(&["run", "-d", "--network=none", "--name", name, "busybox", "sleep", "1000"]).text()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// The process id of a container's program, as the machine knows it.
fn pid(env: &TestEnv, id: &str) -> u32 {
    let state = fs::read_to_string(env.store().join("containers").join(id).join("state")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    state["state"]["pid"].as_u64().unwrap().try_into().unwrap()
}

#[test]
fn a_container_outlives_the_command_that_started_it() {
    let env = TestEnv::new();
    let id = sleeping(&env, "one");
    assert_eq!((id.len(), env.state("one").as_str()), (64, "running"));
    assert_eq!(env.ok(&["ps", "-q", "--no-trunc"]).text(), id);
    assert_eq!(env.ok(&["exec", "one", "hostname"]).text(), &id[..12]);
    assert_eq!(env.keepers().len(), 1);
    assert_eq!(env.ok(&["kill", "one"]).text(), "one");
    assert_eq!(env.state("one"), "exited");
    assert_eq!(env.ok(&["rm", &id[..10]]).text(), &id[..10]);
    assert_eq!(env.ok(&["ps", "-aq"]).text(), "");
    nothing_is_left(&env);
}

/// No process, no directory, no mount.
#[track_caller]
fn nothing_is_left(env: &TestEnv) {
    // A keeper says that all is over before it ends itself.
    eventually("nobody keeps anything", || env.keepers().is_empty());
    assert_eq!(env.ownerless(), [""; 0].map(Into::<std::path::PathBuf>::into));
    assert_eq!(env.container_directories(), [""; 0].map(Into::<std::path::PathBuf>::into));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&env.store().display().to_string()), "{mounts}");
}

#[test]
fn what_it_wrote_is_there_when_it_starts_again() {
    let env = TestEnv::new();
    let script =
        "n=$(cat /n 2>/dev/null || echo 0); n=$((n + 1)); echo $n > /n; echo run $n; exit $n";
    env.ok(&["create", "--name", "count", "--network=none", "busybox", "sh", "-c", script]);
    assert_eq!(env.state("count"), "created");
    for run in 1..=3 {
        env.kiln(["start", "-a", "count"]).run().fails(run);
        assert_eq!(env.ok(&["wait", "count"]).text(), run.to_string());
    }
    assert_eq!(env.ok(&["logs", "count"]).text(), "run 1\nrun 2\nrun 3");
    assert_eq!(env.ok(&["start", "count"]).text(), "count");
    assert_eq!(env.ok(&["wait", "count"]).text(), "4");
}

#[test]
fn a_run_without_rm_leaves_the_container() {
    let env = TestEnv::new();
    env.kiln(["run", "--network=none", "busybox", "sh", "-c", "echo kept; exit 3"]).run().fails(3);
    let name = env.ok(&["ps", "-a", "--format", "{{.Names}}"]).text();
    let (adjective, surname) = name.split_once('_').expect("a made-up name");
    assert!(!adjective.is_empty() && !surname.is_empty(), "{name}");
    assert_eq!(env.ok(&["logs", &name]).text(), "kept");
    env.ok(&["run", "--rm", "--network=none", "busybox", "true"]);
    assert_eq!(env.ok(&["ps", "-aq"]).text().lines().count(), 1);
    env.ok(&["rm", &name]);
    nothing_is_left(&env);
}

/// Whoever shows a container to its end also ends in order, however fast that is.
#[test]
fn brief_runs_leave_nothing() {
    let env = TestEnv::new();
    for _ in 0..10 {
        env.ok(&["run", "--rm", "--network=none", "busybox", "true"]);
        nothing_is_left(&env);
    }
}

#[test]
fn removal_at_the_end_is_the_keepers() {
    let env = TestEnv::new();
    let args =
        ["run", "-d", "--rm", "--network=none", "--name", "brief", "busybox", "sleep", "1000"];
    env.ok(&args);
    env.ok(&["stop", "-t", "0", "brief"]);
    assert_eq!(env.ok(&["ps", "-aq"]).text(), "");
    nothing_is_left(&env);
    env.kiln(["run", "--rm", "--name", "brief", "busybox", "/no/such"]).run().fails(127);
    assert_eq!(env.ok(&["ps", "-aq"]).text(), "");
    // Only a restart keeps it.
    env.ok(&args);
    env.ok(&["restart", "-t", "0", "brief"]);
    assert_eq!(env.state("brief"), "running");
    env.ok(&["rm", "-f", "brief"]);
    nothing_is_left(&env);
}

#[test]
fn names_are_given_once() {
    let env = TestEnv::new();
    let id = env.ok(&["create", "--name", "taken", "busybox", "true"]).text();
    let again = env.kiln(["create", "--name", "taken", "busybox", "true"]).run().fails(1);
    again.says(&["name `taken` is already in use", &id]);
    env.kiln(["run", "--name", "taken", "busybox", "true"])
        .run()
        .fails(125)
        .says(&["already in use"]);
    env.kiln(["create", "--name", "a/b", "busybox", "true"]).run().fails(1).says(&["[a-zA-Z0-9]"]);
    env.ok(&["create", "--name", "other", "busybox", "true"]);
    env.kiln(["rename", "other", "taken"]).run().fails(1).says(&["already in use"]);
    env.ok(&["rename", "taken", "given"]);
    assert_eq!(env.state("given"), "created");
    env.kiln(["start", "taken"]).run().fails(1).says(&["no such container: `taken`"]);
    env.ok(&["rename", "other", "taken"]);
}

#[test]
fn an_id_file_and_its_conflict() {
    let env = TestEnv::new();
    let file = env.str("id");
    let id = env.ok(&["create", "--cidfile", &file, "busybox", "true"]).text();
    assert_eq!(fs::read_to_string(&file).unwrap(), id);
    let again = env.kiln(["run", "--cidfile", &file, "busybox", "true"]).run().fails(125);
    again.says(&["container ID file found"]);
    // Without a container, without a file.
    let other = env.str("other");
    env.kiln(["create", "--cidfile", &other, "--name", "-", "busybox", "true"]).run().fails(1);
    assert!(!env.path("other").exists());
}

#[test]
fn stopping_asks_first() {
    let env = TestEnv::new();
    let script = "trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    env.ok(&["run", "-d", "--network=none", "--name", "polite", "busybox", "sh", "-c", script]);
    eventually("it is ready", || env.ok(&["logs", "polite"]).text() == "ready");
    // It does not wait for the time that it gives.
    assert_eq!(env.ok(&["stop", "-t", "1000", "polite"]).text(), "polite");
    assert_eq!(env.ok(&["logs", "polite"]).text(), "ready\nasked");
    assert_eq!(env.ok(&["wait", "polite"]).text(), "9");
    // A container that does not run is stopped already.
    assert_eq!(env.ok(&["stop", "polite"]).text(), "polite");
}

#[test]
fn one_that_ignores_the_signal_is_killed() {
    let env = TestEnv::new();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
    let patient = ["--stop-timeout=1000", "--name", "deaf"];
    env.kiln(["run", "-d", "--network=none"])
        .args(patient)
        .args(["busybox", "sh", "-c", script])
        .run()
        .ok();
    eventually("it is ready", || env.ok(&["logs", "deaf"]).text() == "ready");
    let begun = Instant::now();
    env.ok(&["stop", "-t", "1", "deaf"]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(env.ok(&["wait", "deaf"]).text(), "137");
}

#[test]
fn the_stop_signal_is_the_images() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nSTOPSIGNAL SIGUSR1\nCMD trap 'exit 11' USR1; trap 'exit 12' USR2; echo ready; while :; do sleep 0.02; done\n",
    );
    let run = |name: &str, args: &[&str]| {
        let base = ["run", "-d", "--network=none", "--name", name];
        env.kiln(base).args(args).args([IMAGE]).run().ok();
        eventually("it is ready", || env.ok(&["logs", name]).text() == "ready");
        env.ok(&["stop", name]);
        env.ok(&["wait", name]).text()
    };
    assert_eq!(run("image", &[]), "11");
    assert_eq!(run("asked", &["--stop-signal", "USR2"]), "12");
    assert_eq!(run("late", &["--stop-signal", "WINCH", "--stop-timeout", "1"]), "137");
    env.ok(&["start", "image"]);
    env.ok(&["kill", "-s", "usr2", "image"]);
    assert_eq!(env.ok(&["wait", "image"]).text(), "12");
    env.kiln(["kill", "image"]).run().fails(1).says(&["`image` is not running"]);
    env.kiln(["kill", "-s", "NOPE", "image"]).run().fails(2).says(&["NOPE"]);
}

#[test]
fn several_at_once_and_one_of_them_wrong() {
    let env = TestEnv::new();
    sleeping(&env, "one");
    sleeping(&env, "two");
    let output = env.kiln(["stop", "-t", "0", "one", "missing", "two"]).run().fails(1);
    assert_eq!(output.text(), "one\ntwo");
    output.says(&["no such container: `missing`"]);
    env.kiln(["rm", "one", "missing", "two"]).run().fails(1).says(&["missing"]);
    env.kiln(["rm", "missing"]).run().fails(1).says(&["missing"]);
    // As it is wanted to be.
    env.kiln(["rm", "-f", "missing"]).run().ok().says(&["missing"]);
    nothing_is_left(&env);
}

/// As on a machine that has no time for whoever ends with it.
#[test]
fn removal_waits_for_who_has_the_container() {
    let env = TestEnv::new();
    env.ok(&["create", "--name", "had", "busybox", "true"]);
    let directory = fs::File::open(&env.container_directories()[0]).unwrap();
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let removing = env.kiln(["rm", "-f", "had"]).spawn();
    std::thread::sleep(Duration::from_secs(11));
    drop(directory);
    removing.wait().ok();
    assert_eq!(env.container_directories(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn one_that_runs_is_removed_by_force_only() {
    let env = TestEnv::new();
    let id = sleeping(&env, "busy");
    let pid = pid(&env, &id);
    env.kiln(["rm", "busy"]).run().fails(1).says(&["`busy`", "running", "--force"]);
    assert_eq!(env.state("busy"), "running");
    assert_eq!(env.ok(&["rm", "-f", "busy"]).text(), "busy");
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    nothing_is_left(&env);
}

#[test]
fn a_killed_keeper_takes_its_container_along() {
    let env = TestEnv::new();
    let id = sleeping(&env, "orphan");
    env.ok(&["exec", "-d", "orphan", "sleep", "1001"]);
    let pid = pid(&env, &id);
    let keepers = env.keepers();
    assert_eq!(keepers.len(), 1);
    let waiting = env.kiln(["wait", "orphan"]).spawn();
    let following = env.kiln(["logs", "-f", "orphan"]).spawn();
    kill(keepers[0]);
    eventually("the program is dead", || !fs::exists(format!("/proc/{pid}")).unwrap());
    eventually("the state is true", || env.state("orphan") == "exited");
    assert_eq!(waiting.wait().ok().text(), "137");
    following.wait().ok();
    assert!(env.ok(&["ps", "-a"]).text().contains("Exited (137)"));
    env.kiln(["exec", "orphan", "true"]).run().fails(1).says(&["not running"]);
    // And nothing keeps it from starting again.
    env.ok(&["start", "orphan"]);
    assert_eq!(env.ok(&["exec", "orphan", "echo", "back"]).text(), "back");
    env.ok(&["rm", "-f", "orphan"]);
    nothing_is_left(&env);
}

/// Whoever ends a container does not wait for a keeper that stands still; whoever wants something else of it is told.
#[test]
fn a_keeper_that_stands_still_keeps_nobody_from_ending() {
    let env = TestEnv::new();
    let enders: [(&str, &[&str]); 4] = [
        ("removed", &["rm", "-f", "removed"]),
        ("killed", &["kill", "killed"]),
        ("stopped", &["stop", "-t", "1", "stopped"]),
        ("told", &["kill", "-s", "KILL", "told"]),
    ];
    for (name, command) in enders {
        let id = sleeping(&env, name);
        let (program, keeper) = (pid(&env, &id), env.keepers()[0]);
        kill_process(Pid::from_raw(keeper.cast_signed()).unwrap(), Signal::STOP).unwrap();
        if name == "told" {
            for command in [["exec", name, "true"].as_slice(), &["attach", name], &["top", name]] {
                env.kiln(command).run().fails(1).says(&[
                    "`told` was stopped by a signal",
                    &format!("kill -CONT {keeper}"),
                    "kiln kill told",
                ]);
            }
            let cp = env.kiln(["cp", "told:/etc/passwd", "-"]).run().fails(1);
            cp.says(&["stopped by a signal"]);
            assert_eq!(env.state(name), "running");
        }
        assert_eq!(env.ok(command).text(), name);
        assert!(!fs::exists(format!("/proc/{program}")).unwrap(), "{command:?}");
        if name != "removed" {
            // In good order: it was its keeper that has told the end.
            let finished = env.ok(&["inspect", "--format", "{{.State.ExitCode}}", name]).text();
            assert_eq!(finished, "137");
            env.ok(&["rm", name]);
        }
        nothing_is_left(&env);
    }
}

#[test]
fn of_two_starts_at_once_one_starts() {
    let env = TestEnv::new();
    let script = "echo started >> /started; exec sleep 1000";
    env.ok(&["create", "--network=none", "--name", "race", "busybox", "sh", "-c", script]);
    for round in 1..=5 {
        let starts: Vec<_> = (0..4).map(|_| env.kiln(["start", "race"]).spawn()).collect();
        for start in starts {
            assert_eq!(start.wait().ok().text(), "race");
        }
        // Those who came too late go without having started anything.
        eventually("one keeper is left", || env.keepers().len() == 1);
        let started = env.ok(&["exec", "race", "cat", "/started"]).text();
        assert_eq!(started.lines().count(), round, "{started}");
        env.ok(&["kill", "race"]);
    }
}

#[test]
fn one_that_cannot_start_says_why() {
    let env = TestEnv::new();
    let create = |name: &str, command: &str| {
        env.ok(&["create", "--network=none", "--name", name, "busybox", command]);
    };
    create("missing", "/no/such");
    env.kiln(["start", "missing"]).run().fails(1).says(&["/no/such", "No such file"]);
    assert_eq!(env.state("missing"), "created");
    env.kiln(["start", "-a", "missing"]).run().fails(1).says(&["/no/such"]);
    // Those before and after it start all the same.
    create("there", "true");
    let output = env.kiln(["start", "missing", "there"]).run().fails(1);
    assert_eq!(output.text(), "there");
    env.kiln(["run", "-d", "--name", "x1", "busybox", "/etc/passwd"]).run().fails(126);
    let output = env.kiln(["run", "-u", "nobody-there", "--name", "x2", "busybox", "true"]).run();
    output.fails(125).says(&["unable to find user nobody-there"]);
    assert_eq!(env.state("x2"), "created");
    env.ok(&["rm", "missing", "there", "x1", "x2"]);
    nothing_is_left(&env);
}

#[test]
fn signals_to_the_command_reach_the_program() {
    let env = TestEnv::new();
    let script = "trap 'exit 21' TERM; trap 'echo one' USR1; trap 'echo again' INT; echo up >&2; while :; do sleep 0.02; done";
    let start = |name: &str| {
        let args = ["run", "--network=none", "--name", name, "busybox", "sh", "-c", script];
        let mut running = env.kiln(args).spawn();
        running.wait_for("up");
        running
    };
    let running = start("asked");
    running.signal(Signal::USR1);
    eventually("it is heard", || env.ok(&["logs", "asked"]).text().contains("one"));
    running.signal(Signal::TERM);
    assert_eq!(running.wait().fails(21).text(), "one");
    // Whoever insists gets an end, whatever the program thinks of it.
    let running = start("insists");
    for _ in 0..2 {
        running.signal(Signal::INT);
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(env.state("insists"), "running");
    running.signal(Signal::INT);
    running.wait().fails(137);
}

/// The program gets an error when nobody reads what it writes, as it would in a pipe without a container.
#[test]
fn output_that_nobody_reads() {
    let env = TestEnv::new();
    let store = env.str("store");
    let kiln = base::kiln();
    let script = format!(
        "{} --root {store} run --network=none --name loud busybox sh -c 'yes; echo over >&2' | head -n 2",
        kiln.display()
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\ny\n");
    eventually("it ends", || env.state("loud") == "exited");
}

#[test]
fn one_who_reads_slowly_loses_nothing() {
    let env = TestEnv::new();
    let store = env.str("store");
    let kiln = base::kiln();
    let script = format!(
        "{} --root {store} run --network=none --name much busybox seq 200000 | (sleep 1; tail -n 1)",
        kiln.display()
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200000\n");
    assert_eq!(env.ok(&["logs", "much"]).text().lines().count(), 200_000);
}

#[test]
fn input_of_a_container_that_was_left_open() {
    let env = TestEnv::new();
    env.ok(&["run", "-d", "-i", "--network=none", "--name", "open", "busybox", "cat"]);
    assert_eq!(env.state("open"), "running");
    let attached = env.kiln(["attach", "open"]).stdin("one\n").spawn();
    eventually("it is read", || env.ok(&["logs", "open"]).text() == "one");
    // Its input ends for `attach`, not for the container.
    assert_eq!(env.state("open"), "running");
    env.ok(&["stop", "-t", "0", "open"]);
    assert_eq!(attached.wait().fails(137).text(), "one");
    env.kiln(["attach", "open"]).run().fails(2).says(&["stopped container"]);
    // Made to read the input of the first who comes, to its end.
    env.ok(&["create", "-i", "--network=none", "--name", "once", "busybox", "cat"]);
    for text in ["first", "second"] {
        assert_eq!(env.kiln(["start", "-ai", "once"]).stdin(text).run().ok().text(), text);
    }
}

#[test]
fn only_some_streams() {
    let env = TestEnv::new();
    let script = "echo out; echo err >&2";
    let run = |stream: &str| {
        let args = ["run", "--rm", "--network=none", "-a", stream, "busybox", "sh", "-c", script];
        let output = env.ok(&args);
        (output.text(), output.stderr.trim().to_owned())
    };
    assert_eq!(run("stdout"), ("out".to_owned(), String::new()));
    assert_eq!(run("STDERR"), (String::new(), "err".to_owned()));
    let args = ["run", "-d", "-a", "stdout", "busybox", "true"];
    env.kiln(args).run().fails(125).says(&["conflicting options"]);
}

#[test]
fn an_image_in_use_stays_whole() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo content > /file\nCMD cat /file\n");
    env.ok(&["create", "--network=none", "--name", "user", IMAGE]);
    env.kiln(["rmi", "-f", IMAGE]).run();
    assert_eq!(env.ok(&["start", "-a", "user"]).text(), "content");
}

#[test]
fn stores_may_lie_deep() {
    let env = TestEnv::new();
    // Longer than the address of a socket can be.
    let deep = env.path("store").join("x".repeat(100)).join("y".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    let kiln = |args: &[&str]| {
        let root = ["--root".as_ref(), deep.as_os_str()];
        Kiln::new(&base::kiln()).args(root).args(args).run()
    };
    kiln(&["import", base::tar().to_str().unwrap(), "busybox"]).ok();
    let run = ["run", "-d", "--network=none", "--name", "deep", "busybox", "sleep", "99"];
    let started = kiln(&run);
    let exec = kiln(&["exec", "deep", "echo", "here"]);
    let removed = kiln(&["rm", "-f", "deep"]);
    started.ok();
    assert_eq!(exec.ok().text(), "here");
    removed.ok();
}

#[test]
fn all_of_it_as_an_ordinary_user() {
    let Some(env) = Account::create().map(TestEnv::of) else { return };
    let id = sleeping(&env, "one");
    assert_eq!(env.state("one"), "running");
    assert_eq!(env.ok(&["exec", "one", "id", "-u"]).text(), "0");
    assert_eq!(env.ok(&["exec", "-u", "app", "one", "id", "-u"]).text(), "1000");
    env.ok(&["exec", "one", "sh", "-c", "echo x > /f; chown 5:6 /f"]);
    env.ok(&["stop", "-t", "0", "one"]);
    env.ok(&["start", "one"]);
    assert_eq!(env.ok(&["exec", "one", "stat", "-c", "%u:%g", "/f"]).text(), "5:6");
    let (keepers, pid) = (env.keepers(), pid(&env, &id));
    kill(keepers[0]);
    eventually("the program is dead", || !fs::exists(format!("/proc/{pid}")).unwrap());
    eventually("the state is true", || env.state("one") == "exited");
    env.ok(&["start", "one"]);
    env.ok(&["rm", "-f", "one"]);
    nothing_is_left(&env);
}

/// How often a container was started again by itself.
fn restarts(env: &TestEnv, name: &str) -> u32 {
    let text = env.ok(&["inspect", "-f", "{{.RestartCount}}", name]).text();
    text.parse().unwrap()
}

#[test]
fn a_program_that_fails_is_started_again() {
    let env = TestEnv::new();
    let script = "echo run >> /runs; [ $(wc -l < /runs) -ge 4 ] || exit 3";
    let args = ["run", "-d", "--network=none", "--restart=on-failure", "--name", "tries"];
    env.kiln(args).args(["busybox", "sh", "-c", script]).run().ok();
    eventually("it succeeds", || env.state("tries") == "exited");
    assert_eq!(restarts(&env, "tries"), 3);
    assert_eq!(env.ok(&["wait", "tries"]).text(), "0");
    // So often at most.
    let args = ["run", "-d", "--network=none", "--restart=on-failure:2", "--name", "fails"];
    env.kiln(args).args(["busybox", "sh", "-c", "echo try; exit 5"]).run().ok();
    eventually("it gives up", || env.state("fails") == "exited");
    assert_eq!(restarts(&env, "fails"), 2);
    assert_eq!(env.ok(&["logs", "fails"]).text(), "try\ntry\ntry");
    assert_eq!(env.ok(&["wait", "fails"]).text(), "5");
    eventually("nobody keeps anything", || env.keepers().is_empty());
    assert_eq!(env.ownerless(), [""; 0].map(Into::<std::path::PathBuf>::into));
    // Somebody starts it: it is counted anew.
    env.ok(&["start", "fails"]);
    eventually("it gives up", || env.state("fails") == "exited");
    assert_eq!(env.ok(&["logs", "fails"]).text().lines().count(), 6);
}

#[test]
fn one_that_is_always_started_again_is_stopped_all_the_same() {
    let env = TestEnv::new();
    let run = |name: &str, script: &str| {
        let args = ["run", "-d", "--network=none", "--restart=always", "--name", name];
        env.kiln(args).args(["busybox", "sh", "-c", script]).run().ok();
    };
    run("ends", "exit 0");
    eventually("it was started again", || restarts(&env, "ends") >= 3);
    // Between two starts as well.
    eventually("it rests", || env.state("ends") == "restarting");
    env.kiln(["exec", "ends", "true"]).run().fails(1);
    env.ok(&["stop", "ends"]);
    assert_eq!(env.state("ends"), "exited");
    run("rests", "exit 1");
    eventually("it rests", || restarts(&env, "rests") >= 3 && env.state("rests") == "restarting");
    assert_eq!(env.ok(&["rm", "-f", "rests"]).text(), "rests");

    run("stays", "sleep 1000");
    env.ok(&["stop", "-t", "0", "stays"]);
    assert_eq!(env.state("stays"), "exited");
    env.ok(&["restart", "stays"]);
    assert_eq!(env.state("stays"), "running");
    env.ok(&["kill", "stays"]);
    assert_eq!(env.state("stays"), "exited");
    env.ok(&["rm", "-f", "ends", "stays"]);
    nothing_is_left(&env);
}

#[test]
fn a_keeper_that_is_asked_to_end_stops_its_container() {
    let env = TestEnv::new();
    let script = "trap 'echo asked; exit 4' TERM; echo ready; while :; do sleep 0.02; done";
    let args = ["run", "-d", "--network=none", "--restart=always", "--name", "polite"];
    env.kiln(args).args(["busybox", "sh", "-c", script]).run().ok();
    eventually("it is ready", || env.ok(&["logs", "polite"]).text() == "ready");
    let keeper = Pid::from_raw(env.keepers()[0].cast_signed()).unwrap();
    kill_process(keeper, Signal::TERM).unwrap();
    eventually("it has ended", || env.state("polite") == "exited");
    assert_eq!(env.ok(&["logs", "polite"]).text(), "ready\nasked");
    assert_eq!(env.ok(&["wait", "polite"]).text(), "4");
    eventually("nobody keeps anything", || env.keepers().is_empty());
    assert_eq!(env.ownerless(), [""; 0].map(Into::<std::path::PathBuf>::into));
}
