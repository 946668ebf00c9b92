//! The digests of the files' contents, from the stat cache or by reading them in parallel.
//!
//! A file's digest is BLAKE3 of its data. If it has extended attributes, it is BLAKE3 of that digest followed by each
//! attribute's name and value, each with a u32 length before it: a change of an attribute changes the ctime, so that
//! the cache may remember both together.

mod large;

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    time::ClockId,
};

use crate::{
    Error, RootDir, Selection, Timestamp,
    digest::{GoOn, Reading},
    queue,
    root::open_dir_below,
    stat_cache::StatKey,
    tree::{Kind, Meta, Tree},
    xattr::Carrier,
};

/// So many files of one directory are one task.
const BATCH: usize = 64;

/// Files are read in pieces of this size: it stays in the processor's cache.
const PIECE: usize = 128 * 1024;

/// Files from this size on are worth several threads.
const LARGE: u64 = 4 * large::SUBTREE;

/// The digests of all regular files of a selection, in its order.
#[derive(Debug)]
pub(crate) struct Contents {
    digests: std::vec::IntoIter<[u8; 32]>,
}

impl Contents {
    /// Returns the digest of the next file in the order of the selection.
    pub(crate) fn next(&mut self) -> [u8; 32] {
        // Both sides walk the same selection the same way.
        self.digests.next().unwrap_or([0; 32])
    }
}

/// A file that must be read, and where its digest goes.
struct Unread<'a> {
    slot: usize,
    name: &'a OsStr,
    meta: &'a Meta,
}

/// Some files of one directory.
struct Batch<'a> {
    dir: PathBuf,
    files: Vec<Unread<'a>>,
}

/// How far it has come, of how much, and who wants to hear it.
struct Pace<'a> {
    done: AtomicU64,
    size: u64,
    go_on: GoOn<'a>,
}

impl Pace<'_> {
    /// After so many more bytes: whether to go on.
    fn goes_on(&self, bytes: u64) -> bool {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.go_on)(Reading { done, size: self.size })
    }
}

/// Returns the digests of all files of a selection.
pub(crate) fn read(selection: &Selection, tree: &Tree, go_on: GoOn<'_>) -> Result<Contents, Error> {
    let mut collector = Collector { tree, digests: Vec::new(), batches: Vec::new() };
    for one in &selection.matches {
        match &one.listing {
            Some(listing) => collector.listing(listing, &one.path),
            None if one.meta.kind == Kind::File => {
                let dir = one.path.parent().unwrap_or(Path::new(""));
                collector.file(dir, one.path.file_name().unwrap_or_default(), &one.meta);
            }
            None => {}
        }
    }
    let unread = collector.batches.iter().flat_map(|batch| &batch.files);
    let size = unread.map(|file| file.meta.size).fold(0, u64::saturating_add);
    let pace = Pace { done: AtomicU64::new(0), size, go_on };
    let digests = Mutex::new(collector.digests);
    queue::drain(collector.batches, &|batch, _| {
        let read = read_batch(tree, &batch, &pace)?;
        let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
        for (slot, digest) in read {
            digests[slot] = digest;
        }
        Ok(())
    })?;
    let digests = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Contents { digests: digests.into_iter() })
}

struct Collector<'a> {
    tree: &'a Tree,
    digests: Vec<[u8; 32]>,
    batches: Vec<Batch<'a>>,
}

impl<'a> Collector<'a> {
    /// Adds the files of a listing in the order in which the digest is written.
    fn listing(&mut self, listing: &'a crate::select::scan::Listing, top: &Path) {
        let Some(first) = listing.dirs.first() else { return };
        let mut stack = vec![(top.join(&first.path), first.entries.iter())];
        while let Some((path, entries)) = stack.last_mut() {
            let Some(entry) = entries.next() else {
                stack.pop();
                continue;
            };
            match entry.dir() {
                Some(dir) => {
                    let below = &listing.dirs[dir];
                    stack.push((top.join(&below.path), below.entries.iter()));
                }
                None if entry.meta.kind == Kind::File => {
                    let path = path.clone();
                    self.file(&path, &entry.name, &entry.meta);
                }
                None => {}
            }
        }
    }

    fn file(&mut self, dir: &Path, name: &'a OsStr, meta: &'a Meta) {
        let slot = self.digests.len();
        let cache = self.tree.stat_cache.as_ref();
        let known = cache
            .and_then(|cache| cache.lookup(dir.join(name).as_os_str().as_bytes(), &stat_key(meta)));
        self.digests.push(known.unwrap_or([0; 32]));
        if known.is_some() {
            return;
        }
        let file = Unread { slot, name, meta };
        match self.batches.last_mut() {
            Some(batch) if batch.files.len() < BATCH && batch.dir == dir => batch.files.push(file),
            _ => self.batches.push(Batch { dir: dir.to_owned(), files: vec![file] }),
        }
    }
}

fn stat_key(meta: &Meta) -> StatKey {
    // The type is always that of a regular file.
    let Meta { inode, size, mtime, ctime, mode, .. } = *meta;
    StatKey { inode, size, mtime, ctime, mode: mode | 0o100_000 }
}

fn read_batch(
    tree: &Tree,
    batch: &Batch<'_>,
    pace: &Pace<'_>,
) -> Result<Vec<(usize, [u8; 32])>, Error> {
    let shown = Path::new("/").join(&batch.dir);
    let dir = open_dir_below(tree.root.as_fd(), &batch.dir).map_err(Error::io("open", &shown))?;
    // The clock by which the kernel stamps files, read before any of them.
    let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
    let before =
        Timestamp { seconds: now.tv_sec, nanoseconds: u32::try_from(now.tv_nsec).unwrap_or(0) };
    let mut buffer = vec![0; PIECE];
    let mut digests = Vec::with_capacity(batch.files.len());
    for file in &batch.files {
        let digest = read_file((&tree.root, &dir), &shown, file, &mut buffer, pace)?;
        digests.push((file.slot, digest));
        if let Some(cache) = &tree.stat_cache {
            let path = batch.dir.join(file.name);
            cache.record(path.as_os_str().as_bytes(), &stat_key(file.meta), digest, before);
        }
    }
    Ok(digests)
}

fn read_file(
    (root, dir): (&RootDir, &OwnedFd),
    shown: &Path,
    file: &Unread<'_>,
    buffer: &mut [u8],
    pace: &Pace<'_>,
) -> Result<[u8; 32], Error> {
    let path = || shown.join(file.name);
    let fd = open_file(dir, file.name).map_err(|errno| Error::io("open", path())(errno))?;
    let digest = match file.meta.size {
        size @ LARGE.. => large::hash(&fd, size, pace).map(|digest| (digest, size)),
        _ => hash(&fd, buffer, pace),
    };
    let (digest, size) = digest.map_err(|errno| match errno {
        Errno::CANCELED => Error::Stopped,
        errno => Error::io("read", path())(errno),
    })?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| Error::io("stat", path())(errno))?;
    // A digest that mixes two states of a file must not get into a key.
    if !file.meta.is_unchanged(&Meta::new(&stat)) {
        return Err(Error::Changed { path: path() });
    }
    // So many bytes would be copied, and the others would be in the key alone. Nor does such a file's `stat` say when it
    // changes.
    if size != file.meta.size {
        return Err(Error::NoSize { path: path(), size: file.meta.size });
    }
    let carrier = Carrier::Open(fd.as_fd());
    let xattrs = root
        .attributes(carrier)
        .map_err(|errno| Error::io("read the attributes of", path())(errno))?;
    if xattrs.is_empty() {
        return Ok(digest.into());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(digest.as_bytes());
    for part in xattrs.iter().flat_map(|(name, value)| [name, value]) {
        hasher.update(&(part.len() as u32).to_le_bytes());
        hasher.update(part);
    }
    Ok(hasher.finalize().into())
}

/// Opens a file of a tree for reading, without following a link and without waiting should it have become a FIFO.
pub(crate) fn open_file(dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    crate::interrupted::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())
}

/// Returns the digest of all that is left to read, and how much that is; `ECANCELED` if it shall not go on.
fn hash(
    fd: &OwnedFd,
    buffer: &mut [u8],
    pace: &Pace<'_>,
) -> rustix::io::Result<(blake3::Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    loop {
        match rustix::io::read(fd, &mut *buffer) {
            Ok(0) => return Ok((hasher.finalize(), hasher.count())),
            Ok(length) => {
                hasher.update(&buffer[..length]);
                if !pace.goes_on(length as u64) {
                    return Err(Errno::CANCELED);
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
