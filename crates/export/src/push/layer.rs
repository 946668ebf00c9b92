//! One layer on its way to a registry: compressed, and sent.

use std::{collections::BTreeMap, sync::Arc};

use oci::{DiffId, Reference};
use registry::{News, Upload, Uploaded};
use store::{SnapshotId, Store};
use tokio::sync::Semaphore;

use super::{Pusher, short, source::LayerSource};
use crate::{
    error::{Error, Result},
    layer::{self, Layer, LayerOptions},
};

/// One layer on its way.
pub(super) struct LayerPush {
    pub(super) pusher: Pusher,
    pub(super) to: Reference,
    pub(super) snapshot: SnapshotId,
    pub(super) diff_id: DiffId,
    pub(super) options: LayerOptions,
    pub(super) others: Arc<Others>,
    pub(super) compressing: Arc<Semaphore>,
    pub(super) sending: Arc<Semaphore>,
}

impl LayerPush {
    pub(super) async fn run(self) -> Result<(DiffId, Layer)> {
        let layer = self.prepare().await?;
        // Never closed.
        let _permit = self.sending.acquire().await;
        let name = short(&self.diff_id);
        let (watcher, size, layer_name) =
            (self.pusher.watcher.clone(), layer.descriptor.size, name.clone());
        let upload = Upload {
            to: &self.to,
            blob: &layer.descriptor,
            source: Arc::new(LayerSource {
                store: self.pusher.store.clone(),
                flavour: self.pusher.flavour,
                layer: layer.clone(),
            }),
            mounts: self.others.that_may_have(&self.snapshot),
            on_progress: Arc::new(move |done| {
                watcher.tell(&layer_name, News::Pushing { done, size });
            }),
        };
        let news = match self.pusher.client.upload(&upload).await? {
            Uploaded::Present => News::There,
            Uploaded::Mounted(from) => News::Mounted(from),
            Uploaded::Sent => News::Pushed,
        };
        self.pusher.watcher.tell(&name, news);
        Ok((self.diff_id, layer))
    }

    async fn prepare(&self) -> Result<Layer> {
        let _permit = self.compressing.acquire().await;
        let (store, flavour) = (self.pusher.store.clone(), self.pusher.flavour);
        let (snapshot, diff_id, options) = (self.snapshot, self.diff_id, self.options);
        let work = move || layer::prepare(&store, flavour, snapshot, diff_id, &options);
        let prepared = tokio::task::spawn_blocking(work).await;
        prepared.map_err(|_| Error::Lost { what: "the compression of a layer" })?
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
