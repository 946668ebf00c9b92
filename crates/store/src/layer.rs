//! What a snapshot is as a layer of an image: known once it was packed, or from the start where it was unpacked.

use oci::{ChainId, Descriptor, DiffId};
use serde::{Deserialize, Serialize};

use crate::{SnapshotId, Store, error::Error, record::Kind};

/// A snapshot as a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The size of its tar in bytes.
    pub size: u64,
    /// How many bytes its files contain; `None` in a record of before that was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<u64>,
    /// How many of those bytes are holes, and not on the disk. None in a record of before that was written down: it says no
    /// more than what there would be without holes.
    #[serde(default, skip_serializing_if = "is_none")]
    pub holes: u64,
    /// What its files contain and how they are called, where that is not what it is packed from again: as `filetree::contents`
    /// makes it, while it is unpacked. `None` in a record of before that was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// The blob that it was unpacked from, as loaded or pulled; `None` for what was built: that is packed again, byte
    /// for byte, when it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Descriptor>,
    /// The seconds since 1970 that later times of its files were set to, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<i64>,
    /// Whether its blob turned out to be damaged, and was dropped: then the layer is to be loaded or pulled again before it
    /// can leave as it came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetch_again: bool,
}

impl Layer {
    /// Returns how many bytes of its files the disk has, if that was written down.
    pub fn on_disk(&self) -> Option<u64> {
        self.contents.map(|contents| contents.saturating_sub(self.holes))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it")]
fn is_none(bytes: &u64) -> bool {
    *bytes == 0
}

impl Store {
    /// Remembers what a snapshot is as a layer.
    pub fn set_layer(&self, id: &SnapshotId, layer: &Layer) -> Result<(), Error> {
        self.inner.put(Kind::Layer, &id.to_string(), layer)
    }

    /// Returns what a snapshot is as a layer, `None` if that is not known (yet).
    pub fn layer(&self, id: &SnapshotId) -> Result<Option<Layer>, Error> {
        self.inner.get(Kind::Layer, &id.to_string())
    }

    /// Remembers the blob that a snapshot's layer has become with a compression `profile` (`gzip-6`: letters, digits,
    /// `-`). The blob itself may be removed at any time; what it is called stays true.
    pub fn set_packed(
        &self,
        id: &SnapshotId,
        profile: &str,
        blob: &Descriptor,
    ) -> Result<(), Error> {
        self.inner.put(Kind::Packed, &packed_key(id, profile), blob)
    }

    /// Returns what a snapshot's layer is called with a compression profile, if that was ever made.
    pub fn packed(&self, id: &SnapshotId, profile: &str) -> Result<Option<Descriptor>, Error> {
        self.inner.get(Kind::Packed, &packed_key(id, profile))
    }

    /// Remembers the snapshot of the topmost layer of a chain, so that loading it again unpacks nothing.
    pub fn set_snapshot_of_chain(&self, chain: &ChainId, id: &SnapshotId) -> Result<(), Error> {
        self.inner.put(Kind::Chain, &chain_key(chain), id)
    }

    /// Returns the snapshot of the topmost layer of a chain, `None` if it is gone, or has lost its blob.
    pub fn snapshot_of_chain(&self, chain: &ChainId) -> Result<Option<SnapshotId>, Error> {
        let Some(id) = self.inner.get(Kind::Chain, &chain_key(chain))? else { return Ok(None) };
        let is_there = self.inner.has_snapshot(&id)? && !self.is_to_be_fetched_again(&[id])?;
        Ok(is_there.then_some(id))
    }

    /// Whether the blob of one of these layers was damaged, so that it is to be loaded or pulled again.
    pub fn is_to_be_fetched_again(&self, ids: &[SnapshotId]) -> Result<bool, Error> {
        for id in ids {
            if self.layer(id)?.is_some_and(|layer| layer.fetch_again) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn packed_key(id: &SnapshotId, profile: &str) -> String {
    let profile: String =
        profile.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("{id}-{profile}")
}

/// Returns the key of the same profile for another snapshot.
pub(crate) fn packed_key_of(key: &str, id: &SnapshotId) -> String {
    packed_key(id, key.split_once('-').map_or("", |(_, profile)| profile))
}

fn chain_key(chain: &ChainId) -> String {
    let digest = chain.as_digest();
    format!("{}-{}", digest.algorithm(), digest.to_hex())
}

/// Returns the snapshot that a record of kind [`Kind::Packed`] is about.
pub(crate) fn snapshot_of_packed_key(key: &str) -> Option<SnapshotId> {
    SnapshotId::parse(key.split('-').next()?)
}

#[cfg(test)]
mod tests {
    use oci::{Digest, media_type};

    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn what_is_known_of_a_snapshot_is_known_to_the_next_process() {
        let scratch = Scratch::new("layer");
        let store = scratch.store();
        let id = store.create_snapshot().unwrap().seal().unwrap();
        assert_eq!(store.layer(&id).unwrap(), None);
        let blob = Descriptor::of(media_type::DOCKER_LAYER_GZIP, b"gzip");
        let diff_id = DiffId::new(Digest::of(b"tar"));
        let layer = Layer {
            diff_id,
            size: 3,
            contents: Some(2),
            holes: 1,
            checksum: Some("xxh64-1-0".to_owned()),
            blob: Some(blob.clone()),
            rewritten: None,
            fetch_again: false,
        };
        store.set_layer(&id, &layer).unwrap();
        store.set_packed(&id, "gzip-6", &blob).unwrap();
        let chain = ChainId::bottom(diff_id);
        store.set_snapshot_of_chain(&chain, &id).unwrap();
        drop(store);

        let store = scratch.store();
        assert_eq!(layer.on_disk(), Some(1));
        assert_eq!(store.layer(&id).unwrap(), Some(layer));
        assert_eq!(store.packed(&id, "gzip-6").unwrap(), Some(blob));
        assert_eq!(store.packed(&id, "gzip-9").unwrap(), None);
        assert_eq!(store.snapshot_of_chain(&chain).unwrap(), Some(id));
        assert_eq!(store.snapshot_of_chain(&chain.extend(diff_id)).unwrap(), None);
        assert_eq!(snapshot_of_packed_key(&packed_key(&id, "gzip-6")), Some(id));
    }

    #[test]
    fn a_record_of_before_holes_were_counted() {
        let text =
            format!(r#"{{"diff_id":"{}","size":10240,"contents":7000}}"#, Digest::of(b"tar"));
        let layer: Layer = serde_json::from_str(&text).unwrap();
        assert_eq!((layer.contents, layer.holes, layer.on_disk()), (Some(7000), 0, Some(7000)));
        // And what has no holes is written as it was.
        assert_eq!(serde_json::to_string(&layer).unwrap(), text);
    }
}
