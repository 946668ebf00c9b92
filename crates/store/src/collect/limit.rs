//! How much there is, and keeping that within a limit.
//!
//! Counted is what a collection could remove: what the disk has of layers, blobs and cache mounts, so holes are not. Containers and volumes are
//! their owners' own.

use std::{collections::BTreeMap, sync::PoisonError};

use super::{CacheRule, Collect, Freed, ImageRule, Which, Without};
use crate::{
    SnapshotId, Store,
    error::{Error, Result},
    layout::Tree,
    open::Inner,
    record::Kind,
};

/// What the store contains, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// What the disk has of all layers, of images and of the cache.
    pub layers: u64,
    /// Blobs.
    pub blobs: u64,
    /// Cache mounts.
    pub mounts: u64,
}

impl Size {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.layers + self.blobs + self.mounts
    }
}

/// What is removed for the sake of room takes less than was thought if a blob is shared, or somebody writes meanwhile.
const MOST_ROUNDS: usize = 4;

impl Store {
    /// Returns how much there is. A sealed layer is counted once, however often one asks.
    pub fn size(&self) -> Result<Size, Error> {
        self.inner.size(&self.blobs()?)
    }

    /// Removes what is cached, unused for the longest time first, until there are no more than so many bytes: results of
    /// steps that no image has, cache mounts, and at last blobs that can be made again. Returns what was removed, and how
    /// much there is now: more than the limit, if images and what living processes use take that much.
    pub fn keep_within(&self, limit: u64) -> Result<(Freed, Size), Error> {
        let mut freed = Freed::default();
        let mut size = self.size()?;
        for _ in 0..MOST_ROUNDS {
            let Some(excess) = size.total().checked_sub(limit).filter(|excess| *excess > 0) else {
                return Ok((freed, size));
            };
            let rule = |room| Collect {
                images: ImageRule::Keep,
                cache: CacheRule::Only(Which {
                    unused_for: std::time::Duration::ZERO,
                    room,
                    of_images: false,
                }),
                mounts: true,
            };
            let removable = self.preview(&rule(None), &Without::default())?.bytes;
            let room = self.inner.room_of_cache()?.saturating_sub(excess);
            if removable == 0 {
                break;
            }
            freed.add(self.collect(&rule(Some(room)))?);
            size = self.size()?;
        }
        if size.total() > limit {
            freed.add(self.drop_packed()?);
            size = self.size()?;
        }
        Ok((freed, size))
    }

    /// Removes the blobs that were made of layers here, and that nobody uses now: they are made again, byte for byte.
    fn drop_packed(&self) -> Result<Freed> {
        let trash = self.inner.trash();
        let mut freed = Freed::default();
        {
            let _lock = self.inner.lock_exclusive()?;
            let used = self.inner.leased()?.blobs;
            for key in self.inner.keys(Kind::Packed)? {
                let blob: Option<oci::Descriptor> = self.inner.get(Kind::Packed, &key)?;
                let Some(blob) = blob.filter(|blob| !used.contains(&blob.digest)) else { continue };
                if self.inner.find_blob(&blob.digest)?.is_some() {
                    freed.blobs += 1;
                }
                for tree in Tree::LOOKUP {
                    trash.throw(&self.inner.layout.blob(tree, &blob.digest))?;
                }
            }
        }
        freed.bytes = trash.empty()?;
        Ok(freed)
    }
}

impl Freed {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.images += other.images;
        self.records += other.records;
        self.snapshots += other.snapshots;
        self.blobs += other.blobs;
        self.mounts += other.mounts;
        self.objects.extend(other.objects);
    }
}

impl Inner {
    fn size(&self, blobs: &BTreeMap<oci::BlobDigest, u64>) -> Result<Size> {
        let mut size = Size { blobs: blobs.values().sum(), ..Size::default() };
        for id in self.snapshots()? {
            size.layers += self.known_size(&id)?;
        }
        for (_, path) in self.mount_directories()? {
            size.mounts += super::size::on_disk(&path.join("fs"))?;
        }
        Ok(size)
    }

    /// A sealed layer never changes.
    fn known_size(&self, id: &SnapshotId) -> Result<u64> {
        let known = self.sizes.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let size = self.snapshot_size(id)?;
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, size);
        Ok(size)
    }
}
