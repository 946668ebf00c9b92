//! Any bytes as a Dockerfile: parsed, checked, lowered, outlined, and its plan keyed.
//!
//! A line that begins with `#@` is a trigger of every base image, one with `#=` a build argument (`#=NAME=value`) and one with
//! `#:` the target, so that a file can say what it is built with. What follows a line `#%NAME` is a file that it may include.

use std::collections::BTreeMap;

use dockerfile::lint::portability::portability;
use dockerfile::lint::{ContextFacts, Examination, lint_above};
use dockerfile::outline::{outline, targets};
use dockerfile::{
    BaseImage, BaseRef, ContextKind, Diagnostic, Dockerfile, Includes, Linted, Lowered, Request,
    Source, Unreadable, lint, lower, parse_as_far_as_possible,
};
use oci::{ContentDigest, ImageConfig, ImageId, Platform};
use plan::{Plan, StepKey};

/// Tries one input.
pub(crate) fn check(data: &[u8]) {
    let files = Files::of(data);
    let (file, mistake) = parse_as_far_as_possible("Dockerfile", files.dockerfile, &files);
    let request = request(&file);
    if let Some(mistake) = mistake {
        check_place(&file.source, &mistake);
        check_findings(&file, &lint_above(&file, mistake, &request));
        return;
    }
    check_statements(&file);
    portability(&file);
    targets(&file);

    let unknown = BTreeMap::new();
    for all_stages in [false, true] {
        check_findings(&file, &lint(&file, &examination(&request, &unknown, all_stages)));
    }
    let (known, lowered) = lower_with_bases(&file, &request);
    let linted = lint(&file, &examination(&request, &known, false));
    check_findings(&file, &linted);
    let outlined = outline(&file, &request, &known);
    match lowered {
        Ok(plan) => {
            if let Err(mistake) = outlined {
                panic!("there is a plan, but no outline: {mistake}");
            }
            check_plan(&file, &plan);
        }
        Err(mistake) => {
            check_place(&file.source, &mistake);
            assert!(linted.mistake.is_some(), "the checks have not seen: {mistake}");
            assert_eq!(outlined.err(), Some(mistake), "the outline says otherwise");
        }
    }
}

/// A Dockerfile, and what it may include by name.
struct Files<'a> {
    dockerfile: &'a [u8],
    others: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Files<'a> {
    fn of(data: &'a [u8]) -> Self {
        let mut parts = Vec::new();
        let mut start = 0;
        for (at, _) in data.windows(3).enumerate().filter(|(_, bytes)| *bytes == b"\n#%") {
            parts.push(&data[start..=at]);
            start = at + 3;
        }
        parts.push(&data[start..]);
        let named = parts.iter().skip(1).map(|part| {
            let end = part.iter().position(|byte| *byte == b'\n').unwrap_or(part.len());
            (&part[..end], part.get(end + 1..).unwrap_or_default())
        });
        Self { dockerfile: parts[0], others: named.collect() }
    }
}

impl Includes for Files<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, Unreadable> {
        let not_there = || Unreadable { reason: "not found".to_owned(), hint: None };
        self.others.get(path.as_bytes()).map(|bytes| bytes.to_vec()).ok_or_else(not_there)
    }
}

fn request(file: &Dockerfile) -> Request {
    let mut request = Request::new(platform());
    request.contexts.insert("files".to_owned(), ContextKind::Directory);
    request.contexts.insert("image".to_owned(), ContextKind::Image);
    for line in file.source.text().lines() {
        if let Some((name, value)) = line.strip_prefix("#=").and_then(|arg| arg.split_once('=')) {
            request.build_args.insert(name.to_owned(), value.to_owned());
        } else if let Some(target) = line.strip_prefix("#:") {
            request.target = Some(target.to_owned());
        }
    }
    request
}

fn platform() -> Platform {
    Platform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        os_version: None,
        variant: None,
    }
}

fn examination<'a>(
    request: &'a Request,
    known: &'a BTreeMap<BaseRef, BaseImage>,
    all_stages: bool,
) -> Examination<'a> {
    Examination { request, known, all_stages, context: ContextFacts::default() }
}

/// Lowers until no more bases are asked for; each is the same image.
fn lower_with_bases(
    file: &Dockerfile,
    request: &Request,
) -> (BTreeMap<BaseRef, BaseImage>, Result<Plan, Diagnostic>) {
    let base = base(file);
    let mut known = BTreeMap::new();
    loop {
        match lower(file, request, &known) {
            Ok(Lowered::Ready(plan)) => return (known, Ok(plan)),
            Err(mistake) => return (known, Err(mistake)),
            Ok(Lowered::Needs(bases)) => {
                assert!(!bases.is_empty(), "nothing is asked for");
                for needed in bases {
                    let before = known.insert(needed, base.clone());
                    assert!(before.is_none(), "the same base is asked for twice");
                }
            }
        }
    }
}

fn base(file: &Dockerfile) -> BaseImage {
    let mut config = ImageConfig::scratch(&platform());
    let triggers = file.source.text().lines().filter_map(|line| line.strip_prefix("#@"));
    config.config.on_build = triggers.map(|trigger| trigger.replace("\\n", "\n")).collect();
    config.config.env = ["PATH=/bin", "EMPTY=", "NOTHING", "HOME=/root"].map(String::from).to_vec();
    config.config.working_dir = "/work/../here".to_owned();
    let id = ImageId::new(oci::Digest::of(b"base"));
    BaseImage { id, config }
}

fn check_statements(file: &Dockerfile) {
    // An included file stands behind the others, and its instructions between those of the file that includes it.
    let mut last = vec![0; file.source.files().count()];
    for stage in &file.stages {
        let from = (stage.from.span, stage.from.lines);
        let steps = stage.steps.iter().map(|step| (step.span, step.lines));
        for (span, lines) in std::iter::once(from).chain(steps) {
            assert!(!file.source.slice(span).is_empty(), "{span:?} is nowhere");
            let last = &mut last[file.source.place(lines.0).file];
            assert!(*last < lines.0 && lines.0 <= lines.1, "{lines:?} comes after line {last}");
            assert!(file.source.line(lines.1).is_some(), "there is no line {lines:?}");
            *last = lines.1;
        }
    }
}

fn check_place(source: &Source, mistake: &Diagnostic) {
    if let Some(span) = mistake.span {
        let position = source.position(span.start);
        let line = source.line(position.line);
        assert!(line.is_some(), "{mistake:?} is nowhere");
        assert!(span.start == span.end || !source.slice(span).is_empty(), "{mistake:?} is odd");
    }
    if let Some((first, last)) = mistake.lines {
        assert!(first <= last && source.line(last).is_some(), "{mistake:?} is nowhere");
    }
}

fn check_findings(file: &Dockerfile, linted: &Linted) {
    for finding in &linted.findings {
        assert!(file.source.line(finding.lines.1).is_some(), "{finding:?} is nowhere");
    }
    for mistake in linted.mistake.iter().chain(&linted.violation) {
        check_place(&file.source, mistake);
    }
}

/// The plan can be told, keyed and sent as a config; stages refer to what is above them only.
fn check_plan(file: &Dockerfile, plan: &Plan) {
    assert!(!plan.to_string().is_empty());
    for stage in &plan.stages {
        let mut key = StepKey::scratch(&stage.platform);
        for step in &stage.steps {
            assert!(file.source.line(step.lines.1).is_some(), "{step:?} is nowhere");
            for origin in step.op.origins() {
                if let plan::Origin::Stage(id) = origin {
                    assert!(id.0 < stage.id.0, "{step:?} is taken from below");
                }
            }
            let contents = [ContentDigest::new([7; 32]); 4];
            key = StepKey::derive(&key, &step.op, &contents).on_top;
        }
        let json = oci::json::to_bytes(&stage.config);
        let read = ImageConfig::parse(&json);
        assert_eq!(read.as_ref().ok(), Some(&stage.config), "{read:?}");
    }
}
