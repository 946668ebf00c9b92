//! The Dockerfiles in `testdata/dockerfile`: those in `ok` against the tree beside them (`.ast`), those in `err` against
//! the message (`.stderr`). With `KILN_BLESS=1` in the environment what is found is written instead of compared.
//!
//! What a build refuses of a file with a few lines is in `refused.txt`, whether it is seen when the file is read or when it
//! is planned: `=== name`, the file, `---`, the message.
//!
//! The same files are the seeds of a test that no input makes the parser panic.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod mutation;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dockerfile::{BaseImage, Failed, Lowered, Request, lower, parse};
use oci::{ImageConfig, ImageId, Platform};

/// The Dockerfiles of a directory of `testdata/dockerfile`, in order.
fn dockerfiles(directory: &str) -> Vec<PathBuf> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/dockerfile").join(directory);
    let mut found: Vec<PathBuf> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Compares `found` with the file beside `path`, or writes it there.
fn check(path: &Path, extension: &str, found: &str, differing: &mut Vec<String>) {
    let expected = path.with_extension(extension);
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::write(&expected, found).unwrap();
        return;
    }
    let text = std::fs::read_to_string(&expected).unwrap_or_default();
    if text != found {
        differing.push(format!("{}\nexpected:\n{text}\nfound:\n{found}", expected.display()));
    }
}

#[test]
fn trees() {
    let mut differing = Vec::new();
    for path in dockerfiles("ok") {
        let text = std::fs::read(&path).unwrap();
        let dockerfile = parse("Dockerfile", &text)
            .unwrap_or_else(|failed| panic!("{}: {failed}", path.display()));
        check(&path, "ast", &tree::render(&dockerfile), &mut differing);
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn messages() {
    let mut differing = Vec::new();
    for path in dockerfiles("err") {
        let text = std::fs::read(&path).unwrap();
        match parse("Dockerfile", &text) {
            Ok(_) => differing.push(format!("{} has no mistake", path.display())),
            Err(failed) => check(&path, "stderr", &message(&failed), &mut differing),
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn refusals() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/dockerfile/refused.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut found = String::new();
    for case in text.split("=== ").skip(1) {
        let (name, case) = case.split_once('\n').unwrap();
        let file = case.split_once("---\n").map_or(case, |(file, _)| file);
        let mistake = refusal(file);
        let mistake = mistake.unwrap_or_else(|| panic!("{name} is not refused"));
        found.push_str(&format!("=== {name}\n{file}---\n{}\n", message(&mistake)));
    }
    if std::env::var_os("KILN_BLESS").is_some() {
        return std::fs::write(&path, found).unwrap();
    }
    // The first line that differs says more than both files.
    for (expected, found) in text.lines().zip(found.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), text.lines().count());
}

/// The mistake of a file when it is read or planned; every image is there, and has nothing in it.
fn refusal(file: &str) -> Option<Failed> {
    let file = match parse("Dockerfile", file.as_bytes()) {
        Ok(file) => file,
        Err(failed) => return Some(failed),
    };
    let platform = Platform::parse("linux/amd64").unwrap();
    let config = ImageConfig::scratch(&platform);
    let base = BaseImage { id: ImageId::new(oci::Digest::of(b"")), config };
    let request = Request::new(platform);
    let mut known = BTreeMap::new();
    loop {
        match lower(&file, &request, &known) {
            Ok(Lowered::Needs(bases)) => {
                known.extend(bases.into_iter().map(|needed| (needed, base.clone())));
            }
            Ok(Lowered::Ready(_)) => return None,
            Err(diagnostic) => return Some(Failed { source: file.source, diagnostic }),
        }
    }
}

/// A mistake with its line and a caret under it.
fn message(failed: &Failed) -> String {
    let Failed { source, diagnostic } = failed;
    let mut text = format!("error: {diagnostic}\n");
    if let Some((first, last)) = diagnostic.lines {
        text.push_str(&format!("lines: {first}-{last}\n"));
    }
    if let Some(span) = diagnostic.span {
        let start = source.position(span.start);
        let line = source.line(start.line).unwrap_or("");
        let width = source.slice(span).lines().next().unwrap_or("").chars().count().max(1);
        let indent: String = line
            .chars()
            .take(start.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        text.push_str(&format!("{}:{}\n", start.line, start.column));
        text.push_str(&format!("  | {line}\n  | {indent}{}\n", "^".repeat(width)));
    }
    if let Some(hint) = &diagnostic.hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

/// Each instruction has a good case, and each has one that is refused.
#[test]
fn all_instructions_have_cases() {
    let mut good = BTreeSet::new();
    for path in dockerfiles("ok") {
        let dockerfile = parse("Dockerfile", &std::fs::read(path).unwrap()).unwrap();
        if !dockerfile.global_args.is_empty() {
            good.insert("ARG");
        }
        for stage in &dockerfile.stages {
            good.insert("FROM");
            good.extend(stage.steps.iter().map(|step| step.instruction.keyword()));
        }
    }
    assert_eq!(good.len(), 18, "{good:?}");

    let bad: Vec<String> = dockerfiles("err")
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().to_uppercase())
        .collect();
    for keyword in good {
        assert!(bad.iter().any(|name| name.starts_with(keyword)), "no err/{keyword}*");
    }
}
