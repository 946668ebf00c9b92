//! `kiln save` and `kiln load`.

use std::fs;

use serde_json::{Value, json};

use crate::support::archive::{Tarball, Tree, gzip, sha256};
use crate::support::env::{IMAGE, TestEnv};

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
