//! A tree arrives on the host as it is, and nothing of the host is followed or lost.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::{
    pack::tests::{make_node, portrait},
    test_data::{TempDir, is_root},
};

#[test]
fn a_tree_arrives_as_it_is() {
    if !is_root("a_tree_arrives_as_it_is") {
        return;
    }
    let tree = TempDir::new();
    tree.write("d/f", "x").mode("d/f", 0o4755).owner("d/f", 5, 6).mode("d/f", 0o4755);
    tree.link("d/l", "/d/f").dir("closed").write("closed/f", "y");
    std::fs::hard_link(tree.path().join("d/f"), tree.path().join("second")).unwrap();
    make_node(&tree.path().join("fifo"), FileType::Fifo, 0, 0);
    make_node(&tree.path().join("null"), FileType::CharacterDevice, 1, 3);
    crate::pack::tests::set_xattr(&tree.path().join("d/f"), "user.k", b"v");
    tree.mode("closed", 0o500).mode("d", 0o1777);
    tree.dir(&"deep/".repeat(100));
    let dest = TempDir::new();
    copy_out(&tree.root(), &dest.path().join("new/out"), None).unwrap();
    assert_eq!(portrait(&dest.path().join("new/out")), portrait(tree.path()));
}

#[test]
fn what_is_there_is_merged_and_links_are_replaced() {
    let tree = TempDir::new();
    tree.write("d/f", "new").write("l/f", "inside").write("file", "new").link("link", "t");
    let dest = TempDir::new();
    dest.write("out/d/kept", "kept").write("out/d/f", "a longer old text").write("host/f", "host");
    dest.link("out/l", "../host").link("out/file", "../host/f").write("out/link", "");
    copy_out(&tree.root(), &dest.path().join("out"), None).unwrap();
    let text = |path: &str| std::fs::read_to_string(dest.path().join(path)).unwrap();
    for (path, wanted) in [
        ("out/d/kept", "kept"),
        ("out/d/f", "new"),
        ("out/l/f", "inside"),
        ("out/file", "new"),
        ("host/f", "host"),
    ] {
        assert_eq!(text(path), wanted, "{path}");
    }
    assert!(!dest.path().join("out/file").is_symlink());
    assert_eq!(std::fs::read_link(dest.path().join("out/link")).unwrap(), Path::new("t"));
}

#[test]
fn a_directory_of_the_host_is_not_removed_for_a_file() {
    let tree = TempDir::new();
    tree.write("d", "file");
    let dest = TempDir::new();
    dest.write("d/precious", "p");
    assert!(matches!(copy_out(&tree.root(), dest.path(), None), Err(Error::Io { .. })));
    assert!(dest.path().join("d/precious").exists());
}

#[test]
fn times_of_directories_are_kept() {
    let tree = TempDir::new();
    tree.write("d/f", "x");
    let dest = TempDir::new();
    std::thread::sleep(std::time::Duration::from_millis(20));
    copy_out(&tree.root(), dest.path(), None).unwrap();
    let stat = |dir: &TempDir| dir.path().join("d").metadata().unwrap();
    assert_eq!(stat(&tree).mtime_nsec(), stat(&dest).mtime_nsec());
}

#[test]
fn one_time_for_all() {
    let tree = TempDir::new();
    tree.write("d/sub/f", "x").link("d/l", "f").write("g", "y");
    std::fs::hard_link(tree.path().join("g"), tree.path().join("d/h")).unwrap();
    make_node(&tree.path().join("fifo"), FileType::Fifo, 0, 0);
    let dest = TempDir::new();
    copy_out(&tree.root(), dest.path(), Some(Timestamp { seconds: 77, nanoseconds: 5 })).unwrap();
    for path in ["d", "d/sub", "d/sub/f", "d/l", "d/h", "g", "fifo"] {
        let stat = dest.path().join(path).symlink_metadata().unwrap();
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (77, 5), "{path}");
    }
}
