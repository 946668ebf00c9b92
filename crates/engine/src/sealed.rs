//! What was found out about sealed snapshots: they never change, so nobody has to look twice. Ids are never given twice
//! either, so that what is known of one that was removed does no harm.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use store::SnapshotId;

use crate::{Error, rootfs::Entry};

/// What is known in this process. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sealed(Arc<Mutex<HashMap<SnapshotId, Facts>>>);

#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    /// How many bytes its files contain.
    size: Option<u64>,
    is_empty: Option<bool>,
    etc: Option<Entry>,
}

impl Sealed {
    /// How many bytes the files of a snapshot contain, as `count` finds it out.
    pub(crate) fn size(
        &self,
        id: &SnapshotId,
        count: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        let known = self.facts().get(id).and_then(|facts| facts.size);
        if let Some(size) = known {
            return Ok(size);
        }
        let size = count()?;
        self.facts().entry(*id).or_default().size = Some(size);
        Ok(size)
    }

    /// Whether there is nothing in a snapshot, whose directory this is.
    pub(crate) fn is_empty(&self, id: &SnapshotId, directory: &Path) -> Result<bool, Error> {
        let known = self.facts().get(id).and_then(|facts| facts.is_empty);
        if let Some(is_empty) = known {
            return Ok(is_empty);
        }
        let is_empty = is_empty(directory)?;
        self.facts().entry(*id).or_default().is_empty = Some(is_empty);
        Ok(is_empty)
    }

    /// What a snapshot has at `/etc`, as `look` finds it out.
    pub(crate) fn etc(
        &self,
        id: &SnapshotId,
        look: impl FnOnce() -> Result<Entry, Error>,
    ) -> Result<Entry, Error> {
        let known = self.facts().get(id).and_then(|facts| facts.etc);
        if let Some(etc) = known {
            return Ok(etc);
        }
        let etc = look()?;
        self.facts().entry(*id).or_default().etc = Some(etc);
        Ok(etc)
    }

    fn facts(&self) -> MutexGuard<'_, HashMap<SnapshotId, Facts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is nothing in a directory.
pub(crate) fn is_empty(directory: &Path) -> Result<bool, Error> {
    let mut entries = std::fs::read_dir(directory).map_err(Error::io("read", directory))?;
    Ok(entries.next().is_none())
}
