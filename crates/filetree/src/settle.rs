//! What a step left behind without changing anything, taken out of its snapshot before that is sealed.
//!
//! Overlay copies a directory up to make something in it, and the copy stays when that something goes: a mount point, or
//! a file that the command removed again. And it marks every new directory as opaque, also where there is nothing below
//! to be hidden. It copies a file up that is opened for writing, whatever comes of that (`copies`). None of this is a change,
//! and a layer should hold changes only.
//!
//! `fuse-overlayfs` leaves more: a whiteout of every directory that is removed, also where there is nothing below, and
//! directories that have lost their set-group-id bit on the way up.

mod copies;

use std::{
    collections::BTreeSet,
    ffi::{CString, OsStr},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps},
    io::Errno,
};

use crate::{
    Error, Flavour, RootDir, deed,
    pack::{
        ensure_path,
        walk::{Visit, Walk, open_dir},
    },
    root::open_dir_below,
    xattr::{Carrier, Xattr},
};

/// The directories of a snapshot that nobody writes to any more: what may turn out to be no change.
#[derive(Debug)]
pub struct Unsettled {
    root: RootDir,
    flavour: Flavour,
    /// Children before their parents, so that a chain of empty directories goes as a whole.
    directories: Vec<Directory>,
    /// What may be whiteouts of nothing.
    whiteouts: Vec<Leaf>,
    /// What may be copies of what is below.
    copies: Vec<Leaf>,
    served_by: Served,
}

#[derive(Debug)]
struct Directory {
    /// Relative to the snapshot.
    path: PathBuf,
    /// What it was before its children went, which changes its time.
    stat: Stat,
    /// Whether it hides what is below it.
    is_opaque: bool,
    /// Whether a directory above it does that already.
    is_hidden: bool,
}

/// Something that is no directory.
#[derive(Debug)]
struct Leaf {
    path: PathBuf,
    /// Whether a directory above it hides what is below it already.
    is_hidden: bool,
}

/// Who served the overlay whose upper directory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The kernel.
    ByKernel,
    /// `fuse-overlayfs`.
    ByProgram,
}

/// How the files of a snapshot came there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Each was put there.
    Put,
    /// Some may have been copied up by an overlay.
    MaybeCopied,
}

/// A directory on the way of the listing.
struct Found {
    directory: Directory,
    /// The one that it is in, by its place in the list; `None` for the top.
    parent: Option<usize>,
    /// Whether there is something else in it than directories.
    is_filled: bool,
}

impl Unsettled {
    /// Lists the directories of `upper`, overlay's upper directory, that nothing says to be a change: those that have a mark,
    /// and those without anything but directories. Of what a program has served, all. And the files that may have been copied
    /// up for nothing.
    ///
    /// # Errors
    /// [`Error::LongPath`] for a directory that no layer can hold, and the operating system's.
    pub fn list(
        upper: &Path,
        flavour: Flavour,
        served_by: Served,
        files: Files,
    ) -> Result<Self, Error> {
        let root = RootDir::open(upper)?;
        let top = open_dir(root.as_fd(), c".").map_err(Error::io("open", "/"))?;
        let mut walk = Walk::new(top)?;
        let mut found: Vec<Found> = Vec::new();
        let (mut whiteouts, mut copies) = (Vec::new(), Vec::new());
        // The directory that the walk stands in.
        let mut current: Option<usize> = None;
        while let Some(visit) = walk.next()? {
            let (name, kind) = match visit {
                Visit::Name(name, kind) => (name, kind),
                Visit::Left(_) => {
                    current = current.and_then(|index| found[index].parent);
                    continue;
                }
            };
            let parent = current.map(|index| &mut found[index]);
            let is_hidden =
                parent.as_ref().is_some_and(|it| it.directory.is_hidden || it.directory.is_opaque);
            if files == Files::MaybeCopied
                && kind == FileType::RegularFile
                && copies::may_be_copy(walk.dir()?, &name)
                    .map_err(Error::io("look at", walk.path_of(name.to_bytes())))?
            {
                // If it goes, its directory may go, too.
                copies.push(Leaf { path: relative(&walk, &name), is_hidden });
                continue;
            }
            if kind != FileType::Directory {
                if let Some(parent) = parent {
                    parent.is_filled = true;
                }
                if served_by == Served::ByProgram && kind == FileType::CharacterDevice {
                    let path = relative(&walk, &name);
                    whiteouts.push(Leaf { path, is_hidden });
                }
                continue;
            }
            let shown = || walk.path_of(name.to_bytes());
            let path = relative(&walk, &name);
            ensure_path(path.as_os_str().as_bytes())?;
            let fd = open_dir(walk.dir()?, &name).map_err(Error::io("open", shown()))?;
            let stat = deed::fstat(&fd).map_err(Error::io("look at", shown()))?;
            let is_opaque = has_mark(fd.as_fd(), flavour, &shown)?;
            let directory = Directory { path, stat, is_opaque, is_hidden };
            found.push(Found { directory, parent: current, is_filled: false });
            current = Some(found.len() - 1);
            walk.enter(fd, &name)?;
        }
        let directories = unsettled(found, served_by);
        Ok(Self { root, flavour, directories, whiteouts, copies, served_by })
    }

    /// Whether there is nothing to settle.
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty() && self.whiteouts.is_empty() && self.copies.is_empty()
    }

    /// Removes what changes nothing on top of `below`: unchanged files, unchanged directories with nothing in them, and marks
    /// that hide nothing.
    ///
    /// # Errors
    /// The operating system's; what was removed by then was nothing that counts.
    pub fn settle(&self, below: &RootDir) -> Result<(), Error> {
        for whiteout in &self.whiteouts {
            self.settle_whiteout(below, whiteout)?;
        }
        let mut emptied = BTreeSet::new();
        for copy in self.copies.iter().filter(|copy| !copy.is_hidden) {
            if self.settle_copy(below, copy)? {
                emptied.extend(copy.path.parent());
            }
        }
        for directory in &self.directories {
            let covered = below
                .symlink_metadata(&directory.path)
                .map_err(Error::io("look at", &directory.path))?;
            let mut stat = directory.stat;
            if self.served_by == Served::ByProgram {
                stat = self.give_back_group_bit(directory, covered.as_ref())?;
            }
            let covered = covered.filter(|it| is_directory(it) && !directory.is_hidden);
            // Unlike the kernel, such a program changes the time of the directory in which it puts a copy.
            if let Some(covered) = covered.filter(|_| {
                self.served_by == Served::ByProgram && emptied.contains(&*directory.path)
            }) {
                (stat.st_mtime, stat.st_mtime_nsec) = (covered.st_mtime, covered.st_mtime_nsec);
            }
            self.settle_directory(directory, &stat, below, covered)?;
        }
        Ok(())
    }

    /// Removes a whiteout that hides nothing.
    fn settle_whiteout(&self, below: &RootDir, whiteout: &Leaf) -> Result<(), Error> {
        let path = &whiteout.path;
        let (parent, name) = self.parent_of(path)?;
        let stat = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::io("look at", path))?;
        let covered = below.symlink_metadata(path).map_err(Error::io("look at", path))?;
        match (stat.st_rdev, covered.filter(|_| !whiteout.is_hidden)) {
            (0, None) => keeping_times_of(&parent, path, || {
                rustix::fs::unlinkat(&parent, &name, AtFlags::empty())
                    .map_err(Error::io("remove", path))
            }),
            _ => Ok(()),
        }
    }

    /// Removes a file that is the one below, and returns whether it was.
    fn settle_copy(&self, below: &RootDir, copy: &Leaf) -> Result<bool, Error> {
        let path = &copy.path;
        let (parent, name) = self.parent_of(path)?;
        if !copies::is_copy(parent.as_fd(), &name, below, path)? {
            return Ok(false);
        }
        keeping_times_of(&parent, path, || {
            rustix::fs::unlinkat(&parent, &name, AtFlags::empty())
                .map_err(Error::io("remove", path))
        })?;
        Ok(true)
    }

    /// A directory that has on top of what it covers the same mode but for the bit had that bit before it was copied up. One
    /// from which a program has taken just this bit looks the same, and is much rarer.
    fn give_back_group_bit(
        &self,
        directory: &Directory,
        covered: Option<&Stat>,
    ) -> Result<Stat, Error> {
        const BIT: u32 = 0o2000;
        let (path, stat) = (&directory.path, directory.stat);
        let lost =
            |covered: &Stat| stat.st_mode & BIT == 0 && covered.st_mode == stat.st_mode | BIT;
        if !covered.is_some_and(|covered| lost(covered) && covered.st_gid == stat.st_gid) {
            return Ok(stat);
        }
        let fd = self.open(path)?;
        let mode = Mode::from_raw_mode(stat.st_mode | BIT);
        rustix::fs::fchmod(&fd, mode).map_err(Error::io("set the mode of", path))?;
        deed::fstat(&fd).map_err(Error::io("look at", path))
    }

    fn settle_directory(
        &self,
        directory: &Directory,
        stat: &Stat,
        below: &RootDir,
        covered: Option<Stat>,
    ) -> Result<(), Error> {
        let path = &directory.path;
        let mark = self.flavour.opaque().filter(|_| directory.is_opaque);
        match (covered, mark) {
            (None, Some(mark)) => Carrier::Open(self.open(path)?.as_fd())
                .remove(mark.as_bytes())
                .map_err(Error::io("clear a mark of", path)),
            (Some(covered), None) if self.is_unchanged(path, stat, below, &covered)? => {
                self.remove_if_empty(path)
            }
            _ => Ok(()),
        }
    }

    fn is_unchanged(
        &self,
        path: &Path,
        stat: &Stat,
        below: &RootDir,
        covered: &Stat,
    ) -> Result<bool, Error> {
        let facts = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid, s.st_mtime, s.st_mtime_nsec);
        Ok(facts(stat) == facts(covered)
            && attributes(RootDir::from_fd(self.open(path)?))?
                == attributes(below.open_root(path)?)?)
    }

    /// Removes a directory if it is empty; the one that it is in keeps its times, as if it had never been there.
    fn remove_if_empty(&self, path: &Path) -> Result<(), Error> {
        let (parent, name) = self.parent_of(path)?;
        keeping_times_of(&parent, path, || {
            match rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
                removed => removed.map_err(Error::io("remove", path)),
            }
        })
    }

    fn open(&self, path: &Path) -> Result<OwnedFd, Error> {
        open_dir_below(self.root.as_fd(), path).map_err(Error::io("open", path))
    }

    /// Opens the directory that something is in.
    fn parent_of(&self, path: &Path) -> Result<(OwnedFd, CString), Error> {
        let parent = self.open(path.parent().unwrap_or(Path::new("")))?;
        // It came from a CString, so there is no NUL in it.
        let name = path.file_name().unwrap_or_default().as_bytes();
        Ok((parent, CString::new(name).unwrap_or_default()))
    }
}

/// Of all directories, parents before their children, those that may be no change, the other way round.
fn unsettled(mut found: Vec<Found>, served_by: Served) -> Vec<Directory> {
    let mut directories = Vec::new();
    while let Some(Found { directory, parent, is_filled }) = found.pop() {
        // Its children came before it.
        if let Some(parent) = parent.filter(|_| is_filled) {
            found[parent].is_filled = true;
        }
        if served_by == Served::ByProgram || !is_filled || directory.is_opaque {
            directories.push(directory);
        }
    }
    directories
}

fn relative(walk: &Walk, name: &std::ffi::CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&[walk.prefix(), name.to_bytes()].concat()))
}

/// Whether a directory has a mark that hides what is below it; marks in names are made where they are needed only. One that
/// cannot be read is not taken for none: what it hides would be there again.
fn has_mark(
    directory: BorrowedFd<'_>,
    flavour: Flavour,
    shown: &impl Fn() -> PathBuf,
) -> Result<bool, Error> {
    let Some(mark) = flavour.opaque() else { return Ok(false) };
    match rustix::fs::fgetxattr(directory, mark, &mut [0; 8]) {
        Ok(_) => Ok(true),
        // What is longer than a mark is none.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(Error::io("read the attributes of", shown())(errno)),
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}

fn attributes(directory: RootDir) -> Result<Vec<Xattr>, Error> {
    // The descriptor of a tree may be one that cannot be read; the directory itself can.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let readable =
        directory.open_at(Path::new("."), flags, Mode::empty()).map_err(Error::io("open", "."))?;
    Carrier::Open(readable.as_fd())
        .all_travelling()
        .map_err(Error::io("read the attributes of", "."))
}

/// Removes something; the directory that it is in is as old as before. `path` is what messages call it.
pub(crate) fn keeping_times_of(
    parent: impl AsFd,
    path: &Path,
    remove: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let shown = || path.parent().unwrap_or(path);
    let before = rustix::fs::fstat(&parent).map_err(Error::io("look at", shown()))?;
    remove()?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: before.st_atime, tv_nsec: before.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ },
    };
    rustix::fs::futimens(&parent, &times).map_err(Error::io("set the times of", shown()))
}

#[cfg(test)]
mod tests;
