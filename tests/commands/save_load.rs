//! `kiln save` and `kiln load`.

use std::fs;

use serde_json::{Value, json};

use crate::support::archive::{Tarball, Tree, gzip, sha256};
use crate::support::base;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::requires;

#[test]
fn what_is_saved_is_loaded_the_same() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f && chown 5:6 /f && rm -r /home\nENV A=b\nCMD [\"cat\", \"/f\"]\n");
    let tar = env.str("saved.tar");
    env.ok(&["save", "-o", &tar, IMAGE]);

    let other = TestEnv::empty();
    assert_eq!(other.ok(&["load", "-i", &tar]).text(), format!("Loaded image: {IMAGE}"));
    assert_eq!(other.id(IMAGE), env.id(IMAGE));
    assert_eq!(other.ok(&["run", "--rm", IMAGE]).text(), "x");
    assert_eq!(other.tree(&other.context(&format!("FROM {IMAGE}\n")), &[]).owner("f"), "644 5:6");
}

#[test]
fn several_images_share_one_archive() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f\n");
    let tar = env.str("saved.tar");
    env.ok(&["save", "-o", &tar, IMAGE, "busybox"]);
    let manifest: Value = serde_json::from_slice(
        &Tree::of_tar(&fs::read(&tar).unwrap()).entry("manifest.json").content,
    )
    .unwrap();
    let tags: Vec<_> =
        manifest.as_array().unwrap().iter().map(|image| &image["RepoTags"][0]).collect();
    assert_eq!(tags, [IMAGE, "busybox:latest"]);

    let other = TestEnv::empty();
    let loaded = other.ok(&["load", "-i", &tar]).text();
    assert_eq!(loaded, format!("Loaded image: {IMAGE}\nLoaded image: busybox:latest"));
    other.ok(&["run", "--rm", "busybox", "true"]);
}

#[test]
fn saving_twice_gives_the_same_bytes() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f\n");
    let (one, two) = (env.str("1.tar"), env.str("2.tar"));
    env.ok(&["save", "-o", &one, IMAGE]);
    env.ok(&["save", "-o", &two, IMAGE]);
    assert!(fs::read(one).unwrap() == fs::read(two).unwrap());
}

#[test]
fn a_pipe_from_save_to_load() {
    let env = TestEnv::new();
    let saved = env.ok(&["save", "busybox"]).stdout;
    let other = TestEnv::empty();
    other.kiln(["load"]).stdin(saved).run().ok();
    assert_eq!(other.id("busybox"), env.id("busybox"));
}

#[test]
fn the_output_of_a_build_loads() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo x > /f\n");
    for kind in ["oci", "docker"] {
        let tar = env.str(kind);
        env.build(&context, &["-o", &format!("type={kind},dest={tar}")]);
        let other = TestEnv::empty();
        other.ok(&["load", "-i", &tar]);
        assert_eq!(other.ok(&["run", "--rm", IMAGE, "cat", "/f"]).text(), "x", "{kind}");
    }
}

/// The `manifest.json` of an archive.
fn manifest(tar: &[u8]) -> Value {
    serde_json::from_slice(&Tree::of_tar(tar).entry("manifest.json").content).unwrap()
}

#[test]
fn a_repository_stands_for_its_tags_and_an_id_for_none() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f\n");
    env.ok(&["tag", IMAGE, "app:1"]);
    env.ok(&["tag", IMAGE, "app:2"]);
    env.ok(&["tag", "busybox", "app:base"]);
    let names = |args: &[&str]| {
        let saved = env.ok(&[&["save"], args].concat()).stdout;
        let all: Vec<Value> =
            manifest(&saved).as_array().unwrap().iter().map(|i| i["RepoTags"].clone()).collect();
        Value::from(all)
    };
    // One image is there once, with all the names that were asked for.
    assert_eq!(names(&["app"]), json!([["app:1", "app:2"], ["app:base"]]));
    assert_eq!(
        names(&["app:2", "busybox", "app:1"]),
        json!([["app:2", "app:1"], ["busybox:latest"]])
    );
    let id = env.id(IMAGE);
    assert_eq!(names(&[&id["sha256:".len()..][..12]]), json!([null]));

    let saved = env.ok(&["save", &id]).stdout;
    let other = TestEnv::empty();
    let loaded = other.kiln(["load"]).stdin(saved).run().ok().text();
    assert_eq!(loaded, format!("Loaded image ID: {id}"));
    assert_eq!(other.ok(&["run", "--rm", &id, "cat", "/f"]).text(), "x");
}

#[test]
fn a_step_can_be_saved() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f\nRUN echo y > /g\n");
    let step = env.inspect(IMAGE)["Parent"].as_str().unwrap().to_owned();
    let saved = env.ok(&["save", &step]).stdout;
    let other = TestEnv::empty();
    let loaded = other.kiln(["load"]).stdin(saved).run().ok().text();
    assert_eq!(loaded, format!("Loaded image ID: {step}"));
    assert_eq!(other.ok(&["run", "--rm", &step, "ls", "/f"]).text(), "/f");
    other.kiln(["run", "--rm", &step, "ls", "/g"]).run().fails(1);
}

#[test]
fn a_name_moves_to_the_image_that_is_loaded() {
    let env = TestEnv::new();
    let tar = env.str("saved.tar");
    env.build_text("FROM busybox\nRUN echo 1 > /f\n");
    let first = env.id(IMAGE);
    env.ok(&["save", "-o", &tar, IMAGE]);
    assert_eq!(env.ok(&["load", "-i", &tar]).text(), format!("Loaded image: {IMAGE}"));
    env.build_text("FROM busybox\nRUN echo 2 > /f\n");
    let second = env.id(IMAGE);
    let text = env.ok(&["load", "-q", "-i", &tar]).text();
    assert_eq!(
        text,
        format!(
            "The image {IMAGE} already exists, renaming the old one with ID {second} to empty string\nLoaded image: {IMAGE}"
        )
    );
    assert_eq!(env.id(IMAGE), first);
    assert_eq!(env.ok(&["images", "-q", "--no-trunc", "-f", "dangling=true"]).text(), second);
}

#[test]
fn an_archive_that_is_cut_off_or_compressed() {
    let env = TestEnv::new();
    let saved = env.ok(&["save", "busybox"]).stdout;
    let other = TestEnv::empty();
    for length in [10_000, saved.len() / 2] {
        let cut = &saved[..length];
        other.kiln(["load"]).stdin(cut).run().fails(1).says(&["standard input", "cut off"]);
    }
    assert_eq!(other.ok(&["images", "-aq"]).text(), "");
    let tar = other.path("saved.tar.gz");
    fs::write(&tar, gzip(&saved)).unwrap();
    other.ok(&["load", "-i", tar.to_str().unwrap()]);
    assert_eq!(other.id("busybox"), env.id("busybox"));
    if requires::program("zstd") {
        let mut zstd = std::process::Command::new("zstd");
        let plain = other.path("saved.tar");
        fs::write(&plain, &saved).unwrap();
        assert!(zstd.args(["-q", "-f"]).arg(&plain).status().unwrap().success());
        let last = TestEnv::empty();
        last.ok(&["load", "-i", other.path("saved.tar.zst").to_str().unwrap()]);
        assert_eq!(last.id("busybox"), env.id("busybox"));
    }
}

#[test]
fn where_nothing_can_be_written() {
    let env = TestEnv::new();
    let nowhere = env.str("none/x.tar");
    let output = env.kiln(["save", "-o", &nowhere, "busybox"]).run().fails(1);
    output.says(&["invalid output path", "does not exist"]);
    env.kiln(["save", "-o", env.path("").to_str().unwrap(), "busybox"])
        .run()
        .fails(1)
        .says(&["directory"]);
    if requires::program("script") {
        let mut script = std::process::Command::new("script");
        let kiln =
            format!("{} --root {} save busybox", base::kiln().display(), env.store().display());
        let output = script.args(["-qec", &kiln, "/dev/null"]).output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("cowardly refusing to save to a terminal"), "{text}");
    }
}

/// Runs skopeo, which must succeed.
fn skopeo(args: &[&str]) -> Vec<u8> {
    let mut command = std::process::Command::new("skopeo");
    let output = command.arg("--insecure-policy").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn what_skopeo_reads_and_writes() {
    if !requires::program("skopeo") {
        return;
    }
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f && chown 5:6 /f\nCMD [\"cat\", \"/f\"]\n");
    let (tar, id) = (env.str("saved.tar"), env.id(IMAGE));
    env.ok(&["save", "-o", &tar, IMAGE]);
    let from = format!("docker-archive:{tar}:{IMAGE}");
    let read: Value = serde_json::from_slice(&skopeo(&["inspect", "--config", &from])).unwrap();
    assert_eq!(read["config"]["Cmd"], json!(["cat", "/f"]));
    skopeo(&["inspect", &format!("oci-archive:{tar}:latest")]);

    for (kind, name, loads) in [
        ("docker-archive", ":example.com/other:2", Some("example.com/other:2")),
        ("oci-archive", ":example.com/other:3", Some("example.com/other:3")),
        ("oci", ":example.com/other:4", Some("example.com/other:4")),
        ("dir", "", None),
    ] {
        let path = env.str(kind);
        skopeo(&["copy", &from, &format!("{kind}:{path}{name}")]);
        let other = TestEnv::empty();
        let text = other.ok(&["load", "-i", &path]).text();
        let loaded = match loads {
            Some(name) => {
                assert_eq!(text, format!("Loaded image: {name}"), "{kind}");
                name
            }
            // Without a name, but with the config as it was.
            None => text.strip_prefix("Loaded image ID: ").unwrap(),
        };
        assert_eq!(other.ok(&["run", "--rm", loaded]).text(), "x", "{kind}");
        // An OCI layout has a config of its own; Docker's archive and a directory have the same.
        assert!(kind.starts_with("oci") || other.id(loaded) == id, "{kind}");
    }
}

#[test]
fn layers_in_a_docker_archive_may_be_links() {
    let env = TestEnv::empty();
    let layer = Tarball::new().file("f", "linked\n").finish();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [sha256(&layer), sha256(&layer)]},
    })
    .to_string();
    // As Docker writes a layer that is there twice.
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": ["linked:1"],
        "Layers": ["one/layer.tar", "two/layer.tar"],
    }])
    .to_string();
    let tar = Tarball::new()
        .file("config.json", config)
        .file("one/layer.tar", &layer)
        .symlink("two/layer.tar", "../one/layer.tar")
        .file("manifest.json", manifest)
        .finish();
    env.kiln(["load"]).stdin(tar).run().ok();
    assert_eq!(env.inspect("linked:1")["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    assert_eq!(env.tree(&env.context("FROM linked:1\n"), &[]).text("f"), "linked\n");
}

/// An OCI layout as other tools write it: an index, a manifest, a configuration and one compressed layer.
fn foreign_layout(layer: &[u8], break_blob: bool) -> Vec<u8> {
    let packed = gzip(layer);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "FOREIGN=1"], "Cmd": ["/f"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]},
    })
    .to_string();
    let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": sha256(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config.as_bytes()),
        "layers": [descriptor("layer.v1.tar+gzip", &packed)],
    })
    .to_string();
    let mut entry = descriptor("manifest.v1+json", manifest.as_bytes());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "foreign:7"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();

    let stored = if break_blob { gzip(b"something else") } else { packed.clone() };
    let place = |bytes: &[u8]| format!("blobs/{}", sha256(bytes).replace(':', "/"));
    Tarball::new()
        .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index)
        .file(&place(manifest.as_bytes()), &manifest)
        .file(&place(config.as_bytes()), &config)
        .file(&place(&packed), stored)
        .finish()
}

#[test]
fn an_oci_layout_of_another_tool() {
    let env = TestEnv::empty();
    let layer = Tarball::new().owned_file("f", "foreign\n", 0o755, 9, 9).finish();
    let tar = env.path("foreign.tar");
    fs::write(&tar, foreign_layout(&layer, false)).unwrap();
    env.ok(&["load", "-i", tar.to_str().unwrap()]);
    assert_eq!(env.inspect("foreign:7")["Config"]["Env"], json!(["PATH=/bin", "FOREIGN=1"]));
    assert_eq!(env.tree(&env.context("FROM foreign:7\n"), &[]).owner("f"), "755 9:9");
}

#[test]
fn a_blob_that_is_not_what_its_digest_says() {
    let env = TestEnv::empty();
    let layer = Tarball::new().file("f", "foreign\n").finish();
    let tar = env.path("foreign.tar");
    fs::write(&tar, foreign_layout(&layer, true)).unwrap();
    env.kiln(["load", "-i", tar.to_str().unwrap()]).run().fails(1);
    assert_eq!(env.ok(&["images", "-q"]).text(), "");
}

#[test]
fn what_is_missing_or_no_archive() {
    let env = TestEnv::new();
    env.kiln(["load", "-i", &env.str("missing.tar")]).run().fails(1).says(&["missing.tar"]);
    env.kiln(["load"]).stdin("garbage\n").run().fails(1);
    env.kiln(["save", "-o", &env.str("x.tar"), "none"]).run().fails(1).says(&["none"]);
    assert!(!env.path("x.tar").exists(), "nothing half-made is left");
}
