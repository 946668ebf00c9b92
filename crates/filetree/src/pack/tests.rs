//! What is packed can be unpacked into the same tree, is the same every time, and is read by others' tools.

use std::{
    collections::BTreeMap,
    io::Write,
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    process::{Command, Stdio},
};

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags};

use super::*;
use crate::{
    Budget,
    test_data::{TempDir, is_root},
    unpack_layer,
};

/// Describes everything about a tree that a layer keeps, a line for each file.
pub(crate) fn portrait(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut links = BTreeMap::new();
    paint(root, Path::new(""), &mut links, &mut lines);
    lines
}

fn paint(root: &Path, below: &Path, links: &mut BTreeMap<u64, String>, lines: &mut Vec<String>) {
    let mut names: Vec<_> = std::fs::read_dir(root.join(below))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    for name in names {
        let path = below.join(&name);
        let full = root.join(&path);
        let stat = full.symlink_metadata().unwrap();
        let kind = stat.file_type();
        let content = if kind.is_symlink() {
            format!("{:?}", std::fs::read_link(&full).unwrap())
        } else if kind.is_file() {
            let content = std::fs::read(&full).unwrap();
            format!("{} bytes {}", content.len(), blake3::hash(&content).to_hex())
        } else {
            format!("device {}", stat.rdev())
        };
        let mut xattrs = Vec::new();
        let through = full.as_os_str().as_bytes();
        let carrier = Carrier::Path(through);
        for name in
            carrier.names().unwrap().split(|byte| *byte == 0).filter(|name| !name.is_empty())
        {
            let value = carrier.value(name).unwrap();
            xattrs.push(format!("{}={value:?}", String::from_utf8_lossy(name)));
        }
        xattrs.sort();
        let shown = format!("{path:?}");
        let first = if stat.nlink() > 1 && !stat.is_dir() {
            links.entry(stat.ino()).or_insert(shown.clone()).clone()
        } else {
            String::new()
        };
        lines.push(format!(
            "{shown} {:o} {}:{} {}.{:09} {content} {xattrs:?} {first}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
        ));
        if stat.is_dir() {
            paint(root, &path, links, lines);
        }
    }
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

pub(crate) fn make_node(path: &Path, kind: FileType, major: u32, minor: u32) {
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device).unwrap();
}

/// Gives everything below the same time, directories too.
fn age(dir: &Path, seconds: i64) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            age(&entry.path(), seconds);
        }
        set_time(&entry.path(), seconds, 0);
    }
}

pub(crate) const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A snapshot with every kind of entry and every kind of trouble. Needs root.
fn everything() -> TempDir {
    let dir = TempDir::new();
    let at = |path: &str| dir.path().join(path);
    dir.write("bin/tool", "#!/bin/sh\n").mode("bin/tool", 0o6755).owner("bin/tool", 0, 42);
    // A new owner takes the bits away.
    dir.mode("bin/tool", 0o6755);
    dir.write("bin/capable", "x").mode("bin/capable", 0o755);
    set_xattr(&at("bin/capable"), "security.capability", CAPABILITY);
    std::fs::hard_link(at("bin/capable"), at("bin/capable-too")).unwrap();
    dir.write("attributes", "").dir("empty");
    set_xattr(&at("attributes"), "user.binary", b"a\0b\n=\xff");
    set_xattr(&at("attributes"), "user.large", &[b'v'; 2000]);
    set_xattr(&at("attributes"), "user.none", b"");
    set_xattr(&at("empty"), "trusted.mine", b"1");
    set_xattr(&at("empty"), "user.on-dir", b"2");
    dir.mode("empty", 0o1777).owner("empty", 1000, 1000);
    dir.dir("closed").write("closed/inside", "i").mode("closed", 0);
    dir.link("links/relative", "../bin/tool").link("links/absolute", "/bin/tool");
    dir.link("links/long", &"t/".repeat(90)).link("links/é", "ü");
    dir.owner("links/relative", 7, 8);
    std::fs::hard_link(at("links/relative"), at("links/relative-too")).unwrap();
    make_node(&at("null"), FileType::CharacterDevice, 1, 3);
    make_node(&at("disk"), FileType::BlockDevice, 259, 1_048_575);
    make_node(&at("fifo"), FileType::Fifo, 0, 0);
    dir.write(&format!("{}/{}", "d".repeat(90), "n".repeat(90)), "ustar prefix");
    dir.write(&format!("{}/{}", "d".repeat(160), "n".repeat(255)), "pax path");
    dir.write("names/with space and \"quotes\"", "");
    dir.write("names/new\nline\u{1b}[31m", "").write("names/-rf", "").write("names/ö", "");
    let invalid = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    std::fs::write(at("names").join(invalid), "invalid").unwrap();
    dir.write("owners/large", "").owner("owners/large", 3_000_000, 4_294_967_294);
    dir.write("owners/limit", "").owner("owners/limit", 0o7_777_777, 0o10_000_000);
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    dir.write("gone/.keep", "");
    make_node(&at("gone/file"), FileType::CharacterDevice, 0, 0);
    make_node(&at("deleted"), FileType::CharacterDevice, 0, 0);
    rustix::fs::chmod(at("gone/file"), Mode::empty()).unwrap();
    rustix::fs::chmod(at("deleted"), Mode::empty()).unwrap();
    dir.dir("opaque/inner").write("opaque/new", "n");
    set_xattr(&at("opaque"), "trusted.overlay.opaque", b"y");
    age(dir.path(), 1_700_000_000);
    for (path, seconds, nanoseconds) in [
        ("attributes", 1_600_000_000, 123_456_789),
        ("bin/tool", -1, 0),
        ("null", -2, 500_000_000),
        ("links/relative", 1_500_000_000, 1),
        ("owners/large", 8_589_934_591, 0),
        ("owners/limit", 8_589_934_592, 0),
        ("sparse", 0, 0),
        ("empty", 1_234_567_890, 900_000_000),
        // What the layer says of whiteouts.
        ("gone/file", 0, 0),
        ("deleted", 0, 0),
    ] {
        set_time(&at(path), seconds, nanoseconds);
    }
    dir
}

const OPTIONS: PackOptions<'_> = PackOptions::OWN;

fn packed(dir: &Path) -> Vec<u8> {
    let mut layer = Vec::new();
    pack(dir, Flavour::Trusted, &OPTIONS, &mut layer).unwrap();
    layer
}

fn unpacked(layer: &[u8]) -> TempDir {
    let (dir, below) = (TempDir::new(), TempDir::new());
    // Whiteouts of nothing are not made.
    below.write("gone/file", "").write("deleted", "");
    let (budget, below) = (Budget::GENEROUS, [below.root()]);
    unpack_layer(&mut &layer[..], &dir.root(), &below, Flavour::Trusted, &budget).unwrap();
    dir
}

/// The lines without the marks of whiteouts, whose times and modes are of no account.
fn comparable(dir: &Path) -> Vec<String> {
    let mut lines = portrait(dir);
    for line in &mut lines {
        if line.starts_with("\"deleted\"") || line.starts_with("\"gone/file\"") {
            *line = line.split(" 0:0 ").next().unwrap().to_owned();
        }
    }
    lines
}

#[test]
fn a_layer_unpacks_into_the_same_tree() {
    if !is_root("a_layer_unpacks_into_the_same_tree") {
        return;
    }
    let original = everything();
    let layer = packed(original.path());
    let copy = unpacked(&layer);
    assert_eq!(comparable(copy.path()), comparable(original.path()));
    assert!(packed(copy.path()) == layer, "packed again, it is the same layer");
    for dir in [&original, &copy] {
        dir.mode("closed", 0o755);
    }
}

#[test]
fn a_file_may_have_very_many_names() {
    if !is_root("a_file_may_have_very_many_names") {
        return;
    }
    let original = TempDir::new();
    original.write("first", "content").dir("many");
    let names = 6_000;
    for number in 0..names {
        let name = original.path().join(format!("many/{number}"));
        if let Err(error) = std::fs::hard_link(original.path().join("first"), name) {
            eprintln!("skipped: no more than {number} names: {error}");
            return;
        }
    }
    let layer = packed(original.path());
    let copy = unpacked(&layer);
    let stat = copy.path().join("many/7").metadata().unwrap();
    assert_eq!((stat.nlink(), stat.len()), (names + 1, 7));
    assert!(packed(copy.path()) == layer);
}

#[test]
fn files_of_every_size_around_the_buffers() {
    let dir = TempDir::new();
    let mib = 1 << 20;
    for (number, size) in
        [0, 1, 511, 512, 513, mib - 1025, mib - 1024, mib - 512, mib - 1, mib, mib + 1, 3 * mib - 7]
            .into_iter()
            .enumerate()
    {
        let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        dir.write(&format!("{number}"), content);
    }
    let copy = unpacked(&packed(dir.path()));
    assert_eq!(portrait(copy.path()), portrait(dir.path()));
}

#[test]
fn deep_trees_do_not_use_up_descriptors() {
    let dir = TempDir::new();
    let deep = "d/".repeat(300);
    for depth in [1, 60, 64, 65, 66, 130, 299] {
        dir.write(&format!("{}after", "d/".repeat(depth)), "x");
    }
    dir.write(&format!("{deep}last"), "x");
    let copy = unpacked(&packed(dir.path()));
    assert_eq!(portrait(copy.path()), portrait(dir.path()));
}

/// Makes the small tree that the pinned digest is of.
fn small() -> TempDir {
    let dir = TempDir::new();
    dir.write("etc/motd", "hello\n").mode("etc/motd", 0o644).link("etc/link", "motd");
    std::fs::hard_link(dir.path().join("etc/motd"), dir.path().join("etc/motd2")).unwrap();
    dir.mode("etc", 0o755).dir("tmp").mode("tmp", 0o1777);
    age(dir.path(), 1_700_000_000);
    set_time(&dir.path().join("etc/motd"), 1_700_000_000, 250_000_000);
    dir
}

#[test]
fn the_bytes_of_a_layer_are_pinned() {
    if !is_root("the_bytes_of_a_layer_are_pinned") {
        return;
    }
    let dir = small();
    for path in ["etc", "etc/motd", "etc/link", "tmp"] {
        dir.owner(path, 0, 0);
    }
    let layer = packed(dir.path());
    // Changing this digest changes every layer that is built: no image would be found again under its old name.
    assert_eq!(
        blake3::hash(&layer).to_hex().as_str(),
        "3c21f252bc1921b347f73f8eac5786fc12cc88a33ab4e919a2023c87a2e56dc5"
    );
}

#[test]
fn a_layer_holds_no_more_than_it_may() {
    let dir = TempDir::new();
    dir.write("a", [1; 600]).write("b/c", [1; 500]).write("b/d", []);
    std::fs::hard_link(dir.path().join("a"), dir.path().join("b/a")).unwrap();
    let pack = |bytes| {
        let (options, mut layer) = (PackOptions { bytes, ..OPTIONS }, Vec::new());
        pack(dir.path(), Flavour::Trusted, &options, &mut layer)
    };
    assert_eq!(pack(1100).unwrap().contents, 1100);
    for (bytes, name, has) in [(1099, "/b/c", 500), (600, "/b/c", 500), (599, "/a", 600)] {
        let Err(Error::LayerSize { path, size, allowed }) = pack(bytes) else { panic!("{bytes}") };
        assert_eq!((path.to_str().unwrap(), size, allowed), (name, has, bytes));
    }
}

#[test]
fn later_times_are_clamped() {
    let dir = small();
    let limit = Timestamp::from_seconds(1_700_000_000);
    let options = PackOptions { times: Times::UpTo { limit, made: &[] }, ..PackOptions::OWN };
    let mut layer = Vec::new();
    pack(dir.path(), Flavour::Trusted, &options, &mut layer).unwrap();
    let copy = unpacked(&layer);
    for name in ["etc", "etc/motd", "etc/link"] {
        let stat = copy.path().join(name).symlink_metadata().unwrap();
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_700_000_000, 0), "{name}");
    }
    let limit = Timestamp::from_seconds(i64::MAX);
    let options = PackOptions { times: Times::UpTo { limit, made: &[] }, ..PackOptions::OWN };
    let mut unclamped = Vec::new();
    pack(dir.path(), Flavour::Trusted, &options, &mut unclamped).unwrap();
    assert!(unclamped == packed(dir.path()));
}

#[test]
fn what_was_made_meanwhile_is_clamped_too() {
    let dir = TempDir::new();
    let time = |seconds| Timestamp { seconds, nanoseconds: 5 };
    for seconds in [10, 19, 20, 25, 30, 31, 40, 41, 60] {
        let path = dir.write(&seconds.to_string(), "").path().join(seconds.to_string());
        let file = std::fs::File::open(path).unwrap();
        rustix::fs::futimens(&file, &time(seconds).to_timestamps()).unwrap();
    }
    let limit = Timestamp::from_seconds(50);
    let times = Times::UpTo { limit, made: &[(time(20), time(30)), (time(40), time(40))] };
    let mut layer = Vec::new();
    pack(dir.path(), Flavour::Trusted, &PackOptions { times, ..PackOptions::OWN }, &mut layer)
        .unwrap();
    let copy = unpacked(&layer);
    let seconds = |name: &str| copy.path().join(name).metadata().unwrap().mtime();
    for (name, expect) in [
        ("10", 10),
        ("19", 19),
        ("20", 50),
        ("25", 50),
        ("30", 50),
        ("31", 31),
        ("40", 50),
        ("41", 41),
        ("60", 50),
    ] {
        assert_eq!(seconds(name), expect, "{name}");
    }
}

#[test]
fn an_archive_can_have_one_time() {
    let dir = small();
    let mut archive = Vec::new();
    pack_tree(&dir.root(), Some(Timestamp::from_seconds(77)), &mut archive).unwrap();
    let mut archive = tar::Archive::new(&archive[..]);
    let times = archive.entries().unwrap().map(|entry| entry.unwrap().header().mtime().unwrap());
    let times: Vec<_> = times.collect();
    assert!(!times.is_empty() && times.iter().all(|time| *time == 77), "{times:?}");
}

#[test]
fn marks_of_the_other_flavour_mean_nothing() {
    let dir = TempDir::new();
    dir.dir("d");
    set_xattr(&dir.path().join("d"), "user.overlay.opaque", b"y");
    assert!(!contains(&packed(dir.path()), b".wh."));
    let mut layer = Vec::new();
    pack(dir.path(), Flavour::User, &OPTIONS, &mut layer).unwrap();
    assert!(contains(&layer, b"d/.wh..wh..opq"));
    assert!(!contains(&layer, b"overlay"));
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn what_a_layer_cannot_say_is_refused() {
    let named = TempDir::new();
    named.write("a/.wh.b", "");
    let refused = pack(named.path(), Flavour::Trusted, &OPTIONS, &mut Vec::new());
    assert!(matches!(refused, Err(Error::WhiteoutName { path }) if path == Path::new("/a/.wh.b")));

    let partial = TempDir::new();
    partial.write("file", "").dir("dir");
    for (path, attribute) in [("file", "user.overlay.metacopy"), ("dir", "user.overlay.redirect")] {
        set_xattr(&partial.path().join(path), attribute, b"");
        let refused = pack(partial.path(), Flavour::User, &OPTIONS, &mut Vec::new());
        assert!(
            matches!(refused, Err(Error::OverlayAttribute { attribute: found, .. }) if found == attribute),
            "{attribute}"
        );
        rustix::fs::removexattr(partial.path().join(path), attribute).unwrap();
    }
}

#[test]
fn a_file_that_changes_is_an_error() {
    let dir = TempDir::new();
    dir.write("file", "0123456789");
    for (size, fits) in [(10, true), (9, false), (11, false), (0, false), (4 << 20, false)] {
        let file = std::fs::File::open(dir.path().join("file")).unwrap();
        let mut bytes = Vec::new();
        let mut out = Output::new(&mut bytes);
        let appended = out.append_file(file.as_fd(), size, None, || PathBuf::from("/file"));
        assert_eq!(appended.is_ok(), fits, "{size}");
    }
}

#[test]
fn an_error_of_the_output_comes_through() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let refused = pack(small().path(), Flavour::Trusted, &OPTIONS, &mut Full);
    assert!(matches!(refused, Err(Error::WriteArchive { .. })));
}

#[test]
fn a_tree_is_packed_as_it_is() {
    let dir = small();
    dir.write("etc/.wh.name", "x");
    let mut archive = Vec::new();
    pack_tree(&dir.root(), None, &mut archive).unwrap();
    let copy = TempDir::new();
    crate::extract_archive(&archive[..], &copy.root(), "/", None, &Budget::GENEROUS).unwrap();
    assert_eq!(portrait(copy.path()), portrait(dir.path()));
}

/// Runs a program with the archive as its input; `None` when there is no such program.
fn through(program: &str, arguments: &[&str], input: &[u8]) -> Option<String> {
    let child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: no {program}");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

const READ_BY_PYTHON: &str = r#"
import sys, tarfile
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
    for entry in archive:
        data = archive.extractfile(entry).read() if entry.isreg() else b""
        xattrs = sorted(key for key in entry.pax_headers if key.startswith("SCHILY"))
        print(ascii(entry.name), entry.type.decode(), oct(entry.mode), entry.uid, entry.gid,
              entry.mtime, entry.size, len(data), entry.devmajor, entry.devminor,
              ascii(entry.linkname), xattrs)
"#;

#[test]
fn python_reads_what_is_packed() {
    if !is_root("python_reads_what_is_packed") {
        return;
    }
    let dir = everything();
    let layer = packed(dir.path());
    dir.mode("closed", 0o755);
    let Some(listing) = through("python3", &["-c", READ_BY_PYTHON], &layer) else { return };
    let long = format!("'{}/{}'", "d".repeat(160), "n".repeat(255));
    let prefixed = format!("'{}/{}'", "d".repeat(90), "n".repeat(90));
    for wanted in [
        "'attributes' 0 0o644 0 0 1600000000.1234567 0 0 0 0 '' ['SCHILY.xattr.user.binary', 'SCHILY.xattr.user.large', 'SCHILY.xattr.user.none']",
        "'bin' 5 0o755 0 0 1700000000 0 0 0 0 '' []",
        "'bin/capable-too' 1 0o755 0 0 1700000000 0 0 0 0 'bin/capable' ['SCHILY.xattr.security.capability']",
        "'bin/tool' 0 0o6755 0 42 -1.0 10 10 0 0 '' []",
        "'closed' 5 0o0 0 0 1700000000 0 0 0 0 '' []",
        "'.wh.deleted' 0 0o0 0 0 0 0 0 0 0 '' []",
        "'gone/.wh.file' 0 0o0 0 0 0 0 0 0 0 '' []",
        "'opaque/.wh..wh..opq' 0 0o0 0 0 0 0 0 0 0 '' []",
        "'disk' 4 0o640 0 0 1700000000 0 0 259 1048575 '' []",
        "'null' 3 0o640 0 0 -1.5 0 0 1 3 '' []",
        "'fifo' 6 0o640 0 0 1700000000 0 0 0 0 '' []",
        "'links/absolute' 2 0o777 0 0 1700000000 0 0 0 0 '/bin/tool' []",
        "'links/\\xe9' 2 0o777 0 0 1700000000 0 0 0 0 '\\xfc' []",
        "'names/\\udcff\\udcfe' 0 0o644 0 0 1700000000 7 7 0 0 '' []",
        "'owners/large' 0 0o644 3000000 4294967294 8589934591 0 0 0 0 '' []",
        "'owners/limit' 0 0o644 2097151 2097152 8589934592.0 0 0 0 0 '' []",
        "'sparse' 0 0o644 0 0 0 3145728 3145728 0 0 '' []",
        &format!("{long} 0 0o644 0 0 1700000000 8 8 0 0 '' []"),
        &format!("{prefixed} 0 0o644 0 0 1700000000 12 12 0 0 '' []"),
    ] {
        assert!(
            listing.lines().any(|line| line.starts_with(wanted)
                || line.replace("1600000000.1234568", "1600000000.1234567") == wanted),
            "{wanted}\n{listing}"
        );
    }
    let positions: Vec<_> = ["'opaque'", "'opaque/.wh..wh..opq'", "'opaque/inner'", "'opaque/new'"]
        .map(|name| listing.lines().position(|line| line.starts_with(&format!("{name} "))).unwrap())
        .to_vec();
    assert!(positions.is_sorted(), "the mark comes right behind its directory: {positions:?}");
    assert_eq!(positions[1], positions[0] + 1);
}

#[test]
fn gnu_tar_reads_what_is_packed() {
    if !is_root("gnu_tar_reads_what_is_packed") {
        return;
    }
    let dir = everything();
    let layer = packed(dir.path());
    let copy = TempDir::new();
    let path = copy.path().to_str().unwrap();
    let arguments = ["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", path];
    if through("tar", &arguments, &layer).is_some() {
        // tar knows no whiteouts, and takes the times of its symbolic links from elsewhere.
        let kept = |dir: &Path| {
            let wanted = ["\"bin/", "\"attributes", "\"empty", "\"owners", "\"names", "\"sparse"];
            let mut lines = portrait(dir);
            lines.retain(|line| wanted.iter().any(|start| line.starts_with(start)));
            lines
        };
        assert_eq!(kept(copy.path()), kept(dir.path()));
        copy.mode("closed", 0o755);
    }
    dir.mode("closed", 0o755);
}
