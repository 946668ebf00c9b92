//! SIGINT and SIGTERM: a build ends at once and leaves nothing: no process, no mount, no half-made file.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::run_isolation::processes_named;
use crate::support::env::TestEnv;

#[test]
fn an_interrupt_ends_a_run_at_once() {
    ends_a_run_at_once(Signal::INT, "868433");
}

#[test]
fn so_does_a_termination() {
    ends_a_run_at_once(Signal::TERM, "868434");
}

#[track_caller]
fn ends_a_run_at_once(signal: Signal, seconds: &str) {
    let env = TestEnv::new();
    // The shell ignores both signals: only the builder can end it.
    let context = env.context(&format!(
        "FROM busybox\nRUN trap '' INT TERM; echo half > /f; echo READY; sleep {seconds}\n"
    ));
    let before = entries(&env.store());
    let mut build = env.building(&context, &[]).spawn();
    build.wait_for("READY");
    while processes_named(seconds) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }

    let started = Instant::now();
    build.signal(signal);
    let output = build.wait();
    // It waits longer than that for what does not end, and says so then.
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    assert_eq!(output.stderr.lines().last(), Some("cancelled"), "{output}");
    assert!(!output.status.success(), "{output}");
    assert_eq!(processes_named(seconds), 0);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(env.store().to_str().unwrap()), "{mounts}");
    let after = entries(&env.store());
    let left: Vec<_> = after.iter().filter(|path| !before.contains(path)).collect();
    let unfinished = env.store().join("tmp");
    assert!(left.iter().all(|path| !Path::new(path).starts_with(&unfinished)), "{left:?}");

    // And the store is as good as before.
    env.build_text("FROM busybox\nRUN echo whole > /f\n");
    assert_eq!(env.sh("cat /f"), "whole");
}

#[test]
fn an_interrupted_build_says_so_and_tags_nothing() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo READY; sleep 868435\n");
    let mut build = env.building(&context, &[]).spawn();
    build.wait_for("READY");
    build.signal(Signal::INT);
    let output = build.wait();
    assert!(output.stderr.contains("cancelled"), "{output}");
    assert_eq!(env.ok(&["images", "-q", "test"]).text(), "");
}

#[test]
fn a_container_gets_the_interrupt() {
    let env = TestEnv::new();
    let script = "trap 'echo caught; exit 5' INT; echo READY >&2; while :; do sleep 0.1; done";
    let mut run = env.kiln(["run", "--rm", "busybox", "sh", "-c", script]).spawn();
    run.wait_for("READY");
    run.signal(Signal::INT);
    assert_eq!(run.wait().fails(5).text(), "caught");
}

/// Every path below a directory.
fn entries(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path.clone());
            }
            found.push(path.display().to_string());
        }
    }
    found
}
