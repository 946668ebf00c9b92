//! Leases: what a living process uses, so that nobody removes it.
//!
//! A lease is a file in the process's locked directory, one line for each thing. Holding looks the thing up and writes
//! the line under the store's shared lock; a collection reads all leases under the exclusive one: so nothing can vanish
//! between being looked up and being held. What a process makes itself is held for it until it ends.

use std::{
    fmt, fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, OnceLock, PoisonError},
};

use oci::{BlobDigest, ImageId};

use crate::{
    SnapshotId, Store,
    error::{Error, Result, has_no_room},
    lock::Lock,
    open::Inner,
};

/// How a lease's file name begins.
pub(crate) const PREFIX: &str = "lease-";

/// Something that a lease names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    Snapshot(SnapshotId),
    Blob(BlobDigest),
    Image(ImageId),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(id) => write!(f, "snapshot {id}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Image(id) => write!(f, "image {id}"),
        }
    }
}

impl Held {
    /// Reads a line of a lease; `None` for a kind that a later version has added.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ')? {
            ("snapshot", id) => SnapshotId::parse(id).map(Self::Snapshot),
            ("blob", digest) => BlobDigest::parse(digest).ok().map(Self::Blob),
            ("image", id) => ImageId::parse(id).ok().map(Self::Image),
            _ => None,
        }
    }
}

/// The file of a lease, removed when dropped.
#[derive(Debug)]
pub(crate) struct LeaseFile {
    path: PathBuf,
    file: fs::File,
}

impl LeaseFile {
    fn create(inner: &Inner) -> Result<Self> {
        let path = inner.process()?.new_path(PREFIX);
        let mut options = fs::OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(Error::io("create", &path))?;
        Ok(Self { path, file })
    }

    fn append(&self, held: Held) -> Result<()> {
        self.append_all([held].into_iter())
    }

    /// In one write, so that a line is there as a whole or not at all.
    fn append_all(&self, held: impl Iterator<Item = Held>) -> Result<()> {
        let lines: String = held.map(|held| format!("{held}\n")).collect();
        (&self.file).write_all(lines.as_bytes()).map_err(Error::io("write", &self.path))
    }
}

impl Drop for LeaseFile {
    fn drop(&mut self) {
        // If it stays, what it names stays until this process ends: too much, never too little.
        let _ = fs::remove_file(&self.path);
    }
}

/// Keeps snapshots, blobs and images from being removed, until it is dropped or its process dies.
#[derive(Debug)]
pub struct Lease {
    file: Option<LeaseFile>,
    /// Instead of the file, where that cannot be written: while somebody has it, nothing is collected.
    lock: OnceLock<Lock>,
    /// Whether it may be the lock.
    is_for_reading: bool,
    inner: Arc<Inner>,
}

impl Lease {
    /// Holds a snapshot. [`Error::NoSuchSnapshot`] if it is gone: what was looked up before has to be looked up again.
    pub fn hold(&self, id: &SnapshotId) -> Result<(), Error> {
        let _lock = self.inner.lock_shared()?;
        if !self.inner.has_snapshot(id)? {
            return Err(Error::NoSuchSnapshot { id: *id });
        }
        self.append([Held::Snapshot(*id)].into_iter())
    }

    /// Holds a blob. [`Error::NoSuchBlob`] if it is gone.
    pub fn hold_blob(&self, digest: &BlobDigest) -> Result<(), Error> {
        let _lock = self.inner.lock_shared()?;
        if self.inner.find_blob(digest)?.is_none() {
            return Err(Error::NoSuchBlob { digest: *digest });
        }
        self.append([Held::Blob(*digest)].into_iter())
    }

    /// Holds an image with its snapshots, and their blobs with them. [`Error::NoSuchImage`] if it is gone.
    pub fn hold_image(&self, id: &ImageId) -> Result<(), Error> {
        let _lock = self.inner.lock_shared()?;
        let there = self.inner.has_image_record(id)?;
        let found = self.inner.image(id)?;
        let image = found.ok_or_else(|| Error::NoSuchImage { name: id.to_string() })?;
        // Its layers too: the image itself may be removed, and what it was before may go with the image after it.
        let whole = there.then_some(Held::Image(*id));
        let layers = image.snapshots.iter().map(|id| Held::Snapshot(*id));
        self.append(whole.into_iter().chain(layers))
    }

    fn append(&self, held: impl Iterator<Item = Held>) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.lock.get().is_none()) else {
            return Ok(());
        };
        match file.append_all(held) {
            Err(error) if self.is_for_reading && has_no_room(&error) => {
                let lock = self.inner.lock_shared()?;
                // By another thread meanwhile: one is enough.
                let _ = self.lock.set(lock);
                Ok(())
            }
            appended => appended,
        }
    }
}

impl Store {
    /// Starts a lease that holds nothing yet.
    pub fn lease(&self) -> Result<Lease, Error> {
        let (file, lock) = (Some(LeaseFile::create(&self.inner)?), OnceLock::new());
        Ok(Lease { file, lock, is_for_reading: false, inner: Arc::clone(&self.inner) })
    }

    /// Starts a lease for what only reads, and can do so from a disk that is full or mounted read-only: to save an image
    /// elsewhere is a way to make room. Nothing is collected as long as such a lease is there, so that who has it must not do that.
    pub fn lease_for_reading(&self) -> Result<Lease, Error> {
        let lock = OnceLock::new();
        let file = match LeaseFile::create(&self.inner) {
            Err(error) if has_no_room(&error) => {
                let _ = lock.set(self.inner.lock_shared()?);
                None
            }
            file => Some(file?),
        };
        Ok(Lease { file, lock, is_for_reading: true, inner: Arc::clone(&self.inner) })
    }
}

impl Inner {
    /// Holds what this process is about to make visible, as long as the store is open in it.
    pub(crate) fn hold_made(&self, _held: &Lock, what: Held) -> Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_none() {
            *made = Some(LeaseFile::create(self)?);
        }
        made.as_ref().map_or(Ok(()), |file| file.append(what))?;
        if let Held::Snapshot(id) = what {
            self.made_here.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use oci::Digest;

    use super::*;

    #[test]
    fn a_line_reads_back() {
        let digest = Digest::of(b"x");
        let id = SnapshotId::parse(&"0f".repeat(16)).unwrap();
        for held in [
            Held::Snapshot(id),
            Held::Blob(BlobDigest::new(digest)),
            Held::Image(ImageId::new(digest)),
        ] {
            assert_eq!(Held::parse(&held.to_string()), Some(held));
        }
        assert_eq!(Held::parse("container 1"), None);
        assert_eq!(Held::parse("snapshot ../x"), None);
    }
}
