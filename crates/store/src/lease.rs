//! Leases: what a living process uses, so that nobody removes it.
//!
//! A lease is a file that its process has locked, one line for each thing. Holding looks the thing up and writes
//! the line under the store's shared lock; a collection reads all leases under the exclusive one: so nothing can vanish
//! between being looked up and being held. What a process makes itself is held for it until it ends.
//!
//! It is no file in the directory of the process: a command that makes nothing has no such directory, which takes longer to
//! make and to remove than all else that such a command has to do here.

use std::{
    fmt, fs,
    io::{self, Write},
    iter,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, OnceLock, PoisonError},
};

use oci::{BlobDigest, Digest, ImageId};

use crate::{
    Ancestry, Image, SnapshotId, Store,
    error::{Error, Result, has_no_room},
    lock::Lock,
    open::Inner,
    tmp,
};

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
    lock: Lock,
}

impl LeaseFile {
    fn create(inner: &Inner) -> Result<Self> {
        let mut options = fs::OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        loop {
            let path = inner.new_owned_path();
            let file = match options.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tmp::create_directories(&inner.layout.tmp())?;
                    continue;
                }
                file => file.map_err(Error::io("create", &path))?,
            };
            // Between the two calls another process may have taken it for a leftover: then again, with another name.
            if let Some(lock) = Lock::try_on(file, &path).map_err(Error::io("lock", &path))? {
                return Ok(Self { path, lock });
            }
        }
    }

    fn append(&self, held: Held) -> Result<()> {
        self.append_all([held].into_iter())
    }

    /// In one write, so that a line is there as a whole or not at all.
    fn append_all(&self, held: impl Iterator<Item = Held>) -> Result<()> {
        let lines: String = held.map(|held| format!("{held}\n")).collect();
        self.lock.file().write_all(lines.as_bytes()).map_err(Error::io("write", &self.path))
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

    /// Holds an image with its snapshots, and their blobs with them; returns it as it is then. [`Error::NoSuchImage`] if it
    /// is gone.
    pub fn hold_image(&self, id: &ImageId) -> Result<Image, Error> {
        let _lock = self.inner.lock_shared()?;
        let there = self.inner.has_image_record(id)?;
        let found = self.inner.image(id)?;
        let image = found.ok_or_else(|| Error::NoSuchImage { name: id.to_string() })?;
        // Its layers too: the image itself may be removed, and what it was before may go with the image after it.
        let whole = there.then_some(Held::Image(*id));
        let layers = image.snapshots.iter().map(|id| Held::Snapshot(*id));
        self.append(whole.into_iter().chain(layers))?;
        Ok(image)
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

impl Lease {
    /// Stores an image like [`Store::put_made_image`], and holds it with its snapshots: there is no moment in between. Returns
    /// it as it is stored.
    pub fn put_made_image(
        &self,
        config_bytes: &[u8],
        snapshots: &[SnapshotId],
        ancestry: &Ancestry,
    ) -> Result<Image, Error> {
        let lock = self.inner.lock_shared()?;
        let image = Held::Image(ImageId::new(Digest::of(config_bytes)));
        let layers = snapshots.iter().copied().map(Held::Snapshot);
        self.append(iter::once(image).chain(layers))?;
        self.inner.put_held_image(&lock, config_bytes, snapshots, None, ancestry)
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
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_lease_is_one_locked_file_and_gone_with_its_owner() {
        let scratch = Scratch::new("lease");
        let store = scratch.store();
        let id = store.create_snapshot().unwrap().seal().unwrap();
        drop(store);
        let store = scratch.store();
        let lease = store.lease().unwrap();
        lease.hold(&id).unwrap();
        // Looking something up and holding it has made no directory.
        let owned = tmp::directory_entries(&scratch.root().join("tmp")).unwrap();
        assert!(matches!(&owned[..], [file] if file.is_file()), "{owned:?}");
        assert!(Lock::try_existing(&owned[0]).unwrap().is_none());
        let (processes, held) = scratch.store().inner.held().unwrap();
        assert_eq!((processes, held), (1, [Held::Snapshot(id)].into()));
        // It counts as one process, whatever it has.
        let _open = store.create_snapshot().unwrap();
        let _second = store.lease().unwrap();
        assert_eq!(scratch.store().inner.held().unwrap().0, 1);
        drop(lease);
        assert!(scratch.store().inner.held().unwrap().1.is_empty());
    }

    #[test]
    fn what_a_dead_process_held_is_held_no_more() {
        let scratch = Scratch::new("lease-dead");
        let store = scratch.store();
        let id = store.create_snapshot().unwrap().seal().unwrap();
        let left = scratch.root().join("tmp").join("0123-0");
        fs::write(&left, format!("snapshot {id}\n")).unwrap();
        // What this process has made itself is held by it.
        drop(store);
        let store = Store::open_in_boot(&scratch.root(), "b0").unwrap();
        assert!(!left.exists());
        fs::write(&left, format!("snapshot {id}\n")).unwrap();
        assert_eq!(store.inner.held().unwrap(), (0, [].into()));
        let _opened = scratch.store();
        assert!(!left.exists());
    }

    #[test]
    fn an_image_is_held_from_the_moment_it_is_there() {
        let scratch = Scratch::new("lease-image");
        let store = scratch.store();
        let snapshot = store.create_snapshot().unwrap().seal().unwrap();
        drop(store);
        let store = scratch.store();
        let config = br#"{"rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;
        let lease = store.lease().unwrap();
        let image = lease.put_made_image(config, &[snapshot], &Ancestry::default()).unwrap();
        assert_eq!(store.image(&image.id).unwrap().as_ref(), Some(&image));
        let held = scratch.store().inner.held().unwrap().1;
        assert_eq!(held, [Held::Image(image.id), Held::Snapshot(snapshot)].into());
    }

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
