//! Images that fit together and lead somewhere else all the same: to addresses, to bytes beside the blobs, to another system,
//! to more files than anybody wants, into each other while they are unpacked.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::archive::{Tarball, gzip, sha256};
use crate::support::crafted::{Crafted, small_layer};
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::{Output, processor_time};
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
    let began = processor_time();
    let output = env.kiln(["load", "--max=layer-entries=5k", "-i", path]).run().fails(1);
    output.says(&["more than 5120 entries", "--max layer-entries="]);
    let took = processor_time() - began;
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(env.ownerless().is_empty(), "what was unpacked by then is removed");
    assert_eq!(env.ok(&["images", "-aq"]).text(), "");
    let left = env.files_of_store().len();
    assert!(left < 50, "{left} files are left");
}

/// Overlay shows the names of such whiteouts where no other layer has the directory: they were listed in a container and not
/// there, and in the way of whoever copied or packed the directory.
#[test]
fn whiteouts_that_hide_nothing_leave_no_trace() {
    let env = TestEnv::new();
    let layout = Crafted::create(env.path("layout"));
    let first = Tarball::new()
        .file(".wh.never", "")
        .file("d/.wh.never", "")
        .file("d/f", "f")
        .file("old/.wh.never", "")
        .file("old/gone", "");
    let second = Tarball::new()
        .file("old/.wh.gone", "")
        .file("old/.wh.never", "")
        .file("old/.wh..wh..opq", "")
        .file(".wh.new", "")
        .file("new/.wh.never", "")
        .file("new/x", "x");
    let (first, second) = (first.finish(), second.finish());
    let mut one = layout.image(std::slice::from_ref(&first), |_| {});
    let mut both = layout.image(&[first, second], |_| {});
    one["annotations"] = json!({NAME: "one:1"});
    both["annotations"] = json!({NAME: "both:1"});
    layout.list(&[one, both]);
    env.kiln(["load", "-i"]).args([layout.path()]).run().ok();
    let saved = env.str("saved.tar");
    env.ok(&["save", "-o", &saved, "both:1"]);
    for (name, expected) in [
        ("one", &["d", "d/f", "old", "old/gone"][..]),
        ("both", &["d", "d/f", "new", "new/x", "old"]),
    ] {
        for dockerfile in
            [format!("FROM {name}:1\n"), format!("FROM scratch\nCOPY --from={name}:1 / /\n")]
        {
            let tree = env.tree(&env.context(&dockerfile), &["--no-cache"]);
            let paths = tree.0.keys().filter(|path| !path.is_empty() && *path != ".");
            assert_eq!(paths.collect::<Vec<_>>(), expected, "{dockerfile}");
        }
        let ls =
            format!("FROM busybox\nRUN --mount=from={name}:1,target=/m ls -lR /m && rm -rf /m/x\n");
        env.build_text(&ls).says_not(&["never"]);
        let copied = format!(
            "FROM {name}:1\nCOPY --from=busybox / /\nRUN ls -lR /d /old && rm -r /d /old\n"
        );
        env.build_text(&copied).says_not(&["never"]);
    }
    env.ok(&["fsck"]);
    let other = TestEnv::empty();
    other.ok(&["load", "-i", &saved]);
    assert_eq!(other.id("both:1"), env.id("both:1"), "it is the same image");
    other.ok(&["fsck"]);
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

/// What a config says, in words, and how it comes to.
type Case = (&'static str, fn(&mut Value));

/// What a config may say.
const CONFIGS: &[Case] = &[
    ("a NUL in a variable", |c| c["config"]["Env"] = json!(["A=a\u{0}b", "PATH=/bin"])),
    ("a variable without a value", |c| c["config"]["Env"] = json!(["A", "", "=", "PATH=/bin"])),
    ("a large variable", |c| c["config"]["Env"] = json!([format!("A={}", "x".repeat(3 << 20))])),
    ("many variables", |c| {
        c["config"]["Env"] = (0..50_000).map(|n| json!(format!("A{n}=1"))).collect();
    }),
    ("a NUL in the directory", |c| c["config"]["WorkingDir"] = json!("/a\u{0}b")),
    ("a relative directory", |c| c["config"]["WorkingDir"] = json!("a/../../..")),
    ("a file for a directory", |c| c["config"]["WorkingDir"] = json!("/etc/passwd")),
    ("a long directory", |c| c["config"]["WorkingDir"] = json!("/d".repeat(3000))),
    ("an empty program", |c| c["config"]["Entrypoint"] = json!([""])),
    ("no program", |c| c["config"]["Entrypoint"] = json!([])),
    ("a program with a NUL", |c| c["config"]["Entrypoint"] = json!(["/bin/sh\u{0}x"])),
    ("an empty argument", |c| c["config"]["Cmd"] = json!(["", ""])),
    ("a user who commands", |c| c["config"]["User"] = json!("\u{1b}[2J:\u{7}")),
    ("users of three parts", |c| c["config"]["User"] = json!("a:b:c")),
    ("half a user", |c| c["config"]["User"] = json!(":")),
    ("ports", |c| {
        let port = |n: u32| (format!("{n}/tcp"), json!({}));
        c["config"]["ExposedPorts"] = Value::Object((0..60_000).map(port).collect());
    }),
    ("odd ports", |c| {
        c["config"]["ExposedPorts"] =
            json!({"99999/tcp": {}, "x/y": {}, "": {}, "-1": {}, "1-65535/udp": {}});
    }),
    ("odd volumes", |c| {
        c["config"]["Volumes"] =
            json!({"": {}, "relative": {}, "/a\u{0}b": {}, "/..": {}, "/proc/x": {}});
    }),
    ("labels that command", |c| {
        c["config"]["Labels"] = json!({"\u{1b}]0;x\u{7}": "\u{1b}[31m", "": "", "\n": "\u{202e}"});
    }),
    ("no such signal", |c| c["config"]["StopSignal"] = json!("\u{1b}SIGNOPE")),
    ("times that are none", |c| {
        c["created"] = json!("0000-00-00T00:00:00Z");
        c["history"] = json!([{"created": "\u{1b}yesterday", "created_by": "\u{1b}[2J"}]);
    }),
    ("no time", |c| c["created"] = json!("")),
    ("a health that is never asked for", |c| {
        c["config"]["Healthcheck"] =
            json!({"Test": ["CMD", ""], "Interval": -1, "Timeout": i64::MAX, "Retries": -5});
    }),
    ("an odd health", |c| {
        c["config"]["Healthcheck"] = json!({"Test": ["\u{1b}", "x"], "Interval": i64::MIN})
    }),
    ("an empty shell", |c| c["config"]["Shell"] = json!([])),
    ("a long history", |c| {
        c["history"] = (0..20_000)
            .map(|n| json!({"created_by": n.to_string(), "empty_layer": true}))
            .collect();
    }),
    ("a history of more layers", |c| {
        c["history"] = (0..9).map(|n| json!({"created_by": n.to_string()})).collect();
    }),
    ("another machine", |c| c["architecture"] = json!("\u{1b}[2J")),
    ("no machine", |c| c["architecture"] = json!("")),
    ("nulls", |c| {
        c["config"] =
            json!({"Env": null, "Cmd": null, "Labels": null, "User": null, "Volumes": null});
        c["history"] = json!(null);
    }),
];

/// Every sixth of them.
fn some_configs_from(first: usize) {
    let env = TestEnv::new();
    let base = fs::read(crate::support::base::tar()).unwrap();
    let layout = Crafted::create(env.path("layout"));
    // Its layer stays, and need not be unpacked again for each.
    let mut plain = layout.image(std::slice::from_ref(&base), |_| {});
    plain["annotations"] = json!({NAME: "plain:1"});
    layout.list(&[plain]);
    env.ok(&["load", "-i", layout.path().to_str().unwrap()]);
    for (case, change) in CONFIGS.iter().skip(first).step_by(6) {
        let mut image = layout.image(std::slice::from_ref(&base), change);
        image["annotations"] = json!({NAME: "odd:1"});
        layout.list(&[image]);
        let began = processor_time();
        let check = |output: Output, codes: &[i32]| {
            let code = output.status.code().unwrap_or(-1);
            assert!(codes.contains(&code), "{case}: {output}");
            assert!(!output.stderr.contains("panicked"), "{case}: {output}");
            let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
            assert!(output.stderr.chars().all(is_plain), "{case}: {:?}", output.stderr);
            let longest = output.stderr.lines().map(str::len).max().unwrap_or(0);
            assert!(longest < 20_000, "{case}: a line of {longest} bytes");
            code == 0
        };
        if !check(env.kiln(["load", "-i"]).args([layout.path()]).run(), &[0, 1]) {
            continue;
        }
        check(env.kiln(["history", "odd:1"]).run(), &[0]);
        check(env.kiln(["inspect", "odd:1"]).run(), &[0]);
        check(env.kiln(["run", "--rm", "odd:1", "/bin/true"]).run(), &[0, 1, 125, 126, 127]);
        check(env.kiln(["run", "--rm", "--entrypoint=", "odd:1"]).run(), &[0, 1, 125, 126, 127]);
        check(env.kiln(["create", "--name=odd", "odd:1"]).run(), &[0, 1, 125]);
        check(env.kiln(["inspect", "odd"]).run(), &[0, 1]);
        drop(env.kiln(["rm", "-f", "odd"]).run());
        let context = env.context("FROM odd:1\nRUN true\nWORKDIR sub\nCOPY Dockerfile f\n");
        check(env.building(&context, &[]).run(), &[0, 1]);
        let took = processor_time() - began;
        assert!(took < Duration::from_secs(60), "{case}: {took:?}");
        env.ok(&["rmi", "-f", "odd:1"]);
    }
    env.ok(&["fsck"]);
}

/// Whatever a config says, it is shown, run and built upon, or refused in words. In parts, which run side by side.
mod configs_may_say_anything {
    use super::some_configs_from;

    #[test]
    fn first() {
        some_configs_from(0);
    }

    #[test]
    fn second() {
        some_configs_from(1);
    }

    #[test]
    fn third() {
        some_configs_from(2);
    }

    #[test]
    fn fourth() {
        some_configs_from(3);
    }

    #[test]
    fn fifth() {
        some_configs_from(4);
    }

    #[test]
    fn sixth() {
        some_configs_from(5);
    }
}

/// Bytes that are no text where a document has to be.
#[test]
fn documents_are_text() {
    let bytes = |text: &str| -> Vec<Vec<u8>> {
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        vec![
            [b"\xff\xfe".as_slice(), &wide].concat(),
            wide,
            [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat(),
            text.replace("linux", "li\u{0}nux").replace("schema", "sch\u{0}ema").into_bytes(),
            text.as_bytes().iter().map(|byte| if *byte == b'i' { 0xff } else { *byte }).collect(),
            text.as_bytes()[..text.len() - 1].to_vec(),
            [text.as_bytes(), b"}"].concat(),
        ]
    };
    let tar = small_layer("f");
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(&tar)]}}).to_string();
    let env = TestEnv::empty();
    let layout = Crafted::create(env.path("layout"));
    let layer = layout.layer(&tar);
    let manifest = |config: &Value| {
        json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string()
    };
    let refused = |what: &str, number: usize| {
        let output = env.kiln(["load", "-i"]).args([layout.path()]).run().fails(1);
        assert!(!output.stderr.contains("panicked"), "{what} {number}: {output}");
        assert_eq!(env.ok(&["images", "-aq"]).text(), "", "{what} {number}");
    };
    let kind = "application/vnd.oci.image.manifest.v1+json";
    for (number, bytes) in bytes(&config).iter().enumerate() {
        let config = layout.blob("application/vnd.oci.image.config.v1+json", bytes);
        layout.list(&[layout.manifest(&manifest(&config))]);
        refused("a config", number);
    }
    let config = layout.config(&config);
    for (number, bytes) in bytes(&manifest(&config)).iter().enumerate() {
        layout.list(&[layout.blob(kind, bytes)]);
        refused("a manifest", number);
    }
    let index = json!({"schemaVersion": 2, "manifests": [layout.manifest(&manifest(&config))]});
    for (number, bytes) in bytes(&index.to_string()).iter().enumerate() {
        fs::write(layout.path().join("index.json"), bytes).unwrap();
        refused("an index", number);
    }
    // Platforms that are none.
    for platform in [json!(null), json!({}), json!({"os": null, "architecture": 7}), json!("linux")]
    {
        let mut index = index.clone();
        index["manifests"][0]["platform"] = platform.clone();
        fs::write(layout.path().join("index.json"), index.to_string()).unwrap();
        let output = env.kiln(["load", "-i"]).args([layout.path()]).run();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{platform}: {output}");
    }
}
