//! Every kept input of `testdata/fuzz` is tried by the target of its folder: what the fuzzer has found stays mended.

use std::fs;

use super::{
    challenge, compressed, documents, git, ignore, layer, lines, parser, records, reference, tar,
    words,
};
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

#[test]
fn tar() {
    replay("tar", tar::check);
}

#[test]
fn layer() {
    replay("layer", layer::check);
}

#[test]
fn compressed() {
    replay("compressed", compressed::check);
}

#[test]
fn documents() {
    replay("documents", documents::check);
}

#[test]
fn reference() {
    replay("reference", reference::check);
}

#[test]
fn challenge() {
    replay("challenge", challenge::check);
}

#[test]
fn records() {
    replay("records", records::check);
}
