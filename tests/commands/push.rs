//! `kiln push` and `kiln build --push`, to a real registry on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

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

/// A layer that is sent while it is being compressed, and its blob's digest.
fn large(env: &TestEnv, registry: &Registry, name: &str) -> String {
    let context = env.context("FROM scratch\nCOPY large /\n");
    // Text that compresses somewhat, and differently all along.
    let line = |n: u32| format!("{:x} line {n}\n", n.wrapping_mul(2_654_435_761));
    context.write("large", (0..800_000).map(line).collect::<String>());
    env.build(&context, &["-t", &registry.at(name)]);
    env.ok(&["push", &registry.at(name)]);
    let (repository, tag) = name.split_once(':').unwrap();
    let (_, manifest) = registry.manifest(repository, tag);
    manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_layer_that_is_compressed_while_it_is_sent_is_right() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let digest = large(&env, &registry, "team/app:1");
    let hex = digest.strip_prefix("sha256:").unwrap();
    let (_, blob) = registry.get(&format!("/v2/team/app/blobs/{digest}"));
    let kept = || env.files_of_store().into_iter().find(|file| file.ends_with(hex));
    assert!(fs::read(kept().expect("it stays for the next push")).unwrap() == blob);
    let name = registry.at("team/app:1");
    let other = TestEnv::empty();
    other.ok(&["pull", &name]);
    assert_eq!(other.id(&name), env.id(&name));

    // What it was called is remembered: without the blob it is not compressed to be asked for.
    fs::remove_file(kept().unwrap()).unwrap();
    env.ok(&["push", &name]).says(&["Layer already exists"]);
    env.ok(&["tag", &name, &registry.at("team/copy:1")]);
    env.ok(&["push", &registry.at("team/copy:1")]).says(&["Mounted from team/app"]);
    assert_eq!(kept(), None);
    // But for a registry that has not got it, it is made again.
    let path = env.path("elsewhere");
    fs::create_dir(&path).unwrap();
    let Some(elsewhere) = Registry::start(&path) else { return };
    env.ok(&["tag", &name, &elsewhere.at("team/app:1")]);
    env.ok(&["push", &elsewhere.at("team/app:1")]).says(&["Pushed"]);
    assert!(elsewhere.get(&format!("/v2/team/app/blobs/{digest}")).1 == blob);
}

#[test]
fn a_push_that_fails_half_way_leaves_nothing_half_made() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let name = registry.at("team/app:1");
    let digest = large(&env, &registry, "team/app:1");
    let host = registry.host.clone();
    drop(registry);
    let is_blob = |file: &PathBuf| file.ends_with(digest.strip_prefix("sha256:").unwrap());
    fs::remove_file(env.files_of_store().iter().find(|file| is_blob(file)).unwrap()).unwrap();
    // Takes uploads, and closes the connection on what is sent.
    let listener = TcpListener::bind(&host).unwrap();
    let serving = thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut request = String::new();
            while reader.read_line(&mut request).is_ok_and(|length| length > 2) {}
            let answer = match request.split(' ').next() {
                Some("POST") => "202 A\r\nLocation: /v2/team/app/blobs/uploads/1",
                Some("HEAD" | "GET") => "404 N",
                Some("END") => return,
                _ => continue,
            };
            let answer =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            // A client that has gone has had enough.
            let _ = reader.into_inner().write_all(answer.as_bytes());
        }
    });
    env.kiln(["push", &name]).run().fails(1).says(&[&host]);
    TcpStream::connect(&host).unwrap().write_all(b"END /\r\n\r\n").unwrap();
    serving.join().unwrap();
    // The blob, complete, or nothing. What was written before in other files may be made durable meanwhile.
    let mut files = env.files_of_store();
    files.retain(|file| file.file_name().unwrap().to_string_lossy().starts_with("blob-"));
    assert!(files.is_empty(), "{files:?}");
    let Some(registry) = Registry::start(&env.path("")) else { return };
    env.ok(&["tag", &name, &registry.at("team/app:2")]);
    env.ok(&["push", &registry.at("team/app:2")]);
    env.ok(&["fsck"]);
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
