//! Every folder of `testdata/build` is a context that must come out as its `expect` says. A line of that file is one of
//!
//! ```text
//! # A comment.
//! build --target one --build-arg A=b     arguments of the build, at most once
//! Config.Cmd = ["a"]                     a field of `kiln inspect`, as JSON; null when absent
//! $ cat /f = "text"                      what a shell in the image prints, as a JSON string
//! error "unknown flag"                   the build fails, with this on stderr
//! ```

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::base;
use crate::support::env::{IMAGE, TestEnv};

#[test]
fn every_case_builds_as_it_says() {
    let env = TestEnv::new();
    let mut folders: Vec<_> = fs::read_dir(base::source().join("testdata/build"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 18, "each instruction has a case");

    let mut wrong = Vec::new();
    for folder in &folders {
        let name = folder.file_name().unwrap().to_string_lossy();
        wrong.extend(differences(&env, folder).into_iter().map(|text| format!("{name}: {text}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is not as the `expect` of this folder says.
fn differences(env: &TestEnv, folder: &Path) -> Vec<String> {
    let expect = fs::read_to_string(folder.join("expect")).unwrap();
    let lines = || expect.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));

    let mut args = vec!["build", "--progress=plain", "-t", IMAGE];
    args.extend(
        lines().filter_map(|line| line.strip_prefix("build ")).flat_map(str::split_whitespace),
    );
    let built = env.kiln(args).args([folder]).run();
    let errors: Vec<_> = lines().filter_map(|line| line.strip_prefix("error ")).collect();
    if built.status.success() != errors.is_empty() {
        return vec![built.to_string()];
    }
    if !errors.is_empty() {
        let missing = errors.iter().map(|error| serde_json::from_str::<String>(error).unwrap());
        return missing
            .filter(|text| !built.stderr.contains(text))
            .map(|text| format!("no `{text}` in\n{built}"))
            .collect();
    }

    let inspected = env.inspect(IMAGE);
    let mut wrong = Vec::new();
    for line in lines().filter(|line| !line.starts_with("build ")) {
        let (question, answer) =
            line.rsplit_once(" = ").unwrap_or_else(|| panic!("no ` = ` in {line}"));
        let answer: Value =
            serde_json::from_str(answer).unwrap_or_else(|error| panic!("{line}: {error}"));
        let found = match question.strip_prefix("$ ") {
            Some(script) => Value::from(env.sh(script)),
            None => question.split('.').fold(&inspected, |value, key| &value[key]).clone(),
        };
        if found != answer {
            wrong.push(format!("{question} is {found}, not {answer}"));
        }
    }
    wrong
}
