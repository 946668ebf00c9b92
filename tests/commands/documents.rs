//! Manifests, indexes and configs that somebody made to do harm: refused by name with nothing left behind, or harmless.
//! Layers are tested beside their code, registries in `hostile`.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::archive::{Tarball, gzip, sha256};
use crate::support::crafted::{Crafted, small_layer};
use crate::support::env::TestEnv;
use crate::support::process::processor_time;

/// Tries to load a layout: refused with a reason, soon, and nothing is there then.
#[track_caller]
fn refused(case: &str, says: &str, craft: impl FnOnce(&Crafted)) {
    let env = TestEnv::empty();
    let layout = Crafted::create(env.path("layout"));
    craft(&layout);
    let began = processor_time();
    let output = env.kiln(["load", "-i"]).args([layout.path()]).run().fails(1);
    let took = processor_time() - began;
    assert!(took < Duration::from_secs(30), "{case} took {took:?}");
    assert!(output.stderr.contains(says), "{case}: should say `{says}`:\n{output}");
    assert!(output.stderr.len() < 4096, "{case}: says too much:\n{output}");
    let is_plain = |c: char| !c.is_control() || c == '\n';
    assert!(output.stderr.chars().all(is_plain), "{case}: {output}");
    assert_eq!(env.ok(&["images", "-aq"]).text(), "", "{case}");
}

/// Loads an image whose config was changed.
fn loaded(change: impl FnOnce(&mut Value)) -> TestEnv {
    let env = TestEnv::new();
    let layout = Crafted::create(env.path("layout"));
    let mut image = layout.image(&[small_layer("f")], change);
    image["annotations"] = json!({"org.opencontainers.image.ref.name": "crafted:1"});
    layout.list(&[image]);
    env.ok(&["load", "-i", layout.path().to_str().unwrap()]);
    env
}

const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn documents_are_of_a_size() {
    refused("a large index", "index.json` has more than 4194304 bytes", |layout| {
        layout.write("index.json", &" ".repeat(5 << 20));
    });
    refused("a large manifest", "has more than 4194304 bytes", |layout| {
        let manifest = layout.manifest(&" ".repeat(5 << 20));
        layout.list(&[manifest]);
    });
    refused("a large config", "has more than 4194304 bytes", |layout| {
        let history = vec![json!({"created_by": "x".repeat(1000)}); 5000];
        let image = layout.image(&[small_layer("f")], |config| config["history"] = json!(history));
        layout.list(&[image]);
    });
    refused("many images", "has more than 1000 manifests", |layout| {
        let image = layout.image(&[small_layer("f")], |_| {});
        layout.list(&vec![image; 10_000]);
    });
    refused("many layers", "has more than 1000 layers", |layout| {
        let layers = vec![small_layer("f"); 1001];
        layout.list(&[layout.image(&layers, |_| {})]);
    });
    for nest in ["[", "{\"a\":"] {
        refused("deep JSON", "index", |layout| layout.write("index.json", &nest.repeat(100_000)));
    }
}

#[test]
fn a_document_is_one_thing() {
    let descriptor = json!({"mediaType": "x", "digest": EMPTY, "size": 0});
    let both = json!({
        "schemaVersion": 2, "config": descriptor, "layers": [], "manifests": [],
    });
    for (case, text) in [
        ("both", both.to_string()),
        (
            "of schema 1",
            json!({"schemaVersion": 1, "fsLayers": [], "config": descriptor}).to_string(),
        ),
        ("an index", json!({"schemaVersion": 2, "manifests": []}).to_string()),
        ("said twice", both.to_string().replace("\"manifests\":[]", "\"layers\":[]")),
        ("null", "null".to_owned()),
        ("a list", "[]".to_owned()),
        ("nothing", "{}".to_owned()),
        ("empty", String::new()),
        ("UTF-16", "\u{feff}{}".to_owned()),
    ] {
        refused(case, "manifest", |layout| {
            let manifest = layout.manifest(&text);
            layout.list(&[manifest]);
        });
        refused(case, "index", |layout| {
            let text = if case == "an index" { both.to_string() } else { text.clone() };
            let index = layout.index(&text);
            layout.list(&[index]);
        });
    }
}

#[test]
fn descriptors_say_what_they_mean() {
    for digest in [
        "sha256:../../../../etc/passwd",
        "",
        "sha256:",
        &EMPTY[..EMPTY.len() - 1],
        &EMPTY.to_uppercase().replace("SHA", "sha"),
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        &format!("{EMPTY}\n"),
        &format!("sha512:{}", &EMPTY[7..]),
    ] {
        refused(digest, "digest", |layout| {
            layout.list(&[json!({"mediaType": "x", "digest": digest, "size": 0})]);
        });
        refused(digest, "digest", |layout| {
            let config = layout.config("{}");
            let layer = json!({"mediaType": "x", "digest": digest, "size": 0});
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
            layout.list(&[layout.manifest(&manifest.to_string())]);
        });
    }
    for size in ["-1", "18446744073709551616", "1e400", "\"1\"", "1.5", "null"] {
        refused(size, "index", |layout| {
            let text = json!({"schemaVersion": 2, "manifests": [{"digest": EMPTY, "size": 77}]});
            layout.write("index.json", &text.to_string().replace("77", size));
        });
    }
    // The right bytes under another size, other bytes under the right one.
    for (case, size) in [("shorter", 1), ("longer", 100_000), ("none", 0)] {
        refused(case, "is not what its digest and size say", |layout| {
            let mut image = layout.image(&[small_layer("f")], |_| {});
            image["size"] = json!(size);
            layout.list(&[image]);
        });
    }
    refused("other bytes", "digest", |layout| {
        let image = layout.image(&[small_layer("f")], |_| {});
        let path = image["digest"].as_str().unwrap().replace(':', "/");
        let text = fs::read_to_string(layout.path().join("blobs").join(&path)).unwrap();
        layout.write(&format!("blobs/{path}"), &text.replace("\"size\":", "\"size\" "));
        layout.list(&[image]);
    });
}

#[test]
fn layers_are_those_of_the_config() {
    refused("another layer", "is not the layer", |layout| {
        let image = layout.image(&[small_layer("f")], |config| {
            config["rootfs"]["diff_ids"] = json!([EMPTY]);
        });
        layout.list(&[image]);
    });
    refused("one too many", "its config names 2 layers, its manifest 1", |layout| {
        let image = layout.image(&[small_layer("f")], |config| {
            config["rootfs"]["diff_ids"] = json!([sha256(&small_layer("f")), EMPTY]);
        });
        layout.list(&[image]);
    });
    for change in [json!(null), json!({"type": "layers"})] {
        refused("none", "its config names 0 layers", |layout| {
            let image =
                layout.image(&[small_layer("f")], |config| config["rootfs"] = change.clone());
            layout.list(&[image]);
        });
    }
    // One blob in two places is an image like any other.
    let env = TestEnv::empty();
    let layout = Crafted::create(env.path("layout"));
    let layers = [small_layer("f"), small_layer("g"), small_layer("f")];
    layout.list(&[layout.image(&layers, |_| {})]);
    env.ok(&["load", "-i", layout.path().to_str().unwrap()]);
}

#[test]
fn configs_that_are_none() {
    for text in
        ["null", "[]", "7", "\"x\"", "{\"config\": 7}", "{\"config\": {\"Env\": {}}}", "\u{0}"]
    {
        refused(text, "config", |layout| {
            let config = layout.config(text);
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
            layout.list(&[layout.manifest(&manifest.to_string())]);
        });
    }
    // Of a chart, of a module: what no container can be made from.
    refused("an artifact", "its config names 0 layers", |layout| {
        let config = layout.blob("application/vnd.cncf.helm.config.v1+json", b"{\"name\": \"x\"}");
        let layer = layout.layer(&small_layer("f"));
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        layout.list(&[layout.manifest(&manifest.to_string())]);
    });
}

#[test]
fn what_a_config_says_stays_inside() {
    let secret = "TOKEN-50f1";
    let host = std::env::temp_dir().join(format!("kiln-host-{}", std::process::id()));
    fs::create_dir_all(&host).unwrap();
    fs::write(host.join("secret"), secret).unwrap();
    let up = format!("/../../../../../../../..{}", host.display());
    let env = TestEnv::new();
    let layout = Crafted::create(env.path("layout"));
    // The link of the image leads to the host's directory, as seen from outside.
    let base = fs::read(crate::support::base::tar()).unwrap();
    let link = Tarball::new().symlink("v", host.to_str().unwrap()).finish();
    let mut image = layout.image(&[base, link], |config| {
        config["config"] = json!({
            "Volumes": {up.clone(): {}, "/v": {}},
            "WorkingDir": "../../..",
            "Labels": {"io.containers.capabilities": "ALL", "containerd.io/restart.loguri": "binary:///x"},
            "Unknown": [{}], "ExposedPorts": {"1-65535/tcp": {}, "x": {}},
            "Env": ["NOTHING", "=x", "A=b=c"], "StopSignal": "999", "User": "",
            "Healthcheck": {"Test": ["NONE"], "Interval": 0},
        });
        config["created"] = json!("99999-01-01T00:00:00Z");
    });
    image["annotations"] = json!({"org.opencontainers.image.ref.name": "crafted:1"});
    layout.list(&[image]);
    env.ok(&["load", "-i", layout.path().to_str().unwrap()]);
    env.ok(&["images"]);
    env.ok(&["history", "crafted:1"]);
    env.ok(&["inspect", "crafted:1"]);
    let script = "pwd; cat /v/secret /proc/1/root/v/secret; grep Cap /proc/self/status; echo end";
    let output = env.kiln(["run", "--rm", "crafted:1", "/bin/sh", "-c", script]).run();
    assert!(!output.to_string().contains(secret), "{output}");
    if output.status.success() {
        assert!(output.text().contains("CapEff:\t00000000a80425fb"), "{output}");
    }
    let context = env.context("FROM crafted:1\nRUN cat /v/secret || pwd\nVOLUME /proc\nRUN true\n");
    let output = env.building(&context, &[]).run();
    assert!(!output.to_string().contains(secret), "{output}");
    for file in env.files_of_store() {
        let bytes = fs::read(&file).unwrap_or_default();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{}", file.display());
    }
    let left: Vec<_> =
        fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret"]);
    fs::remove_dir_all(&host).unwrap();
}

#[test]
fn users_that_would_become_root_are_refused() {
    for user in ["4294967296", "2147483648", "-1", "99999999999999999999", "1000:4294967295"] {
        let env = TestEnv::new();
        let layout = Crafted::create(env.path("layout"));
        let base = fs::read(crate::support::base::tar()).unwrap();
        // What is no number must not become a name that an image says is root's.
        let passwd = format!("{user}:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n");
        let layer = Tarball::new().file("etc/passwd", passwd).finish();
        let mut image =
            layout.image(&[base, layer], |config| config["config"] = json!({"User": user}));
        image["annotations"] = json!({"org.opencontainers.image.ref.name": "crafted:1"});
        layout.list(&[image]);
        env.ok(&["load", "-i", layout.path().to_str().unwrap()]);
        let output = env.kiln(["run", "--rm", "crafted:1", "id", "-u"]).run();
        assert!(!output.status.success(), "{user}: {output}");
        let number = user.rsplit(':').next().unwrap();
        assert!(output.stderr.contains(number), "{user}: {output}");
        let context = env.context("FROM crafted:1\nRUN id -u > /id\n");
        env.building(&context, &[]).run().fails(1).says(&[number]);
    }
}

#[test]
fn triggers_of_a_base_are_as_limited_as_any() {
    for (triggers, says) in [
        (vec!["FROM scratch".to_owned()], "FROM"),
        (vec!["ONBUILD ONBUILD RUN x".to_owned()], "ONBUILD"),
        (vec!["RUN true".to_owned(); 200_000], "more than 100000 ONBUILD triggers"),
        (vec!["COPY --from=nowhere.invalid/x / /".to_owned()], "nowhere.invalid"),
    ] {
        let env = TestEnv::empty();
        let layout = Crafted::create(env.path("layout"));
        let mut image = layout.image(&[small_layer("f")], |config| {
            config["config"] = json!({"OnBuild": triggers});
        });
        image["annotations"] = json!({"org.opencontainers.image.ref.name": "crafted:1"});
        layout.list(&[image]);
        let output = env.kiln(["load", "-i"]).args([layout.path()]).run();
        if !output.status.success() {
            output.says(&[says]);
            continue;
        }
        let context = env.context("FROM crafted:1\nENV A=1\n");
        env.building(&context, &["--offline"]).run().fails(1).says(&[says]);
    }
}

#[test]
fn indexes_end_somewhere() {
    // An index cannot name itself by its digest, but a chain of them can be as long as one likes.
    refused("a chain", "too deep", |layout| {
        let mut inner = layout.image(&[small_layer("f")], |_| {});
        for _ in 0..8 {
            let text = json!({"schemaVersion": 2, "manifests": [inner]}).to_string();
            inner = layout.index(&text);
        }
        layout.list(&[inner]);
    });
    refused("nothing for this machine", "has no image", |layout| {
        let index = layout.index(&json!({"schemaVersion": 2, "manifests": []}).to_string());
        layout.list(&[index]);
    });
    // A name of no platform is not for another one.
    let env = loaded(|config| {
        config["architecture"] = json!("");
        config["unknown"] = json!({"a": [1, null]});
    });
    env.ok(&["image", "inspect", "crafted:1"]);
}

#[test]
fn archives_of_docker_name_files_of_the_archive() {
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [EMPTY]}});
    for (case, config_name, layer, says) in [
        ("a path upwards", "c.json", "../../../../etc/shadow", "is missing"),
        ("an absolute path", "c.json", "/etc/shadow", "is missing"),
        ("a config elsewhere", "/etc/passwd", "layer.tar", "is missing"),
        ("a link out", "c.json", "link.tar", "is missing"),
        ("a link in a circle", "c.json", "loop.tar", "circle"),
    ] {
        let manifest = json!([{"Config": config_name, "RepoTags": ["a:1"], "Layers": [layer]}]);
        let tar = Tarball::new()
            .file("manifest.json", manifest.to_string())
            .file("c.json", config.to_string())
            .file("layer.tar", "")
            .symlink("link.tar", "/etc/shadow")
            .symlink("loop.tar", "loop.tar")
            .finish();
        let env = TestEnv::empty();
        for (name, bytes) in [("a.tar", tar.clone()), ("a.tar.gz", gzip(&tar))] {
            fs::write(env.path(name), bytes).unwrap();
            let output = env.kiln(["load", "-i", &env.str(name)]).run().fails(1);
            assert!(output.stderr.contains(says), "{case}: {output}");
        }
        // Unpacked, as a directory.
        let layout = Crafted::create(env.path("layout"));
        fs::remove_file(layout.path().join("index.json")).unwrap();
        layout.write("manifest.json", &manifest.to_string());
        layout.write("c.json", &config.to_string());
        std::os::unix::fs::symlink("/etc/shadow", layout.path().join("link.tar")).unwrap();
        std::os::unix::fs::symlink("loop.tar", layout.path().join("loop.tar")).unwrap();
        env.kiln(["load", "-i"]).args([layout.path()]).run().fails(1).says(&["error: "]);
        assert_eq!(env.ok(&["images", "-aq"]).text(), "", "{case}");
    }
}

#[test]
fn a_name_that_an_archive_takes_is_told() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV A=mine\n");
    env.ok(&["tag", crate::support::env::IMAGE, "alpine:latest"]);
    let layout = Crafted::create(env.path("layout"));
    let mut image = layout.image(&[small_layer("f")], |_| {});
    image["annotations"] =
        json!({"org.opencontainers.image.ref.name": "docker.io/library/alpine:latest"});
    layout.list(&[image]);
    let output = env.ok(&["load", "-i", layout.path().to_str().unwrap()]);
    let said = format!("{}{}", output.text(), output.stderr);
    assert!(said.contains("alpine:latest") && said.contains("sha256:"), "{output}");
}
