//! One layer on its way to a registry: compressed, and sent meanwhile.
//!
//! What a layer was called when it was compressed before is remembered, and the registry is asked for that first. Where
//! nothing is remembered, a large layer is sent before anybody knows its digest; a small one is compressed so soon that the
//! registry can as well be asked.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use oci::{DiffId, Reference};
use registry::{Growing, Grown, News, OnProgress, Upload, Uploaded};
use store::{BlobWriter, Following, SnapshotId, Store};
use tokio::sync::{Semaphore, oneshot};

use super::{
    Pusher, short,
    source::{GrowingSource, LayerSource},
};
use crate::{
    error::{Error, Result},
    layer::{self, Layer, LayerOptions},
};

/// The bytes of a tar from which on it is sent while it is being compressed. A processor compresses so much in about a
/// twentieth of a second.
const LARGE: u64 = 4 * 1024 * 1024;

/// The processors that such a layer counts for. It keeps as many busy by itself, and has its blocks in memory for them: more
/// of them at once would take no less time, and more memory.
const PLACES: u32 = 4;

/// One layer on its way.
pub(super) struct LayerPush {
    pub(super) pusher: Pusher,
    pub(super) to: Reference,
    pub(super) snapshot: SnapshotId,
    pub(super) diff_id: DiffId,
    pub(super) options: LayerOptions,
    pub(super) others: Arc<Others>,
    /// How many there are, and those that have nothing to compress.
    pub(super) processors: u32,
    pub(super) compressing: Arc<Semaphore>,
    pub(super) sending: Arc<Semaphore>,
}

impl LayerPush {
    pub(super) async fn run(self) -> Result<(DiffId, Layer)> {
        let (layer, uploaded) = match self.find().await? {
            Some(found) => found,
            None => self.make().await?,
        };
        let news = match uploaded {
            Uploaded::Present => News::There,
            Uploaded::Mounted(from) => News::Mounted(from),
            Uploaded::Sent => News::Pushed,
        };
        self.pusher.watcher.tell(&short(&self.diff_id), news);
        Ok((self.diff_id, layer))
    }

    /// Asks the registry for a layer that would have to be compressed, if it is known what it will be.
    async fn find(&self) -> Result<Option<(Layer, Uploaded)>> {
        let store = &self.pusher.store;
        let Some(layer) = layer::remembered(store, self.snapshot, &self.options)? else {
            return Ok(None);
        };
        // Never closed.
        let _permit = self.sending.acquire().await;
        let upload = self.upload(&layer, Arc::new(|_| ()));
        let found = self.pusher.client.find_blob(&upload).await?;
        Ok(found.map(|uploaded| (layer, uploaded)))
    }

    /// Prepares the layer and sends it; at the same time, if it has to be compressed and there is much of it.
    async fn make(&self) -> Result<(Layer, Uploaded)> {
        let (begun, following) = oneshot::channel();
        let mut preparing = pin!(self.prepare(begun));
        if !self.is_large()? || !self.pusher.client.takes_growing(&self.to) {
            return self.send(preparing.await?).await;
        }
        let place = async {
            let following = following.await;
            (following, self.sending.acquire().await)
        };
        let (following, _permit) = tokio::select! {
            biased;
            // It was there, or others were sent meanwhile: now that it is known what it is, the registry can be asked.
            layer = &mut preparing => return self.send(layer?).await,
            place = place => place,
        };
        match following {
            Ok(following) => self.send_growing(following, preparing).await,
            Err(_) => self.send(preparing.await?).await,
        }
    }

    fn is_large(&self) -> Result<bool> {
        let layer = self.pusher.store.layer(&self.snapshot)?;
        Ok(layer.is_some_and(|layer| layer.size >= LARGE))
    }

    async fn prepare(&self, begun: oneshot::Sender<Following>) -> Result<Layer> {
        let places = match self.is_large()? {
            // What is there already waits for nobody.
            _ if !layer::needs_work(&self.pusher.store, &self.snapshot, &self.options) => 0,
            true => self.processors.min(PLACES),
            false => 1,
        };
        let permit = Arc::clone(&self.compressing).acquire_many_owned(places).await;
        let (store, flavour) = (self.pusher.store.clone(), self.pusher.flavour);
        let (snapshot, diff_id, options) = (self.snapshot, self.diff_id, self.options);
        let work = move || {
            let _permit = permit;
            let tell = |blob: &mut BlobWriter| {
                // Nobody waits for it where the layer is sent when it is complete.
                let _ = begun.send(blob.follow()?);
                Ok(())
            };
            layer::prepare(&store, flavour, snapshot, diff_id, &options, tell)
        };
        let prepared = tokio::task::spawn_blocking(work).await;
        prepared.map_err(|_| Error::Lost { what: "the compression of a layer" })?
    }

    /// Sends a layer that is complete, unless the registry has it.
    async fn send(&self, layer: Layer) -> Result<(Layer, Uploaded)> {
        // Never closed.
        let _permit = self.sending.acquire().await;
        let (name, watcher) = (short(&self.diff_id), self.pusher.watcher.clone());
        let size = layer.descriptor.size;
        let tell = Arc::new(move |done| watcher.tell(&name, News::Pushing { done, size }));
        let uploaded = self.pusher.client.upload(&self.upload(&layer, tell)).await?;
        Ok((layer, uploaded))
    }

    /// Sends a layer while it is being compressed.
    async fn send_growing(
        &self,
        following: Following,
        preparing: impl Future<Output = Result<Layer>>,
    ) -> Result<(Layer, Uploaded)> {
        let _unwanted = Unwanted(&following);
        let (name, watcher) = (short(&self.diff_id), self.pusher.watcher.clone());
        let growth = following.clone();
        let growing = Growing {
            to: &self.to,
            source: Arc::new(GrowingSource(following.clone())),
            mounts: self.others.that_may_have(&self.snapshot),
            on_progress: Arc::new(move |done| {
                // As much as there is by now: nobody knows how much it will be.
                watcher.tell(&name, News::Pushing { done, size: growth.length() });
            }),
        };
        let mut complete = None;
        let grown = async {
            let layer = complete.insert(preparing.await?);
            let source = self.source(layer);
            Ok::<_, Error>(Grown { blob: layer.descriptor.clone(), source })
        };
        let (_, uploaded) = self.pusher.client.upload_growing(&growing, grown).await?;
        let layer = complete.ok_or(Error::Lost { what: "a layer" })?;
        Ok((layer, uploaded))
    }

    fn upload<'a>(&'a self, layer: &'a Layer, on_progress: OnProgress) -> Upload<'a> {
        let (blob, source) = (&layer.descriptor, self.source(layer));
        let mounts = self.others.that_may_have(&self.snapshot);
        Upload { to: &self.to, blob, source, mounts, on_progress }
    }

    fn source(&self, layer: &Layer) -> Arc<LayerSource> {
        let (store, flavour) = (self.pusher.store.clone(), self.pusher.flavour);
        Arc::new(LayerSource { store, flavour, layer: layer.clone() })
    }
}

/// A layer that nobody wants any more when this is dropped: then it is not compressed to its end.
struct Unwanted<'a>(&'a Following);

impl Drop for Unwanted<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The other repositories of a registry that images with the same layers have names in: they may have them, too.
#[derive(Debug, Default)]
pub(super) struct Others(BTreeMap<SnapshotId, Vec<Reference>>);

impl Others {
    pub(super) fn of(store: &Store, to: &Reference) -> Result<Self> {
        let mut others = Self::default();
        for (name, id) in store.tags()? {
            if name.host() != to.host() || name.path() == to.path() {
                continue;
            }
            for snapshot in store.image(&id)?.map(|image| image.snapshots).unwrap_or_default() {
                let known = others.0.entry(snapshot).or_default();
                if !known.iter().any(|known| known.path() == name.path()) {
                    known.push(name.clone());
                }
            }
        }
        Ok(others)
    }

    fn that_may_have(&self, snapshot: &SnapshotId) -> &[Reference] {
        self.0.get(snapshot).map(Vec::as_slice).unwrap_or_default()
    }
}
