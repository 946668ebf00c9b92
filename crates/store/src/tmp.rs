//! What a process owns in the store while it lives: one locked directory for everything unfinished, and its leases.
//!
//! Whoever gets the lock of such a directory or lease knows that its process is dead, and removes it. The directory is made at
//! the first need, so that looking something up writes nothing.

mod later;
mod spread;

use std::{
    fmt, fs,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::{fd::AsFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use self::{later::Remover, spread::Spread};
use crate::{
    Store, Warning,
    error::{Error, Result, is_of_disk},
    lock::Lock,
    open::Inner,
    remove,
};

/// How a process calls what it owns: all of it begins with the same 32 digits.
#[derive(Debug)]
pub(crate) struct OwnNames {
    process: String,
    next: AtomicU64,
}

impl Default for OwnNames {
    fn default() -> Self {
        Self { process: unique(), next: AtomicU64::new(0) }
    }
}

/// Returns what the names of everything begin with that belongs to the same process.
pub(crate) fn process_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.split('-').next()
}

/// The directory of this process, locked until the last user of the store is gone.
#[derive(Debug)]
pub(crate) struct ProcessDirectory {
    path: PathBuf,
    next: AtomicU64,
    spread: Spread,
    remover: Remover,
    _lock: Lock,
}

impl ProcessDirectory {
    fn create(inner: &Inner) -> Result<Self> {
        loop {
            let path = inner.new_owned_path();
            create_directories(&path)?;
            // Between the two calls another process may have taken it for a leftover: then again, with another name.
            if let Some(lock) = Lock::try_existing(&path).map_err(Error::io("lock", &path))? {
                let (next, spread, remover) = Default::default();
                return Ok(Self { path, next, spread, remover, _lock: lock });
            }
        }
    }

    /// Returns a path in it that nothing has.
    pub(crate) fn new_path(&self, prefix: &str) -> PathBuf {
        self.path.join(self.new_name(prefix))
    }

    /// The same for what comes by the dozen and with many files of its own: it gets a part of the disk that is not crowded.
    pub(crate) fn new_spread_path(&self, prefix: &str) -> Result<PathBuf> {
        Ok(self.spread.directory(&self.path)?.join(self.new_name(prefix)))
    }

    /// The same for what comes along with that, but by itself is not worth a search for such a part.
    pub(crate) fn new_path_beside(&self, prefix: &str) -> PathBuf {
        let directory = self.spread.present().unwrap_or_else(|| self.path.clone());
        directory.join(self.new_name(prefix))
    }

    /// Removes a directory of this process's while its caller goes on.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(crate) fn put_aside(&self, path: &Path) -> Result<()> {
        // What nothing was mounted with is empty, and gone with one call.
        if fs::remove_dir(path).is_ok() {
            return Ok(());
        }
        let trash = self.new_path("trash-");
        match fs::rename(path, &trash) {
            Ok(()) => self.remover.put(trash),
            // A full disk may have no room for another name.
            Err(_) => drop(remove_tree(path).map_err(Error::io("remove", path))?),
        }
        Ok(())
    }

    fn new_name(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for ProcessDirectory {
    fn drop(&mut self) {
        drop(std::mem::take(&mut self.remover));
        // If it fails, the next command that opens the store removes the rest.
        let _ = remove_tree(&self.path);
    }
}

impl Inner {
    /// Returns a path for something that this process owns.
    pub(crate) fn new_owned_path(&self) -> PathBuf {
        let OwnNames { process, next } = &self.names;
        self.layout.owned(process, next.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the directory of this process; makes it at the first call.
    pub(crate) fn process(&self) -> Result<Arc<ProcessDirectory>> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = &*process {
            return Ok(Arc::clone(process));
        }
        let created = Arc::new(ProcessDirectory::create(self)?);
        *process = Some(Arc::clone(&created));
        Ok(created)
    }

    /// Removes what dead processes have left. What cannot be removed stays, with a warning: it is in nobody's way. In a
    /// store that is mounted read-only it is no news that it does.
    pub(crate) fn sweep(&self) -> Result<()> {
        for path in directory_entries(&self.layout.tmp())? {
            let removed = match Lock::try_existing(&path) {
                Ok(Some(_lock)) => remove_tree(&path).map(|_| ()),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = removed
                && error.kind() != io::ErrorKind::ReadOnlyFilesystem
            {
                self.warn(Warning::NotRemoved { path, reason: error.to_string() });
            }
        }
        Ok(())
    }
}

/// A directory for the passing needs of a build, removed with everything in it when dropped.
pub struct TempDir {
    path: PathBuf,
    // Keeps the lock of the process while the directory lives.
    _process: Arc<ProcessDirectory>,
    inner: Arc<Inner>,
}

impl TempDir {
    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for TempDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TempDir").field(&self.path).finish()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        self.inner.discard(&self.path);
    }
}

impl Store {
    /// Makes an empty directory (mode 0700), on the store's file system.
    pub fn temp_dir(&self) -> Result<TempDir, Error> {
        let process = self.inner.process()?;
        let path = process.new_path("");
        create_directories(&path)?;
        Ok(TempDir { path, _process: process, inner: Arc::clone(&self.inner) })
    }
}

impl Inner {
    /// Removes something unfinished, in a destructor: a failure becomes a warning, and the next sweep tries again.
    pub(crate) fn discard(&self, path: &Path) {
        match remove_tree(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.warn(Warning::NotRemoved { path: path.to_owned(), reason: error.to_string() });
            }
        }
    }
}

/// Removes whatever is at `path`; returns how many bytes its files contained.
pub(crate) fn remove_tree(path: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = fs::File::open(parent)?;
    let name = std::ffi::CString::new(name.as_bytes())?;
    Ok(remove::remove_entry(parent.as_fd(), &name)?)
}

/// Makes a directory and what is missing above it, all with mode 0700.
pub(crate) fn create_directories(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))
}

/// Renames `from` to `to`, replacing a file; makes `to`'s directory if it is missing.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<()> {
    loop {
        match fs::rename(from, to) {
            Ok(()) => return Ok(()),
            // The directory is missing, or what was to be put there.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && from.try_exists().map_err(Error::io("look at", from))? =>
            {
                if let Some(parent) = to.parent() {
                    create_directories(parent)?;
                }
            }
            Err(error) => return Err(Error::io("rename", to)(error)),
        }
    }
}

/// Returns the paths of a directory's entries, none if there is no such directory.
pub(crate) fn directory_entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("list", directory))?,
    };
    entries.map(|entry| Ok(entry.map_err(Error::io("list", directory))?.path())).collect()
}

/// Whether there is a directory. One that a broken disk does not give back is none.
///
/// # Errors
/// There may be one, and it cannot be looked at just now.
pub(crate) fn is_directory(path: &Path) -> Result<bool> {
    match path.metadata() {
        Ok(stat) => Ok(stat.is_dir()),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}

/// Whether an error says that something is not there, or not any more.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || is_of_disk(error)
}

/// Returns 32 hexadecimal digits that nothing else has: 128 bits out of the standard library's randomly keyed hashers.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let half = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(NEXT.fetch_add(1, Ordering::Relaxed));
        hasher.write_u32(std::process::id());
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(), half())
}
