//! Whole Dockerfiles: the cases of `testdata/lint`, and BuildKit's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci::{Config, ImageConfig, ImageId, Platform};

use super::{
    ContextFacts, Examination, Finding, GitIgnored, IgnoreFile, Linted, RULES, lint, lint_above,
};
use crate::lower::{BaseImage, BaseRef, Request};

/// A Dockerfile with all that it is examined with.
#[derive(Default)]
struct Case {
    dockerfile: String,
    ignore: String,
    git_ignored: Vec<GitIgnored>,
    build_args: BTreeMap<String, String>,
    all_stages: bool,
    /// Bases that are not known.
    unknown: bool,
    platform_of_bases: Option<String>,
}

fn examine(case: &Case) -> Linted {
    let mut request = Request::new(Platform::parse("linux/amd64").unwrap());
    request.build_args = case.build_args.clone();
    let (file, mistake) = crate::parse_as_far_as_possible(
        "Dockerfile",
        case.dockerfile.as_bytes(),
        &crate::NoIncludes,
    );
    if let Some(mistake) = mistake {
        return lint_above(&file, mistake, &request);
    }
    let hides = |path: &str| hidden(&case.ignore, path);
    let ignore_file = IgnoreFile {
        name: ".dockerignore",
        has_exceptions: case.ignore.lines().any(|line| line.starts_with('!')),
        hides: &hides,
    };
    let mut known = BTreeMap::new();
    loop {
        let linted = lint(
            &file,
            &Examination {
                request: &request,
                known: &known,
                all_stages: case.all_stages,
                context: ContextFacts {
                    ignore_file: Some(ignore_file).filter(|_| !case.ignore.is_empty()),
                    git_ignored: &case.git_ignored,
                },
            },
        );
        if linted.unknown.is_empty() || case.unknown {
            return linted;
        }
        let platform = case.platform_of_bases.as_deref().unwrap_or("linux/amd64");
        known.extend(linted.unknown.into_iter().map(|base| (base, image(platform))));
    }
}

/// An image with a variable and a shell-less config.
fn image(platform: &str) -> BaseImage {
    let config =
        Config { env: vec!["PATH=/bin".into(), "FROM_BASE=1".into()], ..Config::default() };
    let config =
        ImageConfig { config, ..ImageConfig::scratch(&Platform::parse(platform).unwrap()) };
    BaseImage { id: ImageId::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(), config }
}

/// As an ignore file of whole names, `*` and `*.suffix` does it: enough for these cases.
fn hidden(ignore: &str, path: &str) -> Option<(usize, String)> {
    let matches = |pattern: &str| match pattern.strip_prefix('*') {
        Some("" | "*") => true,
        Some(suffix) => path != "." && path.ends_with(suffix),
        None => path == pattern || path.starts_with(&format!("{pattern}/")),
    };
    let mut found = None;
    for (index, line) in ignore.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        match line.strip_prefix('!') {
            Some(exception) if path == "." || exception == path => found = None,
            Some(_) => {}
            None if matches(line) => found = Some((index + 1, line.to_owned())),
            None => {}
        }
    }
    found
}

fn said(findings: &[Finding]) -> Vec<String> {
    let say = |finding: &Finding| {
        format!("{} {}: {}", finding.lines.0, finding.rule.name, finding.message)
    };
    findings.iter().map(say).collect()
}

/// Every `.Dockerfile` of `testdata/lint` with what is in the `.expect` beside it. The comments on top of the latter say what
/// else there is: `#! ignore: a, b`, `#! git-ignored: a, b`, `#! build-arg: A=b`, `#! all-stages`, `#! unknown-bases`,
/// `#! bases: PLATFORM`.
#[test]
fn cases_of_our_own() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/lint");
    let bless = std::env::var_os("KILN_BLESS").is_some();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"));
    paths.sort();
    let mut heard = std::collections::BTreeSet::new();
    for path in &paths {
        let expect = path.with_extension("expect");
        let expected = std::fs::read_to_string(&expect).unwrap_or_default();
        let settings: Vec<&str> = expected.lines().filter(|line| line.starts_with("#!")).collect();
        let case = case_of(std::fs::read_to_string(path).unwrap(), &settings);
        let linted = examine(&case);
        heard.extend(linted.findings.iter().map(|finding| finding.rule.name));

        let mut lines: Vec<String> = settings.iter().map(|line| (*line).to_owned()).collect();
        for (line, finding) in said(&linted.findings).into_iter().zip(&linted.findings) {
            lines.push(line);
            lines.extend(finding.detail.as_ref().map(|detail| format!("    {detail}")));
        }
        lines.extend(linted.mistake.map(|mistake| format!("mistake: {}", mistake.message)));
        lines.extend(linted.violation.map(|violation| format!("violation: {}", violation.message)));
        let found = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        if bless {
            std::fs::write(&expect, &found).unwrap();
        }
        assert!(bless || found == expected, "{}:\n{found}", expect.display());
    }
    let silent: Vec<_> =
        RULES.iter().map(|rule| rule.name).filter(|name| !heard.contains(name)).collect();
    assert!(silent.is_empty(), "no case in testdata/lint is about {silent:?}");
}

fn case_of(dockerfile: String, settings: &[&str]) -> Case {
    let mut case = Case { dockerfile, ..Case::default() };
    for setting in settings {
        let setting = setting.trim_start_matches("#!").trim();
        let (key, value) = setting.split_once(": ").unwrap_or((setting, ""));
        let list = value.split(", ");
        match key {
            "ignore" => case.ignore = list.collect::<Vec<_>>().join("\n"),
            "git-ignored" => {
                let ignored = |path: &str| GitIgnored { path: path.into(), pattern: path.into() };
                case.git_ignored = list.map(ignored).collect();
            }
            "build-arg" => {
                let (name, value) = value.split_once('=').unwrap();
                case.build_args.insert(name.into(), value.into());
            }
            "all-stages" => case.all_stages = true,
            "unknown-bases" => case.unknown = true,
            "bases" => case.platform_of_bases = Some(value.to_owned()),
            _ => panic!("unknown setting {setting}"),
        }
    }
    case
}

/// Rule, message and line, in an order of their own: BuildKit has none for several findings about one instruction.
fn sorted(list: &serde_json::Value) -> Vec<(u64, String, String)> {
    let mut findings: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            (finding["line"].as_u64().unwrap(), text("rule"), text("message"))
        })
        .collect();
    findings.sort();
    findings
}

#[test]
fn cases_of_buildkit() {
    let Some(cases) = crate::reference::json("tables/lint_cases.json") else { return };
    let cases = cases.as_array().unwrap();
    for (index, row) in cases.iter().enumerate() {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let build_args = row["build_args"].as_object().into_iter().flatten();
        for (key, all_stages) in [("build_warnings", false), ("check_all_targets_warnings", true)] {
            let case = Case {
                dockerfile: text("dockerfile"),
                ignore: text("dockerignore"),
                build_args: build_args
                    .clone()
                    .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                    .collect(),
                all_stages,
                ..Case::default()
            };
            let linted = examine(&case);
            let mut found: Vec<_> = linted
                .findings
                .iter()
                .filter(|finding| finding.rule.source == super::RuleSource::BuildKit)
                .map(|finding| {
                    let line = finding.lines.0 as u64;
                    (line, finding.rule.name.to_owned(), finding.message.clone())
                })
                .collect();
            found.sort();
            let mut expected = sorted(&row[key]);
            // The table has the lines of the case before here: there is nothing but a blank line and a `FROM` on them.
            if index == 71 && all_stages {
                let is_off = expected.iter().map(|(line, ..)| *line).eq([3, 4]);
                assert!(is_off, "the table is right now: this exception can go");
                expected.iter_mut().for_each(|(line, ..)| *line += 2);
            }
            assert_eq!(found, expected, "case {index}, {key}:\n{}", case.dockerfile);

            // Others than those of the Dockerfile are met when it is built.
            if let (Some(part), Some(line)) =
                (row["error_contains"].as_str(), row["error_line"].as_u64())
            {
                let diagnostic = linted.mistake.clone().expect(part);
                assert!(diagnostic.message.contains(part), "case {index}: {diagnostic}");
                assert_eq!(diagnostic.lines.map(|lines| lines.0 as u64), Some(line));
            }
            if let Some(error) = row["error"].as_str() {
                let diagnostic = linted.mistake.or(linted.violation).expect(error);
                // Errors of parsing are given with the words around them, and hints with the text.
                let plain = error.split(" (did").next().unwrap().replace('"', "");
                let message = diagnostic.message.replace('"', "");
                assert!(plain.ends_with(&message), "case {index}: {message}");
                let line = diagnostic.lines.map(|lines| lines.0 as u64);
                assert_eq!(line, row["error_line"].as_u64(), "case {index}");
            }
        }
    }
    assert_eq!(cases.len(), 87);
}

#[test]
fn every_rule_can_be_skipped_by_its_name() {
    for rule in RULES.iter().filter(|rule| !rule.is_experimental) {
        let options = super::options::Options::parse(&format!("skip={}", rule.name)).unwrap();
        assert!(!options.wants(rule) && super::options::Options::default().wants(rule));
        let has_page = rule.url().is_some();
        let should = rule.source == super::RuleSource::BuildKit;
        assert!(has_page == should || rule.name == "InvalidBaseImagePlatform", "{}", rule.name);
    }
}

#[test]
fn only_buildkits_rules_fail_a_build() {
    let dockerfile = "# check=error=true\nFROM a\nRUN apt-get update\n".to_owned();
    let linted = examine(&Case { dockerfile, ..Case::default() });
    assert_eq!(linted.findings.len(), 1);
    assert_eq!(linted.violation, None);
}

#[test]
fn secrets_are_not_repeated() {
    let secret = format!("ghp_{}", "a1B2".repeat(9));
    let dockerfile = format!("FROM a\nENV X={secret}\n");
    let linted = examine(&Case { dockerfile, ..Case::default() });
    assert_eq!(linted.findings.len(), 1);
    assert!(!format!("{:?}", linted.findings).contains(&secret));
}

#[test]
fn bases_that_are_not_known_are_named() {
    let dockerfile = "FROM a AS x\nFROM b\nCOPY --from=x / /\n".to_owned();
    let linted = examine(&Case { dockerfile, unknown: true, ..Case::default() });
    let names: Vec<_> = linted
        .unknown
        .iter()
        .map(|base| match base {
            BaseRef::Image { reference, .. } => reference.familiar_name(),
            BaseRef::Context { name, .. } => name.clone(),
        })
        .collect();
    assert_eq!(names, ["a", "b"]);
}
