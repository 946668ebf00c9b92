//! What takes how much room.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use engine::{
    Engine,
    container::{self, volumes},
};
use oci::{BlobDigest, ImageId, Reference};
use store::{CacheEntry, Container, ContainerState, Family, Image, SnapshotId, Volume};

use super::Share;
use crate::report::Failure;

/// Everything in a store, with its size.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) images: Vec<ImageUsage>,
    pub(super) containers: Vec<(Container, ContainerState, u64)>,
    /// With how many containers have each.
    pub(super) volumes: Vec<(Volume, u64, usize)>,
    pub(super) cache: Vec<CacheEntry>,
    /// The layers that images have, with what the disk has of their files.
    pub(super) layers: BTreeMap<SnapshotId, u64>,
    /// What neither an image nor a step has, and the next collection takes.
    garbage: u64,
    blobs: BTreeMap<BlobDigest, u64>,
    /// The blobs of layers that containers stand on.
    used_blobs: BTreeSet<BlobDigest>,
    /// The layers that containers stand on, and that living processes use.
    used: BTreeSet<SnapshotId>,
}

/// An image, and how much of it is its own.
#[derive(Debug)]
pub(super) struct ImageUsage {
    pub(super) image: Rc<Image>,
    pub(super) names: Vec<Reference>,
    pub(super) size: u64,
    /// In layers that another image has too.
    pub(super) shared: u64,
    pub(super) containers: usize,
}

impl Usage {
    pub(super) fn of(engine: &Engine) -> Result<Self, Failure> {
        let store = engine.store();
        let all = store.containers()?;
        let states = store.container_states(&all)?;
        let mut containers = Vec::new();
        let mut used = store.held_snapshots()?;
        for (container, state) in all.into_iter().zip(states) {
            used.extend(&container.snapshots);
            let size = container::written_size(engine, &container)?;
            containers.push((container, state, size.on_disk()));
        }
        let (images, layers) = images(engine, &containers)?;
        let mut cache = store.cached_steps()?;
        let mut garbage = 0;
        let steps: BTreeSet<SnapshotId> = cache.iter().filter_map(|entry| entry.snapshot).collect();
        for id in store.snapshots()? {
            let is_known = layers.contains_key(&id) || steps.contains(&id) || used.contains(&id);
            garbage += if is_known { 0 } else { store.snapshot_size(&id)? };
        }
        cache.extend(store.cache_mounts()?);
        let mut volumes = Vec::new();
        for volume in store.volumes()? {
            let size = filetree::tree_size(&store.volume_directory(&volume.name))
                .map_err(engine::Error::from)?;
            let users = volumes::users(engine, &volume.name)?.len();
            volumes.push((volume, size.on_disk(), users));
        }
        let mut used_blobs = BTreeSet::new();
        for id in &used {
            let layer = store.layer(id)?;
            used_blobs.extend(layer.and_then(|layer| layer.blob).map(|blob| blob.digest));
        }
        let blobs = store.blobs()?;
        Ok(Self { images, containers, volumes, cache, layers, garbage, blobs, used_blobs, used })
    }

    pub(super) fn images(&self) -> Share {
        let unused = self.layers.iter().filter(|(id, _)| !self.used.contains(id));
        Share {
            total: self.images.len(),
            active: self.images.iter().filter(|image| image.containers > 0).count(),
            size: self.layers.values().sum(),
            reclaimable: unused.map(|(_, size)| size).sum(),
        }
    }

    pub(super) fn containers(&self) -> Share {
        let is_alive = |state: &ContainerState| state.status.is_alive();
        let ended = self.containers.iter().filter(|(_, state, _)| !is_alive(state));
        Share {
            total: self.containers.len(),
            active: self.containers.iter().filter(|(_, state, _)| is_alive(state)).count(),
            size: self.containers.iter().map(|(.., size)| size).sum(),
            reclaimable: ended.map(|(.., size)| size).sum(),
        }
    }

    pub(super) fn volumes(&self) -> Share {
        let unused = self.volumes.iter().filter(|(.., users)| *users == 0);
        Share {
            total: self.volumes.len(),
            active: self.volumes.iter().filter(|(.., users)| *users > 0).count(),
            size: self.volumes.iter().map(|(_, size, _)| size).sum(),
            reclaimable: unused.map(|(_, size, _)| size).sum(),
        }
    }

    /// What no image has.
    pub(super) fn cache(&self) -> Share {
        let own = || self.cache.iter().filter(|entry| !self.is_shared(entry));
        let unused = own().filter(|entry| !self.is_used(entry)).map(|entry| entry.size);
        Share {
            total: self.cache.len(),
            active: self.cache.iter().filter(|entry| self.is_used(entry)).count(),
            size: own().map(|entry| entry.size).sum::<u64>() + self.garbage,
            reclaimable: unused.sum::<u64>() + self.garbage,
        }
    }

    /// Layers as they came from a registry or an archive, or as they were compressed for one; and manifests.
    pub(super) fn blobs(&self) -> Share {
        let is_used = |digest: &BlobDigest| self.used_blobs.contains(digest);
        let unused = self.blobs.iter().filter(|(digest, _)| !is_used(digest));
        Share {
            total: self.blobs.len(),
            active: self.blobs.keys().filter(|digest| is_used(digest)).count(),
            size: self.blobs.values().sum(),
            reclaimable: unused.map(|(_, size)| size).sum(),
        }
    }

    /// Whether an image has it too.
    pub(super) fn is_shared(&self, entry: &CacheEntry) -> bool {
        entry.snapshot.is_some_and(|id| self.layers.contains_key(&id))
    }

    /// Whether a container stands on it, or a living process uses it.
    pub(super) fn is_used(&self, entry: &CacheEntry) -> bool {
        entry.snapshot.is_some_and(|id| self.used.contains(&id))
    }
}

/// Returns the images, the newest first, and the layers of all of them.
fn images(
    engine: &Engine,
    containers: &[(Container, ContainerState, u64)],
) -> Result<(Vec<ImageUsage>, BTreeMap<SnapshotId, u64>), Failure> {
    let store = engine.store();
    let all = store.images()?;
    let family = Family::of(&all);
    let mut tagged: BTreeMap<ImageId, Vec<Reference>> = BTreeMap::new();
    for (name, id) in store.tags()? {
        tagged.entry(id).or_default().push(name);
    }
    let mut layers = BTreeMap::new();
    let mut owners: BTreeMap<SnapshotId, usize> = BTreeMap::new();
    let mut listed = Vec::new();
    for image in all {
        let names = tagged.remove(&image.id).unwrap_or_default();
        let is_listed = !names.is_empty() || !family.has_children(&image.id);
        // A layer may be in one image twice.
        let own: BTreeSet<SnapshotId> = image.snapshots.iter().copied().collect();
        for id in own {
            layers.insert(id, store.snapshot_size(&id)?);
            *owners.entry(id).or_default() += usize::from(is_listed);
        }
        if is_listed {
            listed.push((Rc::new(image), names));
        }
    }
    let mut images = Vec::new();
    for (image, names) in listed {
        let size = |id: &&SnapshotId| layers.get(*id).copied().unwrap_or(0);
        let is_shared = |id: &&SnapshotId| owners.get(*id).is_some_and(|owners| *owners > 1);
        let users = containers.iter().filter(|(container, ..)| container.image == image.id);
        images.push(ImageUsage {
            size: image.snapshots.iter().map(|id| size(&id)).sum(),
            shared: image.snapshots.iter().filter(is_shared).map(|id| size(&id)).sum(),
            containers: users.count(),
            image,
            names,
        });
    }
    images.sort_by(|a, b| b.image.config.created.cmp(&a.image.config.created));
    Ok((images, layers))
}
