//! ADD of archives: BuildKit's recorded results, and what is no archive.

use std::{io::Cursor, os::unix::fs::MetadataExt, path::Path, process::Command};

use serde_json::Value;

use super::*;
use crate::{
    Fault, gzip_writer,
    pack::tests::portrait,
    test_data::{TempDir, is_root},
    unpack::tests::layer,
};

fn small() -> Vec<u8> {
    layer().file("f", "x").end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = gzip_writer(Vec::new());
    std::io::Write::write_all(&mut writer, bytes).unwrap();
    writer.finish().unwrap()
}

#[test]
fn content_tells_an_archive() {
    let archive = small();
    let mut broken = archive.clone();
    broken[148] ^= 1;
    for (what, bytes, wanted) in [
        ("tar", archive.clone(), true),
        ("gzip", gzip(&archive), true),
        ("only a header", archive[..512].to_vec(), true),
        (
            "a gzip that breaks off behind it",
            gzip(&archive)[..gzip(&archive).len() - 4].to_vec(),
            true,
        ),
        ("empty", Vec::new(), false),
        ("short", b"x".to_vec(), false),
        ("text", b"#!/bin/sh\n".repeat(200), false),
        ("a gzip of text", gzip(&b"#!/bin/sh\n".repeat(200)), false),
        ("twice compressed", gzip(&gzip(&archive)), false),
        ("an empty archive", vec![0; 1024], false),
        ("a broken header", broken, false),
        ("zeros", vec![0; 1 << 16], false),
        ("half a header", archive[..300].to_vec(), false),
        ("bad zstd", b"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff".to_vec(), false),
    ] {
        let mut file = Cursor::new(bytes);
        file.set_position(3);
        assert_eq!(is_archive(&mut file).unwrap(), wanted, "{what}");
        assert_eq!(file.position(), 0, "{what}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    impl Seek for Broken {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }
    let kind = is_archive(&mut Broken).unwrap_err().kind();
    assert_eq!(kind, io::ErrorKind::PermissionDenied);
}

#[test]
fn a_truncated_archive_fails() {
    let dir = TempDir::new();
    dir.write("f", "x".repeat(4096));
    let mut archive = Vec::new();
    crate::pack_tree(&dir.root(), None, &mut archive).unwrap();
    let root = TempDir::new();
    let failed = extract_archive(&archive[..2000], &root.root(), "/out", None, &Budget::GENEROUS);
    assert!(matches!(failed, Err(Error::Archive { fault: Fault::Truncated, .. })));
    let compressed = gzip(&archive);
    let failed = extract_archive(&compressed[..30], &root.root(), "/out", None, &Budget::GENEROUS);
    assert!(matches!(failed, Err(Error::ReadArchive { .. })));
}

#[test]
fn an_owner_is_given_to_all_entries() {
    if !is_root("an_owner_is_given_to_all_entries") {
        return;
    }
    let dir = TempDir::new();
    dir.write("d/f", "x").link("d/l", "f").owner("d/f", 5, 6);
    let mut archive = Vec::new();
    crate::pack_tree(&dir.root(), None, &mut archive).unwrap();
    let root = TempDir::new();
    extract_archive(&archive[..], &root.root(), "/new/out", Some((8, 9)), &Budget::GENEROUS)
        .unwrap();
    assert_eq!(
        root.listing(),
        [
            "d 755 8:9 /new",
            "d 755 8:9 /new/out",
            "d 755 8:9 /new/out/d",
            "f 644 8:9 /new/out/d/f x",
            "l 777 8:9 /new/out/d/l -> f",
        ]
    );
}

#[test]
fn the_destination_is_the_root_of_links() {
    if !is_root("the_destination_is_the_root_of_links") {
        return;
    }
    let files = layer().file("abs/f", "1").file("up/f", "2").file("ln/f", "3").end();
    let root = TempDir::new();
    root.dir("out")
        .link("out/abs", "/t")
        .link("out/up", "../../t")
        .link("out/ln", "dir")
        .dir("out/dir");
    extract_archive(&files[..], &root.root(), "out", None, &Budget::GENEROUS).unwrap();
    let text = |path: &str| std::fs::read_to_string(root.path().join(path)).unwrap_or_default();
    assert_eq!(text("out/dir/f"), "3");
    assert_eq!(text("out/t/f"), "2");
    assert!(!root.path().join("t").exists());
    // A directory of the archive replaces a link of the image.
    let directory = layer().dir("abs").file("abs/f", "1").end();
    extract_archive(&directory[..], &root.root(), "out", None, &Budget::GENEROUS).unwrap();
    assert!(root.path().join("out/abs").symlink_metadata().unwrap().is_dir());
    assert_eq!(text("out/abs/f"), "1");
}

#[test]
fn a_destination_that_is_a_file_is_refused() {
    let root = TempDir::new();
    root.write("out", "");
    let refused = extract_archive(&small()[..], &root.root(), "/out", None, &Budget::GENEROUS);
    assert!(matches!(refused, Err(Error::NotADirectory { .. })));
}

#[test]
fn an_entry_without_a_name_is_left_out() {
    if !is_root("an_entry_without_a_name_is_left_out") {
        return;
    }
    let dest = TempDir::new();
    let archive = layer().file("", "nowhere").file("f", "x").end();
    extract_archive(Cursor::new(archive), &dest.root(), "/", None, &Budget::GENEROUS).unwrap();
    assert_eq!(std::fs::read(dest.path().join("f")).unwrap(), b"x");
    assert_eq!(std::fs::read_dir(dest.path()).unwrap().count(), 1);
}

#[test]
fn names_of_whiteouts_are_ordinary() {
    let dir = TempDir::new();
    dir.write("d/.wh.x", "1").write("d/.wh..wh..opq", "2");
    let mut archive = Vec::new();
    crate::pack_tree(&dir.root(), None, &mut archive).unwrap();
    let root = TempDir::new();
    root.write("d/x", "kept");
    extract_archive(&archive[..], &root.root(), "/", None, &Budget::GENEROUS).unwrap();
    for (path, wanted) in [("d/x", "kept"), ("d/.wh.x", "1"), ("d/.wh..wh..opq", "2")] {
        assert_eq!(std::fs::read_to_string(root.path().join(path)).unwrap(), wanted);
    }
}

/// Makes files of cases as the harness does: the reference directory, where to, then pairs of case and file.
const MAKE: &str = r#"
import sys, json, pathlib
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import kconf
for number, (case, name) in enumerate(zip(sys.argv[3::2], sys.argv[4::2])):
    spec = json.loads((pathlib.Path(sys.argv[1]) / "cases" / case / "case.json").read_text())
    content = kconf.text_of(kconf.norm(spec["files"][name]))
    (pathlib.Path(sys.argv[2]) / str(number)).write_bytes(content)
"#;

/// BuildKit's results of ADD, as far as they are about one archive and a plain tree: case, archive, destination, what is
/// in the tree before (a final slash makes a directory, `->` a link).
const RECORDED: &[(&str, &str, &str, &[&str])] = &[
    ("add-tar-abs-symlink", "a.tar", "/", &["target/", "ln->/target"]),
    ("add-tar-bz2", "a.bin", "/out", &[]),
    ("add-tar-xz", "a.bin", "/out2/", &[]),
    ("add-tar-zst", "a.tar.zst", "/out", &[]),
    ("add-tar-dest-symlink", "a.tar", "/out", &["real/", "out->/real"]),
    ("add-tar-dotdot", "a.tar", "/out/deep", &[]),
    ("add-tar-formats", "g", "/g", &[]),
    ("add-tar-formats", "u", "/u", &[]),
    ("add-tar-formats", "p", "/p", &[]),
    ("add-tar-glob", "a.tar", "/out", &[]),
    ("add-tar-glob", "b.tar", "/out", &[]),
    ("add-tar-implied-dirs", "a.tar", "/out", &[]),
    ("add-tar-over", "a.tar", "/out", &["out/dir/", "out/dir/f", "out/dir/keep", "out/x"]),
    ("add-tar-owner", "a.tar", "/out", &[]),
    ("add-tar-special", "a.tar", "/out", &[]),
    ("add-tar-symlink-dir", "a.tar", "/out", &[]),
    (
        "add-tar-type-change",
        "a.tar",
        "/out",
        &["out/was-dir/", "out/was-file", "out/was-link->/tmp"],
    ),
    ("add-tar-whiteout-name", "a.tar", "/out", &["out/x"]),
    ("add-unpack-false", "a.tar.gz", "/c/", &[]),
];

#[test]
fn buildkits_recorded_results() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    if !is_root("buildkits_recorded_results") {
        return;
    }
    if !reference.exists() {
        eprintln!("skipped: no recorded results");
        return;
    }
    let archives = TempDir::new();
    let made = Command::new("python3")
        .args(["-c", MAKE])
        .arg(&reference)
        .arg(archives.path())
        .args(RECORDED.iter().flat_map(|(case, archive, ..)| [case, archive]))
        .output();
    let Ok(made) = made else {
        eprintln!("skipped: no python3");
        return;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for (number, (case, _, dest, before)) in RECORDED.iter().enumerate() {
        let archive = std::fs::read(archives.path().join(number.to_string())).unwrap();
        assert!(is_archive(&mut Cursor::new(&archive)).unwrap(), "{case}");
        let root = TempDir::new();
        for path in *before {
            if let Some((path, target)) = path.split_once("->") {
                root.link(path, target);
            } else if let Some(path) = path.strip_suffix('/') {
                root.dir(path);
            } else {
                root.write(path, format!("{}\n", path.rsplit('/').next().unwrap()));
            }
        }
        extract_archive(&archive[..], &root.root(), dest, None, &Budget::GENEROUS).unwrap();
        let expected = std::fs::read(reference.join(format!("expected/{case}.json"))).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        compare(case, &root, expected["tree"].as_object().unwrap());
    }
}

/// Compares everything that was extracted with the recorded tree.
fn compare(case: &str, root: &TempDir, tree: &serde_json::Map<String, Value>) {
    let mut found = 0;
    for line in portrait(root.path()) {
        let quoted = line.split('"').nth(1).unwrap();
        let path = format!("/{quoted}");
        let wanted = tree.get(&path).unwrap_or_else(|| panic!("{case}: {path} is not recorded"));
        let full = root.path().join(quoted);
        let stat = full.symlink_metadata().unwrap();
        let at = format!("{case}: {path}");
        assert_eq!(u64::from(stat.uid()), wanted["uid"].as_u64().unwrap(), "{at}");
        assert_eq!(u64::from(stat.gid()), wanted["gid"].as_u64().unwrap(), "{at}");
        let kind = wanted["t"].as_str().unwrap();
        let file_type = stat.file_type();
        assert_eq!(kind == "d", file_type.is_dir(), "{at}");
        assert_eq!(kind == "f", file_type.is_file(), "{at}");
        assert_eq!(kind == "l", file_type.is_symlink(), "{at}");
        if kind != "l" {
            let mode = u32::from_str_radix(wanted["mode"].as_str().unwrap(), 8).unwrap();
            assert_eq!(stat.mode() & 0o7777, mode, "{at}");
        }
        if let Some(text) = wanted.get("text").and_then(Value::as_str)
            && case != "add-tar-whiteout-name"
        {
            assert_eq!(std::fs::read_to_string(&full).unwrap(), text, "{at}");
        }
        if let Some(target) = wanted.get("link").and_then(Value::as_str) {
            assert_eq!(std::fs::read_link(&full).unwrap().to_str().unwrap(), target, "{at}");
        }
        if let Some(device) = wanted.get("dev").and_then(Value::as_str) {
            let (major, minor) = (rustix::fs::major(stat.rdev()), rustix::fs::minor(stat.rdev()));
            assert_eq!(format!("{major}:{minor}"), device, "{at}");
        }
        if let Some(first) = wanted.get("hardlink").and_then(Value::as_str) {
            let first = root.path().join(first.trim_start_matches('/')).metadata().unwrap();
            assert_eq!(first.ino(), stat.ino(), "{at}");
        }
        if let Some(mtime) = wanted.get("mtime").and_then(Value::as_i64) {
            assert_eq!(stat.mtime(), mtime, "{at}");
        }
        found += 1;
    }
    assert!(found > 0, "{case}");
}

#[test]
fn the_newest_file_of_an_archive() {
    let entry = |builder: &mut tar::Builder<Vec<u8>>, kind, name: &str, mtime| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mtime(mtime);
        header.set_mode(0o644);
        header.set_size(0);
        if kind == tar::EntryType::Regular || kind == tar::EntryType::Directory {
            builder.append_data(&mut header, name, std::io::empty()).unwrap();
        } else {
            builder.append_link(&mut header, name, "a").unwrap();
        }
    };
    let mut builder = tar::Builder::new(Vec::new());
    entry(&mut builder, tar::EntryType::Directory, "d", 90);
    assert_eq!(newest(&builder.get_ref()[..]), None);
    entry(&mut builder, tar::EntryType::Regular, "a", 30);
    entry(&mut builder, tar::EntryType::Regular, "b", 20);
    entry(&mut builder, tar::EntryType::Symlink, "l", 80);
    let archive = builder.into_inner().unwrap();
    assert_eq!(newest(&archive[..]), Some(30));
    let compressed = gzip(&archive);
    assert_eq!(newest(&compressed[..]), Some(30));
    assert_eq!(newest(&compressed[..compressed.len() / 2]), None);
    assert_eq!(newest(&b"no archive"[..]), None);
    assert_eq!(newest(&b""[..]), None);
}
