//! Images that fit together and lead somewhere else all the same: to addresses, to bytes beside the blobs, to another system,
//! to more files than anybody wants, into each other while they are unpacked.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::archive::{Tarball, gzip, sha256};
use crate::support::crafted::{Crafted, small_layer};
use crate::support::env::{IMAGE, TestEnv};
use crate::support::proxy::{Fate, Proxy};
use crate::support::registry::Registry;
use crate::support::web::{Page, Site};

const NAME: &str = "org.opencontainers.image.ref.name";

/// Where a layer of another kind says that its bytes are.
fn foreign(mut layer: Value, url: &str) -> Value {
    layer["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    layer["urls"] = json!([url, "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"]);
    layer
}

#[test]
fn addresses_in_a_layout_are_not_asked() {
    let site = Site::start();
    let tar = small_layer("f");
    site.page("/layer", Page::new(&tar));
    let url = format!("{}/layer", site.url);
    for is_there in [true, false] {
        let env = TestEnv::empty();
        let layout = Crafted::create(env.path("layout"));
        let layer = foreign(layout.layer(&tar), &url);
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(&tar)]}});
        let config = layout.config(&config.to_string());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        layout.list(&[layout.manifest(&manifest.to_string())]);
        if !is_there {
            fs::remove_file(layout.path().join("blobs").join(sha256(&tar).replace(':', "/")))
                .unwrap();
        }
        let output = env.kiln(["load", "-i"]).args([layout.path()]).run();
        if is_there {
            output.ok();
        } else {
            output.fails(1).says(&["is missing", &sha256(&tar)[7..]]);
            assert_eq!(env.ok(&["images", "-aq"]).text(), "");
        }
    }
    assert_eq!(site.requests().len(), 0);
}

#[test]
fn addresses_in_a_registrys_manifest_are_not_asked() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let name = registry.at("team/app:1");
    env.build_text("FROM busybox\nRUN echo in > /f\n");
    env.ok(&["tag", IMAGE, &name]);
    env.ok(&["push", "-q", &name]);
    let site = Site::start();
    let (_, mut manifest) = registry.manifest("team/app", "1");
    for layer in manifest["layers"].as_array_mut().unwrap() {
        let digest = layer["digest"].as_str().unwrap().to_owned();
        let (_, blob) = registry.get(&format!("/v2/team/app/blobs/{digest}"));
        site.page(&format!("/{digest}"), Page::new(blob));
        *layer = foreign(layer.clone(), &format!("{}/{digest}", site.url));
    }
    let kind = manifest["mediaType"].as_str().unwrap().to_owned();
    let text = manifest.to_string();
    for has_blobs in [true, false] {
        let (kind, text) = (kind.clone(), text.clone());
        let proxy = Proxy::start(&registry.host, move |asked| {
            if asked.target.contains("/manifests/") {
                return Fate::Instead(
                    200,
                    vec![("Content-Type".into(), kind.clone())],
                    text.clone(),
                );
            }
            if asked.is_blob() && !has_blobs { Fate::status(404) } else { Fate::Honest }
        });
        let other = TestEnv::empty();
        let name = proxy.at("team/app:1");
        let output = other.kiln(["pull", &name]).run();
        if has_blobs {
            output.ok();
            assert_eq!(other.ok(&["run", "--rm", &name, "cat", "/f"]).text(), "in");
        } else {
            output.fails(1).says(&["error: "]);
            assert_eq!(other.ok(&["images", "-q"]).text(), "");
        }
        assert!(proxy.log().iter().any(|asked| asked.target.contains("/blobs/")));
    }
    assert_eq!(site.requests().len(), 0);
}

/// A descriptor may have its bytes in it (`data`). Ours come by their digest, whatever stands there.
#[test]
fn bytes_beside_a_digest_count_for_nothing() {
    let tar = small_layer("f");
    // Of something else, of the very bytes, and what is no base64.
    for data in ["aGVsbG8=", "e30=", "*", ""] {
        for is_there in [true, false] {
            let env = TestEnv::empty();
            let layout = Crafted::create(env.path("layout"));
            let beside = |mut descriptor: Value| {
                descriptor["data"] = json!(data);
                descriptor
            };
            let layer = beside(layout.layer(&tar));
            let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(&tar)]}});
            let config = beside(layout.config(&config.to_string()));
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
            let mut image = beside(layout.manifest(&manifest.to_string()));
            image["annotations"] = json!({NAME: "crafted:1"});
            layout.list(&[image.clone()]);
            if !is_there {
                let digest = image["digest"].as_str().unwrap().replace(':', "/");
                fs::remove_file(layout.path().join("blobs").join(digest)).unwrap();
            }
            let output = env.kiln(["load", "-i"]).args([layout.path()]).run();
            if !is_there {
                output.fails(1).says(&["is missing"]);
                continue;
            }
            output.ok();
            let context = env.context("FROM scratch\nCOPY --from=crafted:1 / /\n");
            assert_eq!(env.tree(&context, &[]).text("f"), "f", "{data}");
        }
    }
}

#[test]
fn an_image_of_another_system_is_kept_and_not_run() {
    let env = TestEnv::new();
    for (os, architecture) in [("windows", "amd64"), ("linux", "s390x"), ("plan9", "mips")] {
        let layout = Crafted::create(env.path(os));
        let mut image = layout.image(&[small_layer("f")], |config| {
            config["os"] = json!(os);
            config["architecture"] = json!(architecture);
        });
        image["annotations"] = json!({NAME: "other:1"});
        layout.list(&[image]);
        env.ok(&["load", "-i", layout.path().to_str().unwrap()]);
        assert_eq!(env.inspect("other:1")["Os"], os);
        let platform = format!("{os}/{architecture}");
        env.kiln(["run", "--rm", "other:1", "/f"]).run().says(&["error: ", &platform]);
        let context = env.context("FROM other:1\nRUN /f\n");
        env.build_fails(&context, &[]).says(&[&platform]);
        let context = env.context("FROM scratch\nCOPY --from=other:1 /f /g\n");
        env.build_fails(&context, &["--offline"]).says(&[&platform]);
        env.ok(&["rmi", "-f", "other:1"]);
    }
}

/// 200,000 files are fewer than honest images have, and so they are taken; who wants less has less.
#[test]
fn a_bomb_of_files_goes_off_at_the_limit() {
    let env = TestEnv::empty();
    let layout = Crafted::create(env.path("layout"));
    let many = (0..200_000).fold(Tarball::new(), |tar, n| tar.file(&format!("f/{n}"), "")).finish();
    let compressed = gzip(&many);
    assert!(many.len() / compressed.len() > 20, "{} bytes", compressed.len());
    let layer = layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", &compressed);
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(&many)]}});
    let config = layout.config(&config.to_string());
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    layout.list(&[layout.manifest(&manifest.to_string())]);
    let path = layout.path().to_str().unwrap();
    let began = Instant::now();
    let output = env.kiln(["load", "--max=layer-entries=5k", "-i", path]).run().fails(1);
    output.says(&["more than 5120 entries", "--max layer-entries="]);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(env.ownerless().is_empty(), "what was unpacked by then is removed");
    assert_eq!(env.ok(&["images", "-aq"]).text(), "");
    let left = env.files_of_store().len();
    assert!(left < 50, "{left} files are left");
}

/// Several processes unpack layers at once in which a directory becomes a link out and a directory again: each layer has a
/// directory of its own, and no other's links count.
#[test]
fn layers_that_are_unpacked_at_once_do_not_meet() {
    let env = TestEnv::empty();
    let victim = env.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("f"), "TOKEN-44aa").unwrap();
    let victim_path = victim.to_str().unwrap();
    let layout = |name: &str, odd: fn(usize) -> bool| {
        let layout = Crafted::create(env.path(name));
        let layers: Vec<_> = (0..24)
            .map(|number| {
                let tar = Tarball::new();
                let tar = match number {
                    n if odd(n) => tar.symlink("d", victim_path),
                    // A directory once more, in the place of the link.
                    n => tar.dir("d", 0o755).file("d/f", format!("{name}{n}")),
                };
                tar.file(&format!("{name}-{number}"), "x".repeat(50_000)).finish()
            })
            .collect();
        let mut image = layout.image(&layers, |_| {});
        image["annotations"] = json!({NAME: format!("{name}:1")});
        layout.list(&[image]);
        layout
    };
    let switching = layout("switching", |number| number % 2 == 0);
    let steady = layout("steady", |_| false);
    for _ in 0..3 {
        let loads: Vec<_> = [&switching, &steady, &switching, &steady]
            .map(|layout| env.kiln(["load", "-i"]).args([layout.path()]).spawn())
            .into_iter()
            .collect();
        for load in loads {
            load.wait().ok();
        }
        for name in ["switching", "steady"] {
            let context = env.context(&format!("FROM scratch\nCOPY --from={name}:1 / /\n"));
            let tree = env.tree(&context, &["--no-cache"]);
            assert_eq!(tree.text("d/f"), format!("{name}23"));
            assert_eq!(tree.names("d"), ["f"]);
        }
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(victim.join("f")).unwrap(), "TOKEN-44aa");
        env.ok(&["fsck"]);
        env.ok(&["rmi", "switching:1", "steady:1"]);
        env.ok(&["system", "prune", "-af"]);
    }
}
