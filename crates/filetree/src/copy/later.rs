//! The contents of large files, copied when everything else is there: past the mount that the rest is made through.
//!
//! Between an overlay and the file system that it lies on the kernel neither shares blocks nor copies ranges, and an upper
//! directory must not be written to while it is mounted. So a large file is made empty first, with its looks; when the
//! mount is gone it is filled in the directory itself, without a byte going through this program. In the order of a layer,
//! so that who packs the directory can follow closely ([`pack_filling`](fn@crate::pack::pack_filling)).

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use rustix::fs::{Mode, OFlags, Stat};

use crate::{
    Error, RootDir, Timestamp, copy::data::Mover, digest::contents::open_file,
    root::open_dir_below, tree::Meta,
};

/// From this size on, opening a file once more costs less than what it saves.
pub(super) const LARGE: u64 = 1024 * 1024;

/// More files than this at once wait for each other in the file system.
const MAX_THREADS: usize = 4;

/// A file that is empty still.
#[derive(Debug)]
struct Empty {
    tree: Arc<RootDir>,
    /// Of the source, relative to its tree.
    source: PathBuf,
    meta: Meta,
    mtime: Timestamp,
}

/// Collects the files that are filled later, by where they are: absolute inside the root and free of links.
#[derive(Debug, Default)]
pub(super) struct Later(Mutex<BTreeMap<PathBuf, Empty>>);

impl Later {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Empty>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the new, empty file `path` gets the contents of `source`, and then this time.
    pub(super) fn fill(
        &self,
        path: &Path,
        tree: &Arc<RootDir>,
        source: &Path,
        meta: &Meta,
        mtime: Timestamp,
    ) {
        let source = source.strip_prefix("/").unwrap_or(source).to_owned();
        let empty = Empty { tree: Arc::clone(tree), source, meta: *meta, mtime };
        self.lock().insert(path.to_owned(), empty);
    }

    /// Notes that something else is there now.
    pub(super) fn forget(&self, path: &Path) {
        self.lock().remove(path);
    }

    /// Returns what has come together.
    pub(super) fn take(&self) -> Unfilled {
        Unfilled(std::mem::take(&mut *self.lock()))
    }
}

/// Files that were made and are empty still.
#[derive(Debug, Default)]
#[must_use = "files without their contents are wrong"]
pub struct Unfilled(BTreeMap<PathBuf, Empty>);

impl Unfilled {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives all files their sizes. `root` is the directory that they are in, which is mounted nowhere else.
    pub fn open(self, root: RootDir) -> Result<Filling, Error> {
        let mut filling = Filling {
            root,
            files: Vec::with_capacity(self.0.len()),
            by_inode: HashMap::with_capacity(self.0.len()),
            progress: Mutex::new(Progress { filled: vec![0; self.0.len()], is_over: false }),
            changed: Condvar::new(),
        };
        for (path, empty) in self.0 {
            let fd = filling.open_target(&path)?;
            rustix::fs::ftruncate(&fd, empty.meta.size).map_err(Error::io("enlarge", &path))?;
            let stat = rustix::fs::fstat(&fd).map_err(Error::io("stat", &path))?;
            filling.by_inode.insert((stat.st_dev, stat.st_ino), filling.files.len());
            filling.files.push((path, empty));
        }
        Ok(filling)
    }
}

/// Files that have their sizes and are being filled.
#[derive(Debug)]
pub struct Filling {
    root: RootDir,
    /// In the order in which a layer has them.
    files: Vec<(PathBuf, Empty)>,
    by_inode: HashMap<(u64, u64), usize>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug)]
struct Progress {
    /// How much of each file is there; more than its size when nothing of it changes any more.
    filled: Vec<u64>,
    /// Whether nothing will be added.
    is_over: bool,
}

impl Filling {
    /// Fills all files, several at once. To be called once.
    ///
    /// # Errors
    /// [`Error::Changed`] when a source is no longer what it was when it was selected. Some files are not complete then.
    pub fn fill(&self) -> Result<(), Error> {
        let _over = Over(self);
        let (next, is_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let failure = Mutex::new(None);
        let mover = Mover::new();
        let work = || {
            while !is_failed.load(Ordering::Relaxed)
                && let index = next.fetch_add(1, Ordering::Relaxed)
                && index < self.files.len()
            {
                if let Err(error) = self.fill_one(index, &mover) {
                    is_failed.store(true, Ordering::Relaxed);
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        thread::scope(|scope| {
            for _ in 1..threads.min(self.files.len()) {
                scope.spawn(work);
            }
            work();
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn fill_one(&self, index: usize, mover: &Mover) -> Result<(), Error> {
        let (path, empty) = &self.files[index];
        let shown = || Path::new("/").join(&empty.source);
        let parent = empty.source.parent().unwrap_or(Path::new(""));
        let dir = open_dir_below(empty.tree.as_fd(), parent)
            .map_err(|e| Error::io("open", shown())(e))?;
        let from = open_file(&dir, empty.source.file_name().unwrap_or_default())
            .map_err(|errno| Error::io("open", shown())(errno))?;
        let to = self.open_target(path)?;
        let copied = mover
            .copy(&from, &to, empty.meta.size, &|filled| self.tell(index, filled))
            .map_err(Error::io("copy", path))?;
        let now = rustix::fs::fstat(&from).map_err(|errno| Error::io("stat", shown())(errno))?;
        // The key was made from the file as it was then; other bytes under it would be served for ever.
        if copied != empty.meta.size || !empty.meta.is_unchanged(&Meta::new(&now)) {
            return Err(Error::Changed { path: shown() });
        }
        rustix::fs::futimens(&to, &empty.mtime.to_timestamps())
            .map_err(Error::io("set the times of", path))?;
        self.tell(index, u64::MAX);
        Ok(())
    }

    fn open_target(&self, path: &Path) -> Result<File, Error> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let parent = relative.parent().unwrap_or(Path::new(""));
        let dir = open_dir_below(self.root.as_fd(), parent).map_err(Error::io("open", path))?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let name = relative.file_name().unwrap_or_default();
        let fd = crate::interrupted::openat(&dir, name, flags, Mode::empty());
        Ok(File::from(fd.map_err(Error::io("open", path))?))
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, index: usize, filled: u64) {
        self.lock().filled[index] = filled;
        self.changed.notify_all();
    }

    /// The directory that is being filled.
    pub(crate) fn root(&self) -> &RootDir {
        &self.root
    }

    /// Returns the file that this is the state of, if it is being filled; its time is then the one that it will have.
    pub(crate) fn find(&self, stat: &mut Stat) -> Option<Growing<'_>> {
        let index = *self.by_inode.get(&(stat.st_dev, stat.st_ino))?;
        let mtime = self.files[index].1.mtime;
        (stat.st_mtime, stat.st_mtime_nsec) = (mtime.seconds, u64::from(mtime.nanoseconds) as _);
        Some(Growing { filling: self, index })
    }
}

/// Ends the waiting when the filling ends, however it does.
struct Over<'a>(&'a Filling);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

/// One file while it is being filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growing<'a> {
    filling: &'a Filling,
    index: usize,
}

impl Growing<'_> {
    /// Waits until there is something at this place; returns how much.
    pub(crate) fn wait(self, at: u64) -> Result<u64, Error> {
        let mut progress = self.filling.lock();
        loop {
            let filled = progress.filled[self.index];
            if filled > at {
                return Ok(filled - at);
            }
            if progress.is_over {
                return Err(Error::Changed { path: self.filling.files[self.index].0.clone() });
            }
            let waited = self.filling.changed.wait(progress);
            progress = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}
