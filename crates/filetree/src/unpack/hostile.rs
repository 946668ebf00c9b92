//! Hostile layers: whatever they say, nothing outside the root changes, and odd ones mean what they mean to others. What a
//! fuzzer has found is in `testdata/fuzz/layer`.

use std::{os::unix::fs::MetadataExt, path::PathBuf};

use super::{tests::layer, *};
use crate::{
    compress::decompress,
    pack::tests::{CAPABILITY, portrait},
    test_data::{TempDir, is_root},
};

/// What no layer may change, beside the root that is unpacked into: they share a directory, which also is the one that
/// `..` and links would be seen from.
struct Arena {
    dir: TempDir,
    before: Vec<String>,
}

/// Small enough for a test, larger than any honest case.
const BUDGET: Budget = Budget { entries: 5_000, bytes: 32 << 20, ratio: 250, depth: 1024 };

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

    fn at(&self, number: usize, path: &str) -> PathBuf {
        self.root(number).join(path)
    }

    fn has(&self, number: usize, path: &str) -> bool {
        self.at(number, path).symlink_metadata().is_ok()
    }

    fn text(&self, number: usize, path: &str) -> String {
        std::fs::read_to_string(self.at(number, path)).unwrap_or_default()
    }

    fn names(&self, number: usize) -> usize {
        std::fs::read_dir(self.root(number)).unwrap().count()
    }

    fn is_whiteout(&self, number: usize, path: &str) -> bool {
        let stat = self.at(number, path).symlink_metadata();
        stat.is_ok_and(|stat| stat.mode() & 0o170_000 == 0o020_000 && stat.rdev() == 0)
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

/// The ways that the others leave out, and what is wanted of each.
#[test]
fn more_ways_out_stay_inside() {
    if !is_root("more_ways_out_stay_inside") {
        return;
    }
    #[derive(PartialEq)]
    enum Wanted {
        Refused,
        Inside,
        Either,
    }
    use Wanted::{Either, Inside, Refused};
    let kind = tar::EntryType::Directory;
    let open = |header: &mut tar::Header| header.set_mode(0o777);
    type Make = Box<dyn Fn(&str, &str) -> Vec<super::tests::Layer>>;
    let cases: Vec<(&str, Wanted, Make)> = vec![
        (
            "a directory on a link, with a dot",
            Inside,
            Box::new(move |victim, _| {
                vec![layer().symlink("d", victim).entry("d/.", kind, open, b"")]
            }),
        ),
        (
            "a directory on a link, without a slash",
            Inside,
            Box::new(move |victim, _| {
                vec![layer().symlink("d", victim).entry("d", kind, open, b"")]
            }),
        ),
        (
            "a directory on a link of a lower layer",
            Inside,
            Box::new(move |victim, _| {
                vec![layer().symlink("d", victim), layer().entry("d/", kind, open, b"")]
            }),
        ),
        (
            "through a link of a lower layer",
            Inside,
            Box::new(|victim, _| {
                vec![layer().symlink("d", victim), layer().file("d/new", "").file("d/hello", "x")]
            }),
        ),
        (
            "through a link upwards",
            Inside,
            Box::new(|_, up| vec![layer().symlink("d", up).dir("d/new").dir("d/sub/new")]),
        ),
        (
            "a hard link to an absolute name",
            Refused,
            Box::new(|victim, _| vec![layer().hard_link("x", &format!("{victim}/hello"))]),
        ),
        (
            "a hard link to a name beside the root",
            Refused,
            Box::new(|_, _| vec![layer().hard_link("x", "victim/hello")]),
        ),
        (
            "a hard link to a file of a lower layer",
            Either,
            Box::new(|_, _| {
                vec![layer().file("victim", ""), layer().hard_link("x", "victim").file("x", "new")]
            }),
        ),
        (
            "a link called `..`",
            Refused,
            Box::new(|victim, _| vec![layer().symlink("..", victim).file("../new", "")]),
        ),
        ("a link without a name", Refused, Box::new(|victim, _| vec![layer().symlink("", victim)])),
        (
            "links in a circle",
            Refused,
            Box::new(|_, _| vec![layer().symlink("a", "b").symlink("b", "a").file("a/x", "")]),
        ),
        (
            "sixty links",
            Either,
            Box::new(|victim, _| {
                let link = |layer: super::tests::Layer, n: usize| {
                    layer.symlink(&format!("l{n}"), &format!("l{}", n + 1))
                };
                vec![(0..60).fold(layer(), link).symlink("l60", victim).file("l0/new", "")]
            }),
        ),
        (
            "up behind a link",
            Inside,
            Box::new(|victim, _| {
                vec![layer().symlink("a", &format!("{victim}/sub")).file("a/../new", "")]
            }),
        ),
        (
            "a hard link to a directory",
            Refused,
            Box::new(|_, _| vec![layer().dir("d").hard_link("x", "d")]),
        ),
        ("a hard link to itself", Refused, Box::new(|_, _| vec![layer().hard_link("x", "x")])),
    ];
    for (case, wanted, make) in cases {
        let arena = Arena::new();
        let victim = arena.victim();
        let victim = victim.to_str().unwrap();
        let up = format!("{}{}", "../".repeat(20), &victim[1..]);
        let layers: Vec<_> = make(victim, &up).into_iter().map(super::tests::Layer::end).collect();
        let result = arena.unpack(&layers);
        let is_right = wanted == Either || result.is_err() == (wanted == Refused);
        assert!(is_right, "{case}: {result:?}");
        arena.assert_unharmed(case);
    }
}

#[test]
fn what_is_malformed_is_refused() {
    let arena = Arena::new();
    let regular = tar::EntryType::Regular;
    let raw = |change: fn(&mut tar::Header)| layer().entry("f", regular, change, b"").end();
    let device = |major, minor| {
        let numbers = |header: &mut tar::Header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        };
        layer().entry("f", tar::EntryType::Char, numbers, b"").end()
    };
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
        ("major that wraps to a deletion", device(0x1000, 0), Fault::Field("devmajor")),
        ("minor that wraps to a deletion", device(0, 0x10_0000), Fault::Field("devminor")),
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
            "whiteout directory behind a link",
            layer().symlink("l", "/.wh.d").file("l/f", "").end(),
            Fault::Whiteout,
        ),
        (
            "marks behind a link",
            layer().symlink("l", "d/.wh.d/e").file("l/.wh..wh..opq", "").end(),
            Fault::Whiteout,
        ),
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
fn marks_of_deletions_have_no_second_name() {
    let arena = Arena::new();
    let layers = [layer().file("gone", "").end(), layer().file(".wh.gone", "").end()];
    let linked = layer().file(".wh.gone", "").hard_link("mark", ".wh.gone").end();
    for flavour in [Flavour::Names, Flavour::User] {
        let [below, above] = ["below", "above"].map(|name| {
            let path = arena.dir.path().join(format!("{name}{flavour:?}"));
            std::fs::create_dir(&path).unwrap();
            RootDir::open(&path).unwrap()
        });
        unpack_layer(&mut &layers[0][..], &below, &[], flavour, &BUDGET).unwrap();
        let unpacked = unpack_layer(&mut &linked[..], &above, &[below], flavour, &BUDGET);
        let Err(Error::Archive { fault, .. }) = unpacked else {
            panic!("{flavour:?}: {unpacked:?}")
        };
        assert_eq!(fault, Fault::HardLink, "{flavour:?}");
    }
}

/// CVE-2025-62518 and CVE-2026-33055: two headers that give a file different sizes, and an archive in what is between.
#[test]
fn a_hidden_header_is_contents() {
    if !is_root("a_hidden_header_is_contents") {
        return;
    }
    let inner = layer().file("smuggled", "evil").end();
    let size = inner.len().to_string();
    // The plain header says that there is nothing, or less: the extended one counts.
    for less in ["", "x"] {
        let arena = Arena::new();
        let mut bytes = layer().pax("size", size.as_bytes()).file("outer", less).end();
        bytes.truncate(bytes.len() - 1024 - less.len().next_multiple_of(512));
        bytes.extend_from_slice(&inner);
        bytes.extend_from_slice(&[0; 1024]);
        assert_eq!(arena.unpack(&[bytes]).unwrap().entries, 1, "{less}");
        assert_eq!(std::fs::read(arena.root(0).join("outer")).unwrap(), inner, "{less}");
    }
}

/// One layer after another, and what has to become of the last one: a tree, or a fault.
type Story = (&'static str, Vec<Vec<u8>>, fn(&Arena) -> bool);

#[test]
fn odd_layers_mean_one_thing() {
    if !is_root("odd_layers_mean_one_thing") {
        return;
    }
    let kind = |flag| tar::EntryType::new(flag);
    let node = |name: &str, flag, major, minor| {
        let device = move |header: &mut tar::Header| {
            header.set_mode(0o666);
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        };
        layer().entry(name, kind(flag), device, b"")
    };
    let mode = |bits| move |header: &mut tar::Header| header.set_mode(bits);
    let file = tar::EntryType::Regular;
    let overlay = layer()
        .pax("SCHILY.xattr.trusted.overlay.opaque", b"y")
        .pax("SCHILY.xattr.user.overlay.whiteout", b"y")
        .dir("d");
    // As images have them that were made on an overlay.
    let empty = layer()
        .pax("SCHILY.xattr.user.overlay.origin", b"")
        .pax("SCHILY.xattr.trusted.overlay.origin", b"")
        .pax("SCHILY.xattr.user.empty", b"")
        .file("f", "1");
    let behind = [layer().file("a", "1").end(), layer().file("b", "2").end()].concat();
    let open_ended = layer().file("a", "1").end()[..1024].to_vec();
    let below = || layer().file("keep", "k").dir("d").file("d/x", "x").end();
    let stories: Vec<Story> = vec![
        (
            "an opaque root",
            vec![below(), layer().file(".wh..wh..opq", "").file("new", "n").end()],
            |arena| {
                arena.is_whiteout(1, "keep")
                    && arena.is_whiteout(1, "d")
                    && arena.text(1, "new") == "n"
            },
        ),
        (
            "an opaque directory, said late",
            vec![
                below(),
                layer().file("d/y", "y").file("d/.wh..wh..opq", "").file("d/z", "z").end(),
            ],
            |arena| {
                arena.text(1, "d/y") == "y" && arena.text(1, "d/z") == "z" && !arena.has(1, "d/x")
            },
        ),
        (
            "deleted and made again",
            vec![below(), layer().file(".wh.keep", "").file("keep", "2").end()],
            |arena| arena.text(1, "keep") == "2",
        ),
        (
            "a directory that was a file that was a directory",
            vec![below(), layer().file("d", "").end(), layer().dir("d").file("d/y", "y").end()],
            |arena| arena.at(1, "d").is_file() && arena.has(2, "d/y"),
        ),
        (
            "names of aufs",
            vec![layer().file(".wh..wh.aufs", "").file(".wh..wh.plnk", "").dir("d").end()],
            |arena| arena.names(0) == 1,
        ),
        ("a device that would delete", vec![node("c", b'3', 0, 0).end()], |arena| {
            !arena.has(0, "c")
        }),
        ("attributes of overlay", vec![overlay.end()], |arena| {
            portrait(&arena.root(0)).iter().all(|line| line.contains(" [] "))
        }),
        ("attributes without a value", vec![empty.end()], |arena| {
            let lines = portrait(&arena.root(0));
            arena.text(0, "f") == "1"
                && lines.iter().any(|line| line.contains("user.empty"))
                && !lines.iter().any(|line| line.contains("overlay"))
        }),
        ("a disk", vec![node("sda", b'4', 8, 0).end()], |arena| {
            arena.at(0, "sda").symlink_metadata().unwrap().rdev() == rustix::fs::makedev(8, 0)
        }),
        ("a pipe", vec![layer().entry("p", kind(b'6'), |_| {}, b"").end()], |arena| {
            arena.has(0, "p")
        }),
        (
            "all bits of a mode, and more",
            vec![layer().entry("m", file, mode(0o0777_7777), b"").end()],
            |arena| arena.at(0, "m").symlink_metadata().unwrap().mode() & 0o7777 == 0o7777,
        ),
        (
            "capabilities of a file",
            vec![
                layer().pax("SCHILY.xattr.security.capability", CAPABILITY).file("ping", "").end(),
            ],
            |arena| {
                portrait(&arena.root(0)).iter().any(|line| line.contains("security.capability"))
            },
        ),
        (
            "one name several times",
            vec![layer().file("dup", "1").file("./dup", "2").file("a/../dup", "3").end()],
            |arena| arena.text(0, "dup") == "3",
        ),
        (
            "a header for all",
            vec![layer().entry("g", kind(b'g'), |_| {}, b"16 path=../evil\n").file("f", "x").end()],
            |arena| arena.text(0, "f") == "x" && arena.names(0) == 1,
        ),
        (
            "a long way down",
            vec![layer().pax("path", "d/".repeat(1000).as_bytes()).dir("x").end()],
            |arena| arena.has(0, &"d/".repeat(1000)),
        ),
        ("an archive behind the archive", vec![behind], |arena| arena.names(0) == 1),
        ("no end", vec![open_ended], |arena| arena.text(0, "a") == "1"),
        ("nothing at all", vec![Vec::new()], |arena| arena.names(0) == 0),
        ("only an end", vec![layer().end()], |arena| arena.names(0) == 0),
    ];
    for (case, layers, is_right) in stories {
        let arena = Arena::new();
        let result = arena.unpack(&layers);
        assert!(result.is_ok(), "{case}: {result:?}");
        assert!(is_right(&arena), "{case}: {:#?}", portrait(&arena.root(layers.len() - 1)));
        arena.assert_unharmed(case);
    }
}

#[test]
fn bombs_go_off_in_the_budget() {
    let arena = Arena::new();
    let sized = |size: u64| {
        let set = move |header: &mut tar::Header| {
            let field = &mut header.as_old_mut().size;
            field.fill(0);
            field[0] = 0x80;
            field[4..].copy_from_slice(&size.to_be_bytes());
        };
        layer().entry("f", tar::EntryType::Regular, set, b"").end()
    };
    let many = (0..6000).fold(layer(), |layer, n| layer.file(&format!("f{n}"), "")).end();
    let deep = layer().pax("path", &b"d/".repeat(1100)).dir("x").end();
    let sparse = b"33 GNU.sparse.size=1000000000000\n22 GNU.sparse.map=0,1\n";
    let hole = layer().entry("x", tar::EntryType::XHeader, |_| {}, sparse).file("f", "1").end();
    let attributes = "30 SCHILY.xattr.user.k00000=vv\n".repeat(40_000);
    let header = tar::EntryType::XHeader;
    let attributes = layer().entry("x", header, |_| {}, attributes.as_bytes()).file("f", "").end();
    // A map that lists more parts than it could have.
    let map = [b"1000000\n".to_vec(), b"0\n0\n".repeat(300_000)].concat();
    let version = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n29 GNU.sparse.realsize=99999\n";
    let map = layer()
        .entry("x", header, |_| {}, version)
        .entry("f", tar::EntryType::Regular, |_| {}, &map)
        .end();
    for (case, bytes, is_right) in [
        ("4 EiB", sized(1 << 62), "holds more than 33554432 bytes"),
        ("more than there may be", sized(33 << 20), "holds more than 33554432 bytes"),
        ("files", many, "holds more than 5000 entries"),
        ("directories", deep, "holds more than 1024 levels"),
        ("a hole", hole, "holds more than 33554432 bytes"),
        ("attributes", attributes, "larger than 1048576 bytes"),
        ("a map", map, "larger than 1048576 bytes"),
    ] {
        let Err(error) = arena.unpack(&[bytes]) else { panic!("{case} was unpacked") };
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let said = format!("{error} {}", source.unwrap_or_default());
        assert!(said.contains(is_right), "{case}: {said}");
        std::fs::remove_dir_all(arena.root(0)).unwrap();
    }
    arena.assert_unharmed("bombs");
}

#[test]
fn a_compressed_layer_is_whole_or_refused() {
    let tar = layer().file("a", "1").end();
    let gzip = |bytes: &[u8]| {
        let mut writer = crate::gzip_writer(Vec::new());
        std::io::Write::write_all(&mut writer, bytes).unwrap();
        writer.finish().unwrap()
    };
    let changed = |from_end: usize, bit: u8| {
        let mut bytes = gzip(&tar);
        let at = bytes.len() - from_end;
        bytes[at] ^= bit;
        bytes
    };
    for (case, bytes, is_fine) in [
        ("plain", tar.clone(), true),
        ("gzip", gzip(&tar), true),
        ("two members", [gzip(&tar[..512]), gzip(&tar[512..])].concat(), true),
        ("cut off", gzip(&tar)[..gzip(&tar).len() - 5].to_vec(), false),
        ("garbage behind it", [gzip(&tar), b"garbage".to_vec()].concat(), false),
        ("checksum", changed(8, 1), false),
        ("length", changed(1, 0x40), false),
        ("of Zstandard in name only", [&[0x28, 0xb5, 0x2f, 0xfd][..], &[0xff; 64]].concat(), false),
        ("gzip in gzip", gzip(&gzip(&[0; 1 << 20])), false),
        ("one byte", vec![0x1f], false),
    ] {
        let arena = Arena::new();
        let result = arena.unpack(&[bytes]);
        assert_eq!(result.is_ok(), is_fine, "{case}: {result:?}");
        arena.assert_unharmed(case);
    }
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
        let budget = Budget { entries: 20, bytes: 1 << 20, ratio: 1, depth: 16 };
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
