//! `kiln copy`: from registry to registry, and what spoils it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::Value;

use crate::support::env::{IMAGE, TestEnv};
use crate::support::proxy::{Asked, Fate, Proxy};
use crate::support::registry::Registry;

/// Two registries; the first one has `team/app:1` with two layers on the base, and `team/many:1` for two platforms.
fn filled() -> Option<(TestEnv, Registry, Registry)> {
    let env = TestEnv::new();
    let [one, two] = ["one", "two"].map(|name| {
        std::fs::create_dir(env.path(name)).unwrap();
        Registry::start(&env.path(name))
    });
    let (one, two) = (one?, two?);
    env.build_text("FROM busybox\nRUN seq 100000 > /f\nRUN echo two > /g\nCMD [\"cat\", \"/g\"]\n");
    env.ok(&["tag", IMAGE, &one.at("team/app:1")]);
    env.ok(&["push", "-q", &one.at("team/app:1")]);
    let context = env.context("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
    context.write("amd64", "amd64");
    context.write("arm64", "arm64");
    let many = one.at("team/many:1");
    let platforms = "--platform=linux/amd64,linux/arm64";
    env.kiln(["build", "-q", "--push", platforms, "-t", &many]).args([context.path()]).run().ok();
    Some((env, one, two))
}

fn bytes(registry: &Registry, repository: &str, name: &str) -> (String, Vec<u8>) {
    registry.get(&format!("/v2/{repository}/manifests/{name}"))
}

/// How many requests with contents for blobs there were.
fn sent(proxy: &Proxy) -> usize {
    let log = proxy.log();
    let has_blob = |method: &str| method == "PUT" || method == "PATCH";
    log.iter().filter(|a| has_blob(&a.method) && a.target.contains("/blobs/uploads/")).count()
}

#[test]
fn an_image_is_the_same_at_another_registry() {
    let Some((env, one, two)) = filled() else { return };
    let proxy = Proxy::start(&two.host, |_| Fate::Honest);
    let copied = env.ok(&["copy", &one.at("team/app:1"), &proxy.at("other/app:2")]);
    let (digest, body) = bytes(&one, "team/app", "1");
    assert_eq!(bytes(&two, "other/app", "2"), (digest.clone(), body.clone()));
    assert_eq!(copied.text(), format!("2: digest: {digest} size: {}", body.len()));
    let first = copied.stderr.lines().next().unwrap();
    assert_eq!(first, format!("Copying {} to {}", one.at("team/app:1"), proxy.at("other/app:2")));
    assert_eq!(copied.stderr.matches(": Preparing").count(), 3, "{copied}");
    assert_eq!(copied.stderr.matches(": Pushed").count(), 3, "{copied}");
    let other = TestEnv::empty();
    other.ok(&["pull", "-q", &two.at("other/app:2")]);
    assert_eq!(other.ok(&["run", "--rm", &two.at("other/app:2")]).text(), "two");

    // What is there is not sent, and what another repository has is not either.
    let before = sent(&proxy);
    let again = env.ok(&["copy", &one.at("team/app:1"), &proxy.at("other/app:3")]);
    assert_eq!(again.stderr.matches(": Layer already exists").count(), 3, "{again}");
    let mounted = env.ok(&["copy", &proxy.at("other/app:2"), &proxy.at("third/app")]);
    assert_eq!(mounted.stderr.matches(": Mounted from other/app").count(), 3, "{mounted}");
    assert_eq!(sent(&proxy), before);
    assert_eq!(bytes(&two, "third/app", "latest").0, digest);
    assert_eq!(two.tags("other/app"), ["2", "3"]);

    // By digest, and without a word more than the name.
    let pinned = format!("{}@{digest}", one.at("team/app"));
    let to = format!("{}@{digest}", two.at("bare/app"));
    let quiet = env.ok(&["copy", "-q", &pinned, &to]);
    assert_eq!((quiet.text(), quiet.stderr.as_str()), (to.clone(), ""));
    assert_eq!(bytes(&two, "bare/app", &digest).1, body);
    // Nothing of it was in the store.
    assert!(!env.ok(&["images", "--digests"]).text().contains("other/app"));
}

#[test]
fn all_platforms_or_one_are_copied() {
    let Some((env, one, two)) = filled() else { return };
    let many = one.at("team/many:1");
    env.ok(&["copy", "--all", &many, &two.at("all/many:1")]);
    let index = bytes(&one, "team/many", "1");
    assert_eq!(bytes(&two, "all/many", "1"), index);
    let parsed: Value = serde_json::from_slice(&index.1).unwrap();
    let manifests = parsed["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 2);
    for manifest in manifests {
        let digest = manifest["digest"].as_str().unwrap();
        assert_eq!(bytes(&two, "all/many", digest), bytes(&one, "team/many", digest));
        if manifest["platform"]["architecture"] == "arm64" {
            env.ok(&["copy", "--platform", "linux/arm64", &many, &two.at("one/many:1")]);
            assert_eq!(bytes(&two, "one/many", "1"), bytes(&one, "team/many", digest));
        }
    }
    let absent = env.kiln(["copy", "--platform", "linux/s390x", &many, &two.at("no/many:1")]);
    absent.run().fails(1).says(&["linux/s390x", "linux/amd64", "linux/arm64"]);
    // Under the digest of something else there is nothing.
    let wrong = format!("{}@{}", two.at("no/many"), manifests[0]["digest"].as_str().unwrap());
    env.kiln(["copy", &many, &wrong]).run().fails(1).says(&["digest"]);
    let both = ["copy", "--all", "--platform", "linux/arm64", &many, &two.at("x:1")];
    env.kiln(both).run().fails(2);
}

/// The first request of each kind is not answered, and of the second one for a blob only the beginning comes.
fn trouble() -> impl Fn(&Asked) -> Fate + Send + Sync + 'static {
    let counts = Mutex::new(BTreeMap::<String, usize>::new());
    move |asked| {
        let path = asked.target.split('?').next().unwrap();
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(format!("{} {path}", asked.method)).or_default();
        *count += 1;
        match *count {
            1 => Fate::Reset,
            2 if asked.is_blob() => Fate::Cut(100),
            _ => Fate::Honest,
        }
    }
}

#[test]
fn trouble_on_either_side_passes_or_is_told() {
    let Some((env, one, two)) = filled() else { return };
    let digest = bytes(&one, "team/app", "1").0;
    let (from, to) = (Proxy::start(&one.host, trouble()), Proxy::start(&two.host, trouble()));
    env.ok(&["copy", &from.at("team/app:1"), &to.at("trouble/app:1")]);
    assert_eq!(bytes(&two, "trouble/app", "1").0, digest);
    // Other bytes are found out before they arrive, and the one who sent them is named.
    let liar = Proxy::start(&one.host, |asked| match asked.is_blob() {
        true => Fate::Flip,
        false => Fate::Honest,
    });
    let fails = |from: &str, to: &str, says: &[&str]| {
        env.kiln(["copy", from, to]).run().fails(1).says(says);
    };
    fails(&liar.at("team/app:1"), &two.at("lie/app:1"), &[&liar.host, "digest"]);
    fails(&one.at("team/none:1"), &two.at("lie/app:1"), &[&one.at("team/none:1")]);
    let closed = Proxy::start(&two.host, |asked| match asked.method.as_str() {
        "POST" | "PUT" => Fate::status(403),
        _ => Fate::Honest,
    });
    fails(&one.at("team/app:1"), &closed.at("closed/app:1"), &[&closed.host, "denied"]);
    let list = two.get("/v2/_catalog").1;
    let list = String::from_utf8(list).unwrap();
    assert!(!list.contains("closed/app"), "{list}");
    for wrong in ["oci:dir", "docker-archive:x.tar", "Upper"] {
        let code = if wrong == "Upper" { 1 } else { 2 };
        env.kiln(["copy", wrong, &two.at("x:1")]).run().fails(code).says(&[wrong]);
    }
}

#[test]
fn credentials_go_to_their_own_side() {
    let env = TestEnv::new();
    let dirs = ["one", "two"].map(|name| env.path(name));
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let Some(one) = Registry::start(&dirs[0]) else { return };
    let Some(two) = Registry::start_closed(&dirs[1]) else { return };
    let (open, closed) = (
        Proxy::start(&one.host, |_| Fate::Honest),
        Proxy::start_at("127.0.0.2", &two.host, |_| Fate::Honest),
    );
    env.ok(&["tag", "busybox", &one.at("a:1")]);
    env.ok(&["push", "-q", &one.at("a:1")]);
    let docker = env.str("docker");
    let kiln = |args: &[&str]| env.kiln(args).env("DOCKER_CONFIG", &docker);
    let denied = kiln(&["copy", &open.at("a:1"), &closed.at("b:1")]).run().fails(1);
    denied.says(&["denied", &closed.host]);
    kiln(&["login", "-u", "user", "-p", "secret", &closed.host]).run().ok();
    kiln(&["copy", &open.at("a:1"), &closed.at("b:1")]).run().ok();
    kiln(&["copy", &closed.at("b:1"), &open.at("c:1")]).run().ok();
    let told = |proxy: &Proxy| proxy.log().iter().any(|a| a.header("authorization").is_some());
    assert!(told(&closed) && !told(&open));
    assert_eq!(one.manifest("c", "1"), one.manifest("a", "1"));
}
