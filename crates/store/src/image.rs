//! Images: a config and the snapshots of its layers. What an image was before its last steps is in `ancestor`, who
//! descends from whom in `family`, what a listing needs of all of them in `outline`.

mod ancestor;
mod family;
mod outline;

use std::collections::BTreeSet;

use oci::{Digest, ImageConfig, ImageId, ManifestDigest, Reference};
use serde::{Deserialize, Serialize};

pub(crate) use self::family::Line;
pub use self::{
    ancestor::{Ancestor, Ancestry},
    family::Family,
    outline::Outline,
};
use crate::{
    Layer, SnapshotId, Store,
    error::{Error, Result},
    lease::Held,
    lock::Lock,
    open::Inner,
    record::Kind,
};

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of its config's bytes.
    pub id: ImageId,
    /// The config.
    pub config: ImageConfig,
    /// The config as it was stored: the bytes that the id is the digest of.
    pub config_bytes: Vec<u8>,
    /// The snapshots of its layers, bottom first, one for each diff id of the config.
    pub snapshots: Vec<SnapshotId>,
    /// The manifest that it came with; `None` for what was built here and was never pushed.
    pub manifest: Option<StoredManifest>,
    /// Under which digests it can be had from registries: `host/path@digest`, of a manifest or of an index that lists it.
    pub digests: BTreeSet<Reference>,
    /// How it was made here.
    pub ancestry: Ancestry,
    /// How many bytes the files of its layers contain, if that was known when it was stored: for listings, which would have to
    /// read the record of each layer.
    pub contents: Option<u64>,
}

/// The manifest of an image that was loaded or pulled; its bytes are a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredManifest {
    /// The digest of its bytes.
    pub digest: ManifestDigest,
    /// Its type, as the archive or the registry has it.
    pub media_type: String,
}

/// The body of an image's record. The config is in it as text: an image that was built needs no blob.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) config: String,
    pub(crate) snapshots: Vec<SnapshotId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<StoredManifest>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) digests: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Ancestry::is_empty")]
    pub(crate) ancestry: Ancestry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contents: Option<u64>,
}

impl Store {
    /// Stores an image; its snapshots, and its manifest's blob, are there before. Writes nothing if it is there.
    ///
    /// # Errors
    /// A config that cannot be read, or that lists another number of layers.
    pub fn put_image(
        &self,
        config_bytes: &[u8],
        snapshots: &[SnapshotId],
        manifest: Option<&StoredManifest>,
    ) -> Result<ImageId, Error> {
        self.put_made_image(config_bytes, snapshots, manifest, &Ancestry::default())
    }

    /// Stores an image of which is known how it was made; else like [`Store::put_image`].
    pub fn put_made_image(
        &self,
        config_bytes: &[u8],
        snapshots: &[SnapshotId],
        manifest: Option<&StoredManifest>,
        ancestry: &Ancestry,
    ) -> Result<ImageId, Error> {
        let lock = self.inner.lock_shared()?;
        self.inner.put_made_image(&lock, config_bytes, snapshots, manifest, ancestry)
    }

    /// Remembers that a registry has an image under this reference, whose digest counts.
    pub fn add_digest(&self, id: &ImageId, reference: &Reference) -> Result<(), Error> {
        let Some(name) = name_of_digest(reference) else { return Ok(()) };
        // Read and written again: nobody may do the same in between.
        let lock = self.inner.lock_exclusive()?;
        let Some(mut record) = self.inner.get::<ImageRecord>(Kind::Image, &key(id))? else {
            return Err(Error::NoSuchImage { name: id.to_string() });
        };
        if !record.digests.insert(name) {
            return Ok(());
        }
        self.inner.put_locked(&lock, Kind::Image, &key(id), &record)
    }

    /// Returns an image, or what an image was before one of its steps; `None` if it is not there.
    pub fn image(&self, id: &ImageId) -> Result<Option<Image>, Error> {
        self.inner.image(id)
    }

    /// Returns all images, in the order of their ids; without what they were before.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let mut images = Vec::new();
        self.inner.each_image(|image| images.push(image))?;
        Ok(images)
    }

    /// Whether an image is one by itself, and not only what another one was before.
    pub fn is_whole_image(&self, id: &ImageId) -> Result<bool, Error> {
        Ok(self.inner.whole_image(id)?.is_some())
    }
}

impl Inner {
    /// Stores an image under a lock that the caller holds.
    pub(crate) fn put_made_image(
        &self,
        lock: &Lock,
        config_bytes: &[u8],
        snapshots: &[SnapshotId],
        manifest: Option<&StoredManifest>,
        ancestry: &Ancestry,
    ) -> Result<ImageId> {
        self.hold_made(lock, Held::Image(ImageId::new(Digest::of(config_bytes))))?;
        let image = self.put_held_image(lock, config_bytes, snapshots, manifest, ancestry)?;
        Ok(image.id)
    }

    /// The same for an image that is held already. Returns it as it is stored.
    pub(crate) fn put_held_image(
        &self,
        lock: &Lock,
        config_bytes: &[u8],
        snapshots: &[SnapshotId],
        manifest: Option<&StoredManifest>,
        ancestry: &Ancestry,
    ) -> Result<Image> {
        let config = ImageConfig::parse(config_bytes).map_err(|source| Error::Config { source })?;
        let layers = config.rootfs.diff_ids.len();
        if layers != snapshots.len() {
            return Err(Error::LayerCount { layers, snapshots: snapshots.len() });
        }
        let id = ImageId::new(Digest::of(config_bytes));
        let mut record = ImageRecord {
            // What was read as JSON is UTF-8, so nothing is lost.
            config: String::from_utf8_lossy(config_bytes).into_owned(),
            snapshots: snapshots.to_vec(),
            manifest: manifest.cloned(),
            digests: BTreeSet::new(),
            ancestry: ancestry.clone(),
            contents: None,
        };
        if record.ancestry.base == Some(id) {
            // Nothing was done to it.
            record.ancestry = Ancestry::default();
        }
        let old = self.get::<ImageRecord>(Kind::Image, &key(&id))?;
        let known = old.as_ref().map(|old| &old.ancestry);
        record.ancestry = record.ancestry.with_ids(&config, known);
        if let Some(old) = &old {
            // Built again, it is still the one that was pulled.
            record.manifest = record.manifest.or_else(|| old.manifest.clone());
            record.digests.clone_from(&old.digests);
            // Pulled, it is still the one that was built.
            if record.ancestry.is_empty() {
                record.ancestry.clone_from(&old.ancestry);
            }
            // A build that changes nothing reads no record of a layer for it.
            record.contents = old.contents.filter(|_| old.snapshots == record.snapshots);
        }
        if record.contents.is_none() {
            record.contents = self.contents_of(snapshots)?;
        }
        if old.as_ref() != Some(&record) {
            self.put_locked(lock, Kind::Image, &key(&id), &record)?;
        }
        Ok(record.into_image(id, config))
    }

    /// Returns how many bytes the files of these layers contain, if that is known of all of them.
    fn contents_of(&self, snapshots: &[SnapshotId]) -> Result<Option<u64>> {
        let mut sum = 0;
        for id in snapshots {
            let layer: Option<Layer> = self.get(Kind::Layer, &id.to_string())?;
            let Some(contents) = layer.and_then(|layer| layer.contents) else { return Ok(None) };
            sum += contents;
        }
        Ok(Some(sum))
    }

    /// Forgets that a registry has an image under this reference; nothing happens if it is not known.
    pub(crate) fn remove_digest(
        &self,
        lock: &Lock,
        id: &ImageId,
        reference: &Reference,
    ) -> Result<()> {
        let Some(name) = name_of_digest(reference) else { return Ok(()) };
        let Some(mut record) = self.get::<ImageRecord>(Kind::Image, &key(id))? else {
            return Ok(());
        };
        if !record.digests.remove(&name) {
            return Ok(());
        }
        self.put_locked(lock, Kind::Image, &key(id), &record)
    }

    /// Returns the ids of all images there are.
    pub(crate) fn image_ids(&self) -> Result<BTreeSet<ImageId>> {
        Ok(self.keys(Kind::Image)?.iter().filter_map(|key| id_of_key(key)).collect())
    }

    /// Returns an image, or an ancestor of one.
    pub(crate) fn image(&self, id: &ImageId) -> Result<Option<Image>> {
        match self.whole_image(id)? {
            Some(image) => Ok(Some(image)),
            None => Ok(self.ancestors(|ancestor| ancestor == id)?.pop()),
        }
    }

    /// Takes a look at each image that has a record, in the order of their ids.
    pub(crate) fn each_image(&self, mut look: impl FnMut(Image)) -> Result<()> {
        let there = self.snapshots()?.into_iter().collect();
        for id in self.image_ids()? {
            self.image_upon(&id, &there)?.into_iter().for_each(&mut look);
        }
        Ok(())
    }

    /// Returns an image that has a record.
    pub(crate) fn whole_image(&self, id: &ImageId) -> Result<Option<Image>> {
        self.image_upon(id, &BTreeSet::new())
    }

    /// Returns an image that has a record; `there` are snapshots that need not be looked for.
    fn image_upon(&self, id: &ImageId, there: &BTreeSet<SnapshotId>) -> Result<Option<Image>> {
        let Some(record) = self.get::<ImageRecord>(Kind::Image, &key(id))? else { return Ok(None) };
        // A file system may lose the removal of a record and not that of what it points to.
        for snapshot in record.snapshots.iter().filter(|id| !there.contains(id)) {
            if !self.has_snapshot(snapshot)? {
                return Ok(None);
            }
        }
        let config = ImageConfig::parse(record.config.as_bytes());
        let config = config.map_err(|source| Error::Config { source })?;
        Ok(Some(record.into_image(*id, config)))
    }
}

impl ImageRecord {
    /// Returns the image, whose config has been read.
    fn into_image(self, id: ImageId, config: ImageConfig) -> Image {
        let Self { config: text, snapshots, manifest, digests, ancestry, contents } = self;
        let (config_bytes, digests) = (text.into_bytes(), references(&digests));
        Image { id, config, config_bytes, snapshots, manifest, digests, ancestry, contents }
    }
}

/// Returns the name that a digest gives in a repository; `None` without a digest.
fn name_of_digest(reference: &Reference) -> Option<String> {
    reference.digest()?;
    Some(crate::tag::name(reference))
}

fn references(names: &BTreeSet<String>) -> BTreeSet<Reference> {
    names.iter().filter_map(|name| Reference::parse(name).ok()).collect()
}

/// Returns the key of an image's record: a file name.
pub(crate) fn key(id: &ImageId) -> String {
    id.to_string().replace(':', "-")
}

fn id_of_key(key: &str) -> Option<ImageId> {
    ImageId::parse(&key.replacen('-', ":", 1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","made-by":"somebody",
        "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;

    #[test]
    fn its_size_is_known_as_soon_as_that_of_all_layers_is() {
        let scratch = Scratch::new("image-size");
        let store = scratch.store();
        let snapshot = store.create_snapshot().unwrap().seal().unwrap();
        let put = || {
            let id = store.put_image(CONFIG, &[snapshot], None).unwrap();
            store.image(&id).unwrap().unwrap().contents
        };
        assert_eq!(put(), None);
        let mut layer = Layer {
            diff_id: oci::DiffId::new(Digest::of(b"")),
            size: 1024,
            contents: Some(700),
            holes: 600,
            checksum: None,
            blob: None,
            rewritten: None,
            fetch_again: false,
        };
        store.set_layer(&snapshot, &layer).unwrap();
        assert_eq!(put(), Some(700));
        // Nobody looks again.
        layer.contents = Some(800);
        store.set_layer(&snapshot, &layer).unwrap();
        assert_eq!(put(), Some(700));
        // And what was written before that is read, as having none.
        let old: ImageRecord = serde_json::from_str(r#"{"config":"","snapshots":[]}"#).unwrap();
        assert_eq!(old.contents, None);
    }

    #[test]
    fn an_image_comes_back_byte_for_byte() {
        let scratch = Scratch::new("image");
        let store = scratch.store();
        let snapshot = store.create_snapshot().unwrap().seal().unwrap();
        let manifest = StoredManifest {
            digest: ManifestDigest::new(Digest::of(b"manifest")),
            media_type: oci::media_type::OCI_MANIFEST.to_owned(),
        };
        let id = store.put_image(CONFIG, &[snapshot], Some(&manifest)).unwrap();
        assert_eq!(id, ImageId::new(Digest::of(CONFIG)));
        // Built again, without a manifest: the same image.
        assert_eq!(store.put_image(CONFIG, &[snapshot], None).unwrap(), id);
        let image = store.image(&id).unwrap().unwrap();
        assert_eq!(image.config_bytes, CONFIG);
        assert_eq!(image.config.architecture, "amd64");
        assert_eq!((image.snapshots, image.manifest), (vec![snapshot], Some(manifest)));
        assert_eq!(store.images().unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let scratch = Scratch::new("image-wrong");
        let store = scratch.store();
        let wrong = store.put_image(b"{", &[], None);
        assert!(matches!(wrong, Err(Error::Config { .. })), "{wrong:?}");
        let wrong = store.put_image(CONFIG, &[], None);
        assert!(matches!(wrong, Err(Error::LayerCount { layers: 1, snapshots: 0 })), "{wrong:?}");
        assert!(store.images().unwrap().is_empty());
    }

    #[test]
    fn removing_takes_the_tags_along() {
        let scratch = Scratch::new("image-remove");
        let store = scratch.store();
        let snapshot = store.create_snapshot().unwrap().seal().unwrap();
        let id = store.put_image(CONFIG, &[snapshot], None).unwrap();
        store.tag(&Reference::parse("a:1").unwrap(), &id).unwrap();
        store.tag(&Reference::parse("b").unwrap(), &id).unwrap();
        store.inventory().unwrap().remove_image(&id).unwrap();
        assert!(store.tags().unwrap().is_empty());
        assert_eq!(store.image(&id).unwrap(), None);
        let again = store.inventory().unwrap().remove_image(&id);
        assert!(matches!(again, Err(Error::NoSuchImage { .. })), "{again:?}");
    }
}
