//! What goes of a snapshot because it is no change, and what stays.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use rustix::fs::{CWD, XattrFlags, lgetxattr, lsetxattr, lstat};

use super::*;

struct Scratch(PathBuf);

fn list(upper: &Path, flavour: Flavour, served_by: Served) -> Result<Unsettled, Error> {
    Unsettled::list(upper, flavour, served_by, Files::MaybeCopied)
}

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kiln-settle-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("upper")).unwrap();
        fs::create_dir_all(path.join("below")).unwrap();
        Self(path)
    }

    fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    /// Makes a directory on both sides, with the same time.
    fn copied_up(&self, name: &str) {
        for side in ["below", "upper"] {
            fs::create_dir_all(self.0.join(side).join(name)).unwrap();
        }
        self.same_time(name);
    }

    fn same_time(&self, name: &str) {
        let time = fs::metadata(self.0.join("below").join(name)).unwrap().modified().unwrap();
        fs::File::open(self.upper().join(name)).unwrap().set_modified(time).unwrap();
    }

    fn settle(&self) {
        let below = RootDir::open(&self.0.join("below")).unwrap();
        list(&self.upper(), Flavour::User, Served::ByKernel).unwrap().settle(&below).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn time(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn an_unchanged_chain_of_directories_goes_and_a_changed_one_stays() {
    let scratch = Scratch::new("chain");
    scratch.copied_up("etc/a");
    scratch.copied_up("var/lib");
    scratch.same_time("etc");
    fs::write(scratch.upper().join("var/file"), "").unwrap();
    scratch.same_time("var");
    fs::create_dir(scratch.upper().join("new")).unwrap();
    scratch.settle();
    assert!(!scratch.upper().join("etc").exists());
    assert!(scratch.upper().join("var/file").exists());
    assert!(!scratch.upper().join("var/lib").exists());
    assert_eq!(time(&scratch.upper().join("var")), time(&scratch.0.join("below/var")));
    assert!(scratch.upper().join("new").exists());
}

/// For most steps nothing has to be mounted to compare with.
#[test]
fn what_is_in_a_directory_settles_it() {
    let scratch = Scratch::new("filled");
    let upper = scratch.upper();
    let list = |served_by| {
        let unsettled = self::list(&upper, Flavour::User, served_by).unwrap();
        let names = unsettled.directories.iter();
        let names = names.map(|it| it.path.file_name().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    fs::create_dir_all(upper.join("a/b/c")).unwrap();
    fs::write(upper.join("a/b/c/file"), "").unwrap();
    fs::write(upper.join("file"), "").unwrap();
    assert!(list(Served::ByKernel).is_empty());
    assert_eq!(list(Served::ByProgram), ["c", "b", "a"]);
    fs::create_dir(upper.join("a/d")).unwrap();
    assert_eq!(list(Served::ByKernel), ["d"]);
}

/// As deep as a path in a layer can lead, below a snapshot whose own path is longer than nothing.
#[test]
fn the_longest_paths_are_settled_and_longer_ones_named() {
    let scratch = Scratch::new("deep");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = "n".repeat(204);
    let mut at = rustix::fs::open(scratch.upper(), flags, Mode::empty()).unwrap();
    for _ in 0..19 {
        rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &*name, flags, Mode::empty()).unwrap();
    }
    // 19 names with a slash after each, and this one.
    rustix::fs::mkdirat(&at, &*"l".repeat(200), Mode::RWXU).unwrap();
    scratch.settle();
    let list = || self::list(&scratch.upper(), Flavour::User, Served::ByKernel);
    let longest = &list().unwrap().directories[0].path;
    assert_eq!(longest.as_os_str().len(), 4095);
    rustix::fs::mkdirat(&at, &*"l".repeat(201), Mode::RWXU).unwrap();
    assert!(matches!(list(), Err(Error::LongPath { .. })));
    rustix::fs::unlinkat(&at, &*"l".repeat(201), AtFlags::REMOVEDIR).unwrap();
    rustix::fs::unlinkat(&at, &*"l".repeat(200), AtFlags::REMOVEDIR).unwrap();
}

/// Makes a file as overlay copies it up: with the time of the one below.
fn copy_up(scratch: &Scratch, name: &str, content: &str) {
    let (below, upper) = (scratch.0.join("below").join(name), scratch.upper().join(name));
    fs::write(&below, content).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::copy(&below, &upper).unwrap();
    fs::File::open(&upper).unwrap().set_modified(time(&below)).unwrap();
}

#[test]
fn a_file_that_was_copied_up_for_nothing_goes() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("copies");
    let upper = scratch.upper();
    fs::create_dir_all(scratch.0.join("below/d")).unwrap();
    fs::create_dir_all(upper.join("d")).unwrap();
    let long = "x".repeat(200_000);
    for name in ["d/same", "changed", "mode", "linked", "hidden"] {
        copy_up(&scratch, name, &long);
    }
    scratch.same_time("d");
    // As old as below and as long, and yet another one.
    fs::write(upper.join("changed"), format!("{}y", &long[1..])).unwrap();
    scratch.same_time("changed");
    fs::set_permissions(upper.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(upper.join("linked"), upper.join("link")).unwrap();
    let old = fs::File::create(upper.join("old")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::remove_file(scratch.0.join("below/hidden")).unwrap();
    fs::create_dir(scratch.0.join("below/hidden")).unwrap();
    scratch.settle();
    assert!(!upper.join("d").exists());
    for name in ["changed", "mode", "linked", "link", "old", "hidden"] {
        assert!(upper.join(name).exists(), "{name}");
    }
    // What was put there is what was meant.
    copy_up(&scratch, "put", "x");
    let below = RootDir::open(&scratch.0.join("below")).unwrap();
    Unsettled::list(&upper, Flavour::User, Served::ByKernel, Files::Put)
        .unwrap()
        .settle(&below)
        .unwrap();
    assert!(upper.join("put").exists());
}

#[test]
fn another_mode_is_a_change() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("mode");
    scratch.copied_up("d");
    fs::set_permissions(scratch.upper().join("d"), fs::Permissions::from_mode(0o700)).unwrap();
    scratch.settle();
    assert!(scratch.upper().join("d").exists());
}

#[test]
fn a_mark_stays_only_where_it_hides_something() {
    let scratch = Scratch::new("mark");
    scratch.copied_up("old");
    fs::create_dir(scratch.upper().join("new")).unwrap();
    let mark = Flavour::User.opaque().unwrap();
    for name in ["old", "new"] {
        let set = lsetxattr(scratch.upper().join(name), mark, b"y", XattrFlags::empty());
        if set == Err(rustix::io::Errno::NOTSUP) {
            eprintln!("skipped: no user attributes on this file system");
            return;
        }
        set.unwrap();
    }
    scratch.settle();
    let marked = |name| lgetxattr(scratch.upper().join(name), mark, &mut [0; 8]).is_ok();
    assert!(marked("old"));
    assert!(!marked("new"));
}
#[test]
fn what_a_program_leaves_that_served_it() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make whiteouts everywhere");
        return;
    }
    let scratch = Scratch::new("served");
    let mark = Flavour::Trusted.opaque().unwrap();
    let opaque = |name| {
        let path = scratch.upper().join(name);
        fs::create_dir(&path).unwrap();
        lsetxattr(path, mark, b"y", XattrFlags::empty()).unwrap();
    };
    let whiteout = |name| {
        let device = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(CWD, scratch.upper().join(name), device, Mode::empty(), 0).unwrap();
    };
    fs::create_dir_all(scratch.0.join("below/again/inner")).unwrap();
    fs::write(scratch.0.join("below/again/file"), "").unwrap();
    fs::write(scratch.0.join("below/file"), "").unwrap();
    for name in ["again", "again/inner", "new"] {
        opaque(name);
    }
    for name in ["file", "never", "again/file"] {
        whiteout(name);
    }
    scratch.copied_up("group");
    let group = fs::Permissions::from_mode(0o2755);
    fs::set_permissions(scratch.0.join("below/group"), group).unwrap();
    fs::write(scratch.upper().join("group/x"), "").unwrap();

    let below = RootDir::open(&scratch.0.join("below")).unwrap();
    list(&scratch.upper(), Flavour::Trusted, Served::ByProgram).unwrap().settle(&below).unwrap();
    let has = |name: &str| lstat(scratch.upper().join(name)).is_ok();
    let marked = |name| lgetxattr(scratch.upper().join(name), mark, &mut [0; 8]).is_ok();
    assert_eq!(["file", "never", "again/file"].map(has), [true, false, false]);
    assert_eq!(["again", "again/inner", "new"].map(marked), [true, false, false]);
    assert!(has("again/inner"), "it is new");
    assert_eq!(fs::metadata(scratch.upper().join("group")).unwrap().mode() & 0o7777, 0o2755);
}
