//! A tree, a command that changes it, and the tree made anew from the snapshots: it has to be the same one, and the
//! snapshot has to hold what changed and nothing else.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::*;
use crate::{
    Flavour, PackOptions, RootDir, pack,
    pack::tests::portrait,
    test_data::{TempDir, is_root},
};

/// What the tree is made by.
const BEFORE: &str = "
    mkdir -p d/sub e/deep/er opaque same tmp; chmod 1777 tmp; chmod 750 d
    echo one >d/one; echo two >d/two; chown 5:6 d/two; ln d/two d/hard; ln -s one d/link; chown -h 7:8 d/link
    echo x >e/deep/er/x; echo y >opaque/y; echo z >opaque/z; echo s >same/s; mkfifo d/fifo; mknod null c 1 3
    echo a >.a; echo a >wh
    find . -exec touch -h -d @1000000000 {} +";

struct Arena {
    dir: TempDir,
    flavour: Flavour,
}

impl Arena {
    fn new(flavour: Flavour) -> Self {
        let arena = Self { dir: TempDir::new(), flavour };
        for name in ["tree", "upper", "again"] {
            std::fs::create_dir(arena.path(name)).unwrap();
        }
        arena
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self, name: &str) -> RootDir {
        RootDir::open(&self.path(name)).unwrap()
    }

    fn sh(&self, name: &str, script: &str) {
        let mut sh = Command::new("sh");
        let done = sh.args(["-euc", script]).current_dir(self.path(name)).output().unwrap();
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Changes the tree, and returns the entries of the layer that this makes.
    fn change(&self, script: &str, except: &[&Path]) -> Vec<String> {
        self.change_by(|| self.sh("tree", script), except)
    }

    fn change_by(&self, change: impl FnOnce(), except: &[&Path]) -> Vec<String> {
        let tree = self.root("tree");
        let before = Scan::of(&tree).unwrap();
        lay(&self.path("tree"), Flavour::Names, &self.root("again")).unwrap();
        // Later than what the scan has seen: the clock of a file system has ticks.
        std::thread::sleep(std::time::Duration::from_millis(12));
        change();
        let after = Scan::of(&tree).unwrap();
        let upper = self.path("upper");
        collect((&before, &after), &tree, (&upper, self.flavour), except).unwrap();
        let mut bytes = Vec::new();
        pack(&upper, self.flavour, &PackOptions::OWN, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let paths = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            String::from_utf8(entry.path_bytes().into_owned()).unwrap()
        });
        paths.collect()
    }

    /// The snapshot on top of the tree as it was is the tree as it is.
    fn assert_round_trip(&self) {
        lay(&self.path("upper"), self.flavour, &self.root("again")).unwrap();
        assert_eq!(portrait(&self.path("again")), portrait(&self.path("tree")));
    }
}

fn check(script: &str, expected: &[&str]) {
    for flavour in [Flavour::Names, Flavour::Trusted] {
        let arena = Arena::new(flavour);
        arena.sh("tree", BEFORE);
        assert_eq!(arena.change(script, &[]), expected, "{script} {flavour:?}");
        arena.assert_round_trip();
    }
}

#[test]
fn changes_are_found_and_nothing_else() {
    if !is_root("changes_are_found_and_nothing_else") {
        return;
    }
    check("true", &[]);
    check("cat d/one same/s >/dev/null; ls -R . >/dev/null", &[]);
    check("echo new >f", &["f"]);
    check("echo three >d/three; chown 1:2 d/three", &["d/", "d/three"]);
    check("rm d/one", &["d/", "d/.wh.one"]);
    check("rm -r e", &[".wh.e"]);
    check("chmod 600 e/deep/er/x", &["e/", "e/deep/", "e/deep/er/", "e/deep/er/x"]);
    check("chmod 700 e/deep", &["e/", "e/deep/"]);
    check("chown -h 9:9 d/link", &["d/", "d/link"]);
    check("rm wh; mkdir wh; echo x >wh/x", &["wh/", "wh/x"]);
    check("rm -r d; echo file >d", &["d"]);
    check("mv e/deep b", &["b/", "b/er/", "b/er/x", "e/", "e/.wh.deep"]);
    check("mkfifo p; mknod n c 1 5; ln -s nowhere l", &["l", "n", "p"]);
    check("mkdir x; rmdir x; touch -d @1000000000 .", &[]);
    check("mkdir e/x; rmdir e/x; touch -d @1000000000 e", &[]);
}

#[test]
fn a_change_that_hides_its_time_is_found() {
    if !is_root("a_change_that_hides_its_time_is_found") {
        return;
    }
    check("printf ONE\\\\n >d/one; touch -d @1000000000 d/one", &["d/", "d/one"]);
    check("echo ONE >n; touch -d @1000000000 n; mv n .a; touch -d @1000000000 .", &[".a"]);
}

#[test]
fn a_directory_made_anew_hides_the_old_one() {
    if !is_root("a_directory_made_anew_hides_the_old_one") {
        return;
    }
    let expected = ["opaque/", "opaque/.wh..wh..opq", "opaque/y"];
    check("rm -r opaque; mkdir opaque; echo y >opaque/y", &expected);
}

#[test]
fn what_would_delete_deletes_what_it_replaced() {
    if !is_root("what_would_delete_deletes_what_it_replaced") {
        return;
    }
    let arena = Arena::new(Flavour::Names);
    arena.sh("tree", BEFORE);
    let script = "rm d/one; mknod d/one c 0 0; mknod new c 0 0";
    assert_eq!(arena.change(script, &[]), ["d/", "d/.wh.one"]);
}

#[test]
fn names_that_would_delete_are_refused() {
    for name in [".wh.one", ".wh.", ".wh..wh..opq"] {
        let arena = Arena::new(Flavour::Names);
        arena.sh("tree", "mkdir d; touch d/one");
        let tree = arena.root("tree");
        let before = Scan::of(&tree).unwrap();
        arena.sh("tree", &format!("touch d/{name}"));
        let upper = arena.path("upper");
        let after = Scan::of(&tree).unwrap();
        let collected = collect((&before, &after), &tree, (&upper, Flavour::Names), &[]);
        assert!(matches!(collected, Err(Error::WhiteoutName { .. })), "{name}: {collected:?}");
    }
}

#[test]
fn attributes_are_looks() {
    if !is_root("attributes_are_looks") {
        return;
    }
    let arena = Arena::new(Flavour::Names);
    arena.sh("tree", BEFORE);
    let (file, directory) = (arena.path("tree/d/two"), arena.path("tree/same"));
    let carrier = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
    Carrier::Path(&carrier(&file)).set(b"user.old", b"v").unwrap();
    let changes = arena.change_by(
        || {
            Carrier::Path(&carrier(&file)).remove(b"user.old").unwrap();
            Carrier::Path(&carrier(&directory)).set(b"user.new", b"w").unwrap();
        },
        &[],
    );
    assert_eq!(changes, ["d/", "d/hard", "d/two", "same/"]);
    arena.assert_round_trip();
}

#[test]
fn several_names_are_one_file() {
    if !is_root("several_names_are_one_file") {
        return;
    }
    check("echo more >>d/hard", &["d/", "d/hard", "d/two"]);
    check("echo n >n1; ln n1 n2", &["n1", "n2"]);
}

#[test]
fn what_is_excepted_is_no_change() {
    if !is_root("what_is_excepted_is_no_change") {
        return;
    }
    let arena = Arena::new(Flavour::Names);
    arena.sh("tree", BEFORE);
    let except = [Path::new("d"), Path::new("tmp/secret")];
    let script =
        "rm d/one; echo >d/new; echo >tmp/secret; echo >tmp/secrets; touch -d @1000000000 d tmp";
    assert_eq!(arena.change(script, &except), ["tmp/", "tmp/secrets"]);
}

#[test]
fn the_newest_change_is_known() {
    let arena = Arena::new(Flavour::Names);
    arena.sh("tree", "mkdir a; echo >a/b");
    let newest = Scan::of(&arena.root("tree")).unwrap().newest();
    arena.sh("tree", "sleep 0.02; chmod 600 a/b");
    assert!(Scan::of(&arena.root("tree")).unwrap().newest() > newest);
}

#[test]
fn marks_in_names_are_read_back() {
    if !is_root("marks_in_names_are_read_back") {
        return;
    }
    // From a layer to a snapshot, to a layer again, and onto a tree.
    for flavour in [Flavour::Names, Flavour::Trusted] {
        let arena = Arena::new(flavour);
        arena.sh("tree", BEFORE);
        let layer = crate::unpack::tests::layer()
            .file(".wh.wh", "")
            .dir("d")
            .file("d/.wh.one", "")
            .file("d/three", "3")
            .dir("opaque")
            .file("opaque/.wh..wh..opq", "")
            .file("opaque/new", "n")
            .file("e/.wh.deep", "")
            .file("e/deep/other", "o")
            .end();
        let lowers = [arena.root("tree")];
        let upper = arena.root("upper");
        let budget = crate::Budget::GENEROUS;
        crate::unpack_layer(&mut &layer[..], &upper, &lowers, flavour, &budget).unwrap();
        lay(&arena.path("upper"), flavour, &arena.root("tree")).unwrap();
        let found = Command::new("find").arg(".").current_dir(arena.path("tree")).output().unwrap();
        let mut found: Vec<_> = std::str::from_utf8(&found.stdout).unwrap().lines().collect();
        found.sort_unstable();
        let expected = [
            ".",
            "./.a",
            "./d",
            "./d/fifo",
            "./d/hard",
            "./d/link",
            "./d/sub",
            "./d/three",
            "./d/two",
            "./e",
            "./e/deep",
            "./e/deep/other",
            "./null",
            "./opaque",
            "./opaque/new",
            "./same",
            "./same/s",
            "./tmp",
        ];
        assert_eq!(found, expected, "{flavour:?}");
        let mut bytes = Vec::new();
        let options = PackOptions::OWN;
        pack(&arena.path("upper"), flavour, &options, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let names = archive
            .entries()
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap());
        let expected = [
            "d/",
            "d/.wh.one",
            "d/three",
            "e/",
            "e/deep/",
            "e/deep/.wh..wh..opq",
            "e/deep/other",
            "opaque/",
            "opaque/.wh..wh..opq",
            "opaque/new",
            ".wh.wh",
        ];
        assert_eq!(names.collect::<Vec<_>>(), expected, "{flavour:?}");
    }
}
