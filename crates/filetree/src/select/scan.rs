//! The walk of a directory that is copied: what it holds, sorted, with the metadata of what is taken.
//!
//! One `getdents` and one `fstatat` per entry, nothing is opened but directories; several threads share large trees.

use std::{
    ffi::{OsStr, OsString},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{FileType, RawDir},
    io::Errno,
};

use crate::{
    Error, Patterns,
    ignore::Matched,
    queue,
    root::{open_dir_below, read_link_at},
    tree::{Found, Kind, Meta, Tree},
    xattr::{Carrier, Xattr},
};

/// Large enough for some hundred entries per call.
const BUFFER: usize = 32 * 1024;

/// The rules that decide about each entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter<'a> {
    /// Paths relative to the tree.
    pub(crate) ignore: Option<&'a Patterns>,
    /// Paths relative to the directory that is copied.
    pub(crate) exclude: Option<&'a Patterns>,
    /// Paths relative to the directory that is copied; what matches none of these is left out.
    pub(crate) include: Option<&'a Patterns>,
}

/// A directory and all that is taken of it. The first of `dirs` is itself.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) dirs: Vec<Directory>,
}

/// One directory of a listing.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// Relative to the directory that is copied.
    pub(crate) path: PathBuf,
    pub(crate) xattrs: Vec<Xattr>,
    /// Sorted by name.
    pub(crate) entries: Vec<Entry>,
}

/// Something that is taken. There may be millions: every byte counts.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Box<OsStr>,
    pub(crate) meta: Meta,
    /// A link's target.
    pub(crate) target: Option<Box<OsStr>>,
    /// A directory's index in the listing; see [`Entry::dir`].
    index: Option<u32>,
    /// Whether it was asked for itself; otherwise it is a directory on the way to something that was.
    pub(crate) wanted: bool,
    /// Whether an ignore rule hides it: a directory that is there only for what an exception brings back.
    hidden: bool,
}

impl Listing {
    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.dirs.iter().map(|dir| dir.entries.len()).sum()
    }

    /// Says whether the directory holds nothing that is taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.dirs.first().is_none_or(|dir| dir.entries.is_empty())
    }

    /// Returns the size of all files.
    pub(crate) fn bytes(&self) -> u64 {
        let entries = self.dirs.iter().flat_map(|dir| &dir.entries);
        entries.filter(|entry| entry.meta.kind == Kind::File).map(|entry| entry.meta.size).sum()
    }

    /// Returns the first file that has more bytes than `allowed`, relative to the directory that is copied, and how many.
    pub(crate) fn larger(&self, allowed: u64) -> Option<(PathBuf, u64)> {
        let is_larger = |entry: &&Entry| entry.meta.kind == Kind::File && entry.meta.size > allowed;
        self.dirs.iter().find_map(|dir| {
            let entry = dir.entries.iter().find(is_larger)?;
            Some((dir.path.join(&*entry.name), entry.meta.size))
        })
    }

    /// Drops directories that were only looked through and hold nothing that is taken.
    fn prune(&mut self) {
        // A directory's index is larger than that of its parent, so one pass from the end sees children first.
        let mut holds: Vec<bool> = vec![false; self.dirs.len()];
        for index in (0..self.dirs.len()).rev() {
            let entries = &mut self.dirs[index].entries;
            entries.retain(|entry| match entry.dir() {
                Some(dir) => holds[dir] || (entry.wanted && !entry.hidden),
                None => true,
            });
            holds[index] = !entries.is_empty();
        }
    }
}

impl Entry {
    /// Returns a directory's index in the listing.
    pub(crate) fn dir(&self) -> Option<usize> {
        self.index.map(|index| index as usize)
    }
}

/// A directory to be read.
struct Task {
    index: usize,
    /// Relative to the directory that is copied.
    path: PathBuf,
    ignore: Matched,
    exclude: Matched,
    include: Matched,
}

/// What the filter says of one entry.
struct Decision {
    wanted: bool,
    hidden: bool,
    /// Whether a directory must be looked into.
    enter: bool,
    ignore: Matched,
    exclude: Matched,
    include: Matched,
}

/// Lists the directory `top` of a tree.
pub(crate) fn scan(tree: &Tree, top: &Found, filter: Filter<'_>) -> Result<Listing, Error> {
    let base =
        open_dir_below(tree.root.as_fd(), &top.path).map_err(Error::io("open", &top.path))?;
    let dirs = Mutex::new(vec![Directory::default()]);
    let first = Task {
        index: 0,
        path: PathBuf::new(),
        ignore: top.matched.clone(),
        exclude: Matched::default(),
        include: Matched::default(),
    };
    queue::drain(vec![first], &|task, more| {
        let (mut directory, mut below) = read(base.as_fd(), &top.path, &task, filter, tree)?;
        let mut dirs = dirs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut below = below.drain(..);
        for entry in directory.entries.iter_mut().filter(|entry| entry.index.is_some()) {
            // Children get their place now, so that indices grow downwards.
            let Some(task) = below.next() else { break };
            // More than u32 can count do not fit into memory.
            entry.index = u32::try_from(dirs.len()).ok();
            more.push(Task { index: dirs.len(), ..task });
            dirs.push(Directory::default());
        }
        dirs[task.index] = directory;
        Ok(())
    })?;
    let mut listing = Listing { dirs: dirs.into_inner().unwrap_or_else(PoisonError::into_inner) };
    listing.prune();
    Ok(listing)
}

/// Returns the names in the directory `path` of a tree, sorted.
pub(crate) fn names(tree: &Tree, path: &Path) -> Result<Vec<OsString>, Error> {
    let fd = open_dir_below(tree.root.as_fd(), path).map_err(Error::io("open", path))?;
    Ok(read_names(&fd, path)?.into_iter().map(|(name, _)| name).collect())
}

/// Reads one directory; the tasks are those of its subdirectories, in the order of the entries.
fn read(
    base: BorrowedFd<'_>,
    top: &Path,
    task: &Task,
    filter: Filter<'_>,
    tree: &Tree,
) -> Result<(Directory, Vec<Task>), Error> {
    let shown = || Path::new("/").join(top).join(&task.path);
    let fd = open_dir_below(base, &task.path).map_err(|error| Error::io("open", shown())(error))?;
    let carrier = Carrier::Open(fd.as_fd());
    let xattrs = tree
        .root
        .attributes(carrier)
        .map_err(|errno| Error::io("read the attributes of", shown())(errno))?;
    let names = read_names(&fd, &task.path)?;
    let mut entries = Vec::with_capacity(names.len());
    let mut below = Vec::new();
    for (name, file_type) in names {
        let relative = task.path.join(&name);
        let is_dir = (file_type != FileType::Unknown).then_some(file_type == FileType::Directory);
        let decision = filter.decide(top, &relative, task, is_dir.unwrap_or(true));
        // A file that is not wanted is not even looked at.
        if !decision.wanted && (is_dir == Some(false) || !decision.enter) {
            continue;
        }
        let meta = match tree.root.look_in(&fd, &name) {
            Ok(stat) => Meta::new(&stat),
            // It went away since the names were read, as if it had never been.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(Error::io("stat", shown().join(&name))(errno)),
        };
        let is_dir = meta.kind == Kind::Dir;
        if is_dir && tree.apart == Some(meta.id()) {
            return Err(Error::Apart { path: shown().join(&name) });
        }
        if !is_dir && (!decision.wanted || decision.hidden) {
            continue;
        }
        let target = match meta.kind {
            Kind::Link => Some(
                read_link_at(fd.as_fd(), &name)
                    .map_err(|error| Error::io("read the link", shown().join(&name))(error))?
                    .into_boxed_os_str(),
            ),
            Kind::File
            | Kind::Dir
            | Kind::Fifo
            | Kind::Socket
            | Kind::CharDevice
            | Kind::BlockDevice => None,
        };
        if is_dir {
            let Decision { ignore, exclude, include, .. } = decision;
            below.push(Task { index: 0, path: relative, ignore, exclude, include });
        }
        let (wanted, hidden) = (decision.wanted, decision.hidden);
        let (name, index) = (name.into_boxed_os_str(), is_dir.then_some(0));
        entries.push(Entry { name, meta, target, index, wanted, hidden });
    }
    Ok((Directory { path: task.path.clone(), xattrs, entries }, below))
}

impl Filter<'_> {
    fn decide(&self, top: &Path, relative: &Path, parent: &Task, is_dir: bool) -> Decision {
        let path = relative.as_os_str().as_bytes();
        let mut decision = Decision {
            wanted: true,
            hidden: false,
            enter: true,
            ignore: Matched::default(),
            exclude: Matched::default(),
            include: Matched::default(),
        };
        if let Some(ignore) = self.ignore {
            let whole = top.join(relative);
            let whole = whole.as_os_str().as_bytes();
            (decision.hidden, decision.ignore) = ignore.descend(whole, &parent.ignore);
            if decision.hidden {
                decision.enter &= is_dir && ignore.can_except_below(whole);
                // A hidden directory may come back for what is below it; anything else is not there.
                decision.wanted &= decision.enter;
            }
        }
        if let Some(exclude) = self.exclude {
            let excluded;
            (excluded, decision.exclude) = exclude.descend(path, &parent.exclude);
            if excluded {
                decision.wanted = false;
                decision.enter &= is_dir && exclude.can_except_below(path);
            }
        }
        if let Some(include) = self.include {
            let included;
            (included, decision.include) = include.descend(path, &parent.include);
            if !included {
                decision.wanted = false;
                decision.enter &= is_dir && include.can_match_below(path);
            }
        }
        decision
    }
}

/// Returns the names in a directory with their types, sorted by name.
fn read_names(fd: &OwnedFd, path: &Path) -> Result<Vec<(OsString, FileType)>, Error> {
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut dir = RawDir::new(fd, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = dir.next() {
        let entry = entry.map_err(Error::io("read the directory", Path::new("/").join(path)))?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push((OsString::from_vec(name.to_vec()), entry.file_type()));
        }
    }
    names.sort_unstable_by(|(one, _), (other, _)| OsStr::cmp(one, other));
    Ok(names)
}
