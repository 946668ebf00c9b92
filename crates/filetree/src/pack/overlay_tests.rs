//! Against overlay itself: what is changed in a mount, packed, unpacked and mounted again looks the same.

use std::{path::Path, process::Command};

use super::*;
use crate::{
    Budget,
    test_data::{TempDir, is_root},
    unpack_layer,
};

/// Lists a tree with all that a layer keeps; the root's own line is left out, it is not in layers.
const LIST: &str = "find . -mindepth 1 -printf '%P %y %m %U:%G %T@ %l %n\\n' | sort; find . -type f | sort | xargs -r sha256sum";

/// Mounts the lower layers (topmost first) and the upper one, runs a script in the merged tree, and returns its output;
/// `None` when mounts are not permitted here.
pub(crate) fn in_overlay(dir: &Path, lowers: &str, upper: &str, script: &str) -> Option<String> {
    let setup = format!(
        "mkdir -p work.{upper} merged && mount -t overlay overlay \
         -o lowerdir={lowers},upperdir={upper},workdir=work.{upper} merged && cd merged || exit 99\n{script}"
    );
    let output =
        Command::new("unshare").args(["-m", "sh", "-ec", &setup]).current_dir(dir).output().ok()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(99) {
        eprintln!("skipped: no overlay here: {errors}");
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn pack_and_unpack(dir: &Path, upper: &str, lowers: &[&str], copy: &str) -> Vec<u8> {
    let mut layer = Vec::new();
    let options = PackOptions::OWN;
    pack(&dir.join(upper), Flavour::Trusted, &options, &mut layer).unwrap();
    std::fs::create_dir(dir.join(copy)).unwrap();
    let root = RootDir::open(&dir.join(copy)).unwrap();
    let lowers: Vec<_> =
        lowers.iter().map(|lower| RootDir::open(&dir.join(lower)).unwrap()).collect();
    unpack_layer(&mut &layer[..], &root, &lowers, Flavour::Trusted, &Budget::GENEROUS).unwrap();
    layer
}

#[test]
fn a_change_in_a_mount_survives_packing() {
    if !is_root("a_change_in_a_mount_survives_packing") {
        return;
    }
    let dir = TempDir::new();
    dir.write("bottom/etc/passwd", "root").write("bottom/etc/gone", "").write("bottom/d/x", "x");
    dir.write("bottom/d/sub/y", "y").write("bottom/again/old", "").write("bottom/link-me", "l");
    dir.write("bottom/was-file", "").write("bottom/was-dir/inside", "").link("bottom/lib", "etc");
    dir.write("bottom/moved/deep/file", "m").mode("bottom/d", 0o711).owner("bottom/d", 3, 4);
    dir.dir("middle").dir("top");

    let change = "rm etc/gone; rm -r again; mkdir again; echo new > again/new; ln link-me linked
        rm was-file; mkdir was-file; echo 1 > was-file/in; rm -r was-dir; echo 2 > was-dir
        echo more >> d/sub/y; mkdir -p fresh/deep; echo f > fresh/deep/f; cp -r moved renamed; rm -r moved
        chown 7:8 lib -h; chmod 4711 etc/passwd; mkfifo pipe; mknod null c 1 3";
    if in_overlay(dir.path(), "bottom", "middle", change).is_none() {
        return;
    }
    let change = "rm -r fresh; mkdir moved; echo back > moved/back; rm etc/passwd; touch d/x; rm null was-dir";
    in_overlay(dir.path(), "middle:bottom", "top", change).unwrap();

    let middle = pack_and_unpack(dir.path(), "middle", &["bottom"], "middle2");
    let top = pack_and_unpack(dir.path(), "top", &["middle2", "bottom"], "top2");
    dir.dir("scratch").dir("scratch2");
    let before = in_overlay(dir.path(), "top:middle:bottom", "scratch", LIST).unwrap();
    let after = in_overlay(dir.path(), "top2:middle2:bottom", "scratch2", LIST).unwrap();
    assert!(before.contains("was-file/in") && !before.contains("fresh"), "{before}");
    assert_eq!(after, before);

    assert!(pack_and_unpack(dir.path(), "middle2", &["bottom"], "middle3") == middle);
    assert!(pack_and_unpack(dir.path(), "top2", &["middle2", "bottom"], "top3") == top);
}

#[test]
fn an_opaque_root_hides_everything_in_a_mount() {
    if !is_root("an_opaque_root_hides_everything_in_a_mount") {
        return;
    }
    let dir = TempDir::new();
    dir.write("bottom/a", "1")
        .write("bottom/d/x", "")
        .write("bottom/e/y", "")
        .dir("top")
        .dir("scratch");
    let layer =
        crate::unpack::tests::layer().file("new", "n").dir("d").file(".wh..wh..opq", "").end();
    let (top, bottom) = (dir.path().join("top"), dir.path().join("bottom"));
    let top = RootDir::open(&top).unwrap();
    let bottom = [RootDir::open(&bottom).unwrap()];
    let budget = Budget::GENEROUS;
    unpack_layer(&mut &layer[..], &top, &bottom, Flavour::Trusted, &budget).unwrap();
    let Some(listing) = in_overlay(dir.path(), "top:bottom", "scratch", "find . | sort") else {
        return;
    };
    assert_eq!(listing, ".\n./d\n./new\n");
}
