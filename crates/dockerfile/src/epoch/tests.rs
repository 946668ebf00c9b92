//! What the argument can say, and what of it a RUN sees.

use oci::Platform;

use super::*;
use crate::lower::ContextKind;

fn request(given: Option<&str>) -> Request {
    let mut request = Request::new(Platform::parse("linux/amd64").unwrap());
    if let Some(value) = given {
        request.build_args.insert(SOURCE_DATE_EPOCH.into(), value.into());
    }
    request.contexts.insert("source".into(), ContextKind::Directory);
    request
}

fn globals(text: &str, request: &Request) -> Result<Globals, String> {
    let file = crate::parse("Dockerfile", text.as_bytes()).unwrap();
    Globals::of(&file, request).map_err(|error| {
        let place = error.span.map(|span| file.source.text()[span.start..span.end].to_owned());
        format!("{} | {}", error.message, place.unwrap_or_default())
    })
}

#[test]
fn numbers() {
    let check = |text: &str, given: Option<&str>, expect: Option<i64>| {
        let globals = globals(text, &request(given)).unwrap();
        assert_eq!((globals.epoch(), globals.into_epoch_source()), (expect, None), "{text}");
    };
    check("FROM a", None, None);
    check("FROM a", Some("12"), Some(12));
    check("FROM a", Some("-1"), Some(-1));
    check("FROM a", Some("+1"), Some(1));
    check("FROM a", Some("0012"), Some(12));
    check("FROM a", Some(""), None);
    check("ARG SOURCE_DATE_EPOCH=7\nFROM a", None, Some(7));
    check("ARG A=7 SOURCE_DATE_EPOCH=${A}0\nFROM a", None, Some(70));
    check("ARG SOURCE_DATE_EPOCH=7\nFROM a", Some("8"), Some(8));
    check("ARG SOURCE_DATE_EPOCH=7\nFROM a", Some(""), None);
    check("ARG SOURCE_DATE_EPOCH=\nFROM a", None, None);
    check("ARG SOURCE_DATE_EPOCH\nFROM a", None, None);
    // Only before the first stage.
    check("FROM a\nARG SOURCE_DATE_EPOCH=7", None, None);
}

#[test]
fn what_has_a_time() {
    let source = |text: &str, given: &str| {
        globals(text, &request(Some(given))).map(Globals::into_epoch_source)
    };
    assert_eq!(source("FROM a", "context"), Ok(Some(EpochSource::Context)));
    assert_eq!(source("FROM a", "source"), Ok(Some(EpochSource::Named("source".into()))));
    assert_eq!(source("FROM a", "source:latest"), Ok(Some(EpochSource::Named("source".into()))));
    // The context goes before a stage of its name.
    assert_eq!(
        source("FROM a AS source\nRUN x", "source"),
        Ok(Some(EpochSource::Named("source".into())))
    );
    let added = |text: &str| match source(text, "S") {
        Ok(Some(EpochSource::Added(copy))) => (copy.sources, copy.checksum, copy.keep_git_dir),
        other => panic!("{text}: {other:?}"),
    };
    let digest = "ab".repeat(32);
    let url = |url: &str| vec![plan::CopySource::Url(url.into())];
    let git = |url: &str| vec![plan::CopySource::Git(url.into())];
    assert_eq!(
        added("FROM scratch AS s\nADD http://h/f /x\nFROM a"),
        (url("http://h/f"), None, None)
    );
    assert_eq!(
        added(&format!(
            "ARG N=scratch V=1\nFROM $N AS s\nARG V\nARG W=$V.0 C={digest}\nADD --checksum=sha256:$C https://h/f-$W /"
        )),
        (url("https://h/f-1.0"), Some(format!("sha256:{digest}")), None)
    );
    assert_eq!(
        added("FROM scratch AS s\nADD --keep-git-dir=true https://h/x.git#v1 /"),
        (git("https://h/x.git#v1"), None, Some(true))
    );
    // The stage does not see what it is asked for.
    assert_eq!(
        added("FROM scratch AS s\nADD http://h/$SOURCE_DATE_EPOCH /"),
        (url("http://h/"), None, None)
    );
}

#[test]
fn mistakes() {
    let check = |text: &str, given: Option<&str>, expect: &str| {
        assert_eq!(globals(text, &request(given)).unwrap_err(), expect);
    };
    check("FROM a", Some("x"), "invalid SOURCE_DATE_EPOCH: x | ");
    check("FROM a", Some("1.5"), "invalid SOURCE_DATE_EPOCH: 1.5 | ");
    check("FROM a", Some(" 1"), "invalid SOURCE_DATE_EPOCH:  1 | ");
    check(
        "ARG A=b SOURCE_DATE_EPOCH=x\nFROM a",
        None,
        "invalid SOURCE_DATE_EPOCH: x | ARG A=b SOURCE_DATE_EPOCH=x",
    );
    let scratch = "SOURCE_DATE_EPOCH stage must use FROM scratch | FROM a AS s";
    check("FROM a AS s\nADD http://h/f /", Some("s"), scratch);
    let one = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD";
    check("FROM scratch AS s\nARG A", Some("s"), &format!("{one} | FROM scratch AS s"));
    check(
        "FROM scratch AS s\nADD http://h/f /\nADD http://h/g /",
        Some("s"),
        &format!("{one} | ADD http://h/g /"),
    );
    check(
        "FROM scratch AS s\nADD http://h/f http://h/g /",
        Some("s"),
        &format!("{one} source | ADD http://h/f http://h/g /"),
    );
    check("FROM scratch AS s\nADD <<E /\nE\n", Some("s"), &format!("{one} source | ADD <<E /\nE"));
    check(
        "FROM scratch AS s\nADD f /",
        Some("s"),
        "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD | f",
    );
    check(
        "FROM scratch AS s\nCOPY f /",
        Some("s"),
        "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported COPY instruction | COPY f /",
    );
    check(
        "FROM scratch AS s\nADD --checksum=md5:0 http://h/f /",
        Some("s"),
        "invalid checksum digest format: invalid digest `md5:0`: the algorithm is neither sha256 nor sha512 | md5:0",
    );
    check(
        "FROM scratch AS s\nADD ${A:?no} /",
        Some("s"),
        "failed to process \"${A:?no}\": A: no | ${A:?no}",
    );
}

#[test]
fn a_stage_sees_the_number() {
    let text = "ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nARG SOURCE_DATE_EPOCH\nARG OTHER=${SOURCE_DATE_EPOCH-none}";
    let history = |epoch: Option<i64>| {
        let file = crate::parse("Dockerfile", text.as_bytes()).unwrap();
        let request = Request { epoch, ..request(None) };
        let lowered = crate::lower(&file, &request, &BTreeMap::new()).unwrap();
        let crate::Lowered::Ready(plan) = lowered else { panic!("nothing is needed") };
        assert_eq!(plan.epoch, epoch);
        let steps = plan.stages[0].steps.iter().filter_map(|step| step.created_by.clone());
        steps.collect::<Vec<_>>()
    };
    assert_eq!(history(Some(7)), ["ARG SOURCE_DATE_EPOCH=7", "ARG OTHER=7"]);
    assert_eq!(history(None), ["ARG SOURCE_DATE_EPOCH", "ARG OTHER=none"]);
}
