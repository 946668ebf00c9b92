//! Against overlay itself: what is changed in a mount is what is told.

use super::*;
use crate::{
    pack::overlay_tests::in_overlay,
    test_data::{TempDir, is_root},
};

/// The changes that a script makes in a mount of `bottom`.
fn told(dir: &TempDir, script: &str, skip: &dyn Fn(&Path) -> bool) -> Option<Vec<String>> {
    dir.dir("bottom").dir("upper");
    in_overlay(dir.path(), "bottom", "upper", script)?;
    let below = RootDir::open(&dir.path().join("bottom")).unwrap();
    let upper = dir.path().join("upper");
    let told = differences(&upper, Flavour::Trusted, &below, skip).unwrap();
    let line = |difference: Difference| {
        let letter = match difference.kind {
            DifferenceKind::Added => 'A',
            DifferenceKind::Modified => 'C',
            DifferenceKind::Deleted => 'D',
        };
        format!("{letter} {}", difference.path.display())
    };
    Some(told.into_iter().map(line).collect())
}

fn check(files: &[&str], script: &str, expected: &[&str]) {
    if !is_root("changes in a mount") {
        return;
    }
    let dir = TempDir::new();
    for file in files {
        dir.write(&format!("bottom/{file}"), "old");
    }
    if let Some(told) = told(&dir, script, &|_| false) {
        assert_eq!(told, expected, "{script}");
    }
}

#[test]
fn added_with_everything_in_it() {
    let script = "echo > new; mkdir -p d/e; echo > d/e/f; ln -s x link; mkdir empty";
    check(&["a"], script, &["A /d", "A /d/e", "A /d/e/f", "A /empty", "A /link", "A /new"]);
}

#[test]
fn changed_with_its_directories() {
    check(&["etc/a/b", "etc/c"], "echo more >> etc/a/b", &["C /etc", "C /etc/a", "C /etc/a/b"]);
    check(&["etc/a", "etc/b"], "chmod 600 etc/a", &["C /etc", "C /etc/a"]);
    check(&["etc/a"], "chmod 700 etc", &["C /etc"]);
    check(&["etc/a"], "chown 5 etc/a", &["C /etc", "C /etc/a"]);
}

#[test]
fn nothing_where_nothing_is_left_of_it() {
    check(&["etc/a"], "echo > etc/new; rm etc/new", &[]);
    check(&["etc/a"], "touch etc; chmod 777 etc/a; chmod 644 etc/a", &[]);
    check(&["etc/a"], "echo > new; rm new; mkdir d; rmdir d", &[]);
}

#[test]
fn deleted_without_what_was_in_it() {
    check(&["etc/a", "etc/b/c", "top"], "rm -r etc/b top", &["C /etc", "D /etc/b", "D /top"]);
    check(&["etc/a"], "rm -r etc", &["D /etc"]);
    check(&["d/x"], "mv d e", &["D /d", "A /e", "A /e/x"]);
}

#[test]
fn a_directory_made_anew() {
    let script = "rm -r d; mkdir d; echo new > d/new; echo other > d/same";
    let expected = ["C /d", "A /d/new", "D /d/old", "C /d/same", "D /d/sub"];
    check(&["d/old", "d/same", "d/sub/x"], script, &expected);
}

#[test]
fn another_kind() {
    check(&["file", "dir/x"], "rm file; mkdir file; echo > file/in", &["C /file", "A /file/in"]);
    check(&["dir/x"], "rm -r dir; echo > dir", &["C /dir"]);
    if !is_root("changes in a mount") {
        return;
    }
    // What a link leads to is not what lies below a directory of its name.
    let dir = TempDir::new();
    dir.write("bottom/target/x", "old").link("bottom/link", "target");
    if let Some(told) = told(&dir, "rm link; mkdir link; echo > link/x", &|_| false) {
        assert_eq!(told, ["C /link", "A /link/x"]);
    }
}

#[test]
fn what_is_there_only_to_be_mounted_on() {
    if !is_root("changes in a mount") {
        return;
    }
    let points = ["mnt", "mnt/a", "etc/hosts", "used"];
    let skip = |path: &Path| points.iter().any(|point| path == Path::new(point));
    let dir = TempDir::new();
    dir.write("bottom/etc/a", "");
    let script = "mkdir -p mnt/a; touch etc/hosts; mkdir used; echo > used/f";
    if let Some(told) = told(&dir, script, &skip) {
        assert_eq!(told, ["A /used", "A /used/f"]);
    }
}
