//! Snapshots: a layer as a directory, in the form of an overlay's upper directory; open while a step writes it, sealed
//! from then on.

use std::{
    fmt, fs, io,
    marker::PhantomData,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    Store,
    error::{Error, Result},
    lease::Held,
    open::Inner,
    tmp,
};

/// Names a sealed snapshot. Never given twice, so that what has an old name never finds something new.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(u128);

impl SnapshotId {
    /// Reads an id: 32 lower-case hexadecimal digits.
    pub fn parse(value: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if value.len() != 32 || !value.bytes().all(is_digit) {
            return None;
        }
        u128::from_str_radix(value, 16).ok().map(Self)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotId({self})")
    }
}

impl Serialize for SnapshotId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SnapshotId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = String::deserialize(deserializer)?;
        Self::parse(&value).ok_or_else(|| de::Error::custom("not a snapshot's id"))
    }
}

/// The state of a snapshot that is being written.
#[derive(Debug)]
pub struct Open(());

/// A snapshot in a state. There is only the open one: sealed, it is a [`SnapshotId`].
///
/// Dropped, it is removed with everything in it.
#[must_use = "a snapshot is kept by `seal`"]
pub struct Snapshot<State> {
    directory: PathBuf,
    fs: PathBuf,
    work: PathBuf,
    inner: Arc<Inner>,
    state: PhantomData<State>,
}

impl Store {
    /// Starts a snapshot: two empty directories on one file system. The layer's has mode 0755, whatever the umask.
    pub fn create_snapshot(&self) -> Result<Snapshot<Open>, Error> {
        let directory = self.inner.process()?.new_spread_path("snapshot-")?;
        let snapshot = Snapshot {
            fs: directory.join("fs"),
            work: directory.join("work"),
            directory,
            inner: Arc::clone(&self.inner),
            state: PhantomData,
        };
        for path in [&snapshot.directory, &snapshot.fs, &snapshot.work] {
            tmp::create_directories(path)?;
        }
        fs::set_permissions(&snapshot.fs, fs::Permissions::from_mode(0o755))
            .map_err(Error::io("change the mode of", &snapshot.fs))?;
        Ok(snapshot)
    }

    /// Returns the directory of a sealed snapshot. Nothing may be changed there.
    pub fn snapshot_dir(&self, id: &SnapshotId) -> PathBuf {
        self.inner.layout.snapshot_fs(id)
    }

    /// Returns the ids of all snapshots there are.
    pub fn snapshots(&self) -> Result<Vec<SnapshotId>, Error> {
        self.inner.snapshots()
    }

    /// Whether a snapshot is there.
    pub fn has_snapshot(&self, id: &SnapshotId) -> Result<bool, Error> {
        self.inner.has_snapshot(id)
    }
}

impl Snapshot<Open> {
    /// Returns the directory of the layer: the overlay's upper directory.
    pub fn fs(&self) -> &Path {
        &self.fs
    }

    /// Returns the overlay's work directory.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Makes the snapshot unchangeable and gives it a name; whatever had it mounted has let go of it.
    ///
    /// This process holds it from now on; others see it by a record only. A failed call leaves nothing.
    pub fn seal(self) -> Result<SnapshotId, Error> {
        self.inner.process()?.put_aside(&self.work)?;
        let id = SnapshotId::parse(&tmp::unique()).ok_or_else(|| Error::Io {
            action: "name",
            path: self.directory.clone(),
            source: io::ErrorKind::InvalidData.into(),
        })?;
        let lock = self.inner.lock_shared()?;
        self.inner.hold_made(&lock, Held::Snapshot(id))?;
        tmp::publish(&self.directory, &self.inner.layout.snapshot(&id))?;
        Ok(id)
    }
}

impl Snapshot<Open> {
    /// Puts the two directories into a place of their own, open for ever: a container writes there.
    pub(crate) fn move_to(self, place: &Path) -> Result<()> {
        tmp::publish(&self.directory, place)
    }
}

impl<State> Drop for Snapshot<State> {
    fn drop(&mut self) {
        self.inner.discard(&self.directory);
    }
}

impl<State> fmt::Debug for Snapshot<State> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&self.directory).finish()
    }
}

impl Store {
    /// Whether a snapshot was sealed here, since the store was opened: nobody has had the time to damage it.
    pub fn has_made(&self, id: &SnapshotId) -> bool {
        self.inner.made_here.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}

impl Inner {
    pub(crate) fn has_snapshot(&self, id: &SnapshotId) -> Result<bool> {
        let path = self.layout.snapshot(id);
        path.try_exists().map_err(Error::io("find", path))
    }

    /// Returns the ids of all snapshots there are.
    pub(crate) fn snapshots(&self) -> Result<Vec<SnapshotId>> {
        let entries = tmp::directory_entries(&self.layout.snapshots())?;
        let id = |path: &PathBuf| SnapshotId::parse(path.file_name()?.to_str()?);
        Ok(entries.iter().filter_map(id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn sealing_keeps_the_layer_and_drops_the_work() {
        let scratch = Scratch::new("snapshot");
        let store = scratch.store();
        let open = store.create_snapshot().unwrap();
        assert_eq!(fs::metadata(open.fs()).unwrap().permissions().mode() & 0o7777, 0o755);
        fs::write(open.fs().join("file"), "x").unwrap();
        // As the kernel leaves it after an overlay was mounted.
        fs::create_dir(open.work().join("work")).unwrap();
        fs::set_permissions(open.work().join("work"), fs::Permissions::from_mode(0o000)).unwrap();
        let id = open.seal().unwrap();
        let directory = store.snapshot_dir(&id);
        assert_eq!(fs::read_to_string(directory.join("file")).unwrap(), "x");
        assert!(!directory.with_file_name("work").exists());
        assert!(store.has_snapshot(&id).unwrap());
        assert_eq!(SnapshotId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn an_open_snapshot_that_is_dropped_leaves_nothing() {
        let scratch = Scratch::new("snapshot-drop");
        let store = scratch.store();
        let open = store.create_snapshot().unwrap();
        fs::create_dir_all(open.fs().join("a/b/c")).unwrap();
        fs::set_permissions(open.fs().join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();
        let directory = open.directory.clone();
        drop(open);
        assert!(!directory.exists());
        assert!(store.take_warnings().is_empty());
        assert!(store.inner.snapshots().unwrap().is_empty());
    }

    #[test]
    fn only_32_digits_are_an_id() {
        for wrong in ["", "../x", "0", &"0".repeat(31), &"G".repeat(32), &"A".repeat(32), "+"] {
            assert_eq!(SnapshotId::parse(wrong), None, "{wrong:?}");
        }
    }
}
