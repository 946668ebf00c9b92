//! What a step left behind without changing anything, taken out of its snapshot before that is sealed.
//!
//! Overlay copies a directory up to make something in it, and the copy stays when that something goes: a mount point, or
//! a file that the command removed again. And it marks every new directory as opaque, also where there is nothing below
//! to be hidden. Neither is a change, and a layer should hold changes only.
//!
//! `fuse-overlayfs` leaves more: a whiteout of every directory that is removed, also where there is nothing below, and
//! directories that have lost their set-group-id bit on the way up.

use std::{io, os::unix::fs::FileTypeExt, path::Path};

use rustix::{
    fs::{
        AtFlags, CWD, Mode, Stat, Timespec, Timestamps, lgetxattr, lremovexattr, lstat, utimensat,
    },
    io::Errno,
};
use walkdir::{DirEntry, WalkDir};

use crate::{
    Error, Flavour, RootDir, deed,
    xattr::{Carrier, Xattr},
};

/// The directories of a snapshot that nobody writes to any more: what may turn out to be no change.
#[derive(Debug)]
pub struct Unsettled<'a> {
    upper: &'a Path,
    /// Children before their parents, so that a chain of empty directories goes as a whole; with what each was before
    /// its children went, which changes its time.
    directories: Vec<(DirEntry, Stat)>,
    /// What may be whiteouts of nothing.
    whiteouts: Vec<DirEntry>,
    served_by: Served,
}

/// Who served the overlay whose upper directory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The kernel.
    ByKernel,
    /// `fuse-overlayfs`.
    ByProgram,
}

impl<'a> Unsettled<'a> {
    /// Lists the directories of `upper`, overlay's upper directory, that nothing says to be a change: those that have a mark,
    /// and those without anything but directories. Of what a program has served, all.
    pub fn list(upper: &'a Path, flavour: Flavour, served_by: Served) -> Result<Self, Error> {
        let mut directories = Vec::new();
        let mut whiteouts = Vec::new();
        // Whether there is something else than directories, at each depth of the way to the current entry.
        let mut is_filled = Vec::new();
        for entry in WalkDir::new(upper).min_depth(1).contents_first(true) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(upper).to_owned();
                let source = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
                Error::Io { action: "list", path, source }
            })?;
            let depth = entry.depth();
            is_filled.resize(is_filled.len().max(depth + 1), false);
            // The contents of a directory came before it.
            let stays = !entry.file_type().is_dir() || std::mem::take(&mut is_filled[depth]);
            is_filled[depth - 1] |= stays;
            if entry.file_type().is_dir() {
                let is_settled =
                    served_by == Served::ByKernel && stays && !has_own_mark(entry.path(), flavour)?;
                if !is_settled {
                    let stat =
                        deed::lstat(entry.path()).map_err(Error::io("look at", entry.path()))?;
                    directories.push((entry, stat));
                }
            } else if served_by == Served::ByProgram && entry.file_type().is_char_device() {
                whiteouts.push(entry);
            }
        }
        Ok(Self { upper, directories, whiteouts, served_by })
    }

    /// Whether there is nothing to settle.
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty() && self.whiteouts.is_empty()
    }

    /// Removes what changes nothing on top of `below`: unchanged directories with nothing in them, and marks that hide
    /// nothing.
    ///
    /// # Errors
    /// The operating system's; what was removed by then was nothing that counts.
    pub fn settle(&self, below: &RootDir, flavour: Flavour) -> Result<(), Error> {
        for whiteout in &self.whiteouts {
            settle_whiteout(self.upper, flavour, below, whiteout)?;
        }
        for (directory, stat) in &self.directories {
            match self.served_by {
                Served::ByKernel => settle_directory(self.upper, flavour, below, directory, stat)?,
                Served::ByProgram => {
                    let stat = give_back_group_bit(self.upper, below, directory, *stat)?;
                    settle_directory(self.upper, flavour, below, directory, &stat)?;
                }
            }
        }
        Ok(())
    }
}

/// Removes a whiteout that hides nothing.
fn settle_whiteout(
    upper: &Path,
    flavour: Flavour,
    below: &RootDir,
    whiteout: &DirEntry,
) -> Result<(), Error> {
    let path = whiteout.path();
    let Ok(relative) = path.strip_prefix(upper) else { return Ok(()) };
    let stat = lstat(path).map_err(Error::io("look at", path))?;
    let covered = below.symlink_metadata(relative).map_err(Error::io("look at", relative))?;
    let is_hidden = is_hidden(upper, flavour, path)?;
    match (stat.st_rdev, covered.filter(|_| !is_hidden)) {
        (0, None) => keeping_times(path, |path| {
            std::fs::remove_file(path).map_err(Error::io("remove", path))
        }),
        _ => Ok(()),
    }
}

/// Whether a directory above `path` hides what is below it already.
fn is_hidden(upper: &Path, flavour: Flavour, path: &Path) -> Result<bool, Error> {
    let Some(mark) = flavour.opaque() else { return Ok(false) };
    for directory in path.ancestors().skip(1).take_while(|directory| *directory != upper) {
        if has_mark(directory, mark)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A directory that has on top of `below` the same mode but for the bit had that bit before it was copied up. One from which a
/// program has taken just this bit looks the same, and is much rarer.
fn give_back_group_bit(
    upper: &Path,
    below: &RootDir,
    directory: &DirEntry,
    stat: Stat,
) -> Result<Stat, Error> {
    const BIT: u32 = 0o2000;
    let path = directory.path();
    let Ok(relative) = path.strip_prefix(upper) else { return Ok(stat) };
    let covered = below.symlink_metadata(relative).map_err(Error::io("look at", relative))?;
    let lost = |covered: &Stat| stat.st_mode & BIT == 0 && covered.st_mode == stat.st_mode | BIT;
    if !covered.is_some_and(|covered| lost(&covered) && covered.st_gid == stat.st_gid) {
        return Ok(stat);
    }
    let mode = Mode::from_raw_mode(stat.st_mode | BIT);
    rustix::fs::chmod(path, mode).map_err(Error::io("set the mode of", path))?;
    lstat(path).map_err(Error::io("look at", path))
}

fn settle_directory(
    upper: &Path,
    flavour: Flavour,
    below: &RootDir,
    directory: &DirEntry,
    stat: &Stat,
) -> Result<(), Error> {
    let path = directory.path();
    let Ok(relative) = path.strip_prefix(upper) else { return Ok(()) };
    let covered = below.symlink_metadata(relative).map_err(Error::io("look at", relative))?;
    let is_hidden = is_hidden(upper, flavour, path)?;
    let covered = covered.filter(|it| is_directory(it) && !is_hidden);
    let is_opaque = has_own_mark(path, flavour)?;
    let mark = flavour.opaque().filter(|_| is_opaque);
    match (covered, mark) {
        (None, Some(mark)) => lremovexattr(path, mark).map_err(Error::io("clear a mark of", path)),
        (Some(covered), None) if is_unchanged((path, stat), relative, below, &covered)? => {
            remove_if_empty(path)
        }
        _ => Ok(()),
    }
}

/// Whether a directory hides what is below it. Marks in names are made where they are needed only.
fn has_own_mark(path: &Path, flavour: Flavour) -> Result<bool, Error> {
    flavour.opaque().map_or(Ok(false), |mark| has_mark(path, mark))
}

/// Whether a directory has a mark. One that cannot be read is not taken for none: what it hides would be there again.
fn has_mark(path: &Path, mark: &str) -> Result<bool, Error> {
    match lgetxattr(path, mark, &mut [0; 8]) {
        Ok(_) => Ok(true),
        // What is longer than a mark is none.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(Error::io("read the attributes of", path)(errno)),
    }
}

fn is_directory(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir()
}

fn is_unchanged(
    (path, stat): (&Path, &Stat),
    relative: &Path,
    below: &RootDir,
    covered: &Stat,
) -> Result<bool, Error> {
    let facts = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid, s.st_mtime, s.st_mtime_nsec);
    Ok(facts(stat) == facts(covered)
        && attributes(RootDir::from_fd(open(path)?))? == attributes(below.open_root(relative)?)?)
}

fn open(path: &Path) -> Result<std::os::fd::OwnedFd, Error> {
    use rustix::fs::OFlags;

    use crate::interrupted::openat;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(Error::io("open", path))
}

fn attributes(directory: RootDir) -> Result<Vec<Xattr>, Error> {
    use rustix::fs::OFlags;
    use std::os::fd::AsFd;
    // The descriptor of a tree may be one that cannot be read; the directory itself can.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let readable =
        directory.open_at(Path::new("."), flags, Mode::empty()).map_err(Error::io("open", "."))?;
    Carrier::Open(readable.as_fd())
        .all_travelling()
        .map_err(Error::io("read the attributes of", "."))
}

/// Removes a directory if it is empty; the one that it is in keeps its times, as if it had never been there.
fn remove_if_empty(path: &Path) -> Result<(), Error> {
    keeping_times(path, |path| match std::fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed.map_err(Error::io("remove", path)),
    })
}

/// Removes something; the directory that it is in is as old as before.
pub(crate) fn keeping_times(
    path: &Path,
    remove: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(path);
    let before = lstat(parent).map_err(Error::io("look at", parent))?;
    remove(path)?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: before.st_atime, tv_nsec: before.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ },
    };
    utimensat(CWD, parent, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(Error::io("set the times of", parent))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

    use rustix::fs::{XattrFlags, lsetxattr};

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("kiln-settle-{name}-{}", std::process::id()));
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
            Unsettled::list(&self.upper(), Flavour::User, Served::ByKernel)
                .unwrap()
                .settle(&below, Flavour::User)
                .unwrap();
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
            let unsettled = Unsettled::list(&upper, Flavour::User, served_by).unwrap();
            let names = unsettled.directories.iter().map(|(entry, _)| entry.file_name().to_owned());
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
        let unsettled = Unsettled::list(&scratch.0.join("upper"), Flavour::User, Served::ByProgram)
            .map(|it| {
                it.settle(&below, Flavour::Trusted).unwrap();
            });
        unsettled.unwrap();
        let has = |name: &str| lstat(scratch.upper().join(name)).is_ok();
        let marked = |name| lgetxattr(scratch.upper().join(name), mark, &mut [0; 8]).is_ok();
        assert_eq!(["file", "never", "again/file"].map(has), [true, false, false]);
        assert_eq!(["again", "again/inner", "new"].map(marked), [true, false, false]);
        assert!(has("again/inner"), "it is new");
        assert_eq!(fs::metadata(scratch.upper().join("group")).unwrap().mode() & 0o7777, 0o2755);
    }
}
