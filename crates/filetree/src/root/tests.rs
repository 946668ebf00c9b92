//! Paths that try to leave their root.

use std::{path::Path, time::UNIX_EPOCH};

use super::*;
use crate::test_data::TempDir;

fn outside_and_in() -> (TempDir, TempDir) {
    let (outside, dir) = (TempDir::new(), TempDir::new());
    outside.write("secret", "secret");
    dir.write("etc/f", "inside").link("etc/l", "/etc/f").link("up", "../../../../../../etc/f");
    dir.link("out", &outside.path().join("secret").display().to_string());
    dir.link("outdir", &outside.path().display().to_string()).link("loop", "loop");
    (outside, dir)
}

#[test]
fn links_stay_inside() {
    let (outside, dir) = outside_and_in();
    let root = dir.root();
    let read = |path: &str| root.read_file(path, 100).unwrap();
    for path in ["etc/f", "/etc/f", "/etc/l", "up", "../../etc/f", "etc/../../etc/l"] {
        assert_eq!(read(path).as_deref(), Some(&b"inside"[..]), "{path}");
    }
    assert_eq!(read("out"), None);
    assert_eq!(read("outdir/secret"), None);
    assert_eq!(read("missing"), None);
    assert!(root.read_file("loop", 100).is_err());
    root.create_dir_all("outdir/new", 0o755, 0, 0, None).unwrap();
    assert_eq!(outside.listing().len(), 1);
}

#[test]
fn only_small_regular_files_are_read() {
    let (_outside, dir) = outside_and_in();
    let root = dir.root();
    let mode = Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(&root, "fifo", rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(root.read_file("fifo", 100), Err(Error::NotAFile { .. })));
    assert!(matches!(root.read_file("etc", 100), Err(Error::NotAFile { .. })));
    assert!(matches!(root.read_file("etc/f", 5), Err(Error::TooLarge { limit: 5, .. })));
    assert_eq!(root.read_file("etc/f", 6).unwrap().unwrap(), b"inside");
}

#[test]
fn directories_are_made_and_left_alone() {
    let dir = TempDir::new();
    dir.dir("old")
        .mode("old", 0o700)
        .write("file", "")
        .link("dangling", "made/later")
        .link("to", "old");
    let root = dir.root();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let stamp = Timestamp { seconds: 1234, nanoseconds: 5 };
    let make = |path: &str| root.create_dir_all(path, 0o755, uid, gid, Some(stamp));
    assert_eq!(make("/").unwrap(), Created::Existing);
    assert_eq!(make("/old").unwrap(), Created::Existing);
    assert_eq!(make("/old/a/b").unwrap(), Created::New);
    assert_eq!(make("to/c/../d").unwrap(), Created::New);
    assert_eq!(make("dangling/x").unwrap(), Created::New);
    assert_eq!(make("../../up").unwrap(), Created::New);
    let lines: Vec<String> = dir
        .listing()
        .iter()
        .map(|line| line.replace(&format!(" {uid}:{gid}"), ""))
        .filter(|line| line.starts_with('d'))
        .collect();
    assert_eq!(
        lines,
        [
            "d 755 /made",
            "d 755 /made/later",
            "d 755 /made/later/x",
            "d 700 /old",
            "d 755 /old/a",
            "d 755 /old/a/b",
            "d 755 /old/d",
            "d 755 /up",
        ]
    );
    let modified = dir.path().join("old/a").metadata().unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(UNIX_EPOCH).unwrap().as_secs(), 1234);
    for path in ["/file", "/file/x"] {
        let error = make(path).unwrap_err();
        assert_eq!(error.to_string(), "\"/file\": not a directory", "{path}");
    }
}

#[test]
fn parents_are_found_by_the_cleaned_name() {
    let (_outside, dir) = outside_and_in();
    let root = dir.root();
    let name = |path: &str| root.open_parent(Path::new(path)).unwrap().map(|(_, name)| name);
    assert_eq!(name("/etc/f").unwrap(), "f");
    assert_eq!(name("etc/x/..").unwrap(), "etc");
    assert_eq!(name("../victim").unwrap(), "victim");
    for path in ["/", "", ".", "..", "../..", "a/../.."] {
        assert_eq!(name(path), None, "{path}");
    }
}

#[test]
fn times_before_the_epoch() {
    let before = UNIX_EPOCH - std::time::Duration::from_millis(1500);
    let time = Timestamp::from_system_time(before);
    assert_eq!((time.seconds, time.nanoseconds), (-2, 500_000_000));
    let after = UNIX_EPOCH + std::time::Duration::new(7, 8);
    assert_eq!(Timestamp::from_system_time(after), Timestamp { seconds: 7, nanoseconds: 8 });
}
