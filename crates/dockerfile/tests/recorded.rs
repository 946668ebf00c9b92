//! Lowering against recorded results of BuildKit: configs and histories of images, without building anything.
//!
//! The results are not part of this repository; without them the test says so and does nothing.

#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use dockerfile::{BaseImage, BaseRef, ContextKind, Lowered, Request};
use oci::{ImageConfig, ImageId, Platform};
use plan::{Base, Plan, StageId};
use serde_json::{Map, Value, json};

/// Where results are recorded, and the least number of images among them that can be compared.
const SUITES: [(&str, &str, usize); 2] =
    [("cases", "expected", 250), ("cases-buildah", "expected-buildah", 80)];

#[test]
fn configs_and_histories_are_those_recorded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    if !root.exists() {
        eprintln!("skipped: no {}", root.display());
        return;
    }
    let bases = read_bases(&root.join("bases"));
    let mut failures = Vec::new();
    for (cases, expected, least) in SUITES {
        let mut compared = 0;
        for case in directories(&root.join(cases)) {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            let expected = read_json(&root.join(expected).join(format!("{name}.json")));
            match check(&read_json(&case.join("case.json")), &expected, &bases) {
                Outcome::Agrees => compared += 1,
                Outcome::NotComparable => {}
                Outcome::Differs(how) => failures.push(format!("{name}: {how}")),
            }
        }
        assert!(compared >= least || !failures.is_empty(), "only {compared} of {cases} compared");
    }
    assert!(failures.is_empty(), "{} differ\n{}", failures.len(), failures.join("\n"));
}

enum Outcome {
    Agrees,
    /// A failure while running, or an image that is not there.
    NotComparable,
    Differs(String),
}

fn check(case: &Value, expected: &Value, bases: &BTreeMap<String, BaseImage>) -> Outcome {
    // Only the first of several builds is recorded by its parts, and only as a class of equal results.
    if case.get("steps").is_some() {
        return Outcome::NotComparable;
    }
    let Some(text) = dockerfile_of(case) else { return Outcome::NotComparable };
    let result = lower(&text, &request_of(case), bases);
    if expected["result"] == "ok" {
        let refusal_is_as_good = case["accept_fail"] == true;
        return match result {
            Err(_) if refusal_is_as_good => Outcome::NotComparable,
            Ok(Some(plan)) => compare(&plan, expected),
            Ok(None) => Outcome::NotComparable,
            Err(message) => Outcome::Differs(format!("does not lower: {message}")),
        };
    }
    let Err(message) = result else { return Outcome::NotComparable };
    let parts = case["error_contains"].as_array().cloned().unwrap_or_default();
    for part in parts.iter().filter_map(Value::as_str) {
        // Line numbers and paths are shown by who prints the message.
        let number = part.parse::<u32>().is_ok();
        if !number && !message.to_lowercase().contains(&part.to_lowercase()) {
            return Outcome::Differs(format!("`{part}` is not in: {message}"));
        }
    }
    Outcome::NotComparable
}

fn lower(
    text: &[u8],
    request: &Request,
    bases: &BTreeMap<String, BaseImage>,
) -> Result<Option<Plan>, String> {
    let file = dockerfile::parse("Dockerfile", text).map_err(|failed| {
        let lines = failed.source.text().lines();
        let at = failed.diagnostic.lines.map_or(0, |(first, _)| first);
        let line = lines.skip(at.saturating_sub(1)).take(1).collect::<String>();
        let hint = failed.diagnostic.hint.clone().unwrap_or_default();
        format!("{failed}\n{line}\n{hint}")
    })?;
    let mut known = BTreeMap::new();
    loop {
        let lowered = dockerfile::lower(&file, request, &known).map_err(|diagnostic| {
            assert!(
                diagnostic.lines.is_some() || request.target.is_some(),
                "`{diagnostic}` has no place"
            );
            let (first, last) = diagnostic.lines.unwrap_or((1, 0));
            let lines = file.source.text().lines().skip(first - 1).take(last + 1 - first);
            format!("{}\n{diagnostic}", lines.collect::<Vec<_>>().join("\n"))
        })?;
        match lowered {
            Lowered::Ready(plan) => return Ok(Some(plan)),
            Lowered::Needs(needs) => {
                for need in needs {
                    let image = match &need {
                        BaseRef::Image { reference, .. } => bases.get(&reference.familiar()),
                        BaseRef::Context { name, .. } => bases.get(name),
                    };
                    let Some(image) = image else { return Ok(None) };
                    known.insert(need, image.clone());
                }
            }
        }
    }
}

fn compare(plan: &Plan, expected: &Value) -> Outcome {
    let config = comparable(&plan.stage(plan.target).config);
    if config != expected["config"] {
        return Outcome::Differs(format!("config\n  {config}\n  {}", expected["config"]));
    }
    // Files that a stage starts from are layers without an instruction; naming them is the exporter's affair.
    if matches!(plan.stage(plan.target).base, Base::Context { id: None, .. }) {
        return Outcome::Agrees;
    }
    let history = history(plan, plan.target);
    let mut recorded = expected["history"].as_array().cloned().unwrap_or_default();
    for entry in &mut recorded {
        // The server had another port when it was recorded.
        let text = entry["created_by"].as_str().unwrap_or_default().to_owned();
        if text.contains("http://127.0.0.1") || text.contains("@@HTTP@@") {
            entry["created_by"] = json!("remote");
        }
    }
    let history: Vec<Value> = history
        .into_iter()
        .map(|(text, empty)| {
            let text = if text.contains("http://127.0.0.1") { "remote".to_owned() } else { text };
            let mut entry = Map::new();
            entry.insert("created_by".into(), json!(text));
            if empty {
                entry.insert("empty_layer".into(), json!(true));
            }
            Value::Object(entry)
        })
        .collect();
    if history != recorded {
        return Outcome::Differs(format!("history\n  {history:?}\n  {recorded:?}"));
    }
    Outcome::Agrees
}

/// Every entry of the history with whether it has no layer.
fn history(plan: &Plan, id: StageId) -> Vec<(String, bool)> {
    let stage = plan.stage(id);
    let mut entries = match stage.base {
        Base::Stage(base) => history(plan, base),
        Base::Scratch | Base::Image { .. } | Base::Context { .. } => {
            let base = stage.config.history.iter();
            base.map(|entry| (entry.created_by.clone(), entry.empty_layer)).collect()
        }
    };
    for step in &stage.steps {
        entries.extend(step.created_by.clone().map(|text| (text, !step.makes_layer())));
    }
    entries
}

/// A config as it is recorded.
fn comparable(image: &ImageConfig) -> Value {
    let config = &image.config;
    let env: Map<String, Value> = config
        .env
        .iter()
        .map(|entry| entry.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let workdir = match config.working_dir.trim_end_matches('/') {
        "" => "/",
        workdir => workdir,
    };
    let list = |texts: &[String]| if texts.is_empty() { Value::Null } else { json!(texts) };
    json!({
        "Env": sorted(env),
        "Cmd": config.cmd,
        "Entrypoint": config.entrypoint,
        "WorkingDir": workdir,
        "User": config.user,
        "Labels": config.labels,
        "ExposedPorts": config.exposed_ports.keys().collect::<Vec<_>>(),
        "Volumes": config.volumes.keys().collect::<Vec<_>>(),
        "StopSignal": config.stop_signal,
        "Healthcheck": config.healthcheck,
        "Shell": list(&config.shell),
        "OnBuild": list(&config.on_build),
        "Author": image.author,
        "Architecture": image.architecture,
        "Os": image.os,
    })
}

fn sorted(map: Map<String, Value>) -> BTreeMap<String, Value> {
    map.into_iter().collect()
}

fn request_of(case: &Value) -> Request {
    let platform = Platform::parse(case["platform"].as_str().unwrap_or("linux/amd64")).unwrap();
    let mut request = Request::new(platform);
    request.target = case["target"].as_str().map(str::to_owned);
    for (name, value) in case["build_args"].as_object().into_iter().flatten() {
        request.build_args.insert(name.clone(), value.as_str().unwrap().to_owned());
    }
    for (name, context) in case["build_contexts"].as_object().into_iter().flatten() {
        let kind = match context.get("image") {
            Some(_) => ContextKind::Image,
            None => ContextKind::Directory,
        };
        request.contexts.insert(name.clone(), kind);
    }
    request
}

/// The text of the Dockerfile: a string, a list of lines, or an object with one of them.
fn dockerfile_of(case: &Value) -> Option<Vec<u8>> {
    let name = case["dockerfile"].as_str().unwrap_or("Dockerfile");
    let file = &case["files"][name];
    let content = file.get("content").unwrap_or(file);
    let text = match content {
        Value::String(text) => text.clone(),
        Value::Array(lines) => {
            lines.iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect()
        }
        _ => return None,
    };
    Some(text.replace("@@HTTP@@", "http://127.0.0.1:1").into_bytes())
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn read_json(path: &Path) -> Value {
    // Names of files that are not UTF-8 were recorded as lone surrogates, which JSON does not have.
    let text = fs::read_to_string(path).unwrap().replace("\\udc", "\\u00");
    serde_json::from_str(&text).unwrap()
}

/// The configs of all images in a directory of OCI archives, by familiar name.
fn read_bases(directory: &Path) -> BTreeMap<String, BaseImage> {
    let mut bases = BTreeMap::new();
    for archive in directories(directory) {
        let files = small_files(&archive);
        let blob = |descriptor: &Value| -> Vec<u8> {
            let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
            files[&format!("blobs/{digest}")].clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let descriptor = &index["manifests"][0];
        let manifest: Value = serde_json::from_slice(&blob(descriptor)).unwrap();
        let name = descriptor["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
        let id = ImageId::parse(manifest["config"]["digest"].as_str().unwrap()).unwrap();
        let config = ImageConfig::parse(&blob(&manifest["config"])).unwrap();
        bases.insert(name.to_owned(), BaseImage { id, config });
    }
    bases
}

fn small_files(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(fs::File::open(archive).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        if entry.size() < 1 << 20 {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(path.trim_start_matches("./").to_owned(), bytes);
        }
    }
    files
}
