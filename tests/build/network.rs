//! What a build asks registries: nothing if it has everything, nothing at all with `--offline`, and what `kiln.lock` keeps.

use std::fs;

use crate::support::env::{IMAGE, TestEnv};
use crate::support::proxy::{Fate, Proxy};
use crate::support::registry::Registry;
use crate::support::web::{Page, Site};

/// A registry behind a proxy that counts, with `team/base:1`; and the store that pushed it.
fn filled() -> Option<(TestEnv, Registry, Proxy)> {
    let env = TestEnv::new();
    let registry = Registry::start(&env.path(""))?;
    let proxy = Proxy::start(&registry.host, |_| Fate::Honest);
    push(&env, &registry, "one");
    Some((env, registry, proxy))
}

/// Pushes another `team/base:1`.
fn push(env: &TestEnv, registry: &Registry, contents: &str) {
    let name = registry.at("team/base:1");
    env.build_text(&format!("FROM busybox\nRUN echo {contents} > /base\n"));
    env.ok(&["tag", IMAGE, &name]);
    env.ok(&["push", "-q", &name]);
}

fn asked(proxy: &Proxy) -> usize {
    proxy.log().len()
}

#[test]
fn a_base_that_is_here_costs_no_request() {
    let Some((env, registry, proxy)) = filled() else { return };
    let other = TestEnv::empty();
    let base = proxy.at("team/base:1");
    let context = other.context(&format!("FROM {base}\nRUN cat /base > /out\n"));
    other.build(&context, &[]);
    let before = asked(&proxy);
    other.build(&context, &[]).has_cached(1);
    other.build(&context, &["--no-cache"]);
    assert_eq!(asked(&proxy), before);

    // Asked for, it is one request as long as there is nothing newer.
    other.build(&context, &["--pull"]).has_cached(1);
    assert_eq!(asked(&proxy), before + 1);
    push(&env, &registry, "two");
    other.build(&context, &[]).has_cached(1);
    assert_eq!(other.sh("cat /out"), "one");
    other.build(&context, &["--pull"]).has_cached(0);
    assert_eq!(other.sh("cat /out"), "two");
}

#[test]
fn offline_nothing_is_fetched_and_everything_that_is_here_is_built() {
    let Some((_env, _registry, proxy)) = filled() else { return };
    let site = Site::start();
    site.page("/file", Page::new("x"));
    let other = TestEnv::new();
    let base = proxy.at("team/base:1");
    let refused = "keep off the network (--offline";
    let from = other.context(&format!("FROM {base}\n"));
    let add = other.context(&format!("FROM busybox\nADD {}/file /f\n", site.url));
    let git = other.context(&format!("FROM busybox\nADD {}/repo.git /r\n", site.url));
    for context in [&from, &add, &git] {
        let output = other.building(context, &["--offline"]).run().fails(1);
        output.says(&[refused]);
        other.building(context, &[]).env("KILN_OFFLINE", "1").run().fails(1).says(&[refused]);
    }
    for args in [
        &["pull", &base] as &[&str],
        &["run", "--rm", &base],
        &["login", "-u", "u", "-p", "p", &proxy.host],
    ] {
        other.kiln(args).env("KILN_OFFLINE", "true").run().says(&[refused]);
        other.kiln(["--offline"]).args(args).run().says(&[refused]);
    }
    other.ok(&["tag", "busybox", &proxy.at("a:1")]);
    other.kiln(["push", "--offline", &proxy.at("a:1")]).run().fails(1).says(&[refused]);
    assert_eq!((asked(&proxy), site.requests().len()), (0, 0));

    other.build(&from, &[]);
    let before = asked(&proxy);
    other.building(&from, &["--offline"]).run().ok();
    other.building(&from, &["--offline", "--pull"]).run().fails(1).says(&[refused]);
    other.building(&from, &[]).env("KILN_OFFLINE", "0").run().ok();
    assert_eq!(asked(&proxy), before);
}

#[test]
fn a_lock_keeps_bases_as_they_were() {
    let Some((env, registry, proxy)) = filled() else { return };
    let base = proxy.at("team/base:1");
    let text =
        format!("FROM {base} AS first\nFROM {base}\nCOPY --from=first /base /out\nCOPY . /all\n");
    let (digest, _) = registry.manifest("team/base", "1");
    let line = format!("{base} {digest}");

    let first = TestEnv::empty();
    let context = first.context(&text);
    let file = context.path().join("kiln.lock");
    first.building(&context, &["--lock=frozen"]).run().fails(1).says(&[
        "kiln.lock",
        &base,
        "--lock",
    ]);
    assert!(!file.exists());
    first.build(&context, &["--lock"]);
    let locked = fs::read_to_string(&file).unwrap();
    assert_eq!(locked.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>(), [&line]);
    // The lock was there before the context was read.
    first.build(&context, &["--lock"]).has_cached(2);

    // Elsewhere, after the tag has moved on, the same base is found; and by the same store too.
    push(&env, &registry, "two");
    let second = TestEnv::empty();
    let copy = second.context(&text);
    fs::copy(&file, copy.path().join("kiln.lock")).unwrap();
    for mode in ["--lock", "--lock=frozen"] {
        second.build(&copy, &[mode]);
        assert_eq!(second.sh("cat /out"), "one");
    }
    first.build(&context, &["--lock", "--pull"]);
    assert_eq!(first.sh("cat /out"), "one");
    assert_eq!(fs::read_to_string(&file).unwrap(), locked);

    // Without the lock the tag counts, as ever.
    second.build(&copy, &["--pull"]);
    assert_eq!(second.sh("cat /out"), "two");
    second.build(&copy, &["--lock"]);
    assert_eq!(second.sh("cat /out"), "one");

    first.build(&context, &["--lock=update"]);
    assert_eq!(first.sh("cat /out"), "two");
    let (newer, _) = registry.manifest("team/base", "1");
    assert!(fs::read_to_string(&file).unwrap().contains(&format!("{base} {newer}")));
    let before = asked(&proxy);
    first.build(&context, &["--lock"]);
    assert_eq!(asked(&proxy), before, "what is locked and here is not asked about");
}

#[test]
fn what_cannot_be_locked_is_told() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\n");
    env.build(&context, &["--lock"]).says(&["warning", "busybox:latest", "of this store only"]);
    assert!(!context.path().join("kiln.lock").exists());
    context.write("kiln.lock", "# x\nnonsense\n");
    env.building(&context, &["--lock"]).run().fails(1).says(&["kiln.lock", "line 2"]);
    // Nobody asked for it.
    env.build(&context, &[]);
    let stdin = env.kiln(["build", "--lock", "-"]).stdin("FROM busybox\n").run().fails(2);
    stdin.says(&["--lock", "directory"]);
}
