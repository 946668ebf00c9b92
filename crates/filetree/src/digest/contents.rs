//! The digests of the files' contents, from the stat cache or by reading them in parallel.
//!
//! A file's digest is BLAKE3 of its data. If it has extended attributes, it is BLAKE3 of that digest followed by each
//! attribute's name and value, each with a u32 length before it: a change of an attribute changes the ctime, so that
//! the cache may remember both together.

mod large;

use std::{
    cell::RefCell,
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
    select::{Match, listing::Directory},
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

thread_local! {
    /// One buffer per thread, whatever the number of files.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// The digests of all regular files of a selection.
#[derive(Debug)]
pub(crate) struct Contents {
    digests: Vec<[u8; 32]>,
    /// For each match, where those of each directory of its listing begin; of one that is a file, where its own is.
    starts: Vec<Box<[usize]>>,
}

impl Contents {
    /// Returns the digests from the first file of a directory on, in the order of its entries.
    pub(crate) fn of(&self, one: usize, directory: usize) -> impl Iterator<Item = [u8; 32]> {
        let start = self.starts.get(one).and_then(|starts| starts.get(directory)).copied();
        self.digests.iter().skip(start.unwrap_or(usize::MAX)).copied()
    }
}

/// Some files of one directory that must be read.
struct Batch<'a> {
    files: Files<'a>,
    /// The number of each, and where its digest goes.
    unread: Vec<(u32, u32)>,
}

impl Batch<'_> {
    fn size(&self) -> u64 {
        let sizes = self.unread.iter().map(|(number, _)| self.files.file(*number).1.size);
        sizes.fold(0, u64::saturating_add)
    }
}

/// Where files are: all that a directory holds, or one file alone.
#[derive(Clone, Copy)]
enum Files<'a> {
    Of { top: &'a Path, directory: &'a Directory },
    One { dir: &'a Path, name: &'a OsStr, meta: &'a Meta },
}

impl<'a> Files<'a> {
    /// The directory that they are in, relative to the tree.
    fn dir(&self) -> PathBuf {
        match self {
            // No slash at its end: the stat cache takes it as it is.
            Self::Of { top, directory } if directory.path.as_os_str().is_empty() => {
                (*top).to_owned()
            }
            Self::Of { top, directory } => top.join(&directory.path),
            Self::One { dir, .. } => (*dir).to_owned(),
        }
    }

    fn file(&self, number: u32) -> (&'a OsStr, Meta) {
        match self {
            Self::Of { directory, .. } => {
                let entry = directory.entry(number as usize);
                (entry.name, entry.meta)
            }
            Self::One { name, meta, .. } => (name, **meta),
        }
    }
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
    let digests = Vec::with_capacity(selection.files());
    let mut collector = Collector { tree, digests, batches: Vec::new() };
    let starts = selection.matches.iter().map(|one| collector.add(one)).collect();
    let size = collector.batches.iter().map(Batch::size).fold(0, u64::saturating_add);
    let pace = Pace { done: AtomicU64::new(0), size, go_on };
    let digests = Mutex::new(collector.digests);
    queue::drain(collector.batches, &|batch, _| {
        let read = read_batch(tree, &batch, &pace)?;
        let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, slot), digest) in batch.unread.iter().zip(read) {
            digests[*slot as usize] = digest;
        }
        Ok(())
    })?;
    Ok(Contents { digests: digests.into_inner().unwrap_or_else(PoisonError::into_inner), starts })
}

struct Collector<'a> {
    tree: &'a Tree,
    digests: Vec<[u8; 32]>,
    batches: Vec<Batch<'a>>,
}

impl<'a> Collector<'a> {
    /// Adds the files of a match; returns where the digests of each of its directories begin.
    fn add(&mut self, one: &'a Match) -> Box<[usize]> {
        let Some(listing) = &one.listing else {
            let start = self.digests.len();
            if one.meta.kind == Kind::File {
                let dir = one.path.parent().unwrap_or(Path::new(""));
                let name = one.path.file_name().unwrap_or_default();
                self.files(Files::One { dir, name, meta: &one.meta }, &[0]);
            }
            return Box::new([start]);
        };
        let (mut starts, mut numbers) = (Vec::with_capacity(listing.dirs.len()), Vec::new());
        for directory in &listing.dirs {
            starts.push(self.digests.len());
            // A listing counts in u32.
            let files = (0..).zip(directory.entries());
            let files = files.filter(|(_, entry)| entry.meta.kind == Kind::File);
            numbers.clear();
            numbers.extend(files.map(|(number, _)| number));
            self.files(Files::Of { top: &one.path, directory }, &numbers);
        }
        starts.into_boxed_slice()
    }

    /// Adds files of a directory.
    fn files(&mut self, files: Files<'a>, numbers: &[u32]) {
        if numbers.is_empty() {
            return;
        }
        let known = self.tree.stat_cache.as_ref().map(|cache| {
            let keys = numbers.iter().map(|number| {
                let (name, meta) = files.file(*number);
                (name.as_bytes(), stat_key(&meta))
            });
            cache.lookup(files.dir().as_os_str().as_bytes(), keys)
        });
        let mut unread = Vec::new();
        for (place, number) in numbers.iter().enumerate() {
            let digest = known.as_ref().and_then(|known| known[place]);
            if digest.is_none() {
                // Four thousand million digests do not fit into memory.
                unread.push((*number, self.digests.len() as u32));
            }
            self.digests.push(digest.unwrap_or([0; 32]));
        }
        let batches = unread.chunks(BATCH).map(|unread| Batch { files, unread: unread.to_vec() });
        self.batches.extend(batches);
    }
}

fn stat_key(meta: &Meta) -> StatKey {
    // The type is always that of a regular file; what is left are twelve bits.
    let Meta { inode, size, mtime, ctime, mode, .. } = *meta;
    StatKey { inode, size, mtime, ctime, mode: mode as u16 | 0o100_000 }
}

fn read_batch(tree: &Tree, batch: &Batch<'_>, pace: &Pace<'_>) -> Result<Vec<[u8; 32]>, Error> {
    let path = batch.files.dir();
    let shown = Path::new("/").join(&path);
    let dir = open_dir_below(tree.root.as_fd(), &path).map_err(Error::io("open", &shown))?;
    // The clock by which the kernel stamps files, read before any of them.
    let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
    let before =
        Timestamp { seconds: now.tv_sec, nanoseconds: u32::try_from(now.tv_nsec).unwrap_or(0) };
    let files = || batch.unread.iter().map(|(number, _)| batch.files.file(*number));
    let digests: Vec<[u8; 32]> = BUFFER.with_borrow_mut(|buffer| {
        let roots = (&tree.root, &dir);
        let read =
            files().map(|(name, meta)| read_file(roots, &shown, (name, &meta), buffer, pace));
        read.collect::<Result<_, Error>>()
    })?;
    if let Some(cache) = &tree.stat_cache {
        let read = files().zip(&digests);
        let read = read.map(|((name, meta), digest)| (name.as_bytes(), stat_key(&meta), *digest));
        cache.record(path.as_os_str().as_bytes(), read, before);
    }
    Ok(digests)
}

fn read_file(
    (root, dir): (&RootDir, &OwnedFd),
    shown: &Path,
    (name, meta): (&OsStr, &Meta),
    buffer: &mut [u8],
    pace: &Pace<'_>,
) -> Result<[u8; 32], Error> {
    let path = || shown.join(name);
    let fd = open_file(dir, name).map_err(|errno| Error::io("open", path())(errno))?;
    let digest = match meta.size {
        size @ LARGE.. => large::hash(&fd, size, pace).map(|digest| (digest, size)),
        size => hash(&fd, size, buffer, pace),
    };
    let (digest, size) = digest.map_err(|errno| match errno {
        Errno::CANCELED => Error::Stopped,
        errno => Error::io("read", path())(errno),
    })?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| Error::io("stat", path())(errno))?;
    // A digest that mixes two states of a file must not get into a key.
    if !meta.is_unchanged(&Meta::new(&stat)) {
        return Err(Error::Changed { path: path() });
    }
    // So many bytes would be copied, and the others would be in the key alone. Nor does such a file's `stat` say when it
    // changes.
    if size != meta.size {
        return Err(Error::NoSize { path: path(), size: meta.size });
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

/// Returns the digest of all that is left to read, and how much that is; `ECANCELED` if it shall not go on. A file of `size`
/// bytes that fits into the buffer with room to spare has ended when it has given just those: to be told so costs a call.
fn hash(
    fd: &OwnedFd,
    size: u64,
    buffer: &mut [u8],
    pace: &Pace<'_>,
) -> rustix::io::Result<(blake3::Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let is_small = size > 0 && size < buffer.len() as u64;
    loop {
        match rustix::io::read(fd, &mut *buffer) {
            Ok(0) => return Ok((hasher.finalize(), hasher.count())),
            Ok(length) => {
                hasher.update(&buffer[..length]);
                if !pace.goes_on(length as u64) {
                    return Err(Errno::CANCELED);
                }
                if is_small && hasher.count() == size {
                    return Ok((hasher.finalize(), size));
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
