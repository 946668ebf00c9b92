//! The walk of a directory that is copied: what it holds, sorted, with the metadata of what is taken. How that is kept is in
//! `select/listing.rs`.
//!
//! One `getdents` and one `fstatat` per entry, nothing is opened but directories; several threads share large trees.

use std::{
    ffi::{OsStr, OsString},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
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
    select::listing::{Directory, Entries, Listing, New},
    tree::{DirectoryId, Found, Kind, Meta, Tree},
    xattr::Carrier,
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
        let (mut directory, below) = read(base.as_fd(), &top.path, &task, filter, tree)?;
        let mut dirs = dirs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut below = below.into_iter();
        // Children get their place now, so that indices grow downwards.
        directory.set_dirs(|| {
            more.push(Task { index: dirs.len(), ..below.next()? });
            dirs.push(Directory::default());
            // More than u32 can count do not fit into memory.
            u32::try_from(dirs.len() - 1).ok()
        });
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
    let names = Names::read(&fd, path)?;
    Ok(names.iter().map(|(name, _)| name.to_os_string()).collect())
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
    let names = Names::read(&fd, &task.path)?;
    let mut entries = Entries::with_capacity(names.len());
    let mut below = Vec::new();
    for (name, file_type) in names.iter() {
        let is_dir = (file_type != FileType::Unknown).then_some(file_type == FileType::Directory);
        let decision = filter.decide(top, name, task, is_dir.unwrap_or(true));
        // A file that is not wanted is not even looked at.
        if !decision.wanted && (is_dir == Some(false) || !decision.enter) {
            continue;
        }
        let stat = match tree.root.look_in(&fd, name) {
            Ok(stat) => stat,
            // It went away since the names were read, as if it had never been.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(Error::io("stat", shown().join(name))(errno)),
        };
        let meta = Meta::new(&stat);
        let is_dir = meta.kind == Kind::Dir;
        if is_dir && tree.apart == Some(DirectoryId::of_stat(&stat)) {
            return Err(Error::Apart { path: shown().join(name) });
        }
        if !is_dir && (!decision.wanted || decision.hidden) {
            continue;
        }
        let target = match meta.kind {
            Kind::Link => Some(
                read_link_at(fd.as_fd(), name)
                    .map_err(|error| Error::io("read the link", shown().join(name))(error))?,
            ),
            Kind::File
            | Kind::Dir
            | Kind::Fifo
            | Kind::Socket
            | Kind::CharDevice
            | Kind::BlockDevice => None,
        };
        let Decision { wanted, hidden, ignore, exclude, include, .. } = decision;
        if is_dir {
            let path = task.path.join(name);
            below.push(Task { index: 0, path, ignore, exclude, include });
        }
        let (name, target) = (name.as_bytes(), target.as_deref());
        entries
            .push(New { name, meta, stat: &stat, target, wanted, hidden })
            .map_err(|errno| Error::io("list", shown())(errno))?;
    }
    Ok((Directory::new(task.path.clone(), xattrs, entries), below))
}

impl Filter<'_> {
    fn decide(&self, top: &Path, name: &OsStr, parent: &Task, is_dir: bool) -> Decision {
        let mut decision = Decision {
            wanted: true,
            hidden: false,
            enter: true,
            ignore: Matched::default(),
            exclude: Matched::default(),
            include: Matched::default(),
        };
        if self.ignore.is_none() && self.exclude.is_none() && self.include.is_none() {
            return decision;
        }
        let relative = parent.path.join(name);
        let path = relative.as_os_str().as_bytes();
        if let Some(ignore) = self.ignore {
            let whole = top.join(&relative);
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

/// The names in a directory with their types, sorted by name.
struct Names {
    bytes: Vec<u8>,
    /// Where each name begins, how long it is, and what it is the name of.
    names: Vec<(usize, usize, FileType)>,
}

impl Names {
    fn read(fd: &OwnedFd, path: &Path) -> Result<Self, Error> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut dir = RawDir::new(fd, &mut buffer);
        let (mut bytes, mut names) = (Vec::new(), Vec::new());
        while let Some(entry) = dir.next() {
            let entry =
                entry.map_err(Error::io("read the directory", Path::new("/").join(path)))?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push((bytes.len(), name.len(), entry.file_type()));
                bytes.extend_from_slice(name);
            }
        }
        let name = |(start, length, _): &(usize, usize, FileType)| &bytes[*start..start + length];
        names.sort_unstable_by(|one, other| name(one).cmp(name(other)));
        Ok(Self { bytes, names })
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn iter(&self) -> impl Iterator<Item = (&OsStr, FileType)> {
        self.names.iter().map(|(start, length, file_type)| {
            (OsStr::from_bytes(&self.bytes[*start..start + length]), *file_type)
        })
    }
}
