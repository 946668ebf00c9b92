//! Hostile layers: whatever they say, nothing outside the root changes. The ten most important cases are made here, the
//! full set comes from the generator of the reference material.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{tests::layer, *};
use crate::{
    compress::decompress,
    pack::tests::portrait,
    test_data::{TempDir, is_root},
};

/// What no layer may change, beside the root that is unpacked into: they share a directory, which also is the one that
/// `..` and links would be seen from.
struct Arena {
    dir: TempDir,
    before: Vec<String>,
}

/// Small enough for a test, larger than any honest case.
const BUDGET: Budget = Budget { entries: 5_000, bytes: 32 << 20, depth: 1024 };

impl Arena {
    fn new() -> Self {
        let dir = TempDir::new();
        dir.write("victim/hello", "canary\n").mode("victim/hello", 0o640);
        dir.dir("victim/sub").mode("victim", 0o711).write("victim/sub/f", "f");
        let before = portrait(&dir.path().join("victim"));
        Self { dir, before }
    }

    fn victim(&self) -> PathBuf {
        self.dir.path().join("victim")
    }

    /// Unpacks the layers one on the other; the result of the last, or of the first that is refused.
    fn unpack(&self, layers: &[Vec<u8>]) -> Result<Unpacked, Error> {
        let mut unpacked = Unpacked::default();
        let mut lowers: Vec<RootDir> = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            let path = self.root(number);
            std::fs::create_dir_all(&path).unwrap();
            let root = RootDir::open(&path).unwrap();
            let mut stream = decompress(&layer[..])?;
            let flavour = Flavour::Trusted;
            unpacked = unpack_layer(&mut stream, &root, &lowers, flavour, &BUDGET)?;
            lowers.insert(0, root);
        }
        Ok(unpacked)
    }

    fn root(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("root{number}"))
    }

    fn assert_unharmed(&self, case: &str) {
        assert_eq!(portrait(&self.victim()), self.before, "{case}");
        let mode = self.victim().metadata().unwrap().mode();
        assert_eq!(mode & 0o7777, 0o711, "{case}");
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name == "victim" || name.starts_with("root"), "{case}: {name} was made");
        }
    }
}

#[test]
fn ten_ways_out_stay_inside() {
    if !is_root("ten_ways_out_stay_inside") {
        return;
    }
    for number in 0..10 {
        let arena = Arena::new();
        let victim = arena.victim();
        let victim = victim.to_str().unwrap();
        let up = format!("{}{}", "../".repeat(20), &victim[1..]);
        let one = |layer: super::tests::Layer| vec![layer.end()];
        let (name, layers, refused) = match number {
            0 => ("`..` in a name", one(layer().file(&format!("{up}/new"), "")), false),
            1 => ("an absolute name", one(layer().file(&format!("{victim}/new"), "")), false),
            2 => {
                let layer = layer().symlink("out", victim).file("out/new", "").dir("out/hello");
                ("through a link", one(layer), false)
            }
            3 => {
                let first = layer().symlink("out", &up).end();
                let second = layer().file("out/.wh.hello", "").file("out/.wh..wh..opq", "").end();
                ("deleting through a link of a lower layer", vec![first, second], false)
            }
            4 => {
                let open = |header: &mut tar::Header| header.set_mode(0o777);
                let kind = tar::EntryType::Directory;
                let layer =
                    layer().symlink("d", victim).entry("d/", kind, open, b"").file("d/new", "");
                ("a directory on a link", one(layer), false)
            }
            5 => ("a hard link upwards", one(layer().hard_link("x", &format!("{up}/hello"))), true),
            6 => {
                let layer = layer().symlink("out", victim).hard_link("x", "out/hello");
                ("a hard link through a link", one(layer), true)
            }
            7 => {
                let layer = layer()
                    .symlink("a", &format!("{victim}/hello"))
                    .hard_link("b", "a")
                    .file("b", "overwritten");
                ("writing to a hard link to a link", one(layer), false)
            }
            8 => ("a link for the root", one(layer().symlink("./", victim).file("new", "")), true),
            _ => {
                let layer = layer()
                    .dir("foo")
                    .dir("foo/victim")
                    .symlink("foo", arena.dir.path().to_str().unwrap())
                    .file("foo/victim/new", "");
                ("a directory that becomes a link", one(layer), false)
            }
        };
        assert_eq!(arena.unpack(&layers).is_err(), refused, "{name}");
        arena.assert_unharmed(name);
    }
}

#[test]
fn what_is_malformed_is_refused() {
    let arena = Arena::new();
    let regular = tar::EntryType::Regular;
    let raw = |change: fn(&mut tar::Header)| layer().entry("f", regular, change, b"").end();
    let mut checksum = layer().file("f", "").end();
    checksum[148] ^= 1;
    let lone = [&[0; 512][..], &layer().file("f", "").end()].concat();
    for (case, bytes, fault) in [
        ("checksum", checksum, Fault::Header),
        ("a lone empty block", lone, Fault::Header),
        ("garbage", b"garbage!".repeat(64), Fault::Header),
        ("in a header", vec![b'x'; 100], Fault::Truncated),
        (
            "in a file",
            layer().file("f", &"x".repeat(4096)).end()[..2048].to_vec(),
            Fault::Truncated,
        ),
        (
            "negative size",
            raw(|header| header.as_old_mut().size = [0xff; 12]),
            Fault::Field("size"),
        ),
        ("mtime", layer().pax("mtime", b"NaN").file("f", "").end(), Fault::Field("mtime")),
        ("uid", layer().pax("uid", b"-1").file("f", "").end(), Fault::Owner(-1)),
        ("gid", layer().pax("gid", b"4294967295").file("f", "").end(), Fault::Owner(0xffff_ffff)),
        ("uid wraps", layer().pax("uid", b"4294967296").file("f", "").end(), Fault::Owner(1 << 32)),
        (
            "type",
            layer().entry("f", tar::EntryType::new(b'Z'), |_| {}, b"").end(),
            Fault::Type(b'Z'),
        ),
        ("NUL", layer().pax("path", b"a\0b").file("f", "").end(), Fault::Name),
        ("long name", layer().pax("path", &[b'n'; 256]).file("f", "").end(), Fault::Name),
        ("long path", layer().pax("path", &b"dd/".repeat(1400)).file("f", "").end(), Fault::Name),
        (".wh.", layer().file("d/.wh.", "").end(), Fault::Whiteout),
        (".wh..", layer().file(".wh..", "").end(), Fault::Whiteout),
        (".wh...", layer().file("d/.wh...", "").end(), Fault::Whiteout),
        ("whiteout directory", layer().file(".wh.d/f", "").end(), Fault::Whiteout),
        (
            "header bomb",
            layer().entry("x", tar::EntryType::XHeader, |h| h.set_size(1 << 33), b"").end(),
            Fault::ExtendedSize(1 << 20),
        ),
        (
            "name bomb",
            layer().entry("x", tar::EntryType::GNULongName, |h| h.set_size(1 << 31), b"").end(),
            Fault::ExtendedSize(1 << 20),
        ),
        (
            "sparse file that reaches beyond its end",
            layer().pax("GNU.sparse.map", b"0,9").pax("size", b"0").file("f", "").end(),
            Fault::Truncated,
        ),
    ] {
        let refused = arena.unpack(&[bytes]);
        let skip = case.starts_with("sparse");
        match refused {
            Err(Error::Archive { fault: found, .. }) => {
                assert!(found == fault || skip, "{case}: {found}")
            }
            Ok(_) if skip => {}
            other => panic!("{case}: {other:?}"),
        }
    }
    arena.assert_unharmed("malformed");
}

#[test]
fn a_hidden_header_is_contents() {
    if !is_root("a_hidden_header_is_contents") {
        return;
    }
    let arena = Arena::new();
    let inner = layer().file("smuggled", "evil").end();
    let mut bytes = layer().pax("size", inner.len().to_string().as_bytes()).file("outer", "").end();
    bytes.truncate(bytes.len() - 1024);
    bytes.extend_from_slice(&inner);
    bytes.extend_from_slice(&[0; 1024]);
    assert_eq!(arena.unpack(&[bytes]).unwrap().entries, 1);
    assert_eq!(std::fs::read(arena.root(0).join("outer")).unwrap(), inner);
}

/// What the result must be, where the generator's table leaves it open or says it more loosely.
fn wanted(case: &str, table: &str) -> Option<bool> {
    match case {
        "L16" | "L17" | "L18" | "L19" | "L30" | "C03" => Some(false),
        "L28" | "L33" | "L35" | "L36" | "L38" | "L41" | "L44" | "L50" | "L58" | "L61" | "L65"
        | "C06" => Some(true),
        _ => match table {
            "ok" => Some(true),
            "reject" | "reject-at-limit" | "reject-or-clamp" => Some(false),
            _ => None,
        },
    }
}

#[test]
fn the_full_set_of_hostile_layers() {
    let generator =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/security/gen_hostile.py");
    if !is_root("the_full_set_of_hostile_layers") {
        return;
    }
    if !generator.exists() {
        eprintln!("skipped: no generator of hostile layers");
        return;
    }
    let arena = Arena::new();
    let cases = TempDir::new();
    // Compressing the bombs takes most of the time: smaller ones are beyond the budget as well.
    let script = std::fs::read_to_string(&generator).unwrap();
    let script = script.replace("2 << 30", "64 << 20").replace("200000 if", "10000 if");
    let made = Command::new("python3")
        .args(["-c", &script])
        .arg(cases.path())
        .env("VICTIM", arena.victim())
        .output();
    let Ok(made) = made else {
        eprintln!("skipped: no python3");
        return;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let index = std::fs::read(cases.path().join("index.json")).unwrap();
    let index: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&index).unwrap();
    assert!(index.len() >= 76);
    let mut wrong = Vec::new();
    for (case, entry) in &index {
        let layers = read_layers(&cases.path().join(case));
        let result = arena.unpack(&layers);
        arena.assert_unharmed(case);
        let expect = entry["expect"].as_str().unwrap();
        if wanted(case, expect).is_some_and(|ok| ok != result.is_ok()) {
            wrong.push(format!("{case} {expect}: {result:?}"));
        }
        if let Err(complaint) = look_closer(case, &arena, &result) {
            wrong.push(format!("{case}: {complaint} {result:?}"));
        }
        for number in 0..3 {
            let root = arena.root(number);
            if root.exists() {
                std::fs::remove_dir_all(root).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn read_layers(dir: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let mut bytes = Vec::new();
            BufReader::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
            bytes
        })
        .collect()
}

/// Looks at the tree that came out, where more than success or refusal is wanted.
fn look_closer(
    case: &str,
    arena: &Arena,
    result: &Result<Unpacked, Error>,
) -> Result<(), &'static str> {
    let at = |number: usize, path: &str| arena.root(number).join(path);
    let text = |number, path| std::fs::read_to_string(at(number, path)).unwrap_or_default();
    let bytes = |path| at(0, path).metadata().map_or(0, |stat| stat.len());
    let node = |path| at(0, path).symlink_metadata();
    let right = match case {
        "L29" => text(1, "d/y") == "y" && text(1, "d/z") == "z" && !at(1, "d/x").exists(),
        "L31" => text(1, "a") == "2",
        "L32" => at(2, "d/y").exists() && at(1, "d").is_file(),
        "L34" => node("c").is_err() && result.as_ref().is_ok_and(|unpacked| unpacked.skipped == 1),
        "L35" => portrait(&arena.root(0)).iter().all(|line| line.contains(" [] ")),
        "L36" => node("sda").is_ok_and(|stat| stat.rdev() == rustix::fs::makedev(8, 0)),
        "L37" => node("su").is_ok_and(|stat| stat.mode() & 0o7777 == 0o6755),
        "L38" => portrait(&arena.root(0)).iter().any(|line| line.contains("security.capability")),
        "L44" => node("m").is_ok_and(|stat| stat.mode() & 0o7777 == 0o7777),
        "L48" => std::fs::read_dir(arena.root(0)).is_ok_and(|names| names.count() == 3),
        "L50" => text(0, "dup") == "4",
        "L51" | "L52" => bytes("outer") == 1024 && !at(0, "smuggled").exists(),
        "L58" => {
            text(0, "f") == "x"
                && std::fs::read_dir(arena.root(0)).is_ok_and(|names| names.count() == 1)
        }
        "L62" => text(0, "a") == "1" && !at(0, "b").exists(),
        "C02" | "C06" => text(0, "a") == "1",
        "C08" => matches!(result, Err(Error::Budget { limit: Limit::Bytes, .. })),
        "C10" => matches!(result, Err(Error::Budget { limit: Limit::Entries, .. })),
        _ => true,
    };
    if right { Ok(()) } else { Err("not the tree that is wanted") }
}

#[test]
fn damaged_archives_never_panic_or_reach_out() {
    if !is_root("damaged_archives_never_panic_or_reach_out") {
        return;
    }
    let arena = Arena::new();
    let victim = arena.victim();
    let sparse = b"26 GNU.sparse.map=0,3,8,2\n22 GNU.sparse.size=10\n";
    let whole = layer()
        .dir("d")
        .pax("SCHILY.xattr.user.k", b"v")
        .file("d/f", "content")
        .symlink("out", victim.to_str().unwrap())
        .hard_link("d/h", "d/f")
        .entry("pax", tar::EntryType::XHeader, |_| {}, sparse)
        .file("out/hello", "12345")
        .file("d/.wh.x", "")
        .file("d/.wh..wh..opq", "")
        .end();
    let mut state = 7u64;
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    assert!(arena.unpack(std::slice::from_ref(&whole)).is_ok());
    std::fs::remove_dir_all(arena.root(0)).unwrap();
    for _ in 0..200 {
        let mut bytes = whole.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        if random(2) == 0 {
            mend_checksums(&mut bytes);
        }
        let path = arena.root(0);
        std::fs::create_dir(&path).unwrap();
        let root = RootDir::open(&path).unwrap();
        let budget = Budget { entries: 20, bytes: 1 << 20, depth: 16 };
        refused +=
            usize::from(unpack_layer(&mut &bytes[..], &root, &[], Flavour::User, &budget).is_err());
        std::fs::remove_dir_all(&path).unwrap();
    }
    arena.assert_unharmed("damaged");
    assert!((25..200).contains(&refused), "{refused}: some are refused, some are harmless");
}

/// Makes the headers of damaged blocks valid again, so that what is in them is looked at.
fn mend_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}
