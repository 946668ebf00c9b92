//! Locks: `flock` on files that are never deleted, or on a process's own directory.
//!
//! The kernel frees them when their holder dies, however it dies: no pids, no timeouts, no clock. They belong to the
//! open file, so every lock opens its file anew; `O_CLOEXEC` (the standard library's default) keeps them out of what a
//! build runs.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};

/// A lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock together with other readers; waits for a writer.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        Self::take(path, FlockOperation::LockShared)
    }

    /// Takes the lock alone; waits for everybody else.
    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        Self::take(path, FlockOperation::LockExclusive)
    }

    /// Takes the lock alone, or returns `None` if somebody holds it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        match flock_again(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(source) => Err(Error::io("lock", path)(source)),
        }
    }

    /// Takes an existing file or directory alone; `None` if it is held, gone, or has been replaced meanwhile.
    pub(crate) fn try_existing(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Self::try_on(file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same for one that is open, and was at `path` when it was opened.
    pub(crate) fn try_on(file: File, path: &Path) -> io::Result<Option<Self>> {
        match flock_again(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Its last holder may have removed it between the two calls; the lock would then guard nothing.
        match path.symlink_metadata() {
            Ok(now) if now.ino() == file.metadata()?.ino() => Ok(Some(Self { file })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is locked.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Returns a further descriptor of it: it is free when all of them are closed, in whatever processes they are.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    fn take(path: &Path, operation: FlockOperation) -> Result<Self> {
        let file = open(path)?;
        flock_again(&file, operation).map_err(Error::io("lock", path))?;
        Ok(Self { file })
    }
}

/// `flock(2)`, again when a signal comes while it waits.
pub(crate) fn flock_again(file: &File, operation: FlockOperation) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| flock(file, operation))
}

/// Opens a lock file for reading, which is enough to lock it and works in a store mounted read-only.
fn open(path: &Path) -> Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map_err(Error::io("open", path)),
    }
    if let Some(parent) = path.parent() {
        crate::tmp::create_directories(parent)?;
    }
    let mut options = OpenOptions::new();
    // Not truncated: another process may have created it meanwhile, and has it locked.
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(Error::io("create", path))
}
