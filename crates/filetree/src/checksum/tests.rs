//! What is known of a tree after unpacking is what reading it finds, and what differs is told.

use std::{fs, os::unix::fs::symlink};

use super::*;
use crate::{Budget, Flavour, PackOptions, test_data::TempDir, unpack_layer};

fn of(root: &Path) -> Contents {
    contents(root, &Written::default()).unwrap()
}

fn tree() -> TempDir {
    let dir = TempDir::new();
    let root = dir.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/file"), vec![1; 700_000]).unwrap();
    fs::hard_link(root.join("a/file"), root.join("a/b/same")).unwrap();
    fs::write(root.join("a/b/other"), "other").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    symlink("a/file", root.join("link")).unwrap();
    fs::File::create(root.join("sparse")).unwrap().set_len(5_000_000).unwrap();
    dir
}

fn packed(root: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    crate::pack(root, Flavour::User, &PackOptions::OWN, &mut tar).unwrap();
    tar
}

#[test]
fn what_goes_by_is_what_is_read_later() {
    let from = tree();
    let tar = packed(from.path());
    let to = TempDir::new();
    let budget = Budget::GENEROUS;
    let unpacked = unpack_layer(&mut &tar[..], &to.root(), &[], Flavour::User, &budget).unwrap();
    let known = contents(to.path(), &unpacked.written).unwrap();
    assert_eq!(known, of(to.path()));
    let original = of(from.path());
    assert_eq!((known.checksum, known.size.contents), (original.checksum, original.size.contents));
    // It came as zeros.
    assert_eq!((known.size.holes, original.size.holes), (0, 5_000_000));
    assert_eq!(known.size, crate::tree_size(to.path()).unwrap());
    // Nothing is read for it: what is known is believed.
    fs::write(to.path().join("a/b/other"), "OTHER").unwrap();
    assert_eq!(contents(to.path(), &unpacked.written).unwrap(), known);
    assert_ne!(of(to.path()), known);
}

/// Inodes are used again: what an earlier file of the layer contained says nothing of a later one.
#[test]
fn a_file_that_is_replaced_in_the_same_layer() {
    let (one, two) = (TempDir::new(), TempDir::new());
    for (dir, text) in [(&one, "first"), (&two, "later")] {
        for number in 0..50 {
            fs::write(dir.path().join(format!("{number}")), format!("{text} {number}")).unwrap();
        }
    }
    let end = |tar: Vec<u8>| tar[..tar.len() - 1024].to_vec();
    let tar = [end(packed(one.path())), packed(two.path())].concat();
    let to = TempDir::new();
    let budget = Budget::GENEROUS;
    let unpacked = unpack_layer(&mut &tar[..], &to.root(), &[], Flavour::User, &budget).unwrap();
    assert_eq!(fs::read_to_string(to.path().join("7")).unwrap(), "later 7");
    assert_eq!(contents(to.path(), &unpacked.written).unwrap(), of(to.path()));
}

#[test]
fn every_change_is_seen() {
    let dir = tree();
    let whole = of(dir.path());
    type Change = fn(&Path);
    let changes: [(&str, Change); 8] = [
        ("a byte", |root| {
            let mut bytes = fs::read(root.join("a/file")).unwrap();
            bytes[400_000] ^= 1;
            fs::write(root.join("a/file"), bytes).unwrap();
        }),
        ("a byte of a hole", |root| {
            use std::os::unix::fs::FileExt;
            let file = fs::OpenOptions::new().write(true).open(root.join("sparse")).unwrap();
            file.write_all_at(b"x", 3_000_000).unwrap();
        }),
        ("a size", |root| {
            fs::OpenOptions::new()
                .write(true)
                .open(root.join("sparse"))
                .unwrap()
                .set_len(1)
                .unwrap();
        }),
        ("a file that is gone", |root| fs::remove_file(root.join("empty")).unwrap()),
        ("a file that is new", |root| fs::write(root.join("a/new"), "").unwrap()),
        ("a name", |root| fs::rename(root.join("empty"), root.join("a/empty")).unwrap()),
        ("a directory", |root| fs::create_dir(root.join("new")).unwrap()),
        ("a kind", |root| {
            fs::remove_file(root.join("empty")).unwrap();
            fs::create_dir(root.join("empty")).unwrap();
        }),
    ];
    for (what, change) in changes {
        let dir = tree();
        assert_eq!(of(dir.path()), whole);
        change(dir.path());
        assert_ne!(of(dir.path()).checksum, whole.checksum, "{what}");
    }
}

#[test]
fn what_is_written_down_reads_back() {
    let checksum = of(tree().path()).checksum;
    assert_eq!(Checksum::parse(&checksum.to_string()), Some(checksum));
    for other in ["", "0123", "xxh64-1-", "xxh64-2-0123456789abcdef", "xxh64-1-xyz"] {
        assert_eq!(Checksum::parse(other), None, "{other}");
    }
}
