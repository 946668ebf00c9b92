//! A directory merged into another: what is new is made, directories that exist are entered, files are replaced.
//!
//! A directory is one task: its entries are made (subdirectories empty), then it gets its own looks. Nothing is looked up
//! that need not be: everything is made as new, and only when that fails is what is there looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::{fs::Mode, io::Errno};

use crate::{
    Error,
    copy::{
        Laying, Style,
        entry::{self, Source, Target},
        existing_times,
    },
    deed, queue,
    root::{is_dir, open_dir_below, stat_at},
    select::{
        Match,
        listing::{Directory, Entry, FileId, Listing},
    },
    tree::{Meta, Tree},
};

/// Merges the directory `one` of a tree into the directory `top`, whose absolute path is `path`.
pub(super) fn merge(
    tree: &Tree,
    one: &Match,
    top: BorrowedFd<'_>,
    path: &Path,
    style: Style<'_>,
    laying: Laying<'_>,
) -> Result<(), Error> {
    let Some(listing) = &one.listing else { return Ok(()) };
    let links = Links::find(listing);
    let closed = Mutex::new(Vec::new());
    let merger =
        Merger { tree, one, listing, top, path, style, links: &links, laying, closed: &closed };
    queue::drain(vec![Task { index: 0, looks: Looks::Top }], &|task, more| {
        merger.directory(&task, more)
    })?;
    merger.link_all()?;
    let mut closed = std::mem::take(&mut *closed.lock().unwrap_or_else(PoisonError::into_inner));
    // The deepest first: nothing below a closed directory can be reached any more by a builder without privileges.
    closed.sort_by(|(one, _): &(PathBuf, u32), (other, _)| other.cmp(one));
    for (dir, mode) in closed {
        let fd = merger.open(&dir)?;
        deed::chmod(&fd, mode).map_err(Error::io("change the mode of", path.join(&dir)))?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Merger<'a> {
    tree: &'a Tree,
    one: &'a Match,
    listing: &'a Listing,
    top: BorrowedFd<'a>,
    path: &'a Path,
    style: Style<'a>,
    links: &'a Links,
    laying: Laying<'a>,
    /// Directories that their owner may not enter or change: they get their mode last.
    closed: &'a Mutex<Vec<(PathBuf, u32)>>,
}

struct Task {
    index: usize,
    looks: Looks,
}

/// How a directory looks in the end.
enum Looks {
    /// The destination itself: as it is.
    Top,
    /// As the source.
    Source(Meta),
    /// It existed and was only passed through: the source's mode, its own owner and times.
    Passed(Meta),
}

impl<'a> Merger<'a> {
    fn directory(self, task: &Task, more: &mut Vec<Task>) -> Result<(), Error> {
        let directory = &self.listing.dirs[task.index];
        let target = self.open(&directory.path)?;
        let shown = self.path.join(&directory.path);
        let source_path = self.one.path.join(&directory.path);
        let has_files = directory.entries().any(|entry| entry.dir.is_none());
        let source = match has_files {
            true => open_dir_below(self.tree.root.as_fd(), &source_path)
                .map_err(|error| Error::io("open", Path::new("/").join(&source_path))(error))?,
            // Nothing is read from it; any descriptor will do.
            false => target.try_clone().map_err(Error::io("duplicate", &shown))?,
        };
        for (number, entry) in directory.entries().enumerate() {
            let path = shown.join(entry.name);
            let place = Target { dir: target.as_fd(), name: entry.name, path: &path };
            if let Some(index) = entry.dir {
                let looks = self.make_dir(place, &entry)?;
                more.push(Task { index, looks });
            } else if !self.links.later.contains(&(task.index, number)) {
                let source = Source {
                    dir: &source,
                    name: entry.name,
                    path: &Path::new("/").join(source_path.join(entry.name)),
                    meta: &entry.meta,
                    target: entry.target,
                };
                entry::copy(source, place, self.style, self.laying)?;
            }
        }
        self.dress(&task.looks, directory, &target, &shown)
    }

    /// Makes a directory or finds it there.
    fn make_dir(self, target: Target<'_>, entry: &Entry<'_>) -> Result<Looks, Error> {
        match rustix::fs::mkdirat(target.dir, target.name, Mode::from_raw_mode(0o700)) {
            Ok(()) => return Ok(Looks::Source(entry.meta)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("create the directory", target.path)(errno)),
        }
        let stat = stat_at(target.dir, target.name).map_err(Error::io("stat", target.path))?;
        if !stat.is_some_and(|stat| is_dir(&stat)) {
            return Err(Error::CopyToNonDirectory { path: target.path.to_owned() });
        }
        let whole = entry.wanted && !self.one.partial;
        Ok(if whole { Looks::Source(entry.meta) } else { Looks::Passed(entry.meta) })
    }

    fn dress(
        self,
        looks: &Looks,
        directory: &Directory,
        target: &OwnedFd,
        shown: &Path,
    ) -> Result<(), Error> {
        let meta = match looks {
            Looks::Top => return Ok(()),
            Looks::Source(meta) | Looks::Passed(meta) => meta,
        };
        let wanted = self.style.mode(meta);
        let mode = if wanted & 0o700 == 0o700 { wanted } else { wanted | 0o700 };
        if mode != wanted {
            let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
            closed.push((directory.path.clone(), wanted));
        }
        match looks {
            Looks::Source(_) => {
                let owner = self.style.owner(meta);
                entry::dress(
                    target.as_fd(),
                    shown,
                    owner,
                    mode,
                    &directory.xattrs,
                    Some(self.style.time(meta)),
                )
            }
            Looks::Top | Looks::Passed(_) => {
                deed::chmod(target, mode).map_err(Error::io("change the mode of", shown))
            }
        }
    }

    /// Makes the further names of files that have several.
    fn link_all(self) -> Result<(), Error> {
        for (first, (index, number)) in &self.links.pairs {
            let (from_dir, from) = self.locate(*first);
            let (to_dir, to) = self.locate((*index, *number));
            let old = self.open(&from_dir.path)?;
            let path = self.path.join(&to_dir.path).join(to.name);
            let new = self.open(&to_dir.path)?;
            let (_, times) = existing_times(new.as_fd(), &path)?;
            let target = Target { dir: new.as_fd(), name: to.name, path: &path };
            entry::replacing(target, self.laying.later, "create the hard link", || {
                deed::link(&old, from.name, &new, to.name)
            })?;
            // The directory had its time already.
            rustix::fs::futimens(&new, &times).map_err(Error::io("set the times of", &path))?;
        }
        Ok(())
    }

    fn locate(self, (index, number): Position) -> (&'a Directory, Entry<'a>) {
        let directory = &self.listing.dirs[index];
        (directory, directory.entry(number))
    }

    fn open(self, path: &Path) -> Result<OwnedFd, Error> {
        open_dir_below(self.top, path)
            .map_err(|error| Error::io("open", self.path.join(path))(error))
    }
}

/// A position in a listing: a directory's index and an entry's number in it.
type Position = (usize, usize);

/// Files with several names in the tree that is copied: one is copied, the others are linked to it afterwards, whichever
/// thread comes first.
#[derive(Debug, Default)]
struct Links {
    pairs: Vec<(Position, Position)>,
    later: BTreeSet<Position>,
}

impl Links {
    fn find(listing: &Listing) -> Self {
        let mut links = Self::default();
        let mut firsts: BTreeMap<FileId, Position> = BTreeMap::new();
        for (index, directory) in listing.dirs.iter().enumerate() {
            for (number, entry) in directory.entries().enumerate() {
                let Some(file) = entry.shared else { continue };
                match firsts.get(&file) {
                    Some(first) => {
                        links.pairs.push((*first, (index, number)));
                        links.later.insert((index, number));
                    }
                    None => {
                        firsts.insert(file, (index, number));
                    }
                }
            }
        }
        links
    }
}
