//! Collecting what nothing needs any more.
//!
//! Needed is what an image, a container, a step's record that stays, or a lease of a living process names; and what those
//! need in turn. Under the exclusive lock the leases are read, records are removed, and then everything unneeded is renamed into
//! this process's own directory; it is deleted after the lock is free. Killed at any point, the store is whole: what has
//! lost its record is found by the next collection, and what was renamed by the next command.

mod cache;
mod limit;
mod mark;
pub(crate) mod size;

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, SystemTime},
};

use oci::{BlobDigest, Digest, ImageId};
use serde::de::IgnoredAny;

pub use self::limit::Size;
use crate::{
    ContainerId, SnapshotId, Store,
    error::{Error, Result},
    layout::Tree,
    lock::Lock,
    open::Inner,
    record::Kind,
    tmp,
    trash::Trash,
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
    /// Some.
    Only(Which),
    /// All.
    All,
}

/// Which results of steps, and which cache mounts with them: those for which all of this is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Which {
    /// They were not used for so long.
    pub unused_for: Duration,
    /// Beyond so many bytes in what no image has: those that were not used for the longest time.
    pub room: Option<u64>,
    /// Also those whose layers an image has: that frees nothing, but they are not found any more.
    pub of_images: bool,
}

impl CacheRule {
    /// Those that were not used for so long.
    pub fn unused_for(unused_for: Duration) -> Self {
        Self::Only(Which { unused_for, room: None, of_images: true })
    }

    /// Those that were not used for the longest time, until what no image has takes no more than so many bytes.
    pub fn budget(bytes: u64) -> Self {
        Self::Only(Which { unused_for: Duration::ZERO, room: Some(bytes), of_images: true })
    }
}

/// What is about to be removed by other means, and so is none that needs anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Without {
    /// Images.
    pub images: BTreeSet<ImageId>,
    /// Containers.
    pub containers: BTreeSet<ContainerId>,
}

/// What a collection has removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Freed {
    /// Bytes of files that the disk had.
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
    /// What was cached: the snapshots of the results and the names of the cache mounts, each once.
    pub objects: Vec<String>,
}

/// What goes, and what stays.
struct Decision {
    images: BTreeSet<ImageId>,
    steps: Vec<cache::Step>,
    mounts: Vec<cache::Mount>,
    marks: mark::Marks,
}

impl Store {
    /// Removes what `what` allows and nothing needs. Others may use the store at the same time: what they hold, or have
    /// made since they opened it, stays.
    pub fn collect(&self, what: &Collect) -> Result<Freed, Error> {
        let trash = self.inner.trash();
        let mut freed = Freed::default();
        {
            let lock = self.inner.lock_exclusive()?;
            let decision = self.inner.decide(what, &Without::default())?;
            freed.objects = decision.objects();
            freed.images = self.inner.collect_images(&lock, &decision.images)?;
            freed.records = self.inner.collect_records(&lock, what.cache, &decision.steps)?;
            let marks = &decision.marks;
            freed.snapshots = self.inner.collect_snapshots(&lock, &marks.snapshots, &trash)?;
            freed.blobs = self.inner.collect_blobs(&marks.blobs, &trash)?;
            self.inner.collect_containers(&trash)?;
            freed.mounts = self.inner.collect_mounts(&decision.mounts, &trash)?;
        }
        freed.bytes = trash.empty()?;
        freed.bytes += self.inner.collect_partials(what.cache == CacheRule::All)?;
        Ok(freed)
    }

    /// Returns what a collection would remove, if these images and containers were gone before. Nothing is changed.
    pub fn preview(&self, what: &Collect, without: &Without) -> Result<Freed, Error> {
        let _lock = self.inner.lock_shared()?;
        let Decision { steps, mounts, marks, .. } = self.inner.decide(what, without)?;
        let mut freed =
            Freed { records: steps.len() as u64, mounts: mounts.len() as u64, ..Freed::default() };
        for id in self.inner.snapshots()?.iter().filter(|id| !marks.snapshots.contains(id)) {
            freed.snapshots += 1;
            freed.bytes += self.inner.snapshot_size(id)?;
        }
        for (digest, size) in self.blobs()? {
            if !marks.blobs.contains(&digest) {
                freed.blobs += 1;
                freed.bytes += size;
            }
        }
        for mount in &mounts {
            freed.bytes += mount.size()?;
        }
        freed.objects = objects(&steps, &mounts);
        Ok(freed)
    }
}

impl Decision {
    fn objects(&self) -> Vec<String> {
        objects(&self.steps, &self.mounts)
    }
}

fn objects(steps: &[cache::Step], mounts: &[cache::Mount]) -> Vec<String> {
    let snapshots: BTreeSet<SnapshotId> = steps.iter().map(|step| step.snapshot).collect();
    let names = mounts.iter().map(|mount| mount.name.clone());
    snapshots.iter().map(ToString::to_string).chain(names).collect()
}

impl Inner {
    /// Decides what goes. Under a lock, or what was decided may not be so any more.
    fn decide(&self, what: &Collect, without: &Without) -> Result<Decision> {
        let mut held = self.leased()?;
        let leased = held.snapshots.clone();
        self.mark_containers(&without.containers, &mut held)?;
        let mut images = self.images_to_remove(what.images, &held.images)?;
        images.extend(&without.images);
        let mut marks = self.marks_of_images(&images)?;
        marks.snapshots.extend(&held.snapshots);
        let choice = self.choose(what, &leased, &marks.snapshots)?;
        marks.snapshots.extend(choice.staying.iter().flat_map(cache::Step::snapshots));
        self.mark_blobs(&mut marks)?;
        marks.blobs.extend(&held.blobs);
        let (steps, mounts) = (choice.going, choice.mounts);
        Ok(Decision { images, steps, mounts, marks })
    }

    fn images_to_remove(
        &self,
        rule: ImageRule,
        held: &BTreeSet<ImageId>,
    ) -> Result<BTreeSet<ImageId>> {
        let staying = match rule {
            ImageRule::Keep => return Ok(BTreeSet::new()),
            ImageRule::Untagged => self.tagged_images()?,
            ImageRule::All => BTreeSet::new(),
        };
        let goes = |id: &ImageId| !held.contains(id) && !staying.contains(id);
        Ok(self.image_ids()?.into_iter().filter(goes).collect())
    }

    fn collect_images(&self, lock: &Lock, going: &BTreeSet<ImageId>) -> Result<u64> {
        if going.is_empty() {
            return Ok(0);
        }
        self.untag_images(lock, |id| going.contains(id))?;
        let mut removed = 0;
        for id in going {
            removed += u64::from(self.remove(lock, Kind::Image, &crate::image::key(id))?);
        }
        Ok(removed)
    }

    /// Removes the snapshots that are not marked: first what is recorded of them, then them.
    fn collect_snapshots(
        &self,
        lock: &Lock,
        marked: &BTreeSet<SnapshotId>,
        trash: &Trash<'_>,
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
                trash.throw(&self.layout.snapshot(&id))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn collect_blobs(&self, marked: &BTreeSet<BlobDigest>, trash: &Trash<'_>) -> Result<u64> {
        let mut removed = 0;
        for tree in Tree::LOOKUP {
            for algorithm in ["sha256", "sha512"] {
                for path in tmp::directory_entries(&self.layout.blobs(tree, algorithm))? {
                    let hex = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    let digest = BlobDigest::parse(&format!("{algorithm}:{hex}"));
                    if digest.is_ok_and(|digest| marked.contains(&digest)) {
                        continue;
                    }
                    trash.throw(&path)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Removes the directories of containers that have no record: of those that were being removed, and of those that an
    /// earlier boot has lost.
    fn collect_containers(&self, trash: &Trash<'_>) -> Result<()> {
        let records = self.keys(Kind::Container)?;
        for path in tmp::directory_entries(&self.layout.containers())? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !records.contains(name) {
                trash.throw(&path)?;
            }
        }
        Ok(())
    }

    fn collect_mounts(&self, going: &[cache::Mount], trash: &Trash<'_>) -> Result<u64> {
        let mut removed = 0;
        for mount in going {
            // Its lock file stays: somebody may be waiting for it.
            if Lock::try_exclusive(&self.layout.mount_lock(&mount.name))?.is_some() {
                // Its id is none of its contents. Without one, it is being removed.
                let _ = fs::remove_file(mount.path.join("id"));
                trash.throw(&mount.path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes the records of steps.
    fn collect_records(&self, lock: &Lock, rule: CacheRule, going: &[cache::Step]) -> Result<u64> {
        for step in going {
            self.remove(lock, Kind::Step, &step.key)?;
        }
        if let Some(age) = cache::age_of_memos(rule) {
            self.collect_memos(lock, age)?;
        }
        Ok(going.len() as u64)
    }

    /// Memos and trails are small and made again quickly: they go with the results that are as old.
    fn collect_memos(&self, lock: &Lock, limit: Duration) -> Result<()> {
        let now = SystemTime::now();
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

/// Returns the blob that a manifest is.
fn blob_of(digest: &Digest) -> BlobDigest {
    BlobDigest::new(*digest)
}

#[cfg(test)]
mod tests;
