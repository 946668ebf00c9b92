//! Collecting what nothing needs any more.
//!
//! Needed is what an image, a container, a step's record that stays, or a lease of a living process names; and what those
//! need in turn. Under the exclusive lock the leases are read, records are removed, and then everything unneeded is renamed into
//! this process's own directory; it is deleted after the lock is free. Killed at any point, the store is whole: what has
//! lost its record is found by the next collection, and what was renamed by the next command.

mod mark;

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use oci::{BlobDigest, Digest, ImageId};
use serde::de::IgnoredAny;

use crate::{
    SnapshotId, Store,
    error::{Error, Result},
    layout::Tree,
    lock::Lock,
    open::Inner,
    record::Kind,
    tmp,
};

/// What to collect, besides what nothing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collect {
    /// Which images.
    pub images: ImageRule,
    /// Which results of steps.
    pub cache: CacheRule,
    /// Whether the cache mounts that nobody uses now go too.
    pub mounts: bool,
}

/// Which images a collection removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageRule {
    /// None.
    Keep,
    /// Those without a name.
    Untagged,
    /// All.
    All,
}

/// Which results of steps a collection removes. A result goes before those it was made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheRule {
    /// None.
    Keep,
    /// Those that were not used for so long.
    UnusedFor(Duration),
    /// Those that were not used for the longest time, until the snapshots that no image has take no more than so many
    /// bytes.
    Budget(u64),
    /// All.
    All,
}

/// What a collection has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// Bytes of disk.
    pub bytes: u64,
    /// Images.
    pub images: u64,
    /// Results of steps.
    pub records: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Blobs.
    pub blobs: u64,
    /// Cache mounts.
    pub mounts: u64,
}

impl Store {
    /// Removes what `what` allows and nothing needs. Others may use the store at the same time: what they hold, or have
    /// made since they opened it, stays.
    pub fn collect(&self, what: &Collect) -> Result<Freed, Error> {
        let trash = self.temp_dir()?;
        let mut freed = Freed::default();
        {
            let lock = self.inner.lock_exclusive()?;
            let mut leased = self.inner.leased()?;
            self.inner.mark_containers(&mut leased)?;
            freed.images = self.collect_images(&lock, what.images, &leased.images)?;
            let mut marks = self.inner.marks_of_images()?;
            marks.snapshots.extend(&leased.snapshots);
            freed.records = self.inner.collect_records(&lock, what.cache, &mut marks)?;
            self.inner.mark_blobs(&mut marks)?;
            marks.blobs.extend(&leased.blobs);
            freed.snapshots =
                self.inner.collect_snapshots(&lock, &marks.snapshots, trash.path())?;
            freed.blobs = self.inner.collect_blobs(&marks.blobs, trash.path())?;
            self.inner.collect_containers(trash.path())?;
            if what.mounts {
                freed.mounts = self.inner.collect_mounts(trash.path())?;
            }
        }
        freed.bytes = tmp::remove_tree(trash.path()).map_err(Error::io("remove", trash.path()))?;
        freed.bytes += self.inner.collect_partials(what.cache == CacheRule::All)?;
        Ok(freed)
    }

    fn collect_images(
        &self,
        lock: &Lock,
        rule: ImageRule,
        leased: &BTreeSet<ImageId>,
    ) -> Result<u64> {
        let tags = match rule {
            ImageRule::Keep => return Ok(0),
            ImageRule::Untagged | ImageRule::All => self.tags()?,
        };
        let tagged: BTreeSet<ImageId> = tags.iter().map(|(_, id)| *id).collect();
        let goes =
            |id: &ImageId| !leased.contains(id) && (rule == ImageRule::All || !tagged.contains(id));
        self.inner.untag_images(lock, goes)?;
        let mut removed = 0;
        for id in self.inner.image_ids()?.iter().filter(|id| goes(id)) {
            removed += u64::from(self.inner.remove(lock, Kind::Image, &crate::image::key(id))?);
        }
        Ok(removed)
    }
}

impl Inner {
    /// Removes the snapshots that are not marked: first what is recorded of them, then them.
    fn collect_snapshots(
        &self,
        lock: &Lock,
        marked: &BTreeSet<SnapshotId>,
        trash: &Path,
    ) -> Result<u64> {
        for key in self.keys(Kind::Layer)? {
            if SnapshotId::parse(&key).is_none_or(|id| !marked.contains(&id)) {
                self.remove(lock, Kind::Layer, &key)?;
            }
        }
        for key in self.keys(Kind::Packed)? {
            let id = crate::layer::snapshot_of_packed_key(&key);
            if id.is_none_or(|id| !marked.contains(&id)) {
                self.remove(lock, Kind::Packed, &key)?;
            }
        }
        for key in self.keys(Kind::Chain)? {
            let id = self.get::<SnapshotId>(Kind::Chain, &key)?;
            if id.is_none_or(|id| !marked.contains(&id)) {
                self.remove(lock, Kind::Chain, &key)?;
            }
        }
        let mut removed = 0;
        for id in self.snapshots()? {
            if !marked.contains(&id) {
                throw_away(&self.layout.snapshot(&id), trash)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn collect_blobs(&self, marked: &BTreeSet<BlobDigest>, trash: &Path) -> Result<u64> {
        let mut removed = 0;
        for tree in Tree::LOOKUP {
            for algorithm in ["sha256", "sha512"] {
                for path in tmp::directory_entries(&self.layout.blobs(tree, algorithm))? {
                    let hex = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    let digest = BlobDigest::parse(&format!("{algorithm}:{hex}"));
                    if digest.is_ok_and(|digest| marked.contains(&digest)) {
                        continue;
                    }
                    throw_away(&path, trash)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Removes the directories of containers that have no record: of those that were being removed, and of those that an
    /// earlier boot has lost.
    fn collect_containers(&self, trash: &Path) -> Result<()> {
        let records = self.keys(Kind::Container)?;
        for path in tmp::directory_entries(&self.layout.containers())? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !records.contains(name) {
                throw_away(&path, trash)?;
            }
        }
        Ok(())
    }

    fn collect_mounts(&self, trash: &Path) -> Result<u64> {
        let mut removed = 0;
        for path in tmp::directory_entries(&self.layout.mounts())? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            // Its lock file stays: somebody may be waiting for it.
            if Lock::try_exclusive(&self.layout.mount_lock(name))?.is_some() {
                throw_away(&path, trash)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes the records of steps that `rule` names, and marks what the others need.
    fn collect_records(
        &self,
        lock: &Lock,
        rule: CacheRule,
        marks: &mut mark::Marks,
    ) -> Result<u64> {
        let steps = self.steps_by_use()?;
        let now = SystemTime::now();
        let going = match rule {
            CacheRule::Keep => 0,
            CacheRule::All => steps.len(),
            CacheRule::UnusedFor(age) => steps.partition_point(|step| {
                now.duration_since(step.used).is_ok_and(|unused| unused >= age)
            }),
            CacheRule::Budget(bytes) => self.over_budget(&steps, &marks.snapshots, bytes)?,
        };
        let (going, staying) = steps.split_at(going);
        for step in going {
            self.remove(lock, Kind::Step, &step.key)?;
        }
        for step in staying {
            marks.snapshots.extend([Some(step.snapshot), step.below].into_iter().flatten());
        }
        self.collect_memos(lock, rule, now)?;
        Ok(going.len() as u64)
    }

    /// Memos and trails are small and made again quickly: they go with the results that are as old.
    fn collect_memos(&self, lock: &Lock, rule: CacheRule, now: SystemTime) -> Result<()> {
        let limit = match rule {
            CacheRule::Keep | CacheRule::Budget(_) => return Ok(()),
            CacheRule::All => Duration::ZERO,
            CacheRule::UnusedFor(age) => age,
        };
        for kind in [Kind::Memo, Kind::Trail] {
            for key in self.keys(kind)? {
                let Some(found) = self.read::<IgnoredAny>(kind, &key)? else { continue };
                if now.duration_since(found.used).is_ok_and(|unused| unused >= limit) {
                    self.remove(lock, kind, &key)?;
                }
            }
        }
        Ok(())
    }
}

/// Moves something out of sight; deleting it comes later, and outside the lock.
fn throw_away(path: &Path, trash: &Path) -> Result<()> {
    match fs::rename(path, trash.join(tmp::unique())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.map_err(Error::io("rename", path)),
    }
}

/// Returns the blob that a manifest is.
fn blob_of(digest: &Digest) -> BlobDigest {
    BlobDigest::new(*digest)
}

#[cfg(test)]
mod tests;
