//! Laws of keys: what changes one, what does not, and pinned values.

use super::*;
use crate::{Origin, Script, StageId};

fn content(byte: u8) -> ContentDigest {
    ContentDigest::new([byte; 32])
}

fn parent() -> StepKey {
    StepKey::scratch(&Platform::parse("linux/amd64").unwrap())
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    texts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn bind(origin: Origin) -> Mount {
    let kind = MountKind::Bind { origin, source: "/src".into(), read_write: false };
    Mount { target: "/src".into(), kind }
}

fn cache() -> Mount {
    let kind = MountKind::Cache {
        id: "/cache".into(),
        origin: Origin::Scratch,
        source: "/".into(),
        read_only: false,
        sharing: Sharing::Shared,
        mode: 0o755,
        uid: 0,
        gid: 0,
        owned: false,
    };
    Mount { target: "/cache".into(), kind }
}

fn secret() -> Mount {
    let kind = MountKind::Secret {
        id: "token".into(),
        env: None,
        required: false,
        mode: 0o400,
        uid: 0,
        gid: 0,
    };
    Mount { target: "/run/secrets/token".into(), kind }
}

fn ssh() -> Mount {
    let kind =
        MountKind::Ssh { id: "default".into(), required: false, mode: 0o600, uid: 0, gid: 0 };
    Mount { target: "/run/buildkit/ssh_agent.0".into(), kind }
}

fn tmpfs() -> Mount {
    Mount { target: "/tmp".into(), kind: MountKind::Tmpfs { size: None } }
}

pub(crate) fn run() -> Run {
    Run {
        argv: strings(&["/bin/sh", "-c", "make"]),
        env: pairs(&[("PATH", "/bin"), ("CFLAGS", "-O2")]),
        proxy_env: Vec::new(),
        workdir: "/".into(),
        user: String::new(),
        network: Network::Default,
        security: Security::Sandbox,
        mounts: vec![bind(Origin::Context), cache(), secret(), ssh(), tmpfs()],
        script: None,
        hostname: "buildkitsandbox".into(),
        settings: Vec::new(),
    }
}

pub(crate) fn copy() -> Copy {
    let sources = ["src/a", "b"].map(|path| CopySource::Path(path.into()));
    Copy::new(Origin::Context, sources.into(), "/dst/")
}

fn key_of_run(run: &Run) -> StepKey {
    StepKey::derive(&parent(), &Op::Run(run.clone()), &[content(1)]).key
}

fn key_of_copy(copy: &Copy) -> StepKey {
    StepKey::derive(&parent(), &Op::Copy(copy.clone()), &[content(1)]).key
}

/// The result of an edit of a sample.
fn edited<T>(mut sample: T, edit: impl FnOnce(&mut T)) -> T {
    edit(&mut sample);
    sample
}

fn edited_mount(index: usize, edit: impl FnOnce(&mut MountKind)) -> Run {
    edited(run(), |run| edit(&mut run.mounts[index].kind))
}

/// Every field that is listed changes the key, and no two of these edits lead to the same one.
#[test]
fn run_depends_on_every_listed_field() {
    let variants = vec![
        run(),
        edited(run(), |run| run.argv = strings(&["make"])),
        edited(run(), |run| run.argv = strings(&["/bin/sh", "-c make"])),
        edited(run(), |run| run.env[1].1 = "-O3".into()),
        edited(run(), |run| run.env[1].0 = "CFLAG".into()),
        edited(run(), |run| run.env.reverse()),
        edited(run(), |run| run.env = pairs(&[("PATH", "/bin")])),
        edited(run(), |run| run.workdir = "/w".into()),
        edited(run(), |run| run.user = "/".into()),
        edited(run(), |run| run.network = Network::None),
        edited(run(), |run| run.network = Network::Host),
        edited(run(), |run| run.security = Security::Insecure),
        edited(run(), |run| run.hostname = "other".into()),
        edited(run(), |run| run.settings = pairs(&[("ulimit nofile", "10")])),
        edited(run(), |run| run.settings = pairs(&[("ulimit nofile", "20")])),
        edited(run(), |run| run.settings = pairs(&[("host a", ""), ("host b", "")])),
        edited(run(), |run| run.script = Some(Script { name: "A".into(), body: "#!x".into() })),
        edited(run(), |run| run.script = Some(Script { name: "B".into(), body: "#!x".into() })),
        edited(run(), |run| run.script = Some(Script { name: "B".into(), body: "#!y".into() })),
        edited(run(), |run| run.mounts.swap(0, 1)),
        edited(run(), |run| run.mounts.truncate(4)),
        edited(run(), |run| run.mounts[0].target = "/other".into()),
        edited_mount(0, |kind| {
            *kind = MountKind::Bind {
                origin: Origin::Context,
                source: "/other".into(),
                read_write: false,
            }
        }),
        edited_mount(0, |kind| {
            let MountKind::Bind { read_write, .. } = kind else { panic!() };
            *read_write = true;
        }),
        edited_mount(1, |kind| {
            let MountKind::Cache { read_only, .. } = kind else { panic!() };
            *read_only = true;
        }),
        edited_mount(1, |kind| {
            let MountKind::Cache { sharing, .. } = kind else { panic!() };
            *sharing = Sharing::Locked;
        }),
        edited_mount(1, |kind| {
            let MountKind::Cache { uid, .. } = kind else { panic!() };
            *uid = 1;
        }),
        edited_mount(1, |kind| {
            let MountKind::Cache { gid, .. } = kind else { panic!() };
            *gid = 1;
        }),
        edited_mount(1, |kind| {
            let MountKind::Cache { mode, .. } = kind else { panic!() };
            *mode = 0o700;
        }),
        edited_mount(2, |kind| {
            let MountKind::Secret { id, .. } = kind else { panic!() };
            *id = "other".into();
        }),
        edited_mount(2, |kind| {
            let MountKind::Secret { env, .. } = kind else { panic!() };
            *env = Some("TOKEN".into());
        }),
        edited_mount(2, |kind| {
            let MountKind::Secret { required, .. } = kind else { panic!() };
            *required = true;
        }),
        edited_mount(3, |kind| {
            let MountKind::Ssh { id, .. } = kind else { panic!() };
            *id = "other".into();
        }),
        edited_mount(3, |kind| {
            let MountKind::Ssh { mode, .. } = kind else { panic!() };
            *mode = 0o666;
        }),
        edited_mount(4, |kind| *kind = MountKind::Tmpfs { size: Some(1) }),
    ];
    assert_all_different(variants.iter().map(key_of_run).collect());
}

fn assert_all_different(keys: Vec<StepKey>) {
    for (index, key) in keys.iter().enumerate() {
        let first = keys.iter().position(|other| other == key);
        assert_eq!(first, Some(index), "two variants have one key");
    }
}

#[test]
fn run_does_not_depend_on_the_rest() {
    let expected = key_of_run(&run());
    let variants = [
        edited(run(), |run| run.proxy_env = pairs(&[("HTTP_PROXY", "http://proxy")])),
        edited(run(), |run| run.mounts[0] = bind(Origin::Stage(StageId(3)))),
        edited_mount(1, |kind| {
            let MountKind::Cache { id, .. } = kind else { panic!() };
            *id = "other".into();
        }),
    ];
    for (index, variant) in variants.iter().enumerate() {
        assert_eq!(key_of_run(variant), expected, "variant {index}");
    }
}

#[test]
fn copy_depends_on_every_listed_field() {
    let heredoc = |name: &str, body: &str| {
        CopySource::Heredoc(Script { name: name.into(), body: body.into() })
    };
    let variants = vec![
        copy(),
        edited(copy(), |copy| copy.add = true),
        edited(copy(), |copy| copy.dest = "/dst".into()),
        edited(copy(), |copy| copy.chown = Some("1:1".into())),
        edited(copy(), |copy| copy.chmod = Some("1:1".into())),
        edited(copy(), |copy| copy.link = true),
        edited(copy(), |copy| copy.parents = true),
        edited(copy(), |copy| copy.exclude = strings(&["a", "b"])),
        edited(copy(), |copy| copy.exclude = strings(&["ab"])),
        edited(copy(), |copy| copy.unpack = Some(false)),
        edited(copy(), |copy| copy.unpack = Some(true)),
        edited(copy(), |copy| copy.keep_git_dir = Some(true)),
        edited(copy(), |copy| copy.created = Some(0)),
        edited(copy(), |copy| copy.created = Some(1)),
        edited(copy(), |copy| copy.sources.reverse()),
        edited(copy(), |copy| copy.sources = vec![CopySource::Path("c".into())]),
        edited(copy(), |copy| copy.sources = vec![CopySource::Url("http://h/c".into())]),
        edited(copy(), |copy| copy.sources = vec![CopySource::Git("http://h/c".into())]),
        edited(copy(), |copy| copy.sources = vec![heredoc("c", "x")]),
        edited(copy(), |copy| copy.sources = vec![heredoc("c", "y")]),
    ];
    assert_all_different(variants.iter().map(key_of_copy).collect());
}

#[test]
fn copy_does_not_depend_on_where_the_content_is() {
    let expected = key_of_copy(&copy());
    let elsewhere = CopySource::Path("/other/place/a/".into());
    for variant in [
        edited(copy(), |copy| copy.origin = Origin::Stage(StageId(1))),
        edited(copy(), |copy| copy.sources[0] = elsewhere.clone()),
        edited(copy(), |copy| copy.checksum = Some("sha256:1".into())),
        edited(copy(), |copy| copy.if_exists = true),
    ] {
        assert_eq!(key_of_copy(&variant), expected);
    }
    let url = |url: &str| edited(copy(), |copy| copy.sources = vec![CopySource::Url(url.into())]);
    assert_eq!(key_of_copy(&url("http://a/f?x=/y")), key_of_copy(&url("https://b/c/f#z")));
}

#[test]
fn contents_and_parents_count() {
    let op = Op::Copy(copy());
    let other = StepKey::scratch(&Platform::parse("linux/arm64").unwrap());
    let derive =
        |parent: &StepKey, contents: &[ContentDigest]| StepKey::derive(parent, &op, contents).key;
    assert_all_different(vec![
        derive(&parent(), &[]),
        derive(&parent(), &[content(1)]),
        derive(&parent(), &[content(2)]),
        derive(&parent(), &[content(1), content(2)]),
        derive(&other, &[content(1)]),
    ]);
}

#[test]
fn a_linked_copy_stands_on_nothing_unless_names_are_looked_up() {
    let other = StepKey::scratch(&Platform::parse("linux/arm64").unwrap());
    let on_both = |chown: Option<&str>| {
        let copy = edited(copy(), |copy| {
            copy.link = true;
            copy.chown = chown.map(str::to_owned);
        });
        [parent(), other]
            .map(|parent| StepKey::derive(&parent, &Op::Copy(copy.clone()), &[content(1)]).key)
    };
    for (chown, independent) in
        [(None, true), (Some("1000:0"), true), (Some("www"), false), (Some("1000:www"), false)]
    {
        let [first, second] = on_both(chown);
        assert_eq!(first == second, independent, "{chown:?}");
    }
}

#[test]
fn what_follows_a_linked_copy_depends_on_what_is_below_it() {
    let other = StepKey::scratch(&Platform::parse("linux/arm64").unwrap());
    let copy = Op::Copy(edited(copy(), |copy| copy.link = true));
    let [first, second] =
        [parent(), other].map(|parent| StepKey::derive(&parent, &copy, &[content(1)]));
    assert_eq!(first.key, second.key);
    assert_ne!(first.on_top, second.on_top);
    let changed = StepKey::derive(&parent(), &copy, &[content(2)]);
    assert_ne!(first.on_top, changed.on_top);
}

#[test]
fn edits_of_the_config_and_the_root_as_workdir_keep_the_key() {
    let root = Op::Workdir(Workdir { path: "/".into(), user: "u".into(), created: None });
    for op in [Op::Config, root] {
        let derived = StepKey::derive(&parent(), &op, &[]);
        assert_eq!(derived, Derived { key: parent(), on_top: parent(), ingredients: Vec::new() });
    }
    let workdir = |path: &str, user: &str, created| {
        let op = Op::Workdir(Workdir { path: path.into(), user: user.into(), created });
        StepKey::derive(&parent(), &op, &[]).key
    };
    assert_all_different(vec![
        parent(),
        workdir("/a", "", None),
        workdir("/a", "u", None),
        workdir("/b", "", None),
        workdir("/a", "", Some(0)),
        workdir("/a", "", Some(1)),
    ]);
}

#[test]
fn ingredients_name_what_went_in() {
    let named = |derived: &Derived, name: &str| {
        let found = derived.ingredients.iter().find(|ingredient| ingredient.name == name);
        found.map(|ingredient| ingredient.value.clone())
    };
    let derived = StepKey::derive(&parent(), &Op::Run(run()), &[content(1)]);
    assert_eq!(named(&derived, "command").as_deref(), Some("/bin/sh -c make"));
    assert_eq!(named(&derived, "ENV CFLAGS").as_deref(), Some("-O2"));
    assert_eq!(named(&derived, "content /src"), Some(content(1).to_string()));
    assert_eq!(named(&derived, "parent"), Some(parent().to_string()));

    let mixed = edited(copy(), |copy| {
        copy.sources.insert(1, CopySource::Url("https://h/x".into()));
        copy.sources.push(CopySource::Heredoc(Script { name: "E".into(), body: "b".into() }));
    });
    let derived = StepKey::derive(&parent(), &Op::Copy(mixed), &[content(1), content(2)]);
    assert_eq!(named(&derived, "content src/a b"), Some(content(1).to_string()));
    assert_eq!(named(&derived, "content https://h/x"), Some(content(2).to_string()));
    assert_eq!(named(&derived, "heredoc E").as_deref(), Some("b"));
    assert_eq!(named(&derived, "--chown"), None);
}

/// Pinned: whoever changes one of these must change [`VERSION`] too, or old records answer for new steps.
#[test]
fn keys_are_stable() {
    let id = ImageId::parse(&format!("sha256:{}", "ab".repeat(32))).unwrap();
    let platform = Platform::parse("linux/amd64").unwrap();
    let workdir = Op::Workdir(Workdir { path: "/w".into(), user: String::new(), created: None });
    let keys = [
        ("scratch", parent()),
        ("image", StepKey::image(&id)),
        ("directory", StepKey::directory(&content(1), &platform)),
        ("run", key_of_run(&run())),
        ("copy", key_of_copy(&copy())),
        ("workdir", StepKey::derive(&parent(), &workdir, &[]).key),
    ];
    assert_eq!(keys.map(|(name, key)| format!("{name} {key}")), PINNED);
}

const PINNED: [&str; 6] = [
    "scratch d7d3b7c27a1a6565fa7fd717260fb5e3b737454e7978993cfe30332cb578c460",
    "image fbe0d9ee6301fdd417d79dc7a3839ccaa50fdeac881b733e1a9dd3a0d9b78d66",
    "directory 4d59d9e98323649308cc41b3120738c092c07045358c28e5054757243cc939aa",
    "run 15e7186db7da6ab6731d48e0cbea2d1c696da657beb509e1fe2f3bdb5b8c8497",
    "copy 5dc399ef14780f5ec7769bde9df2f6c7daa6c6c2e07263f3ea122b352a28a2ee",
    "workdir 242efcb8a908f4a421733555d8bfbfff54cc551d23d15f2e9b8d1bfe1b5eede5",
];

#[test]
fn keys_are_written_and_read() {
    let key = parent();
    assert_eq!(StepKey::parse(&key.to_string()), Some(key));
    for wrong in ["", "00", &key.to_string().to_uppercase(), &format!("{key}0")] {
        assert_eq!(StepKey::parse(wrong), None, "{wrong:?}");
    }
}
