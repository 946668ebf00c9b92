//! `tests/bench.sh`, the measurements that the README quotes: that they still run. With kiln alone, at the cheapest works; what
//! they say about an unoptimised binary on a busy machine is nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::base;
use crate::support::env::TestEnv;

fn bench(env: &TestEnv, args: &[&str]) -> Command {
    let tmp = env.path("tmp");
    fs::create_dir_all(&tmp).unwrap();
    let mut bench = Command::new(base::source().join("tests/bench.sh"));
    bench
        .arg("--no-sync")
        .args(args)
        .env("KILN", base::kiln())
        .env("TMPDIR", tmp)
        .stdin(Stdio::null());
    bench
}

/// Runs it, which must succeed and leave nothing; returns the rows of its tables.
#[track_caller]
fn rows(args: &[&str]) -> Vec<Vec<String>> {
    let env = TestEnv::empty();
    let output = bench(&env, args).output().unwrap();
    let (text, said) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{said}");
    assert_eq!(fs::read_dir(env.path("tmp")).unwrap().count(), 0, "left behind");
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|it| it.trim().to_owned()).collect();
    let rows = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    rows.map(cells).collect()
}

#[test]
fn it_compares() {
    let rows = rows(&["-n", "2", "--peers", "kiln", "noop", "run20"]);
    assert_eq!(rows[0], ["work", "kiln"]);
    assert_eq!(rows.len(), 3, "{rows:?}");
    for row in &rows[1..] {
        let [title, time] = &row[..] else { panic!("{row:?}") };
        assert!(title.contains("12 steps") || title.contains("20 times"), "{title}");
        assert!(time.starts_with("**") && time.contains("s** (") && time.contains(".."), "{time}");
    }
}

#[test]
fn it_draws_curves() {
    let rows = rows(&["scale", "--most", "10"]);
    let firsts: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let curves = [
        ["steps", "10"].as_slice(),
        &["files, 100 in a directory", "1"],
        &["files in one directory", "1"],
        &["builds at once, of 5 RUN each", "1", "4"],
        &["images", "10"],
    ];
    assert_eq!(firsts, curves.concat());
    for row in rows.iter().filter(|row| row[0].bytes().all(|byte| byte.is_ascii_digit())) {
        assert!(row[1..].iter().all(|cell| cell.ends_with("s)")), "{row:?}");
    }
}

#[test]
fn it_says_what_is_wrong() {
    let env = TestEnv::empty();
    for (args, code, reason) in [
        (["--peers", "kiln", "nothing"], 1, "there is no work nothing"),
        (["--peers", "nobody", "noop"], 1, "there is no peer nobody"),
        (["-n", "x", "noop"], 2, "not a number"),
        (["--what", "", ""], 2, "unknown option --what"),
    ] {
        let output = bench(&env, &args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(reason), "{said}");
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
    let output = bench(&env, &["noop"]).env("KILN", "/nowhere/kiln").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cargo build --release"), "{said}");
    assert_eq!(fs::read_dir(env.path("tmp")).unwrap().count(), 0, "left behind");
}

#[test]
fn interrupted_it_leaves_nothing() {
    let env = TestEnv::empty();
    let mut bench = bench(&env, &["-n", "1000", "--peers", "kiln", "noop"]);
    let mut running = bench.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(running.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("round 2") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it has ended");
    }
    kill_process(Pid::from_child(&running), Signal::TERM).unwrap();
    // Read to its end, so that it does not wait for somebody to listen.
    std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(143));
    assert_eq!(fs::read_dir(env.path("tmp")).unwrap().count(), 0, "left behind");
}
