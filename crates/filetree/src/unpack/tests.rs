//! Layers made by others, layers on top of layers, and what they mean together.

use std::{
    ffi::OsStr,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    process::Command,
};

use tar::{EntryType, Header};

use super::*;
use crate::{
    PackOptions, pack,
    pack::tests::{CAPABILITY, make_node, set_xattr},
    test_data::{TempDir, is_root},
};

/// A layer in the making.
#[derive(Default)]
pub(crate) struct Layer(Vec<u8>);

impl Layer {
    pub(crate) fn entry(
        mut self,
        name: &str,
        kind: EntryType,
        change: impl FnOnce(&mut Header),
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.entry(name, EntryType::Regular, |_| {}, content.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.entry(name, EntryType::Directory, |_| {}, b"")
    }

    pub(crate) fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let put = |header: &mut Header| {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        };
        self.entry(name, kind, put, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Link, name, target)
    }

    pub(crate) fn pax(self, key: &str, value: &[u8]) -> Self {
        let rest = key.len() + value.len() + 3;
        let length =
            (rest + 1..).find(|length| length.to_string().len() + rest == *length).unwrap();
        let record = [format!("{length} {key}=").as_bytes(), value, b"\n"].concat();
        self.entry("pax", EntryType::XHeader, |_| {}, &record)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(crate) fn layer() -> Layer {
    Layer::default()
}

/// Unpacks a layer on top of others, the topmost first.
pub(crate) fn unpack_on(layer: &[u8], lowers: &[&TempDir]) -> Result<TempDir, Error> {
    let dir = TempDir::new();
    let lowers: Vec<RootDir> = lowers.iter().map(|lower| lower.root()).collect();
    let mut input = layer;
    unpack_layer(&mut input, &dir.root(), &lowers, Flavour::Trusted, &Budget::GENEROUS)?;
    assert!(input.is_empty(), "the stream is read to its end");
    Ok(dir)
}

fn unpack(layer: Layer) -> TempDir {
    unpack_on(&layer.end(), &[]).unwrap()
}

fn is_opaque(dir: &TempDir, path: &str) -> bool {
    let through = dir.path().join(path);
    let carrier = crate::xattr::Carrier::Path(through.as_os_str().as_bytes());
    carrier.value(b"trusted.overlay.opaque").unwrap().as_deref() == Some(b"y")
}

fn lists(dir: &TempDir, wanted: &[&str]) {
    assert_eq!(dir.listing(), wanted);
}

#[test]
fn deletions_take_overlays_form() {
    if !is_root("deletions_take_overlays_form") {
        return;
    }
    let below = unpack(layer().dir("d").file("d/gone", "").file("top", ""));
    let dir = layer()
        .dir("d")
        .file("d/.wh.gone", "")
        .file(".wh.top", "")
        .dir("o")
        .file("o/.wh..wh..opq", "");
    let dir = unpack_on(&dir.end(), &[&below]).unwrap();
    lists(&dir, &["d 755 0:0 /d", "c 0 0:0 /d/gone 0", "d 755 0:0 /o", "c 0 0:0 /top 0"]);
    assert!(is_opaque(&dir, "o") && !is_opaque(&dir, "d"));
}

/// Overlay would list their names wherever no lower layer has the directory, too.
#[test]
fn whiteouts_that_hide_nothing_are_not_made() {
    if !is_root("whiteouts_that_hide_nothing_are_not_made") {
        return;
    }
    let dir = unpack(layer().file(".wh.a", "").dir("d").file("d/.wh.b", "").file("d/c", "c"));
    lists(&dir, &["d 755 0:0 /d", "f 644 0:0 /d/c c"]);
    let below = unpack(layer().dir("d").file("d/b", "b").file("f", "f").dir("g").file("g/h", ""));
    let top = layer()
        .file(".wh.never", "")
        .file("d/.wh.never", "")
        .file("d/.wh.b", "")
        // What is put in its place is no whiteout.
        .file("d/.wh.again", "")
        .file("d/again", "2")
        .dir("f")
        .file("f/.wh.inner", "")
        // The mark may come later.
        .file("g/.wh.h", "")
        .file("g/.wh..wh..opq", "");
    let top = unpack_on(&top.end(), &[&below]).unwrap();
    let expected = ["d 755 0:0 /d", "f 644 0:0 /d/again 2", "c 0 0:0 /d/b 0", "d 755 0:0 /f"];
    lists(&top, &[&expected[..], &["d 755 0:0 /g"]].concat());
    // What a layer in between has deleted is no more there than what never was.
    let third = layer().file("d/.wh.b", "").file("g/.wh.h", "").file("d/.wh.again", "").end();
    let third = unpack_on(&third, &[&top, &below]).unwrap();
    lists(&third, &["d 755 0:0 /d", "c 0 0:0 /d/again 0", "d 755 0:0 /g"]);
}

#[test]
fn a_whiteout_hides_lower_layers_only() {
    if !is_root("a_whiteout_hides_lower_layers_only") {
        return;
    }
    // In either order, as the specification says; a directory must not show what is below it.
    for layer in [
        layer().file(".wh.a", "").file("a", "2").file(".wh.d", "").dir("d").file("d/y", "y"),
        layer().file("a", "2").file(".wh.a", "").dir("d").file("d/y", "y").file(".wh.d", ""),
    ] {
        let dir = unpack(layer);
        lists(&dir, &["f 644 0:0 /a 2", "d 755 0:0 /d", "f 644 0:0 /d/y y"]);
        assert!(is_opaque(&dir, "d"));
    }
    let implied = unpack(layer().file(".wh.d", "").file("d/y", "y"));
    lists(&implied, &["d 755 0:0 /d", "f 644 0:0 /d/y y"]);
    assert!(is_opaque(&implied, "d"));
}

#[test]
fn the_opaque_mark_may_come_late() {
    if !is_root("the_opaque_mark_may_come_late") {
        return;
    }
    let dir = unpack(layer().file("d/y", "y").file("d/.wh..wh..opq", "").file("d/z", "z"));
    lists(&dir, &["d 755 0:0 /d", "f 644 0:0 /d/y y", "f 644 0:0 /d/z z"]);
    assert!(is_opaque(&dir, "d"));
}

#[test]
fn an_opaque_root_deletes_by_name() {
    if !is_root("an_opaque_root_deletes_by_name") {
        return;
    }
    let bottom = unpack(layer().file("old", "").dir("kept").file("kept/x", "").file("again", "1"));
    let middle = layer().file(".wh.old", "").file("file", "").end();
    let middle = unpack_on(&middle, &[&bottom]).unwrap();
    let top = layer().file(".wh..wh..opq", "").dir("kept").file("again", "2").file("new", "").end();
    let top = unpack_on(&top, &[&middle, &bottom]).unwrap();
    lists(&top, &["f 644 0:0 /again 2", "c 0 0:0 /file 0", "d 755 0:0 /kept", "f 644 0:0 /new "]);
    assert!(is_opaque(&top, "kept"));
}

#[test]
fn what_replaces_another_kind_hides_what_is_below() {
    if !is_root("what_replaces_another_kind_hides_what_is_below") {
        return;
    }
    let dir = unpack(layer().file("d", "file").dir("d").file("d/y", "y"));
    assert!(is_opaque(&dir, "d"));
    let dir = unpack(
        layer().dir("d").file("d/y", "y").file("d", "file").symlink("l", "d").file("l", "1"),
    );
    lists(&dir, &["f 644 0:0 /d file", "f 644 0:0 /l 1"]);
    let dir = unpack(layer().file("d", "1").hard_link("e", "d").file("d", "2").file("./d", "3"));
    lists(&dir, &["f 644 0:0 /d 3", "f 644 0:0 /e 1"]);
}

#[test]
fn implied_parents_look_as_they_do_below() {
    if !is_root("implied_parents_look_as_they_do_below") {
        return;
    }
    let bottom = TempDir::new();
    bottom.dir("var/private").mode("var/private", 0o1700).owner("var/private", 5, 6);
    set_xattr(&bottom.path().join("var/private"), "user.k", b"v");
    let middle = TempDir::new();
    middle.dir("var").mode("var", 0o711).dir("srv/new");
    set_xattr(&middle.path().join("srv"), "trusted.overlay.opaque", b"y");
    bottom.dir("srv/new/deep").mode("srv/new/deep", 0o700);
    bottom.dir("gone").mode("gone", 0o700);
    make_node(&middle.path().join("gone"), FileType::CharacterDevice, 0, 0);

    let added = layer()
        .file("var/private/f", "")
        .file("srv/new/deep/f", "")
        .file("gone/f", "")
        .file("x/f", "");
    let top = unpack_on(&added.end(), &[&middle, &bottom]).unwrap();
    lists(
        &top,
        &[
            "d 755 0:0 /gone",
            "f 644 0:0 /gone/f ",
            "d 755 0:0 /srv",
            "d 755 0:0 /srv/new",
            "d 755 0:0 /srv/new/deep",
            "f 644 0:0 /srv/new/deep/f ",
            "d 711 0:0 /var",
            "d 1700 5:6 /var/private",
            "f 644 0:0 /var/private/f ",
            "d 755 0:0 /x",
            "f 644 0:0 /x/f ",
        ],
    );
    let stat = |dir: &TempDir| dir.path().join("var/private").metadata().unwrap();
    assert_eq!((stat(&top).mtime(), stat(&top).mtime_nsec()), {
        let wanted = stat(&bottom);
        (wanted.mtime(), wanted.mtime_nsec())
    });
    assert!(!is_opaque(&top, "srv"), "the mark of a lower layer is not copied");
    assert_eq!(top.path().join("x").metadata().unwrap().mtime(), 0, "no clock");
    let carrier = top.path().join("var/private");
    let carrier = crate::xattr::Carrier::Path(carrier.as_os_str().as_bytes());
    assert_eq!(carrier.value(b"user.k").unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn links_of_lower_layers_are_followed_within_the_root() {
    if !is_root("links_of_lower_layers_are_followed_within_the_root") {
        return;
    }
    let lower = TempDir::new();
    lower.dir("usr/lib").mode("usr/lib", 0o711).link("lib", "usr/lib").link("abs", "/usr/lib");
    lower.link("up", "../../usr/lib").link("dangling", "/made/here").link("loop", "loop");
    let added = layer()
        .file("lib/a", "")
        .file("abs/b", "")
        .file("up/c", "")
        .file("dangling/d", "")
        .symlink("mine", "lib")
        .file("mine/e", "");
    let top = unpack_on(&added.end(), &[&lower]).unwrap();
    lists(
        &top,
        &[
            "d 755 0:0 /made",
            "d 755 0:0 /made/here",
            "f 644 0:0 /made/here/d ",
            "l 777 0:0 /mine -> lib",
            "d 755 0:0 /usr",
            "d 711 0:0 /usr/lib",
            "f 644 0:0 /usr/lib/a ",
            "f 644 0:0 /usr/lib/b ",
            "f 644 0:0 /usr/lib/c ",
            "f 644 0:0 /usr/lib/e ",
        ],
    );
    let around = unpack_on(&layer().file("loop/x", "").end(), &[&lower]);
    assert!(matches!(around, Err(Error::Archive { fault: Fault::Links, .. })));
    let file = TempDir::new();
    file.write("f", "");
    let in_file = unpack_on(&layer().file("f/x", "").end(), &[&file]);
    assert!(matches!(in_file, Err(Error::Archive { fault: Fault::Parent, .. })));
}

#[test]
fn a_link_that_is_replaced_is_not_followed_any_more() {
    if !is_root("a_link_that_is_replaced_is_not_followed_any_more") {
        return;
    }
    let dir = unpack(
        layer()
            .dir("a")
            .dir("b")
            .symlink("l", "a")
            .file("l/1", "")
            .symlink("l", "b")
            .file("l/2", "")
            .dir("l")
            .file("l/3", ""),
    );
    lists(
        &dir,
        &[
            "d 755 0:0 /a",
            "f 644 0:0 /a/1 ",
            "d 755 0:0 /b",
            "f 644 0:0 /b/2 ",
            "d 755 0:0 /l",
            "f 644 0:0 /l/3 ",
        ],
    );
}

#[test]
fn hard_links_reach_lower_layers() {
    if !is_root("hard_links_reach_lower_layers") {
        return;
    }
    let lower = TempDir::new();
    lower.write("bin/busybox", "#!").mode("bin/busybox", 0o755).owner("bin/busybox", 3, 4);
    set_xattr(&lower.path().join("bin/busybox"), "security.capability", CAPABILITY);
    make_node(&lower.path().join("bin/gone"), FileType::CharacterDevice, 0, 0);
    let change = |header: &mut Header| {
        header.as_old_mut().linkname[..11].copy_from_slice(b"bin/busybox");
        header.set_mode(0o755);
        header.set_uid(3);
        header.set_gid(4);
    };
    let added = layer().entry("sbin/init", EntryType::Link, change, b"");
    let top = unpack_on(&added.end(), &[&lower]).unwrap();
    lists(
        &top,
        &[
            "d 755 0:0 /bin",
            "f 755 3:4 /bin/busybox #!",
            "d 755 0:0 /sbin",
            "f 755 3:4 /sbin/init #!",
        ],
    );
    let stat = |path| top.path().join(path).metadata().unwrap();
    assert_eq!(stat("bin/busybox").ino(), stat("sbin/init").ino());
    for target in ["bin/gone", "bin/none", "bin", "/", "bin/busybox/x"] {
        let refused = unpack_on(&layer().hard_link("x", target).end(), &[&lower]);
        assert!(matches!(refused, Err(Error::Archive { .. })), "{target}");
    }
    // The copy is not part of the layer: a whiteout still deletes it.
    let added = layer().hard_link("x", "bin/busybox").file("bin/.wh.busybox", "");
    let top = unpack_on(&added.end(), &[&lower]).unwrap();
    lists(&top, &["d 755 0:0 /bin", "c 0 0:0 /bin/busybox 0", "f 644 0:0 /x #!"]);
}

#[test]
fn a_hard_links_own_owner_and_mode_count() {
    if !is_root("a_hard_links_own_owner_and_mode_count") {
        return;
    }
    let owned = |header: &mut Header| {
        header.set_uid(1000);
        header.set_mode(0o600);
    };
    let dir = unpack(
        layer().entry("a", EntryType::Regular, owned, b"x").hard_link("b", "a").hard_link("b", "b"),
    );
    lists(&dir, &["f 644 0:0 /a x", "f 644 0:0 /b x"]);
}

#[test]
fn overlays_attributes_never_come_in() {
    if !is_root("overlays_attributes_never_come_in") {
        return;
    }
    let dir = unpack(
        layer()
            .pax("SCHILY.xattr.user.overlay.origin", b"")
            .dir("a")
            .pax("SCHILY.xattr.trusted.overlay.opaque", b"y")
            .dir("b")
            .pax("SCHILY.xattr.trusted.overlay.redirect", b"/etc")
            .dir("c")
            .pax("SCHILY.xattr.security.selinux", b"x")
            .file("d", ""),
    );
    for name in ["a", "b", "c", "d"] {
        let through = dir.path().join(name);
        let carrier = crate::xattr::Carrier::Path(through.as_os_str().as_bytes());
        assert_eq!(carrier.names().unwrap(), b"", "{name}");
    }
}

#[test]
fn the_user_flavour_uses_its_own_mark() {
    let dir = TempDir::new();
    let layer = layer().dir("d").file("d/.wh..wh..opq", "").end();
    let opened = dir.root();
    unpack_layer(&mut &layer[..], &opened, &[], Flavour::User, &Budget::GENEROUS).unwrap();
    let through = dir.path().join("d");
    let carrier = crate::xattr::Carrier::Path(through.as_os_str().as_bytes());
    assert_eq!(carrier.value(b"user.overlay.opaque").unwrap().as_deref(), Some(&b"y"[..]));
    assert_eq!(carrier.value(b"trusted.overlay.opaque").unwrap(), None);
}

#[test]
fn directories_get_their_mode_and_time_last() {
    if !is_root("directories_get_their_mode_and_time_last") {
        return;
    }
    let closed = |header: &mut Header| {
        header.set_mode(0o555);
        header.set_mtime(1);
    };
    let dir = unpack(
        layer()
            .entry("d", EntryType::Directory, closed, b"")
            .entry("d/e", EntryType::Directory, closed, b"")
            .file("d/e/f", "")
            .file("d/g", ""),
    );
    for path in ["d", "d/e"] {
        let stat = dir.path().join(path).metadata().unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o555, 1), "{path}");
    }
}

#[test]
fn budgets_are_kept_before_anything_is_written() {
    let big =
        layer().entry("big", EntryType::Regular, |header| header.set_size(1 << 40), b"").end();
    let many = (0..11).fold(layer(), |layer, number| layer.file(&format!("{number}"), "")).end();
    let deep = layer().dir("a/b/c/d/e").end();
    let tail = [layer().file("f", "x").end(), vec![0; 5000]].concat();
    let budget = Budget { entries: 10, bytes: 4096, ratio: 1, depth: 4 };
    for (layer, limit) in [
        (&big, Limit::Bytes),
        (&many, Limit::Entries),
        (&deep, Limit::Depth),
        (&tail, Limit::Bytes),
    ] {
        let dir = TempDir::new();
        let refused = unpack_layer(&mut &layer[..], &dir.root(), &[], Flavour::User, &budget);
        assert!(
            matches!(refused, Err(Error::Budget { limit: found, .. }) if found == limit),
            "{limit:?}: {refused:?}"
        );
        assert!(!dir.path().join("big").exists());
    }
}

#[test]
fn what_was_unpacked_is_counted() {
    if !is_root("what_was_unpacked_is_counted") {
        return;
    }
    let layer = layer().dir("d").file("d/f", "12345").file(".wh.x", "").symlink("l", "d");
    let layer = layer.entry("zero", EntryType::Char, |_| {}, b"").end();
    let dir = TempDir::new();
    let opened = dir.root();
    let unpacked =
        unpack_layer(&mut &layer[..], &opened, &[], Flavour::Trusted, &Budget::GENEROUS).unwrap();
    let written = unpacked.written.clone();
    let wanted = Unpacked { entries: 5, bytes: 5, skipped: 1, foreign_owners: 0, written };
    assert_eq!(unpacked, wanted);
}

#[test]
fn a_stream_that_fails_is_told_from_a_bad_archive() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    let whole = layer().file("f", &"x".repeat(4096)).end();
    for cut in [0, 512, 1000, 4608] {
        let dir = TempDir::new();
        let mut input = whole[..cut].chain(Broken);
        let failed = unpack_layer(&mut input, &dir.root(), &[], Flavour::User, &Budget::GENEROUS);
        assert!(matches!(failed, Err(Error::ReadArchive { .. })), "{cut}");
    }
}

/// Makes an archive with Python's tarfile in the format of the first argument.
const MADE_BY_PYTHON: &str = r#"
import io, sys, tarfile
form = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}[sys.argv[1]]
archive = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=form, encoding="utf-8", errors="surrogateescape")
def put(name, data=b"", **fields):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(data), 1700000000
    for key, value in fields.items():
        setattr(entry, key, value)
    archive.addfile(entry, io.BytesIO(data))
put("d", type=tarfile.DIRTYPE, mode=0o700, uid=1, gid=2)
put("d/f", b"content")
put("p" * 80 + "/" + "n" * 90, b"long")
put("d/l", type=tarfile.SYMTYPE, linkname="f", mode=0o777)
put("d/h", type=tarfile.LNKTYPE, linkname="d/f")
put("fifo", type=tarfile.FIFOTYPE)
put("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
if form != tarfile.USTAR_FORMAT:
    put("n" * 200, b"longer", uid=3000000, gid=3000001)
    put("t", type=tarfile.SYMTYPE, linkname="t" * 150, mode=0o777)
    put("before", mtime=-5)
    put("after", mtime=2**34)
    put("\udcff\udcfe", b"invalid")
archive.close()
"#;

#[test]
fn pythons_archives_in_all_formats() {
    if !is_root("pythons_archives_in_all_formats") {
        return;
    }
    for format in ["ustar", "gnu", "pax"] {
        let made = Command::new("python3").args(["-c", MADE_BY_PYTHON, format]).output();
        let Ok(made) = made else {
            eprintln!("skipped: no python3");
            return;
        };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let dir = unpack_on(&made.stdout, &[]).unwrap();
        let listing = dir.listing();
        let (p, n, long) = ("p".repeat(80), "n".repeat(90), "n".repeat(200));
        let mut wanted = vec![
            "d 700 1:2 /d".to_owned(),
            "f 644 0:0 /d/f content".to_owned(),
            "f 644 0:0 /d/h content".to_owned(),
            "l 777 0:0 /d/l -> f".to_owned(),
            "p 644 0:0 /fifo".to_owned(),
            "c 644 0:0 /null 259".to_owned(),
            format!("f 644 0:0 /{p}/{n} long"),
        ];
        if format != "ustar" {
            wanted.push(format!("f 644 3000000:3000001 /{long} longer"));
            wanted.push(format!("l 777 0:0 /t -> {}", "t".repeat(150)));
            let stat = |name: &str| dir.path().join(name).metadata().unwrap();
            assert_eq!(stat("before").mtime(), -5, "{format}");
            // The largest time that ext4 keeps is the year 2446, before this one.
            assert!(stat("after").mtime() > 1 << 33, "{format}");
            let invalid = Path::new(OsStr::from_bytes(b"\xff\xfe"));
            assert_eq!(std::fs::read(dir.path().join(invalid)).unwrap(), b"invalid", "{format}");
        }
        for line in wanted {
            assert!(listing.contains(&line), "{format}: {line}\n{listing:#?}");
        }
    }
}

#[test]
fn gnu_tars_sparse_files_in_all_formats() {
    let source = TempDir::new();
    let file = std::fs::File::create(source.path().join("sparse")).unwrap();
    use std::os::unix::fs::FileExt;
    for number in 0..60u64 {
        // More parts than one header lists.
        file.write_all_at(b"data", number * 65_536 + 4096).unwrap();
    }
    file.set_len(5 << 20).unwrap();
    let original = std::fs::read(source.path().join("sparse")).unwrap();
    for format in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let mut command = Command::new("tar");
        command.args(format).args(["-c", "-S", "-C"]).arg(source.path()).arg("sparse");
        let Ok(made) = command.output() else {
            eprintln!("skipped: no tar");
            return;
        };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        assert!(made.stdout.len() < 1 << 20, "{format:?}: not sparse at all");
        let dir = unpack_on(&made.stdout, &[]).unwrap();
        assert!(std::fs::read(dir.path().join("sparse")).unwrap() == original, "{format:?}");
        let stat = dir.path().join("sparse").metadata().unwrap();
        assert!(stat.blocks() * 512 < 2 << 20, "{format:?}: the holes are holes");
    }
}

#[test]
fn unpacking_is_independent_of_the_umask_and_repeats() {
    let layer = layer().dir("d").file("d/f", "x").file("e/g", "y").end();
    let again = |layer: &[u8]| {
        let dir = unpack_on(layer, &[]).unwrap();
        let mut packed = Vec::new();
        let options = PackOptions::OWN;
        pack(dir.path(), Flavour::Trusted, &options, &mut packed).unwrap();
        packed
    };
    let once = again(&layer);
    assert!(once == again(&layer));
    assert!(once == again(&once));
}
