//! Archives that lead out of where they are unpacked, by every door: as a context, by ADD, as an image, as a layer of one, and
//! into a container. Nothing outside changes. What a layer means is tested beside the code that unpacks it.

use serde_json::json;
use tar::EntryType;

use crate::support::archive::{Tarball, gzip, sha256};
use crate::support::crafted::Crafted;
use crate::support::env::TestEnv;
use crate::support::process::{Kiln, Output};
use crate::support::victim::{TOKEN, Victim};

/// What an archive has, beside its name. `victim` is a directory of the host.
type Case = (&'static str, fn(Tarball, &str) -> Tarball);

/// From the root of whatever it is unpacked into to the host's.
const UP: &str = "../../../../../../../../../..";

const CASES: &[Case] = &[
    ("`..` in a name", |tar, victim| {
        tar.raw(EntryType::Regular, &format!("{UP}{victim}/new"), "", "x")
    }),
    ("`..` behind a name", |tar, victim| {
        tar.dir("a", 0o755).raw(EntryType::Regular, &format!("a/{UP}{victim}/new"), "", "x")
    }),
    ("an absolute name", |tar, victim| {
        tar.raw(EntryType::Regular, &format!("{victim}/token"), "", "x")
    }),
    ("a directory with an absolute name", |tar, victim| {
        tar.raw(EntryType::Directory, &format!("{victim}/"), "", "")
    }),
    ("through a link", |tar, victim| {
        let tar = tar.symlink("out", victim);
        tar.raw(EntryType::Regular, "out/new", "", "x").raw(
            EntryType::Regular,
            "out/token",
            "",
            "x",
        )
    }),
    ("through a link upwards", |tar, victim| {
        let tar = tar.symlink("out", &format!("{UP}{victim}"));
        tar.raw(EntryType::Regular, "out/new", "", "x").raw(EntryType::Directory, "out/d/e", "", "")
    }),
    ("a directory on a link", |tar, victim| {
        tar.symlink("d", victim).raw(EntryType::Directory, "d", "", "")
    }),
    ("a directory on a link, with a slash", |tar, victim| {
        tar.symlink("d", victim).raw(EntryType::Directory, "d/", "", "")
    }),
    ("a directory on a link, with a dot", |tar, victim| {
        tar.symlink("d", victim).raw(EntryType::Directory, "d/.", "", "")
    }),
    ("a file on a link", |tar, victim| {
        tar.symlink("f", &format!("{victim}/token")).raw(EntryType::Regular, "f", "", "x")
    }),
    ("a hard link upwards, and a file on it", |tar, victim| {
        let tar = tar.raw(EntryType::Link, "x", &format!("{UP}{victim}/token"), "");
        tar.raw(EntryType::Regular, "x", "", "x")
    }),
    ("a hard link to an absolute name", |tar, victim| {
        let tar = tar.raw(EntryType::Link, "x", &format!("{victim}/token"), "");
        tar.raw(EntryType::Regular, "x", "", "x")
    }),
    // As the working directory has it.
    ("a hard link to where kiln was started", |tar, _| {
        tar.raw(EntryType::Link, "x", "token", "").raw(EntryType::Regular, "x", "", "x")
    }),
    ("a hard link through a link", |tar, victim| {
        let tar = tar.symlink("out", victim).raw(EntryType::Link, "x", "out/token", "");
        tar.raw(EntryType::Regular, "x", "", "x")
    }),
    ("a hard link to a link", |tar, victim| {
        let tar = tar.symlink("s", &format!("{victim}/token")).raw(EntryType::Link, "x", "s", "");
        tar.raw(EntryType::Regular, "x", "", "x")
    }),
    ("a link for the root", |tar, victim| {
        let tar = tar.raw(EntryType::Symlink, "./", victim, "");
        tar.raw(EntryType::Regular, "new", "", "x")
    }),
    ("a link called `..`", |tar, victim| {
        let tar = tar.raw(EntryType::Symlink, "..", victim, "");
        tar.raw(EntryType::Regular, "../new", "", "x")
    }),
    ("no name", |tar, victim| {
        tar.raw(EntryType::Symlink, "", victim, "").raw(EntryType::Regular, "", "", "x")
    }),
    ("links in a circle", |tar, _| {
        tar.symlink("a", "b").symlink("b", "a").raw(EntryType::Regular, "a/x", "", "x")
    }),
    ("sixty links", |tar, victim| {
        let link = |tar: Tarball, n: usize| tar.symlink(&format!("l{n}"), &format!("l{}", n + 1));
        let tar = (0..60).fold(tar, link).symlink("l60", victim);
        tar.raw(EntryType::Regular, "l0/new", "", "x")
    }),
    ("up behind a link", |tar, victim| {
        let tar = tar.symlink("a", &format!("{victim}/sub"));
        tar.raw(EntryType::Regular, "a/../new", "", "x")
    }),
    ("a directory that becomes a link", |tar, victim| {
        let (above, name) = victim.rsplit_once('/').unwrap();
        let tar = tar.dir("foo", 0o755).dir(&format!("foo/{name}"), 0o755).symlink("foo", above);
        tar.raw(EntryType::Regular, &format!("foo/{name}/new"), "", "x")
    }),
    ("deleting through a link", |tar, victim| {
        let tar = tar.symlink("out", victim).raw(EntryType::Regular, "out/.wh.token", "", "");
        tar.raw(EntryType::Regular, "out/.wh..wh..opq", "", "")
    }),
    ("deleting upwards", |tar, _| {
        let tar = tar.raw(EntryType::Regular, ".wh...", "", "");
        tar.raw(EntryType::Regular, ".wh..", "", "").raw(EntryType::Regular, "sub/.wh.", "", "")
    }),
    ("a pipe that is written to", |tar, _| {
        tar.raw(EntryType::Fifo, "p", "", "").raw(EntryType::Regular, "p", "", "x")
    }),
];

/// Lets each archive in by a door: done inside, or refused with one message, and soon.
#[track_caller]
fn by(door: &str, begin: fn() -> Tarball, through: impl Fn(&TestEnv, Vec<u8>) -> Kiln) {
    let env = TestEnv::new();
    let victim = Victim::create(&env);
    for (case, add) in CASES {
        let whole = add(begin(), victim.path()).finish();
        // And broken off, which is where a second way is tried in some.
        for bytes in [whole.clone(), whole[..whole.len() - 1200].to_vec()] {
            let output = through(&env, bytes).in_dir(victim.path().as_ref()).run();
            check(&format!("{door}: {case}"), &output);
            victim.is_unharmed(&format!("{door}: {case}\n{output}"));
        }
    }
    assert!(env.ownerless().is_empty());
    env.ok(&["fsck"]);
    env.build_text("FROM busybox\nRUN true\n");
}

#[track_caller]
fn check(case: &str, output: &Output) {
    assert!(matches!(output.status.code(), Some(0 | 1)), "{case}: {output}");
    let said = output.to_string();
    assert!(!said.contains("panicked") && !said.contains(TOKEN), "{case}: {output}");
    assert!(output.stderr.len() < 6000, "{case}: {output}");
    if !output.status.success() {
        assert!(output.stderr.contains("error: "), "{case}: {output}");
    }
}

#[test]
fn as_a_context() {
    let begin = || Tarball::new().file("Dockerfile", "FROM scratch\nCOPY . /c/\n");
    by("a context", begin, |env, tar| env.kiln(["build", "-"]).stdin(tar));
}

#[test]
fn by_add() {
    by("ADD", Tarball::new, |env, tar| {
        let context = env.context("FROM busybox\nADD a.tar /\nADD a.tar /d/e/\n");
        context.write("a.tar", tar);
        env.building(&context, &[])
    });
}

#[test]
fn by_add_compressed_and_through_a_link() {
    by("ADD", Tarball::new, |env, tar| {
        let context = env.context(
            "FROM busybox\nRUN ln -s /../../tmp /to\nADD a.tar.gz /to/\nADD a.tar.gz /to\n",
        );
        context.write("a.tar.gz", gzip(&tar));
        env.building(&context, &[])
    });
}

#[test]
fn by_import() {
    by("import", Tarball::new, |env, tar| env.kiln(["import", "-", "imported:1"]).stdin(tar));
}

#[test]
fn as_a_layer_on_another() {
    by("load", Tarball::new, |env, tar| {
        let layout = Crafted::create(env.path("layout"));
        let below = Tarball::new().dir("out", 0o755).file("out/kept", "k").file("token", "own");
        layout.list(&[layout.image(&[below.finish(), tar], |_| {})]);
        env.kiln(["load", "-i"]).args([layout.path()])
    });
}

/// The archive of an image itself: its entries are looked up, and unpacked nowhere.
#[test]
fn as_an_archive_of_images() {
    let begin = || {
        let layer = Tarball::new().file("f", "f").finish();
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(&layer)]}});
        let manifest = json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}]);
        Tarball::new()
            .file("manifest.json", manifest.to_string())
            .file("c.json", config.to_string())
            .file("layer.tar", layer)
    };
    by("load of an archive", begin, |env, tar| env.kiln(["load"]).stdin(tar));
}

#[test]
fn into_a_container() {
    by("cp", Tarball::new, |env, tar| {
        drop(env.kiln(["rm", "-f", "into"]).run());
        env.ok(&["create", "--name", "into", "busybox", "true"]);
        env.kiln(["cp", "-", "into:/tmp"]).stdin(tar)
    });
}
