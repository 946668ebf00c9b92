//! A directory merged into another: what is new is made, directories that exist are entered, files are replaced.
//!
//! A directory is one task: its entries are made (subdirectories empty), then it gets its own looks. Nothing is looked up
//! that need not be: everything is made as new, and only when that fails is what is there looked at.
//!
//! What is in a new directory can wait until nothing is mounted any more ([`Within`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
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

/// The merge of one directory, as long as it lasts.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    tree: &'a Tree,
    one: &'a Match,
    listing: &'a Listing,
    /// The absolute path of the directory that it is merged into.
    path: PathBuf,
    style: Style<'a>,
    links: Links,
    /// Directories that their owner may not enter or change: they get their mode last.
    closed: Mutex<Vec<(PathBuf, u32)>>,
    /// What is to be done still.
    tasks: Vec<Task>,
}

/// When the contents of directories are made that were not there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// With everything else.
    AtOnce,
    /// When somebody says so: nobody else can have anything to do with them.
    Postponed,
}

impl<'a> Merge<'a> {
    /// Begins to merge the directory `one` of a tree into the one whose absolute path is `path`. `is_new` says whether that
    /// was made for it.
    pub(super) fn new(
        tree: &'a Tree,
        one: &'a Match,
        path: PathBuf,
        is_new: bool,
        style: Style<'a>,
    ) -> Option<Self> {
        let listing = one.listing.as_ref()?;
        let looks = if is_new { Looks::New } else { Looks::Top };
        let (links, closed) = (Links::find(listing), Mutex::default());
        let tasks = vec![Task { index: 0, looks }];
        Some(Self { tree, one, listing, path, style, links, closed, tasks })
    }

    /// Merges into `top`. What is postponed is there when this was called once more, with the same directory.
    pub(super) fn run(
        &mut self,
        top: BorrowedFd<'_>,
        laying: Laying<'_>,
        within: Within,
    ) -> Result<(), Error> {
        let mut tasks = std::mem::take(&mut self.tasks);
        let postponed = Mutex::new(Vec::new());
        let postpone = |tasks: &mut Vec<Task>| {
            if within == Within::Postponed {
                let new = tasks.extract_if(.., |task| task.looks.is_new());
                postponed.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
            }
        };
        postpone(&mut tasks);
        let merger = Merger { merge: self, top, laying };
        queue::drain(tasks, &|task, more| {
            merger.directory(&task, more)?;
            postpone(more);
            Ok(())
        })?;
        self.tasks = postponed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !self.tasks.is_empty() {
            return Ok(());
        }
        let merger = Merger { merge: self, top, laying };
        merger.link_all()?;
        let mut closed = std::mem::take(&mut *merger.closed());
        // The deepest first: nothing below a closed directory can be reached any more by a builder without privileges.
        closed.sort_by(|(one, _): &(PathBuf, u32), (other, _)| other.cmp(one));
        for (dir, mode) in closed {
            let fd = merger.open(&dir)?;
            let path = self.path.join(&dir);
            deed::chmod(&fd, mode).map_err(Error::io("change the mode of", path))?;
        }
        Ok(())
    }

    /// Whether something was postponed.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// The absolute path of the directory that it is merged into.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tree(&self) -> &'a Tree {
        self.tree
    }
}

#[derive(Clone, Copy)]
struct Merger<'a> {
    merge: &'a Merge<'a>,
    top: BorrowedFd<'a>,
    laying: Laying<'a>,
}

#[derive(Debug)]
struct Task {
    index: usize,
    looks: Looks,
}

/// How a directory looks in the end.
#[derive(Debug)]
enum Looks {
    /// The destination itself: as it is.
    Top,
    /// The same, made for this copy.
    New,
    /// As the source. `is_new` says whether it was made just now.
    Source { meta: Meta, is_new: bool },
    /// It existed and was only passed through: the source's mode, its own owner and times.
    Passed(Meta),
}

impl Looks {
    /// Whether there can be nothing in the directory yet.
    fn is_new(&self) -> bool {
        matches!(self, Self::New | Self::Source { is_new: true, .. })
    }
}

impl<'a> Merger<'a> {
    fn closed(&self) -> MutexGuard<'a, Vec<(PathBuf, u32)>> {
        self.merge.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(self, task: &Task, more: &mut Vec<Task>) -> Result<(), Error> {
        let Merge { tree, one, listing, style, links, .. } = self.merge;
        let directory = &listing.dirs[task.index];
        let target = self.open(&directory.path)?;
        let shown = self.merge.path.join(&directory.path);
        let source_path = one.path.join(&directory.path);
        let has_files = directory.entries().any(|entry| entry.dir.is_none());
        let source = match has_files {
            true => open_dir_below(tree.root.as_fd(), &source_path)
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
            } else if !links.later.contains(&(task.index, number)) {
                let source = Source {
                    dir: &source,
                    name: entry.name,
                    path: &Path::new("/").join(source_path.join(entry.name)),
                    meta: &entry.meta,
                    target: entry.target,
                };
                entry::copy(source, place, *style, self.laying)?;
            }
        }
        self.dress(&task.looks, directory, &target, &shown)
    }

    /// Makes a directory or finds it there.
    fn make_dir(self, target: Target<'_>, entry: &Entry<'_>) -> Result<Looks, Error> {
        match rustix::fs::mkdirat(target.dir, target.name, Mode::from_raw_mode(0o700)) {
            Ok(()) => return Ok(Looks::Source { meta: entry.meta, is_new: true }),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("create the directory", target.path)(errno)),
        }
        let stat = stat_at(target.dir, target.name).map_err(Error::io("stat", target.path))?;
        if !stat.is_some_and(|stat| is_dir(&stat)) {
            return Err(Error::CopyToNonDirectory { path: target.path.to_owned() });
        }
        let (meta, whole) = (entry.meta, entry.wanted && !self.merge.one.partial);
        Ok(if whole { Looks::Source { meta, is_new: false } } else { Looks::Passed(meta) })
    }

    fn dress(
        self,
        looks: &Looks,
        directory: &Directory,
        target: &OwnedFd,
        shown: &Path,
    ) -> Result<(), Error> {
        let style = &self.merge.style;
        let meta = match looks {
            Looks::Top => return Ok(()),
            Looks::New => {
                let Some(created) = style.placement.created else { return Ok(()) };
                return rustix::fs::futimens(target, &created.to_timestamps())
                    .map_err(Error::io("set the times of", shown));
            }
            Looks::Source { meta, .. } | Looks::Passed(meta) => meta,
        };
        let wanted = style.mode(meta);
        let mode = if wanted & 0o700 == 0o700 { wanted } else { wanted | 0o700 };
        if mode != wanted {
            self.closed().push((directory.path.clone(), wanted));
        }
        if let Looks::Passed(_) = looks {
            return deed::chmod(target, mode).map_err(Error::io("change the mode of", shown));
        }
        let (owner, time) = (style.owner(meta), Some(style.time(meta)));
        entry::dress(target.as_fd(), shown, owner, mode, &directory.xattrs, time)
    }

    /// Makes the further names of files that have several.
    fn link_all(self) -> Result<(), Error> {
        for (first, (index, number)) in &self.merge.links.pairs {
            let (from_dir, from) = self.locate(*first);
            let (to_dir, to) = self.locate((*index, *number));
            let old = self.open(&from_dir.path)?;
            let path = self.merge.path.join(&to_dir.path).join(to.name);
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
        let directory = &self.merge.listing.dirs[index];
        (directory, directory.entry(number))
    }

    fn open(self, path: &Path) -> Result<OwnedFd, Error> {
        open_dir_below(self.top, path)
            .map_err(|error| Error::io("open", self.merge.path.join(path))(error))
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
