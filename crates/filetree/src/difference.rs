//! What a layer changes: overlay's upper directory compared with what is below it, as Docker's `diff` tells it.
//!
//! | in the upper directory | below | told |
//! |---|---|---|
//! | anything | nothing | added, and everything in it |
//! | a whiteout, or nothing in an opaque directory | anything | deleted, without what was in it |
//! | a file | a file | changed, unless mode, owner, device, size and time are the same |
//! | a directory | a directory | changed, if its mode or owner is another, or anything in it is told |
//! | one kind | another kind | changed |
//!
//! The walk goes through the upper directory alone: it costs what the changes cost.

#[cfg(test)]
mod tests;

use std::{
    ffi::{CStr, OsStr},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};

use crate::{
    Error, Flavour, RootDir,
    pack::walk::{Visit, Walk, open_dir},
    whiteout::is_whiteout,
};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// It is new.
    Added,
    /// It, or something in it, is another one.
    Modified,
    /// It is gone.
    Deleted,
}

/// A path that a layer changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The path, absolute inside the root.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: DifferenceKind,
}

/// Returns what `upper` changes on top of `below`, by path, parents first. Paths for which `skip` holds (relative to the
/// root) count as not there, if nothing is in them.
///
/// Somebody may write there meanwhile: what comes and goes may be told or not.
///
/// # Errors
/// The operating system's.
pub fn differences(
    upper: &Path,
    flavour: Flavour,
    below: &RootDir,
    skip: &dyn Fn(&Path) -> bool,
) -> Result<Vec<Difference>, Error> {
    let root = RootDir::open(upper)?;
    let root = open_dir(root.as_fd(), c".").map_err(Error::io("open", upper))?;
    let mut differ = Differ { flavour, below, skip, changes: Vec::new(), open: Vec::new() };
    let mut walk = Walk::new(root)?;
    while let Some(visit) = walk.next()? {
        match visit {
            Visit::Name(name, kind) => differ.see(&mut walk, &name, kind)?,
            Visit::Left(_) => differ.leave(),
        }
    }
    differ.changes.sort();
    Ok(differ.changes)
}

struct Differ<'a> {
    flavour: Flavour,
    below: &'a RootDir,
    skip: &'a dyn Fn(&Path) -> bool,
    changes: Vec<Difference>,
    /// The directories that the walk is in.
    open: Vec<OpenDirectory>,
}

/// A directory that the walk is in.
struct OpenDirectory {
    path: PathBuf,
    /// How many changes there were before anything in it was looked at.
    before: usize,
    state: State,
    /// Whether it lies on a directory: else everything in it is new.
    covers: bool,
}

/// What is known of a directory before what is in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was told already.
    Told,
    /// It is new, and told only if it holds something: it may be there to be mounted on.
    PerhapsAdded,
    /// It is as it was, unless something in it is not.
    Unchanged,
}

impl Differ<'_> {
    fn see(&mut self, walk: &mut Walk, name: &CStr, kind: FileType) -> Result<(), Error> {
        let shown = walk.path_of(name.to_bytes());
        let relative = shown.strip_prefix("/").unwrap_or(&shown).to_owned();
        let Some(stat) = stat_of(walk, name, &shown)? else { return Ok(()) };
        let covered = match self.open.last().is_none_or(|directory| directory.covers) {
            true => self.below.symlink_metadata(&relative).map_err(Error::io("look at", &shown))?,
            false => None,
        };
        if is_whiteout(&stat) {
            if covered.is_some() {
                self.tell(shown, DifferenceKind::Deleted);
            }
            return Ok(());
        }
        if kind == FileType::Directory {
            return self.enter(walk, name, &stat, covered, relative);
        }
        match covered {
            None if (self.skip)(&relative) && stat.st_size == 0 => {}
            None => self.tell(shown, DifferenceKind::Added),
            Some(covered) if !same_file(&stat, &covered) => {
                self.tell(shown, DifferenceKind::Modified)
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn enter(
        &mut self,
        walk: &mut Walk,
        name: &CStr,
        stat: &Stat,
        covered: Option<Stat>,
        relative: PathBuf,
    ) -> Result<(), Error> {
        let shown = Path::new("/").join(&relative);
        let fd = match open_dir(walk.dir()?, name) {
            // It is gone, or something else.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                return Ok(());
            }
            opened => opened.map_err(Error::io("open", &shown))?,
        };
        let before = self.changes.len();
        let state = match &covered {
            None if (self.skip)(&relative) => State::PerhapsAdded,
            None => {
                self.tell(shown.clone(), DifferenceKind::Added);
                State::Told
            }
            Some(covered) if !is_directory(covered) || !same_directory(stat, covered) => {
                self.tell(shown.clone(), DifferenceKind::Modified);
                State::Told
            }
            Some(_) => State::Unchanged,
        };
        let covers = covered.as_ref().is_some_and(is_directory);
        if covers && self.is_opaque(fd.as_fd(), &shown)? {
            self.tell_hidden(fd.as_fd(), &relative)?;
        }
        self.open.push(OpenDirectory { path: shown, before, state, covers });
        walk.enter(fd, name)
    }

    fn leave(&mut self) {
        let Some(OpenDirectory { path, before, state, .. }) = self.open.pop() else { return };
        if self.changes.len() == before {
            return;
        }
        match state {
            State::Told => {}
            State::PerhapsAdded => self.tell(path, DifferenceKind::Added),
            State::Unchanged => self.tell(path, DifferenceKind::Modified),
        }
    }

    fn tell(&mut self, path: PathBuf, kind: DifferenceKind) {
        self.changes.push(Difference { path, kind });
    }

    fn is_opaque(&self, directory: BorrowedFd<'_>, shown: &Path) -> Result<bool, Error> {
        self.flavour.is_opaque(directory).map_err(Error::io("read the attributes of", shown))
    }

    /// Tells what an opaque directory does not have of what was there.
    fn tell_hidden(&mut self, directory: BorrowedFd<'_>, relative: &Path) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let covered = self.below.open_at(relative, flags, Mode::empty());
        let covered = covered.map_err(Error::io("open", relative))?;
        let mut buffer = Vec::with_capacity(16 * 1024);
        let mut listing = RawDir::new(covered, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(Error::io("list", relative))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let nofollow = AtFlags::SYMLINK_NOFOLLOW;
            // Whiteouts in it are told by themselves.
            if rustix::fs::statat(directory, name, nofollow).is_err() {
                let path = Path::new("/").join(relative).join(OsStr::from_bytes(name.to_bytes()));
                self.tell(path, DifferenceKind::Deleted);
            }
        }
        Ok(())
    }
}

fn stat_of(walk: &Walk, name: &CStr, shown: &Path) -> Result<Option<Stat>, Error> {
    match crate::deed::statat(walk.dir()?, name) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        found => Ok(Some(found.map_err(Error::io("look at", shown))?)),
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Size and time of a directory say nothing by themselves.
fn same_directory(one: &Stat, other: &Stat) -> bool {
    let facts = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
    facts(one) == facts(other)
}

fn same_file(one: &Stat, other: &Stat) -> bool {
    let facts = |stat: &Stat| {
        let time = (stat.st_mtime, stat.st_mtime_nsec);
        (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev, stat.st_size, time)
    };
    facts(one) == facts(other)
}
