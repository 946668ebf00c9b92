//! With real files, whoever this is: nothing here needs or uses rights.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
};

use rustix::fs::{lgetxattr, lstat};

use super::*;
use crate::test_data::TempDir;

/// What the deeds say of a file: mode, owner.
fn told(path: &Path) -> (u32, Owner) {
    let mut stat = lstat(path).unwrap();
    let beside = || {
        let dir = fs::File::open(path.parent().unwrap()).unwrap();
        owner_beside(dir.as_fd(), path.file_name().unwrap().as_encoded_bytes())
    };
    apply(&mut stat, |name, buffer| lgetxattr(path, name, buffer), beside).unwrap();
    (stat.st_mode & 0o7777, (stat.st_uid, stat.st_gid))
}

#[test]
fn modes_that_would_keep_the_owner_out() {
    let temp = TempDir::new();
    let (file, dir) = (temp.path().join("f"), temp.path().join("d"));
    fs::write(&file, "x").unwrap();
    fs::create_dir(&dir).unwrap();
    let set = |path: &Path, mode| {
        let open = fs::File::open(path).unwrap();
        let change = |mode| rustix::fs::fchmod(&open, mode);
        set_mode(Carrier::Open(open.as_fd()), path.is_dir(), mode, change).unwrap();
        assert_eq!(told(path).0, mode, "{mode:o}");
        fs::metadata(path).unwrap().mode() & 0o7777
    };
    for (mode, real) in [
        (0o644, 0o644),
        (0o000, 0o600),
        (0o111, 0o711),
        (0o444, 0o644),
        (0o4755, 0o755),
        (0o2770, 0o770),
        (0o600, 0o600),
    ] {
        assert_eq!(set(&file, mode), real, "{mode:o}");
    }
    for (mode, real) in [(0o555, 0o755), (0o1777, 0o777), (0, 0o700), (0o2755, 0o755)] {
        assert_eq!(set(&dir, mode), real, "{mode:o}");
    }
    // Only what is needed is written down.
    set(&dir, 0o755);
    assert!(Carrier::Path(dir.as_os_str().as_encoded_bytes()).names().unwrap().is_empty());
}

#[test]
fn what_is_no_mode_says_nothing() {
    let temp = TempDir::new();
    let file = temp.path().join("f");
    fs::write(&file, "x").unwrap();
    let carrier = Carrier::Path(file.as_os_str().as_encoded_bytes());
    let real = told(&file).0;
    for value in ["", "9", "10000", "-1", "x", "77777777777777"] {
        carrier.set(Deed::MODE.as_bytes(), value.as_bytes()).unwrap();
        assert_eq!(told(&file), (real, (0, 0)), "{value}");
    }
}

#[test]
fn owners_of_links_are_in_their_directory() {
    let temp = TempDir::new();
    let dir = fs::File::open(temp.path()).unwrap();
    for name in ["a", "b", "c"] {
        std::os::unix::fs::symlink("nowhere", temp.path().join(name)).unwrap();
    }
    let give = |name: &str, owner| give_beside(dir.as_fd(), name.as_bytes(), owner).unwrap();
    let owner = |name: &str| told(&temp.path().join(name)).1;
    give("a", (7, 8));
    give("b", (7, 8));
    give("c", (4_294_967_294, 10));
    assert_eq!(["a", "b", "c"].map(owner), [(7, 8), (7, 8), (4_294_967_294, 10)]);
    give("a", (9, 9));
    give("a", (9, 9));
    give("c", (0, 0));
    assert_eq!(["a", "b", "c"].map(owner), [(9, 9), (7, 8), (0, 0)]);
    // A second name has the same owner.
    rustix::fs::linkat(&dir, "b", &dir, "d", AtFlags::empty()).unwrap();
    give_as((dir.as_fd(), b"b"), (dir.as_fd(), b"d")).unwrap();
    assert_eq!(owner("d"), (7, 8));
    // A file of the name of a link that is gone has nothing to do with it.
    fs::remove_file(temp.path().join("b")).unwrap();
    fs::write(temp.path().join("b"), "").unwrap();
    assert_eq!(owner("b"), (0, 0));
    for name in ["a", "b", "d"] {
        give(name, (0, 0));
    }
    let directory = Carrier::Path(temp.path().as_os_str().as_encoded_bytes());
    assert!(directory.names().unwrap().is_empty(), "nothing is left");
}

#[test]
fn more_links_than_a_directory_can_keep_is_an_error_of_its_own() {
    let temp = TempDir::new();
    let dir = fs::File::open(temp.path()).unwrap();
    let mut given = 0_u32;
    // No file system keeps more than 64 KiB of a value.
    let error = loop {
        match give_beside(dir.as_fd(), given.to_string().as_bytes(), (1, 1)) {
            Ok(()) => given += 1,
            Err(errno) => break errno,
        }
    };
    assert_eq!(error, Errno::OVERFLOW);
    assert!((100..=8192).contains(&given), "{given}");
    // Those before are kept.
    for number in [0, given / 2, given - 1] {
        let owner = owner_beside(dir.as_fd(), number.to_string().as_bytes()).unwrap();
        assert_eq!(owner, Some((1, 1)));
    }
}
