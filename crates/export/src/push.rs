//! An image to a registry: layers first, then the config, then the manifest that makes them an image; of several platforms
//! one after the other, and then the index that makes them one.
//!
//! Each layer is compressed, at most once in its life, and then sent; so while one is on its way another is being
//! compressed. What the registry has is neither read nor sent.

mod layer;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
};

use filetree::Flavour;
use oci::{Descriptor, DiffId, Reference};
use registry::{Client, News, Upload, Watcher};
use store::{Image, SnapshotId, Store, StoredManifest};
use tokio::{sync::Semaphore, task::JoinSet};

use self::{
    layer::{LayerPush, Others},
    source::Bytes,
};
use crate::{
    Annotations,
    error::{Error, Result},
    index,
    layer::{Compression, Layer, LayerOptions, compression_of},
    manifest::{self, MediaTypes},
};

/// How many blobs are sent at once, as Docker does.
const UPLOADS: usize = 5;

/// The characters of a layer's digest that people see.
const SHORT: usize = 12;

/// How an image is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushOptions {
    /// In whose words.
    pub types: MediaTypes,
    /// How its layers are compressed.
    pub layers: LayerOptions,
    /// What is said of it besides.
    pub annotations: Annotations,
    /// Whether it gets no tag at the registry, only the name of its digest.
    pub by_digest: bool,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            types: MediaTypes::AsKept,
            layers: LayerOptions { compression: Compression::Gzip, force: false },
            annotations: Annotations::default(),
            by_digest: false,
        }
    }
}

/// Where images are pushed from, and by whom.
#[derive(Debug, Clone)]
pub struct Pusher {
    /// The store.
    pub store: Store,
    /// How overlay marks deletions in it.
    pub flavour: Flavour,
    /// Who talks to registries.
    pub client: Client,
    /// Who watches.
    pub watcher: Watcher,
}

impl Pusher {
    /// Pushes an image, or those for several platforms and then the index of them; returns what describes the whole. The
    /// store remembers where each is to be found now.
    ///
    /// # Errors
    /// The registry may have some of the blobs and of the manifests by then, but nothing that gives them the name.
    pub async fn push(
        &self,
        images: &[Image],
        to: &Reference,
        options: &PushOptions,
    ) -> Result<Descriptor, Error> {
        if let [image] = images {
            return Ok(self.push_image(image, to, options, options.by_digest).await?.1);
        }
        let mut manifests = Vec::with_capacity(images.len());
        for image in images {
            manifests.push(self.push_image(image, to, options, true).await?.0);
        }
        let (descriptor, bytes) = index::index(&manifests, options.types, &options.annotations);
        let name = if options.by_digest { pinned(to, &descriptor)? } else { to.clone() };
        Ok(self.client.publish(&name, &descriptor.media_type, &bytes).await?)
    }

    /// Pushes one image. Returns what describes its manifest, with the platform, and what the registry says of it.
    async fn push_image(
        &self,
        image: &Image,
        to: &Reference,
        options: &PushOptions,
        by_digest: bool,
    ) -> Result<(Descriptor, Descriptor), Error> {
        let lease = self.store.lease_for_reading()?;
        lease.hold_image(&image.id)?;
        let layers = self.push_layers(image, to, options).await?;
        let (store, types, annotations) = (&self.store, options.types, &options.annotations);
        let assembled = manifest::assemble_of(store, image, types, layers, annotations)?;
        let config = Upload {
            to,
            blob: &assembled.config,
            source: Arc::new(Bytes(assembled.config_bytes)),
            mounts: &[],
            on_progress: Arc::new(|_| ()),
        };
        self.client.upload(&config).await?;
        let name = if by_digest { pinned(to, &assembled.descriptor)? } else { to.clone() };
        let (media_type, bytes) = (&assembled.descriptor.media_type, &assembled.manifest);
        let published = self.client.publish(&name, media_type, bytes).await?;
        // What one push was asked for in particular is not what the image is like from now on.
        let bytes = (*options == PushOptions::default()).then_some(bytes.as_slice());
        self.remember(image, to, &assembled.descriptor, bytes)?;
        Ok((assembled.descriptor, published))
    }

    /// Returns the layers as the registry has them now, bottom first.
    async fn push_layers(
        &self,
        image: &Image,
        to: &Reference,
        options: &PushOptions,
    ) -> Result<Vec<Layer>> {
        let diff_ids = &image.config.rootfs.diff_ids;
        let mut distinct = BTreeSet::new();
        let wanted: Vec<_> =
            image.snapshots.iter().copied().zip(diff_ids.iter().copied()).collect();
        for (_, diff_id) in wanted.iter().rev().filter(|(_, diff_id)| distinct.insert(*diff_id)) {
            self.watcher.tell(&short(diff_id), News::ToPush);
        }
        let others = Arc::new(Others::of(&self.store, to)?);
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let processors = u32::try_from(processors).unwrap_or(u32::MAX);
        let compressing = Arc::new(Semaphore::new(processors as usize));
        let sending = Arc::new(Semaphore::new(UPLOADS));
        let mut tasks = JoinSet::new();
        for (snapshot, diff_id) in &wanted {
            if !distinct.remove(diff_id) {
                continue;
            }
            let task = LayerPush {
                pusher: self.clone(),
                to: to.clone(),
                snapshot: *snapshot,
                diff_id: *diff_id,
                options: layer_options(&self.store, image, snapshot, &options.layers)?,
                others: Arc::clone(&others),
                processors,
                compressing: Arc::clone(&compressing),
                sending: Arc::clone(&sending),
            };
            tasks.spawn(task.run());
        }
        let mut done = BTreeMap::new();
        while let Some(ended) = tasks.join_next().await {
            // The first error ends the others: dropped, they stop sending.
            let layer = ended.map_err(|_| Error::Lost { what: "the push of a layer" })??;
            done.insert(layer.0, layer.1);
        }
        Ok(wanted.iter().filter_map(|(_, diff_id)| done.get(diff_id).cloned()).collect())
    }

    /// Remembers where the image can be had, and its manifest: pushed elsewhere, it has the same digest.
    fn remember(
        &self,
        image: &Image,
        to: &Reference,
        manifest: &Descriptor,
        bytes: Option<&[u8]>,
    ) -> Result<()> {
        if let Some(bytes) = bytes.filter(|_| image.manifest.is_none()) {
            self.store.put_blob(bytes)?;
            let digest = oci::ManifestDigest::new(*manifest.digest.as_digest());
            let stored = StoredManifest { digest, media_type: manifest.media_type.clone() };
            self.store.put_image(&image.config_bytes, &image.snapshots, Some(&stored))?;
        }
        Ok(self.store.add_digest(&image.id, &pinned(to, manifest)?)?)
    }
}

/// Returns the name of a manifest in a repository that no other will ever have.
fn pinned(to: &Reference, manifest: &Descriptor) -> Result<Reference> {
    let name = format!("{}/{}@{}", to.host(), to.path(), manifest.digest);
    Reference::parse(&name).map_err(|source| Error::Name { source })
}

/// What was kept uncompressed, as `docker save` writes it, is compressed for a registry; but not if a registry has the
/// image like that.
fn layer_options(
    store: &Store,
    image: &Image,
    snapshot: &SnapshotId,
    wanted: &LayerOptions,
) -> Result<LayerOptions> {
    let kept = store.layer(snapshot)?.and_then(|layer| layer.blob);
    let is_plain = kept
        .is_some_and(|blob| compression_of(&blob.media_type) == Some(Compression::Uncompressed));
    Ok(LayerOptions { force: wanted.force || (is_plain && image.digests.is_empty()), ..*wanted })
}

fn short(diff_id: &DiffId) -> String {
    diff_id.as_digest().to_hex().chars().take(SHORT).collect()
}
