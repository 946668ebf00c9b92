//! `kiln push` and `kiln build --push`, to a real registry on loopback.

use serde_json::Value;

use crate::support::env::{IMAGE, TestEnv};
use crate::support::registry::Registry;

/// Two layers on the base.
const DOCKERFILE: &str = "FROM busybox\nRUN echo one > /f && chown 7:8 /f && rm -r /home\n\
    RUN echo two > /g\nCMD [\"cat\", \"/f\"]\n";

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A store with [`IMAGE`], and an empty registry.
fn filled() -> Option<(TestEnv, Registry)> {
    let env = TestEnv::new();
    let registry = Registry::start(&env.path(""))?;
    env.build_text(DOCKERFILE);
    Some((env, registry))
}

/// The first twelve digits of the layers of [`IMAGE`], the top one first.
fn short_layers(env: &TestEnv) -> Vec<String> {
    let layers = env.inspect(IMAGE)["RootFS"]["Layers"].as_array().unwrap().clone();
    let short = |layer: &Value| layer.as_str().unwrap()["sha256:".len()..][..12].to_owned();
    layers.iter().rev().map(short).collect()
}

/// The lines that say this of a layer, in the order of the layers' names.
fn lines_with(output: &str, words: &str) -> Vec<String> {
    let mut lines: Vec<_> =
        output.lines().filter_map(|line| line.strip_suffix(words)).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_pushed_image_is_told_about_as_docker_does() {
    let Some((env, registry)) = filled() else { return };
    let name = registry.at("team/app:1");
    env.ok(&["tag", IMAGE, &name]);
    let layers = short_layers(&env);
    let first = env.ok(&["push", &name]);
    let lines: Vec<_> = first.stderr.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{}]", registry.at("team/app")));
    let prepared: Vec<_> = layers.iter().map(|layer| format!("{layer}: Preparing")).collect();
    assert_eq!(lines[1..4], prepared);
    let mut sorted = layers.clone();
    sorted.sort();
    assert_eq!(lines_with(&first.stderr, ": Pushed"), sorted);

    let (digest, manifest) = registry.manifest("team/app", "1");
    assert_eq!(manifest["mediaType"], DOCKER_MANIFEST);
    let (_, bytes) = registry.get("/v2/team/app/manifests/1");
    assert_eq!(first.text(), format!("1: digest: {digest} size: {}", bytes.len()));

    let second = env.ok(&["push", &name]);
    assert_eq!(lines_with(&second.stderr, ": Layer already exists"), sorted);
    assert_eq!(second.text(), first.text());

    let other = registry.at("other/app:1");
    env.ok(&["tag", IMAGE, &other]);
    let mounted = env.ok(&["push", &other]);
    assert_eq!(lines_with(&mounted.stderr, ": Mounted from team/app"), sorted);
    assert_eq!(mounted.text(), first.text());

    let quiet = env.ok(&["push", "-q", &name]);
    assert_eq!((quiet.text(), quiet.stderr.as_str()), (name, ""));
}

#[test]
fn all_tags_of_a_repository_are_pushed() {
    let Some((env, registry)) = filled() else { return };
    for tag in ["1", "2", "latest"] {
        env.ok(&["tag", IMAGE, &registry.at(&format!("team/app:{tag}"))]);
    }
    env.ok(&["tag", IMAGE, &registry.at("team/apple:3")]);
    let pushed = env.ok(&["push", "-a", &registry.at("team/app")]);
    assert_eq!(pushed.text().lines().count(), 3, "{pushed}");
    assert_eq!(pushed.stderr.matches("The push refers to repository").count(), 1, "{pushed}");
    assert_eq!(registry.tags("team/app"), ["1", "2", "latest"]);
    env.kiln(["push", "-a", &registry.at("team/app:1")]).run().fails(2).says(&["tag"]);
    env.kiln(["push", "-a", &registry.at("team/none")]).run().fails(1).says(&["team/none"]);
}

#[test]
fn what_was_pushed_is_pulled_by_another_store() {
    let Some((env, registry)) = filled() else { return };
    let name = registry.at("team/app:1");
    env.ok(&["tag", IMAGE, &name]);
    env.ok(&["push", &name]);
    let other = TestEnv::empty();
    other.ok(&["pull", &name]);
    assert_eq!(other.id(&name), env.id(IMAGE));
    assert_eq!(other.ok(&["run", "--rm", &name]).text(), "one");

    // Pushed on from there, it is the same to the last byte.
    let on = registry.at("third/app:1");
    other.ok(&["tag", &name, &on]);
    other.ok(&["push", &on]);
    assert_eq!(registry.get("/v2/third/app/manifests/1"), registry.get("/v2/team/app/manifests/1"));
}

#[test]
fn an_image_of_an_archive_is_compressed() {
    let Some((env, registry)) = filled() else { return };
    let (archive, name) = (env.str("image.tar"), registry.at("team/app:1"));
    env.ok(&["save", "-o", &archive, IMAGE]);
    let other = TestEnv::empty();
    other.ok(&["load", "-i", &archive]);
    other.ok(&["tag", IMAGE, &name]);
    other.ok(&["push", &name]);
    let (_, manifest) = registry.manifest("team/app", "1");
    for layer in manifest["layers"].as_array().unwrap() {
        let (_, blob) =
            registry.get(&format!("/v2/team/app/blobs/{}", layer["digest"].as_str().unwrap()));
        assert_eq!(blob[..2], [0x1f, 0x8b], "gzip: {layer}");
    }
}

#[test]
fn a_build_pushes_what_it_made() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let context = env.context(DOCKERFILE);
    let tags = ["team/app:1", "team/app:2"].map(|tag| registry.at(tag));
    env.kiln(["build", "--push", "-t", &tags[0], "-t", &tags[1]]).args([context.path()]).run().ok();
    assert_eq!(registry.tags("team/app"), ["1", "2"]);
    let name = format!("type=image,push=true,name={}", registry.at("team/named:1"));
    env.kiln(["build", "-q", "-o", &name]).args([context.path()]).run().ok();
    assert_eq!(registry.tags("team/named"), ["1"]);

    let output = format!(
        "type=registry,name={},oci-mediatypes=true,annotation.some.key=value",
        registry.at("team/oci:1")
    );
    env.kiln(["build", "-q", "-o", &output]).args([context.path()]).run().ok();
    let (_, manifest) = registry.manifest("team/oci", "1");
    assert_eq!(manifest["mediaType"], OCI_MANIFEST);
    assert_eq!(manifest["annotations"]["some.key"], "value");
    // What was asked for one push does not stay with the image.
    let (first, _) = registry.manifest("team/app", "1");
    env.ok(&["push", &registry.at("team/oci:1")]);
    assert_eq!(registry.manifest("team/oci", "1").0, first);

    let output = format!("type=registry,name={},push-by-digest=true", registry.at("team/bare"));
    let pushed = env.kiln(["build", "-o", &output]).args([context.path()]).run().ok();
    assert_eq!(
        pushed.text().lines().next(),
        Some(&*format!(
            "digest: {first} size: {}",
            registry.get(&format!("/v2/team/bare/manifests/{first}")).1.len()
        ))
    );
}

#[test]
fn a_push_without_a_name_is_refused_before_the_build() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo ran\n");
    let output = env.kiln(["build", "--push"]).args([context.path()]).run().fails(2);
    output.says(&["--tag"]).says_not(&["ran"]);
}

#[test]
fn what_cannot_be_pushed_is_told() {
    let Some((env, registry)) = filled() else { return };
    let absent = registry.at("team/none:1");
    env.kiln(["push", &absent]).run().fails(1).says(&[&absent, "not in the store"]);
    let digest = format!("{}@sha256:{}", registry.at("team/app"), "0".repeat(64));
    env.kiln(["push", &digest]).run().fails(2).says(&["digest"]);
    let name = registry.at("team/app:1");
    env.ok(&["tag", IMAGE, &name]);
    let host = registry.host.clone();
    drop(registry);
    env.kiln(["push", &name]).run().fails(1).says(&["cannot reach", &host, "refused"]);
}

#[test]
fn an_image_that_others_cannot_pull_is_warned_of() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let steps: String = (0..127).map(|n| format!("COPY <<EOF /f{n}\n{n}\nEOF\n")).collect();
    let name = registry.at("team/app:1");
    let context = env.context(&format!("FROM busybox\n{steps}"));
    let pushed = env.kiln(["build", "--push", "-t", &name]).args([context.path()]).run().ok();
    pushed.says(&["128 layers", "127"]);
    let other = TestEnv::empty();
    other.ok(&["pull", &name]);
    assert_eq!(other.ok(&["run", "--rm", &name, "cat", "/f126"]).text(), "126");
}
