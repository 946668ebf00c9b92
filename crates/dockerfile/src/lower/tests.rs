//! Lowering seen through whole Dockerfiles: plans against the snapshots in `testdata/plan`, what is asked for, and mistakes.

mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use oci::{Config, ImageConfig, ImageId, Platform};
use plan::{Op, Plan};

use super::{BaseImage, BaseRef, ContextKind, Lowered, Request, lower};
use crate::diagnostic::Diagnostic;

fn request() -> Request {
    Request::new(Platform::parse("linux/amd64").unwrap())
}

/// An image with the given triggers.
fn image(triggers: &[&str]) -> BaseImage {
    let config = Config {
        env: vec!["FROM_BASE=1".into()],
        cmd: Some(vec!["inherited".into()]),
        on_build: triggers.iter().map(|trigger| (*trigger).to_owned()).collect(),
        ..Config::default()
    };
    let platform = Platform::parse("linux/amd64").unwrap();
    let config = ImageConfig { config, ..ImageConfig::scratch(&platform) };
    BaseImage { id: ImageId::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(), config }
}

/// Every image exists; the one called `triggers` has some.
fn resolve(base: &BaseRef) -> BaseImage {
    match base {
        BaseRef::Image { reference, .. } if reference.familiar_name() == "triggers" => {
            image(&["RUN trigger", "COPY --from=linked /a /b", "ENV FROM_TRIGGER=1"])
        }
        BaseRef::Image { .. } | BaseRef::Context { .. } => image(&[]),
    }
}

/// Lowers with all images resolved; also returns what was asked for in each round.
fn rounds(text: &str, request: &Request) -> Result<(Plan, Vec<Vec<String>>), Diagnostic> {
    let file = crate::parse("Dockerfile", text.as_bytes()).map_err(|failed| failed.diagnostic)?;
    let mut known = BTreeMap::new();
    let mut asked = Vec::new();
    loop {
        match lower(&file, request, &known)? {
            Lowered::Ready(plan) => return Ok((plan, asked)),
            Lowered::Needs(needs) => {
                asked.push(needs.iter().map(name_of).collect());
                known.extend(needs.into_iter().map(|need| (need.clone(), resolve(&need))));
            }
        }
    }
}

fn name_of(base: &BaseRef) -> String {
    match base {
        BaseRef::Image { reference, platform } => format!("{} {platform}", reference.familiar()),
        BaseRef::Context { name, .. } => format!("context {name}"),
    }
}

fn plan_of(text: &str, request: &Request) -> Plan {
    rounds(text, request).unwrap().0
}

#[test]
fn plans_are_those_in_testdata() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/plan");
    let bless = std::env::var_os("KILN_BLESS").is_some();
    let mut cases = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "Dockerfile") {
            continue;
        }
        cases += 1;
        let mut request = request();
        request.build_args.insert("HTTP_PROXY".into(), "http://proxy".into());
        request.build_args.insert("no_proxy".into(), "localhost".into());
        request.build_args.insert("GIVEN".into(), "value".into());
        request.build_platform = Platform::parse("linux/arm64").unwrap();
        request.labels.insert("from".into(), "outside".into());
        request.contexts.insert("files".into(), ContextKind::Directory);
        request.contexts.insert("replaced:latest".into(), ContextKind::Directory);
        request.contexts.insert("image-context".into(), ContextKind::Image);
        let plan = plan_of(&std::fs::read_to_string(&path).unwrap(), &request).to_string();
        let snapshot = path.with_extension("plan");
        if bless {
            std::fs::write(&snapshot, &plan).unwrap();
        }
        let expected = std::fs::read_to_string(&snapshot).unwrap_or_default();
        assert!(plan == expected, "{} (KILN_BLESS=1 accepts):\n{plan}", snapshot.display());
    }
    assert!(cases >= 6);
}

#[test]
fn only_what_the_target_needs_is_asked_for() {
    let text = "FROM a AS x\nFROM b AS y\nCOPY --from=c / /\nFROM --platform=linux/arm64 x AS z\n\
                RUN --mount=from=d,target=/d true\nFROM a\nCOPY --from=x / /";
    for (target, expected) in [
        ("x", vec!["a:latest linux/amd64"]),
        ("Y", vec!["b:latest linux/amd64", "c:latest linux/amd64"]),
        ("z", vec!["a:latest linux/amd64", "d:latest linux/amd64"]),
        ("", vec!["a:latest linux/amd64"]),
    ] {
        let mut request = request();
        request.target = Some(target.to_owned());
        assert_eq!(rounds(text, &request).unwrap().1, [expected], "{target}");
    }
}

#[test]
fn platforms_tell_bases_apart() {
    let text = "FROM --platform=$BUILDPLATFORM a AS x\nFROM a\nCOPY --from=x / /";
    let mut request = request();
    request.build_platform = Platform::parse("linux/arm64").unwrap();
    let (plan, asked) = rounds(text, &request).unwrap();
    assert_eq!(asked, [["a:latest linux/arm64", "a:latest linux/amd64"]]);
    assert_eq!(plan.stages[0].platform.to_string(), "linux/arm64");
}

#[test]
fn triggers_ask_again() {
    let asked = rounds("FROM triggers", &request()).unwrap().1;
    assert_eq!(asked, [["triggers:latest linux/amd64"], ["linked:latest linux/amd64"]]);
    let asked = rounds("FROM scratch AS linked\nFROM triggers", &request()).unwrap().1;
    assert_eq!(asked, [["triggers:latest linux/amd64"]], "a trigger links to stages of the child");
}

#[test]
fn contexts_by_name_and_platform() {
    let text = "FROM example.org/app:latest";
    for (name, asked) in [
        ("example.org/app", "context example.org/app"),
        ("example.org/app:latest", "context example.org/app:latest"),
        ("example.org/app::linux/amd64", "context example.org/app::linux/amd64"),
        ("example.org/app::linux/arm64", "example.org/app:latest linux/amd64"),
        ("app", "example.org/app:latest linux/amd64"),
    ] {
        let mut request = request();
        request.contexts.insert(name.to_owned(), ContextKind::Image);
        assert_eq!(rounds(text, &request).unwrap().1, [[asked]], "{name}");
    }
}

#[test]
fn a_context_replaces_a_stage_with_all_it_needs() {
    let text = "FROM a AS one\nCOPY --from=b / /\nFROM one\nCOPY --from=one / /";
    let mut request = request();
    request.contexts.insert("one".to_owned(), ContextKind::Directory);
    let (plan, asked) = rounds(text, &request).unwrap();
    assert!(asked.is_empty(), "{asked:?}");
    assert_eq!(plan.stages.len(), 1);
    request.target = Some("one".to_owned());
    let plan = plan_of(text, &request);
    assert!(plan.stages[0].steps.is_empty());
}

#[test]
fn the_command_of_a_base_goes_with_its_entry_point() {
    for (text, expected) in [
        ("FROM a\nENTRYPOINT [\"e\"]", None),
        ("FROM a\nCMD [\"own\"]\nENTRYPOINT [\"e\"]", Some("own")),
        ("FROM a AS x\nCMD [\"own\"]\nFROM x\nENTRYPOINT [\"e\"]", None),
        ("FROM a\nCMD []", None),
        ("FROM a", Some("inherited")),
    ] {
        let plan = plan_of(text, &request());
        let cmd = plan.stage(plan.target).config.config.cmd.clone();
        assert_eq!(cmd, expected.map(|cmd| vec![cmd.to_owned()]), "{text}");
    }
}

/// The environment and the history of the last `RUN`.
fn last_run(text: &str, request: &Request) -> (BTreeMap<String, String>, String) {
    let plan = plan_of(text, request);
    let steps = plan.stage(plan.target).steps.iter().rev();
    let mut runs = steps.filter_map(|step| match &step.op {
        Op::Run(run) => Some((run.env.iter().cloned().collect(), step.created_by.clone())),
        Op::Config | Op::Copy(_) | Op::Workdir(_) => None,
    });
    let (env, created_by) = runs.next().unwrap();
    (env, created_by.unwrap())
}

#[test]
fn the_last_definition_wins_but_a_child_starts_with_the_image() {
    for (text, value) in [
        ("FROM a\nENV X=env\nARG X=arg\nRUN true", "arg"),
        ("FROM a\nARG X=arg\nENV X=env\nRUN true", "env"),
        ("FROM a\nENV X=env\nARG X\nRUN true", "env"),
        ("FROM a AS p\nENV X=env\nARG X=arg\nFROM p\nRUN true", "env"),
        ("FROM a AS p\nARG X=arg\nFROM p\nRUN true", "arg"),
        ("ARG X=global\nFROM a\nARG X\nRUN true", "global"),
        ("ARG X=global\nFROM a\nARG X=own\nRUN true", "own"),
    ] {
        let (env, _) = last_run(text, &request());
        assert_eq!(env.get("X").map(String::as_str), Some(value), "{text}");
    }
    let (env, created_by) = last_run("ARG X=global\nFROM a\nARG Y\nRUN true", &request());
    assert_eq!((env.get("X"), env.get("Y")), (None, None));
    assert_eq!(created_by, "RUN |1 Y= /bin/sh -c true # buildkit");
}

#[test]
fn proxies_are_set_but_not_seen() {
    let mut request = request();
    for (name, value) in [("HTTP_PROXY", "upper"), ("http_proxy", "lower"), ("NO_PROXY", "no")] {
        request.build_args.insert(name.to_owned(), value.to_owned());
    }
    let plan = plan_of("FROM a\nARG NO_PROXY\nRUN true", &request);
    let Some(Op::Run(run)) = plan.stages[0].steps.last().map(|step| &step.op) else { panic!() };
    let proxies: Vec<String> =
        run.proxy_env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(proxies, ["HTTP_PROXY=lower", "http_proxy=lower", "no_proxy=no"]);
    assert!(run.env.contains(&("NO_PROXY".into(), "no".into())));
}

#[test]
fn automatic_arguments() {
    let text = "FROM a\nARG TARGETPLATFORM TARGETARCH TARGETVARIANT TARGETSTAGE BUILDOS=own\n\
                RUN true";
    let mut request = request();
    request.build_args.insert("TARGETARCH".into(), "given".into());
    let (env, _) = last_run(text, &request);
    for (name, value) in [
        ("TARGETPLATFORM", "linux/amd64"),
        ("TARGETARCH", "given"),
        ("TARGETVARIANT", ""),
        ("TARGETSTAGE", "default"),
        ("BUILDOS", "own"),
    ] {
        assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn an_image_for_windows_has_its_shell_and_no_path() {
    let mut request = request();
    request.platform = Platform::parse("windows/amd64").unwrap();
    let plan = plan_of("FROM scratch\nENTRYPOINT foo bar", &request);
    let config = &plan.stage(plan.target).config;
    assert_eq!(
        config.config.entrypoint,
        Some(["cmd", "/S", "/C", "foo bar"].map(str::to_owned).into())
    );
    assert_eq!((config.os.as_str(), &config.config.env), ("windows", &Vec::new()));
}

/// A mistake, the text its place covers, and the hint.
#[test]
fn mistakes_have_places_and_hints() {
    for (text, message, place, hint) in [
        (
            "FROM a AS b\nCOPY --from=b x y",
            "circular dependency detected on stage: b",
            "COPY",
            "itself",
        ),
        ("FROM a\nCOPY --from=7 x y", "invalid stage index 7", "7", "the last one is 0"),
        (
            "FROM a AS x\nCOPY --from=y a b\nFROM a AS y\nFROM x",
            "cannot copy from stage \"y\", it needs to be defined before current stage \"x\"",
            "y",
            "above the one",
        ),
        (
            "FROM a\nRUN --mount=from=y,target=/t true\nFROM a AS y\nFROM a\nCOPY --from=0 / /",
            "cannot mount from stage \"y\" to \"/t\", stage needs to be defined before",
            "from=y",
            "above the one",
        ),
        ("FROM $NO", "base name ($NO) should not be blank", "$NO", "before the first FROM"),
        ("FROM Bad!Name", "failed to parse stage name \"Bad!Name\"", "Bad!Name", ""),
        ("FROM a\nCOPY --from=Bad!Name x y", "failed to parse stage name", "Bad!Name", ""),
        (
            "FROM --platform=$TARGETPLATFROM a",
            "empty platform value from expression $TARGETPLATFROM",
            "$TARGET",
            "TARGETPLATFORM",
        ),
        ("FROM --platform=a/b/c/d a", "failed to parse platform a/b/c/d", "a/b/c/d", ""),
        ("FROM a\nENV A=${B:?needed}", "B: needed", "${B:?needed}", "--build-arg B="),
        ("FROM a\nLABEL a=1 b=${A%\\q}", "invalid pattern (\\q)", "${A%", "a backslash"),
        ("FROM a\nCOPY --chmod=99 x y", "invalid chmod parameter: '99'", "99", "0755"),
        ("FROM a\nCOPY http://h/x y", "source can't be a URL for COPY", "http://h/x", "ADD"),
        ("FROM a\nCOPY git@h:r y", "source can't be a git ref for COPY", "git@h:r", "ADD"),
        ("FROM a\nADD --checksum=sha256:1 http://h/x y", "checksum", "sha256:1", "64 hex"),
        (
            "FROM a\nRUN --device=x true",
            "devices are only supported in",
            "x",
            "--security=insecure",
        ),
        (
            "FROM a\nADD --checksum=sha256:1 x y",
            "checksum requires HTTP(S)",
            "sha256:1",
            "no checksum",
        ),
        (
            "FROM a\nADD --checksum=sha256:1 x y z",
            "multiple sources",
            "sha256:1",
            "an ADD for each",
        ),
        ("FROM a\nEXPOSE 80 nope", "invalid containerPort: nope", "nope", "8000-8010"),
        ("FROM a\nSTOPSIGNAL SIGTERN", "invalid signal: SIGTERN", "SIGTERN", "SIGTERM"),
        ("FROM a\nSTOPSIGNAL 9 15", "invalid signal: 9 15", "9 15", "SIGTERM"),
        ("FROM a\nVOLUME $NO", "VOLUME specified can not be an empty string", "$NO", ""),
        (
            "FROM a\nRUN --mount=target=/ true",
            "invalid mount target \"/\"",
            "target=/",
            "name a directory",
        ),
        ("FROM a\nRUN --mount=type=tmp x", "unsupported mount type \"tmp\"", "tmp", "mean tmpfs"),
        ("FROM a\nCOPY <<E /x\n${A?}\nE", "A: is not allowed to be unset", "${A?}", "ENV A="),
        ("ARG A=${B?}\nFROM a", "B: is not allowed to be unset", "${B?}", "ENV B="),
    ] {
        let error = rounds(text, &request()).expect_err(text);
        assert!(error.message.contains(message), "{text}: {error}");
        let source = crate::Source::new("Dockerfile", text.as_bytes());
        let span = error.span.unwrap_or_else(|| panic!("{text}: no place"));
        assert!(source.slice(span).contains(place), "{text}: {:?}", source.slice(span));
        assert!(error.lines.is_some(), "{text}: no lines");
        let given = error.hint.unwrap_or_default();
        assert!(given.contains(hint) && (given.is_empty() == hint.is_empty()), "{text}: {given}");
    }
}

/// What is only known once a stage is lowered is no mistake in a stage that is not built; that there is no such stage, or
/// that a name can name no image, is one everywhere.
#[test]
fn a_stage_that_is_not_built_is_checked_less() {
    for instruction in [
        "STOPSIGNAL SIGNOPE",
        "EXPOSE nope",
        "COPY --chmod=99 x y",
        "COPY http://h/x y",
        "VOLUME $NO",
        "ENV A=${B:?needed}",
        "RUN --mount=type=$NO,target=/x true",
        "ADD --checksum=sha256:1 x y",
    ] {
        let text = format!("FROM a AS unused\n{instruction}\nFROM a");
        assert!(rounds(&text, &request()).is_ok(), "{instruction}");
        assert!(rounds(&format!("FROM a\n{instruction}"), &request()).is_err(), "{instruction}");
    }
    for instruction in ["COPY --from=7 x y", "COPY --from=$X x y", "COPY --from=Bad!Name x y"] {
        let text = format!("FROM a AS unused\n{instruction}\nFROM a");
        assert!(rounds(&text, &request()).is_err(), "{instruction}");
    }
}

#[test]
fn a_mistyped_target_has_a_hint() {
    let mut request = request();
    request.target = Some("relaese".to_owned());
    let error = rounds("FROM a AS Release\nFROM a AS other", &request).unwrap_err();
    assert_eq!(error.message, "target stage \"relaese\" could not be found");
    assert_eq!(error.hint.as_deref(), Some("did you mean release?"));
}

#[test]
fn mistakes_in_triggers_are_at_the_from() {
    let text = "FROM a AS p\nONBUILD COPY --chmod=x a b\nFROM p\nRUN true";
    let error = rounds(text, &request()).unwrap_err();
    assert_eq!(error.lines, Some((3, 3)));
    assert_eq!(crate::Source::new("", text.as_bytes()).slice(error.span.unwrap()), "FROM p");
}

#[test]
fn doubling_a_value_in_every_line_ends() {
    let lines = "ENV A=$A$A\n".repeat(40);
    let error = rounds(&format!("FROM a\nENV A=x\n{lines}"), &request()).unwrap_err();
    assert!(error.message.contains("longer than"), "{error}");
    let lines = "EXPOSE 0-65535\n".repeat(100);
    let error = rounds(&format!("FROM a\n{lines}"), &request()).unwrap_err();
    assert!(error.message.contains("expand to more than"), "{error}");
}

#[test]
fn each_step_knows_the_config_after_it() {
    let text = "FROM a AS s\nENV A=1 B=2\nRUN x\nUSER u\nFROM s\nCMD [\"y\"]";
    let (plan, _) = rounds(text, &request()).unwrap();
    let said: Vec<&Config> =
        plan.stages.iter().flat_map(|s| &s.steps).map(|s| s.config.as_deref().unwrap()).collect();
    assert_eq!(said.len(), 4);
    assert_eq!(said[0].env_value("B"), Some("2"));
    assert_eq!((said[1], said[2].user.as_str(), said[1].user.as_str()), (said[0], "u", ""));
    assert_eq!(said[2].cmd, Some(vec!["inherited".to_owned()]));
    assert_eq!((said[3].user.as_str(), &said[3].cmd), ("u", &Some(vec!["y".to_owned()])));
}

#[test]
fn noting_configs_has_an_end() {
    let lines: String = (0..2000).map(|i| format!("ENV A={i}\n")).collect();
    let (plan, _) = rounds(&format!("FROM a\nEXPOSE 0-65535\n{lines}"), &request()).unwrap();
    let noted = plan.stages[0].steps.iter().filter(|step| step.config.is_some()).count();
    assert!((1..100).contains(&noted), "{noted}");
    let (plan, _) = rounds(&format!("FROM a\n{lines}"), &request()).unwrap();
    assert!(plan.stages[0].steps.iter().all(|step| step.config.is_some()));
}
