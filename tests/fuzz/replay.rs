//! Every kept input of `testdata/fuzz` is tried by the target of its folder: what the fuzzer has found stays mended.

use std::fs;

use super::{git, ignore, lines, parser, words};
use crate::support::base::source;

#[track_caller]
fn replay(target: &str, check: fn(&[u8])) {
    let folder = source().join("testdata/fuzz").join(target);
    let inputs = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> = inputs.collect();
    inputs.sort();
    assert!(inputs.len() > 2, "{} has lost its inputs", folder.display());
    for input in inputs {
        // Shown if the test fails; the last one is the culprit.
        eprintln!("{}", input.display());
        check(&fs::read(&input).unwrap());
    }
}

#[test]
fn parser() {
    replay("parser", parser::check);
}

#[test]
fn words() {
    replay("words", words::check);
}

#[test]
fn lines() {
    replay("lines", lines::check);
}

#[test]
fn ignore() {
    replay("ignore", ignore::check);
}

#[test]
fn git() {
    replay("git", git::check);
}
