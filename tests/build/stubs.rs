//! What a RUN is mounted on: there while it runs, and in no layer, whatever the image has in its place.

use serde_json::json;

use crate::support::archive::{Layout, Tarball, Tree, sha256};
use crate::support::env::TestEnv;

/// What the instructions after the first `FROM` and `below` others have made, layer by layer.
fn layers(env: &TestEnv, dockerfile: &str, below: usize) -> Vec<Vec<String>> {
    let context = env.context(dockerfile);
    let dest = env.str("layers.tar");
    env.ok(&["build", &format!("--output=type=oci,dest={dest}"), context.str()]);
    let layers = Layout::of_tar(&std::fs::read(dest).unwrap()).layers();
    let names = |tar: &Vec<u8>| Tree::of_tar(tar).0.into_keys().collect();
    layers.iter().skip(below).map(names).collect()
}

/// The mounts, as a step sees them.
const LOOK: &str = "grep -q localhost /etc/hosts && test -e /etc/resolv.conf && \
                    test -d /proc/self && test -d /sys/class && test -c /dev/null";

#[test]
fn a_step_that_writes_nothing_has_an_empty_layer() {
    let env = TestEnv::new();
    let nothing: [String; 0] = [];
    let made = layers(&env, &format!("FROM busybox\nRUN {LOOK}\nRUN {LOOK}\n"), 1);
    assert_eq!(made, [&nothing, &nothing]);
}

#[test]
fn what_a_step_writes_beside_them_is_all_that_its_layer_has() {
    let env = TestEnv::new();
    let made = layers(
        &env,
        "FROM busybox\nRUN echo x > /etc/motd\nRUN chmod 700 /etc\nRUN ! rm -rf /etc 2>/dev/null\nRUN touch /etc/f && rm /etc/f\n",
        1,
    );
    assert_eq!(made[..2], [vec!["etc", "etc/motd"], vec!["etc"]]);
    // Whoever removes everything is stopped by what is mounted, and there is no mark that hides what is not there.
    let hidden = |name: &&String| name.ends_with("hosts") || name.ends_with("resolv.conf");
    assert_eq!(made[2].iter().find(hidden), None, "{made:?}");
    assert!(made[2].contains(&"etc/.wh.motd".to_owned()), "{made:?}");
    assert_eq!(made[3], ["etc"], "its time has changed");
}

/// All of it is made and removed again: an image without `/etc`, and with other things where directories should be.
#[test]
fn an_image_may_have_none_of_the_directories() {
    let env = TestEnv::new();
    let from = "FROM scratch\nCOPY --from=busybox /bin /bin\n";
    let nothing: [String; 0] = [];
    assert_eq!(
        layers(&env, &format!("{from}RUN [\"/bin/sh\", \"-c\", \"{LOOK}\"]\n"), 1),
        [nothing]
    );
    let made = layers(&env, &format!("{from}RUN touch /etc/f\nRUN touch /etc/g && rm /etc/g\n"), 1);
    assert_eq!(made[0], ["etc", "etc/f"]);

    let tree = |lines: &str| env.tree(&env.context(&format!("{from}{lines}RUN {LOOK}\n")), &[]);
    let linked = tree(
        "COPY --from=busybox /etc /real\nRUN mkdir /x && ln -s /real /y\nCOPY --from=busybox /home /etc\n",
    );
    for name in ["proc", "sys", "etc/hosts", "real/hosts", "real/resolv.conf"] {
        assert!(!linked.has(name), "{name}");
    }
}

#[test]
fn a_link_in_the_place_of_etc_is_followed_inside() {
    let env = TestEnv::new();
    let context = env.context("FROM scratch\nADD etc.tar /\nCOPY --from=busybox /bin /bin\nRUN cat /etc/hosts > /seen\nRUN true\n");
    let tar = Tarball::new().dir("real", 0o755).symlink("etc", "../../real").finish();
    context.write("etc.tar", tar);
    let tree = env.tree(&context, &[]);
    assert!(tree.text("seen").contains("localhost"));
    assert_eq!(tree.entry("etc").link.as_deref(), Some("../../real"));
    assert_eq!(tree.names("real"), [""; 0]);
}

/// Loads an image of these layers, as another tool has saved it.
fn load(env: &TestEnv, name: &str, layers: &[&[u8]]) {
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|tar| sha256(tar)).collect::<Vec<_>>(),
        },
    });
    let file = |number: usize| format!("{number}/layer.tar");
    let files: Vec<String> = (0..layers.len()).map(file).collect();
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": files }]);
    let mut archive = Tarball::new().file("config.json", config.to_string());
    for (name, tar) in files.iter().zip(layers) {
        archive = archive.file(name, tar);
    }
    let path = env.str("image.tar");
    std::fs::write(&path, archive.file("manifest.json", manifest.to_string()).finish()).unwrap();
    env.ok(&["load", "-i", &path]);
}

/// A layer of another tool may say that nothing below it is to be seen.
#[test]
fn what_a_layer_hides_is_made_in_its_place() {
    let env = TestEnv::new();
    let base =
        Tarball::new().dir("etc", 0o755).file("etc/old", "x").file("etc/hosts", "old").finish();
    let opaque =
        Tarball::new().dir("etc", 0o750).file("etc/.wh..wh..opq", "").file("etc/new", "y").finish();
    let gone = Tarball::new().file("etc/.wh.hosts", "").finish();
    for (name, top) in [("opaque:1", opaque), ("gone:1", gone)] {
        load(&env, name, &[&base, &top]);
        let from = format!("FROM {name}\nCOPY --from=busybox /bin /bin\n");
        let nothing: [String; 0] = [];
        assert_eq!(layers(&env, &format!("{from}RUN {LOOK}\n"), 3), [nothing], "{name}");
        let tree = env.tree(&env.context(&format!("{from}RUN {LOOK}\n")), &[]);
        assert!(!tree.has("etc/hosts"), "{name}");
    }
}

/// Others than a RUN never see them: neither COPY, nor a container.
#[test]
fn only_a_step_sees_them() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS made\nRUN rm -rf /proc /sys 2>/dev/null; true\nFROM busybox\nCOPY --from=made / /all\n",
    );
    let tree = env.tree(&context, &[]);
    for name in ["all/etc/hosts", "all/etc/resolv.conf", "all/proc/self", "all/sys/class"] {
        assert!(!tree.has(name), "{name}");
    }
    assert!(tree.has("all/etc/passwd"));
}
