//! Expansion against our own tables, the bounds, and BuildKit's tables where they are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Reason, expand, expand_fully, expand_heredoc, expand_known, expand_to_words};

type Env = BTreeMap<String, String>;

fn look(env: &Env) -> impl Fn(&str) -> Option<String> {
    |name| env.get(name).cloned()
}

fn of(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The lines of a table of ours: what is before and behind `=>`, with the environment at that line.
fn table(name: &str) -> Vec<(Env, String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/words").join(name);
    let mut env = Env::new();
    let mut cases = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        if let Some((name, value)) =
            line.strip_prefix("env ").and_then(|variable| variable.split_once('='))
        {
            env.insert(name.to_owned(), value.to_owned());
        } else if !line.starts_with('#') && !line.is_empty() {
            let (word, expected) = line.split_once(" =>").unwrap();
            let expected = expected.strip_prefix(' ').unwrap_or(expected);
            cases.push((env.clone(), word.to_owned(), expected.to_owned()));
        }
    }
    assert!(cases.len() > 10, "{name} has lost its cases");
    cases
}

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec/data").join(path);
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn words_of_our_table() {
    for (env, word, expected) in table("expand.txt") {
        let result = expand(&word, '\\', &look(&env));
        match expected.strip_prefix('!') {
            Some(message) => {
                let error = result.expect_err(&word).to_string();
                assert!(error.contains(message), "{word}: {error}");
            }
            None => assert_eq!(result.as_deref(), Ok(expected.as_str()), "{word}"),
        }
    }
}

#[test]
fn splitting_of_our_table() {
    for (env, word, expected) in table("split.txt") {
        let result = expand_to_words(&word, '\\', &look(&env)).map(|words| words.join("|"));
        match expected.strip_prefix('!') {
            Some(message) => assert!(result.expect_err(&word).to_string().contains(message)),
            None => assert_eq!(result.as_deref(), Ok(expected.as_str()), "{word}"),
        }
    }
}

#[test]
fn backtick_escapes() {
    let env = of(&[("X", "v")]);
    for (word, expected) in
        [("`$X", "$X"), (r"c:\$X", r"c:\v"), (r#""`$X `" \n""#, r#"$X " \n"#), ("a`", "a")]
    {
        assert_eq!(expand(word, '`', &look(&env)).as_deref(), Ok(expected), "{word}");
    }
}

#[test]
fn heredoc_bodies_keep_their_quotes() {
    let env = of(&[("X", "v w")]);
    for (body, expected) in [
        ("it's \"$X\"\n", "it's \"v w\"\n"),
        ("\\$X \\\\ \\\n${NONE:-d}\n", "$X \\ \nd\n"),
        ("'$X'", "'v w'"),
    ] {
        assert_eq!(expand_heredoc(body, &look(&env)).as_deref(), Ok(expected), "{body:?}");
    }
}

#[test]
fn known_variables_only() {
    let env = of(&[("X", "v")]);
    for (text, expected) in [
        ("echo \"$X\" '$X' $Y", "echo \"v\" '$X' $Y"),
        ("${Y} ${Y:-d} ${Y+$X} ${Y?m} ${Y#a} ${Y%%b} ${Y/a/b}", {
            "${Y} ${Y:-d} ${Y+v} ${Y?m} ${Y#a} ${Y%%b} ${Y/a/b}"
        }),
    ] {
        assert_eq!(expand_known(text, '\\', &look(&env)).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn patterns_do_not_cross_lines() {
    let env = of(&[("X", "one\ntwo\nthree")]);
    for (word, expected) in [
        ("${X#*}", "one\ntwo\nthree"),
        ("${X##*}", "\ntwo\nthree"),
        ("${X%%*}", "one\ntwo\n"),
        ("${X//o*/-}", "-\ntw-\nthree"),
    ] {
        assert_eq!(expand(word, '\\', &look(&env)).as_deref(), Ok(expected), "{word}");
    }
}

#[test]
fn replacing_all_takes_a_template() {
    let env = of(&[("X", "abab"), ("D", "$0$0"), ("E", "[${0}]$$$1$name$-")]);
    for (word, expected) in [
        ("${X//a/$D}", "aabaab"),
        ("${X/a/$D}", "$0$0bab"),
        ("${X//a/$E}", "[a]$$-b[a]$$-b"),
        ("${X//a*/<$D>}", "<abababab>"),
        ("${X///-}", "-a-b-a-b-"),
        ("${X//*/-}", "-"),
        ("${X//b*a/-}", "a-b"),
    ] {
        assert_eq!(expand(word, '\\', &look(&env)).as_deref(), Ok(expected), "{word}");
    }
}

#[test]
fn what_is_too_much_is_refused_soon() {
    let big = "x".repeat(1 << 19);
    let env = of(&[("B", &big), ("A", &"a".repeat(100_000)), ("P", &"*a".repeat(20_000))]);
    let reason = |word: &str| expand(word, '\\', &look(&env)).unwrap_err().reason;
    assert_eq!(reason("$B$B$B"), Reason::Length);
    assert_eq!(reason("${A//a/$B}"), Reason::Length);
    assert_eq!(reason("${A##$P\\?}"), Reason::Steps);
    assert_eq!(reason(&"${NONE+$B}".repeat(2000)), Reason::Steps);
    assert_eq!(reason(&format!("{}{}", "${X:-".repeat(5000), "}".repeat(5000))), Reason::Depth);
    let nested = format!("{}deep{}", "${X:-".repeat(60), "}".repeat(60));
    assert_eq!(expand(&nested, '\\', &look(&env)).as_deref(), Ok("deep"));
}

#[test]
fn buildkits_env_var_test() {
    let Some(path) = shared("shell/envVarTest") else { return };
    let env = of(&[("PWD", "/home"), ("SHELL", "bash"), ("KOREAN", "한국어"), ("NULL", "")]);
    let mut cases = 0;
    for line in std::fs::read_to_string(path).unwrap().lines() {
        // A comment begins with `#`, but never behind a word here.
        let line = if line.starts_with('#') { "" } else { line };
        let [platform, word, expected] = line.splitn(3, '|').map(str::trim).collect::<Vec<_>>()[..]
        else {
            continue;
        };
        if platform == "W" {
            continue;
        }
        cases += 1;
        let result = expand(word, '\\', &look(&env));
        match expected {
            "error" => assert!(result.is_err(), "{word}: {result:?}"),
            _ => assert_eq!(result.as_deref(), Ok(expected), "{word}"),
        }
    }
    assert!(cases > 150);
}

#[test]
fn buildkits_words_test() {
    let Some(path) = shared("shell/wordsTest") else { return };
    let mut env = Env::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line = if line.starts_with('#') { "" } else { line };
        if let Some((name, value)) =
            line.strip_prefix("ENV ").and_then(|variable| variable.split_once('='))
        {
            env.insert(name.trim_start().to_owned(), value.to_owned());
        } else if let Some((word, expected)) = line.split_once('|') {
            let result = expand_to_words(word.trim(), '\\', &look(&env));
            let expected = expected.trim_start();
            match expected {
                "error" => assert!(result.is_err(), "{word}"),
                _ => assert_eq!(result.unwrap().join(","), expected, "{word}"),
            }
        }
    }
}

#[test]
fn buildkits_forms() {
    let Some(path) = shared("tables/shell_expand.json") else { return };
    let cases: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for case in cases {
        let word = case["input"].as_str().unwrap();
        let env: Env = serde_json::from_value(case["env"].clone()).unwrap();
        let result = expand_fully(word, '\\', &look(&env));
        if case["error"].as_bool().unwrap() {
            let error = result.expect_err(word).to_string();
            let part = case["error_contains"].as_str().unwrap_or_default();
            assert!(error.contains(part), "{word}: {error}");
            continue;
        }
        let expansion = result.unwrap();
        assert_eq!(expansion.text, case["expected"].as_str().unwrap(), "{word} {env:?}");
        for (key, found) in [("matches", &expansion.used), ("unmatched", &expansion.unset)] {
            let names = serde_json::Value::from_iter(found.iter().cloned());
            if let Some(expected) = case.get(key) {
                let mut expected = expected.as_array().unwrap().clone();
                expected.sort_by_key(|name| name.as_str().map(str::to_owned));
                assert_eq!(names, serde_json::Value::Array(expected), "{key} of {word}");
            }
        }
    }
}

#[test]
fn buildkits_invalid_patterns() {
    let Some(path) = shared("tables/shell_pattern.json") else { return };
    let table: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for pattern in table["invalid_patterns"].as_array().unwrap() {
        let pattern = pattern.as_str().unwrap();
        assert!(super::Pattern::parse(pattern).is_err(), "{pattern}");
    }
    for (pattern, regex) in table["pattern_to_regex"].as_object().unwrap() {
        // Something that the regular expression matches from its start to its end, and nothing longer.
        let regex = regex.as_str().unwrap().strip_prefix('^').unwrap();
        let sample = regex.replace(".*", "any run");
        let mut sample = if sample == "." { "x".to_owned() } else { sample };
        sample = sample.replace("\\\\", "\u{0}").replace('\\', "").replace('\u{0}', "\\");
        let parsed = super::Pattern::parse(pattern).unwrap();
        let value = format!("{sample}\nrest");
        let rest = parsed.trim_prefix(&value, true, &mut 1000).unwrap();
        assert_eq!(rest, "\nrest", "{pattern} {sample}");
    }
}
