//! `kiln pull`, from a real registry on loopback.

use std::fs;
use std::process::Command;

use crate::support::env::{IMAGE, TestEnv};
use crate::support::proxy::{Fate, Proxy};
use crate::support::registry::Registry;
use crate::support::requires;

const DOCKERFILE: &str = "FROM busybox\nRUN echo pulled > /f && chown 7:8 /f && rm -r /home\n\
    CMD [\"cat\", \"/f\"]\n";

/// A registry that holds [`IMAGE`] as `team/app:1`, put there by skopeo.
fn filled(env: &TestEnv) -> Option<(Registry, String)> {
    if !requires::program("skopeo") {
        return None;
    }
    let registry = Registry::start(&env.path(""))?;
    env.build_text(DOCKERFILE);
    let archive = env.str("pushed.tar");
    env.ok(&["save", "-o", &archive, IMAGE]);
    let reference = registry.at("team/app:1");
    copy(&format!("docker-archive:{archive}"), &reference, &[]);
    Some((registry, reference))
}

fn copy(from: &str, to: &str, further: &[&str]) {
    let copy = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
        .args(further)
        .args([from, &format!("docker://{to}")])
        .output()
        .unwrap();
    assert!(copy.status.success(), "{}", String::from_utf8_lossy(&copy.stderr));
}

/// The first twelve digits of the blobs of a manifest's layers, the bottom one first.
fn short_blobs(registry: &Registry) -> Vec<String> {
    let (_, manifest) = registry.manifest("team/app", "1");
    let layers = manifest["layers"].as_array().unwrap().clone();
    let short = |layer: &serde_json::Value| {
        layer["digest"].as_str().unwrap()["sha256:".len()..][..12].to_owned()
    };
    layers.iter().map(short).collect()
}

#[test]
fn a_pulled_image_runs_and_is_built_upon() {
    let env = TestEnv::new();
    let Some((_registry, reference)) = filled(&env) else { return };
    let other = TestEnv::empty();
    other.ok(&["pull", &reference]);
    assert_eq!(other.ok(&["run", "--rm", &reference]).text(), "pulled");
    let tree = other.tree(&other.context(&format!("FROM {reference}\n")), &[]);
    assert_eq!(tree.owner("f"), "644 7:8");
    assert!(!tree.has("home"));
    assert_eq!(
        other.inspect(&reference)["RootFS"]["Layers"],
        env.inspect(IMAGE)["RootFS"]["Layers"]
    );
}

#[test]
fn a_pull_is_told_about_as_docker_does() {
    let env = TestEnv::new();
    let Some((registry, reference)) = filled(&env) else { return };
    let other = TestEnv::empty();
    let pulled = other.ok(&["pull", &reference]);
    let (digest, _) = registry.manifest("team/app", "1");
    assert_eq!(
        pulled.text(),
        format!("Digest: {digest}\nStatus: Downloaded newer image for {reference}\n{reference}")
    );
    let lines: Vec<_> = pulled.stderr.lines().collect();
    let blobs = short_blobs(&registry);
    assert_eq!(lines[0], "1: Pulling from team/app");
    for (line, blob) in lines[1..].iter().zip(&blobs) {
        assert_eq!(**line, format!("{blob}: Pulling fs layer"));
    }
    for blob in &blobs {
        let of_blob: Vec<_> =
            lines.iter().filter_map(|line| line.strip_prefix(&format!("{blob}: "))).collect();
        let told = ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"];
        assert_eq!(of_blob, told, "{pulled}");
    }

    let again = other.ok(&["pull", &reference]);
    assert_eq!(again.stderr, "1: Pulling from team/app\n");
    assert!(again.text().contains(&format!("Image is up to date for {reference}")), "{again}");

    let pinned = format!("{}@{digest}", registry.at("team/app"));
    let by_digest = TestEnv::empty();
    let pulled = by_digest.ok(&["pull", &pinned]);
    assert!(pulled.stderr.starts_with(&format!("{pinned}: Pulling from team/app\n")), "{pulled}");
    assert!(pulled.text().ends_with(&format!("\n{pinned}")), "{pulled}");
    let both = registry.at(&format!("team/app:1@{digest}"));
    by_digest.ok(&["pull", &both]);
    assert_eq!(by_digest.ok(&["run", "--rm", &both]).text(), "pulled");
    let latest = other.kiln(["pull", &registry.at("team/app")]).run().fails(1);
    latest
        .says(&["Using default tag: latest", "team/app:latest` does not exist: manifest unknown"]);
    let quiet = other.ok(&["pull", "-q", &reference]);
    assert_eq!((quiet.text(), quiet.stderr.as_str()), (reference, ""));
}

#[test]
fn what_is_here_is_not_pulled_again() {
    let env = TestEnv::new();
    let Some((registry, reference)) = filled(&env) else { return };
    let proxy = Proxy::start(&registry.host, |_| Fate::Honest);
    let reference = reference.replace(&registry.host, &proxy.host);
    let other = TestEnv::empty();
    other.ok(&["pull", &reference]);
    let before = proxy.log().len();
    other.ok(&["pull", &reference]);
    let further: Vec<_> = proxy.log()[before..].iter().map(|asked| asked.method.clone()).collect();
    assert_eq!(further, ["HEAD"], "one question whether it is the newest");
    let (digest, _) = registry.manifest("team/app", "1");
    other.ok(&["pull", &proxy.at(&format!("team/app@{digest}"))]);
    assert_eq!(proxy.log().len(), before + 1, "what a digest names never changes");

    // Of a newer image only what is new.
    env.build_text(&format!("{DOCKERFILE}RUN echo more > /more\n"));
    env.ok(&["tag", IMAGE, &registry.at("team/app:1")]);
    env.ok(&["push", &registry.at("team/app:1")]);
    let blobs = proxy.blobs();
    let pulled = other.ok(&["pull", &reference]);
    assert!(pulled.text().contains("Downloaded newer image"), "{pulled}");
    assert_eq!(pulled.stderr.matches("Already exists").count(), 2, "{pulled}");
    assert_eq!(proxy.blobs(), blobs + 2, "a layer and the config");
}

#[test]
fn all_tags_and_platforms_can_be_had() {
    let env = TestEnv::new();
    let Some((registry, reference)) = filled(&env) else { return };
    for tag in ["2", "3"] {
        env.ok(&["tag", IMAGE, &registry.at(&format!("team/app:{tag}"))]);
        env.ok(&["push", "-q", &registry.at(&format!("team/app:{tag}"))]);
    }
    let other = TestEnv::empty();
    let pulled = other.ok(&["pull", "-a", &registry.at("team/app")]);
    assert_eq!(pulled.stderr.matches(": Pulling from team/app").count(), 3, "{pulled}");
    assert!(pulled.text().ends_with(&registry.at("team/app")), "{pulled}");
    assert_eq!(other.ok(&["images", "-q", &registry.at("team/app")]).text().lines().count(), 1);
    for tag in ["1", "2", "3"] {
        other.ok(&["inspect", &registry.at(&format!("team/app:{tag}"))]);
    }
    other.kiln(["pull", "-a", &reference]).run().fails(2).says(&["--all-tags"]);
}

#[test]
fn a_pull_that_was_interrupted_goes_on_where_it_ended() {
    let env = TestEnv::new();
    let Some((registry, reference)) = filled(&env) else { return };
    let proxy = Proxy::start(&registry.host, |asked| match asked.is_blob() {
        true => Fate::Stall(100_000),
        false => Fate::Honest,
    });
    let other = TestEnv::empty();
    let partial = || {
        let entries = fs::read_dir(other.store().join("partial")).into_iter().flatten().flatten();
        entries.map(|entry| entry.metadata().unwrap().len()).max().unwrap_or(0)
    };
    let stalled = reference.replace(&registry.host, &proxy.host);
    let pulling = other.kiln(["pull", &stalled]).spawn();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while partial() < 100_000 {
        assert!(std::time::Instant::now() < deadline, "nothing comes");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    pulling.signal(rustix::process::Signal::INT);
    drop(pulling.wait());
    assert_eq!(partial(), 100_000, "what has come stays");
    assert_eq!(other.ok(&["images", "-q"]).text(), "");

    let proxy = Proxy::start(&registry.host, |_| Fate::Honest);
    let whole = reference.replace(&registry.host, &proxy.host);
    other.ok(&["pull", &whole]);
    let ranges: Vec<_> =
        proxy.log().iter().filter_map(|asked| asked.headers.get("range").cloned()).collect();
    assert_eq!(ranges, ["bytes=100000-"]);
    assert_eq!(other.ok(&["run", "--rm", &whole]).text(), "pulled");
    assert_eq!(partial(), 0);
}

#[test]
fn what_an_interrupted_pull_left_is_not_believed() {
    let env = TestEnv::new();
    let Some((registry, reference)) = filled(&env) else { return };
    let other = TestEnv::empty();
    let (_, manifest) = registry.manifest("team/app", "1");
    let layers = manifest["layers"].as_array().unwrap();
    // Other bytes, and more of them than there should be.
    fs::create_dir_all(other.store()).unwrap();
    other.ok(&["images"]);
    let partial = other.store().join("partial");
    fs::create_dir(&partial).unwrap();
    for (layer, length) in layers.iter().zip([5000, 50_000_000]) {
        let digest = layer["digest"].as_str().unwrap().replace(':', "-");
        fs::write(partial.join(digest), vec![7; length]).unwrap();
    }
    other.ok(&["pull", &reference]);
    assert_eq!(other.ok(&["run", "--rm", &reference]).text(), "pulled");
}

#[test]
fn two_at_once_download_once() {
    let env = TestEnv::new();
    let Some((registry, reference)) = filled(&env) else { return };
    let proxy = Proxy::start(&registry.host, |asked| {
        // Long enough for both to be there.
        if asked.is_blob() {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        Fate::Honest
    });
    let reference = reference.replace(&registry.host, &proxy.host);
    let other = TestEnv::empty();
    let pulls: Vec<_> = (0..2).map(|_| other.kiln(["pull", &reference]).spawn()).collect();
    for pull in pulls {
        pull.wait().ok();
    }
    let layers = short_blobs(&registry);
    for layer in layers {
        let count = proxy.log().iter().filter(|a| a.is_blob() && a.target.contains(&layer)).count();
        assert_eq!(count, 1, "{layer}");
    }
    assert_eq!(other.ok(&["run", "--rm", &reference]).text(), "pulled");
}

#[test]
fn layers_stand_on_those_below() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let name = registry.at("team/app:1");
    // Links, hard links and directories of which upper layers say nothing: a tar without them, as some builders write it.
    env.build_text(
        "FROM busybox\nRUN mkdir -p /a/b && chmod 700 /a && chown 5:6 /a/b && ln -s /a/b /l && echo x > /a/b/x\n\
         RUN echo y > /l/y\nRUN ln /a/b/x /a/b/z\nRUN rm /a/b/y\n",
    );
    env.ok(&["tag", IMAGE, &name]);
    env.ok(&["push", "-q", &name]);
    let other = TestEnv::empty();
    other.ok(&["pull", &name]);
    let script = "stat -c '%a %u:%g' /a /a/b && cat /l/x /l/z && ls /a/b";
    let run = other.ok(&["run", "--rm", &name, "sh", "-c", script]);
    assert_eq!(run.text(), "700 0:0\n755 5:6\nx\nx\nx\nz");
}

#[test]
fn a_base_is_pulled_by_the_build_that_needs_it() {
    let env = TestEnv::new();
    let Some((_registry, reference)) = filled(&env) else { return };
    let other = TestEnv::empty();
    let context = other.context(&format!("FROM {reference}\nRUN cat /f > /g\n"));
    other.build(&context, &[]);
    assert_eq!(other.sh("cat /g"), "pulled");
    // By now it is here: with the registry gone the same still builds.
    drop(_registry);
    other.build(&context, &[]).has_cached(1);
}

#[test]
fn a_container_pulls_its_image() {
    let env = TestEnv::new();
    let Some((_registry, reference)) = filled(&env) else { return };
    let other = TestEnv::empty();
    let run = other.ok(&["run", "--rm", &reference]);
    assert_eq!(run.text(), "pulled", "only what the command writes is data");
    run.says(&["Unable to find image", "Pull complete", "Downloaded newer image"]);
}

#[test]
fn what_is_not_there_is_named() {
    let env = TestEnv::empty();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let reference = format!("{}/no/such:1", registry.host);
    let output = env.kiln(["pull", &reference]).run().fails(1);
    output.says(&[&reference]).says_not(&["Pulling from"]);
}
