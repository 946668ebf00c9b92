//! Tests of `--mount`: what its options mean and which mistakes are found when.

use super::{Mount, MountKind, Sharing};
use crate::diagnostic::Diagnostic;
use crate::instruction::Instruction;
use crate::parse_trigger;
use crate::source::Span;

/// The mount of `RUN --mount=<text> true`, its values expanded to themselves.
fn mount(text: &str) -> Result<Mount, Diagnostic> {
    match parse_trigger(&format!("RUN --mount={text} true"), Span::default())? {
        Instruction::Run(run) => run.mounts[0].expand(|word| Ok(word.text.clone())),
        other => panic!("{other:?}"),
    }
}

fn error(text: &str) -> String {
    mount(text).unwrap_err().message
}

#[test]
fn defaults() {
    let bind = mount("target=/a").unwrap();
    assert_eq!(bind.kind, MountKind::Bind);
    assert!(bind.read_only);
    assert_eq!(bind.target.as_deref(), Some("/a"));
    let cache = mount("type=cache,dst=/a").unwrap();
    assert!(!cache.read_only);
    let MountKind::Cache { id: None, sharing: Sharing::Shared, mode: None, uid: None, gid: None } =
        cache.kind
    else {
        panic!("{cache:?}");
    };
    assert_eq!(mount("type=tmpfs,target=/a").unwrap().kind, MountKind::Tmpfs { size: None });
    assert!(
        matches!(mount("type=ssh").unwrap().kind, MountKind::Ssh { id, .. } if id == "default")
    );
}

#[test]
fn options() {
    let mount_of = |text: &str| mount(text).unwrap();
    assert!(!mount_of("target=/a,rw").read_only);
    assert!(!mount_of("target=/a,ro=false").read_only);
    assert!(mount_of("type=cache,target=/a,readonly").read_only);
    let bind = mount_of("Target=/a,from=x,src=/b");
    assert_eq!(bind.target.as_deref(), Some("/a"));
    assert_eq!((bind.from.as_deref(), bind.source.as_deref()), (Some("x"), Some("/b")));
    // The outer quotes are the flag's, the inner ones the field's.
    let bind = mount_of("'\"source=a,b\"',target=/a");
    assert_eq!(bind.source.as_deref(), Some("a,b"));
    let MountKind::Cache { id, sharing, mode, uid, gid } =
        mount_of("type=cache,target=/a,id=x,sharing=LOCKED,mode=0700,uid=1,gid=2").kind
    else {
        panic!();
    };
    assert_eq!((id.as_deref(), sharing), (Some("x"), Sharing::Locked));
    assert_eq!((mode, uid, gid), (Some(0o700), Some(1), Some(2)));
}

#[test]
fn secrets() {
    let secret = |text: &str| match mount(&format!("type=secret,{text}")).unwrap() {
        Mount { kind: MountKind::Secret { id, env, required, .. }, source: None, .. } => {
            (id, env, required)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(secret("id=a"), ("a".to_owned(), None, false));
    assert_eq!(secret("source=a,required"), ("a".to_owned(), None, true));
    assert_eq!(secret("target=/x/y,required=false"), ("y".to_owned(), None, false));
    assert_eq!(secret("id=a,env=B,required=1"), ("a".to_owned(), Some("B".to_owned()), true));
    assert_eq!(error("type=secret"), "invalid secret mount. one of source, target required");
    assert_eq!(error("type=secret,id=a,source=b"), "both source and id can't be set");
    assert_eq!(error("type=secret,id=a,from=b"), "secret mount should not have a from");
    assert_eq!(error("type=secret,id=a,sharing=locked"), "secret mount should not define sharing");
}

#[test]
fn sizes() {
    for (text, expect) in [
        ("1024", 1024),
        ("64m", 64 << 20),
        ("64MB", 64 << 20),
        ("1GiB", 1 << 30),
        ("1.5k", 1536),
        ("0.5 t", 1 << 39),
    ] {
        let found = mount(&format!("type=tmpfs,target=/a,'size={text}'")).unwrap();
        assert_eq!(found.kind, MountKind::Tmpfs { size: Some(expect) }, "{text}");
    }
    for text in ["", "x", "1x", "1ib2", "-1", "1..2", "99999999999999999999", "99999999p"] {
        let message = error(&format!("type=tmpfs,target=/a,size={text}"));
        assert_eq!(message, format!("invalid value for size: {text}"));
    }
}

#[test]
fn errors() {
    for (text, expect) in [
        ("", "failed to parse csv mounts: it is empty"),
        ("type=foo", "unsupported mount type \"foo\""),
        ("targt=/a", "unexpected key 'targt' in 'targt=/a'"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("target=/a,ro=x", "invalid value for ro: x"),
        ("target=/a,required", "unexpected key 'required' for mount type 'bind'"),
        ("required,type=secret,id=a", "unexpected key 'required' for mount type 'bind'"),
        ("type=bind,size=1", "unexpected key 'size' for mount type 'bind'"),
        ("target=/a,mode=0700", "mode not allowed for \"bind\" type mounts"),
        ("type=tmpfs,target=/a,uid=1", "uid not allowed for \"tmpfs\" type mounts"),
        ("target=/a,sharing=shared", "invalid cache sharing set for bind mount"),
        ("type=cache,target=/a,sharing=foo", "unsupported sharing value \"foo\""),
        ("type=cache,target=/a,mode=9", "invalid value 9 for mode"),
        ("type=cache,target=/a,uid=+1", "invalid value +1 for uid"),
        ("target=/a,env=x", "unexpected key 'env' for mount type 'bind'"),
        ("type=ssh,source=a", "ssh mount should not have a source"),
        (
            "target=/a,from=$x",
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
    ] {
        assert_eq!(error(text), expect, "{text}");
    }
    assert_eq!(mount("targt=/a").unwrap_err().hint.as_deref(), Some("did you mean target?"));
    assert_eq!(
        mount("type=cahce").unwrap_err().hint.as_deref(),
        Some("did you mean cache? there are bind, cache, tmpfs, secret and ssh")
    );
    let quotes = mount("target=/a,'source=\"b'").unwrap_err();
    assert_eq!(quotes.message, "failed to parse csv mounts: a quote is misplaced");
}

/// With a variable in a value, the values are judged after expansion only, but the keys at once.
#[test]
fn variables_defer() {
    let parse = |text: &str| parse_trigger(&format!("RUN --mount={text} true"), Span::default());
    assert!(parse("type=$T,target=/a,sharing=$S").is_ok());
    assert!(parse("type=foo,target=$X").is_ok());
    assert!(parse("typ=foo,target=$X").is_err());
    let Ok(Instruction::Run(run)) = parse("type=$T,target=/a") else { panic!() };
    let expanded = run.mounts[0].expand(|word| Ok(word.text.replace("$T", "cache"))).unwrap();
    assert!(matches!(expanded.kind, MountKind::Cache { .. }));
    let error = run.mounts[0].expand(|word| Ok(word.text.replace("$T", "foo"))).unwrap_err();
    assert_eq!(error.message, "unsupported mount type \"foo\"");
}

#[test]
fn from_options_reads_pairs() {
    let options = [("type".to_owned(), Some("cache".to_owned())), ("ro".to_owned(), None)];
    assert!(Mount::from_options(&options).unwrap().read_only);
}
