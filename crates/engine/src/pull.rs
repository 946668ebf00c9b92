//! Images from a registry into the store: `kiln pull`, and bases that are not there yet.
//!
//! All layers at once, each in a stream of its own (`layer`): downloaded into a file that stays when the download breaks
//! off (`store::Partial`), verified, decompressed and unpacked on those below (`floors`). Those that the store has are not
//! downloaded. The image becomes visible when all of it is there.

mod floors;
mod layer;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use oci::{ChainId, Manifest, ManifestDigest, Platform, Reference, media_type};
use registry::{Client, News, Resolved, Watcher};
use store::{Image, Lease, SnapshotId, StoredManifest};
use tokio::task::JoinSet;

use self::{
    floors::{Floors, GiveUp},
    layer::LayerPull,
};
use crate::{Engine, Error, LimitName, load};

/// How many layers are on their way at once: about as many streams as it takes to fill a line.
const AT_ONCE: usize = 6;

/// What was pulled.
#[derive(Debug)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// The digest of what the reference names: an index, or a manifest.
    pub digest: ManifestDigest,
    /// Whether the name stands for another image than before.
    pub is_news: bool,
}

/// Which images are taken that a registry has for one platform only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// All.
    Any,
    /// Those for the platform that is asked for.
    Platform,
}

/// What is to be pulled.
#[derive(Debug, Clone, Copy)]
pub struct PullRequest<'a> {
    /// Its name.
    pub reference: &'a Reference,
    /// What it is to run on.
    pub platform: &'a Platform,
    /// Which are taken.
    pub accept: Accept,
    /// Who watches.
    pub watcher: &'a Watcher,
}

/// Pulls the image that a reference means on a platform, and gives it that name. Images for other platforms keep it.
///
/// What the store has under that name costs one request, which asks whether it is still the newest; under a digest, none.
///
/// # Errors
/// Layers that are complete stay, and what has come of the others: the next pull goes on from there.
pub async fn pull(
    engine: &Engine,
    client: &Client,
    request: &PullRequest<'_>,
) -> Result<Pulled, Error> {
    let pulled = fetch(engine, client, request).await?;
    engine.store().tag_beside(&request.reference.tagged(), &pulled.image)?;
    Ok(pulled)
}

/// The same without a name.
pub(crate) async fn fetch(
    engine: &Engine,
    client: &Client,
    request: &PullRequest<'_>,
) -> Result<Pulled, Error> {
    let PullRequest { platform, accept, watcher, .. } = *request;
    let reference = request.reference.tagged();
    let known = engine.store().find_platform(&reference, platform)?;
    // One that merely runs there may be for another platform than the one that a registry has for this.
    let exact = known.as_ref().filter(|image| image.config.platform() == *platform);
    if let Some(image) = exact
        && !engine.store().is_to_be_fetched_again(&image.snapshots)?
        && let Some(digest) = newest(client, &reference, image).await?
    {
        watcher.tell(&shown(&reference), News::Found(reference.clone()));
        return Ok(Pulled { image: image.clone(), digest, is_news: false });
    }
    let resolved = client.resolve(&reference, platform).await?;
    let offered = resolved.config.platform();
    if accept == Accept::Platform && !platform.runs(&offered) {
        let (name, wanted) = (reference.familiar(), Box::new(platform.clone()));
        return Err(Error::OtherPlatform { name, wanted, there: vec![offered], source: None });
    }
    watcher.tell(&shown(&reference), News::Found(reference.clone()));
    let lease = engine.store().lease()?;
    let snapshots = layers(engine, client, &reference, &resolved, &lease, watcher).await?;
    let image = commit(engine, &reference, &resolved, &snapshots)?;
    let is_news = known.is_none_or(|known| known.id != image.id);
    Ok(Pulled { digest: *resolved.digest(), image, is_news })
}

/// What people call an image of a repository that they have named.
fn shown(reference: &Reference) -> String {
    match reference.digest() {
        Some(_) => reference.familiar(),
        None => reference.tag_or_latest().to_owned(),
    }
}

/// Returns the digest that the reference stands for at the registry, if that is the image.
async fn newest(
    client: &Client,
    reference: &Reference,
    image: &Image,
) -> Result<Option<ManifestDigest>, Error> {
    let is_here = |digest: &ManifestDigest| {
        image.digests.iter().any(|known| {
            (known.host(), known.path()) == (reference.host(), reference.path())
                && known.digest() == Some(digest)
        })
    };
    match reference.digest() {
        Some(digest) => Ok(Some(*digest)),
        // Without a digest to compare with there is no need to ask for one.
        None if image.digests.is_empty() => Ok(None),
        None => Ok(Some(client.digest(reference).await?).filter(is_here)),
    }
}

/// Refuses what is too much before anything of it is downloaded.
fn check_size(engine: &Engine, reference: &Reference, manifest: &Manifest) -> Result<(), Error> {
    let limits = engine.limits();
    let over = |name: String, limit, unit| {
        Err(Error::Limit { name, limit, allowed: limits.get(limit), unit })
    };
    if manifest.layers.len() as u64 > limits.layers {
        return over(reference.familiar(), LimitName::Layers, "layers");
    }
    match manifest.layers.iter().find(|layer| layer.size > limits.layer.bytes) {
        Some(large) => over(large.digest.to_string(), LimitName::LayerBytes, "bytes"),
        None => Ok(()),
    }
}

/// Gets the layers that are not there; returns all, bottom first, held by `lease`.
async fn layers(
    engine: &Engine,
    client: &Client,
    reference: &Reference,
    resolved: &Resolved,
    lease: &Lease,
    watcher: &Watcher,
) -> Result<Vec<SnapshotId>, Error> {
    let (manifest, diff_ids) = (&resolved.manifest, &resolved.config.rootfs.diff_ids);
    check_size(engine, reference, manifest)?;
    let chains = ChainId::of_each(diff_ids);
    let mut snapshots = Vec::with_capacity(chains.len());
    for (chain, descriptor) in chains.iter().zip(&manifest.layers) {
        let known = held(engine, lease, chain)?;
        let news = if known.is_some() { News::Here } else { News::ToPull };
        watcher.tell(&layer::short(descriptor), news);
        snapshots.push(known);
    }
    let directory = |id: &SnapshotId| engine.store().snapshot_dir(id);
    let known = snapshots.iter().map(|known| known.as_ref().map(directory)).collect();
    let floors = Arc::new(Floors::new(known));
    let _give_up = GiveUp(Arc::clone(&floors));

    let mut waiting: VecDeque<LayerPull> = VecDeque::new();
    for (index, descriptor) in manifest.layers.iter().enumerate() {
        if snapshots[index].is_none() {
            waiting.push_back(LayerPull {
                engine: engine.clone(),
                client: client.clone(),
                reference: reference.clone(),
                descriptor: descriptor.clone(),
                diff_id: diff_ids[index],
                chain: chains[index],
                floors: Arc::clone(&floors),
                index,
                watcher: watcher.clone(),
            });
        }
    }
    let mut tasks = JoinSet::new();
    let mut complete = BTreeMap::new();
    loop {
        // From the bottom up: what is waited for is always on its way.
        while tasks.len() < AT_ONCE
            && let Some(next) = waiting.pop_front()
        {
            tasks.spawn(async move { Ok::<_, Error>((next.index, next.run().await?)) });
        }
        let Some(ended) = tasks.join_next().await else { break };
        let (index, unpacked) =
            ended.unwrap_or(Err(Error::Lost { what: "the pull of a layer" }))?;
        complete.insert(index, unpacked);
        // A layer is made visible when those below it are.
        while let Some(index) = snapshots.iter().position(Option::is_none)
            && let Some(unpacked) = complete.remove(&index)
        {
            let (blob, below) = (manifest.layers[index].clone(), index.checked_sub(1));
            let below = below.and_then(|below| snapshots[below].as_ref());
            let name = layer::short(&blob);
            let snapshot = load::layer::publish(engine, unpacked, blob, below, &chains[index])?;
            lease.hold(&snapshot)?;
            snapshots[index] = Some(snapshot);
            watcher.tell(&name, News::Pulled);
        }
    }
    snapshots.into_iter().map(|id| id.ok_or(Error::Lost { what: "a layer" })).collect()
}

/// Returns the snapshot of a chain, held; `None` if it is not there or was removed just now.
pub(crate) fn held(
    engine: &Engine,
    lease: &Lease,
    chain: &ChainId,
) -> Result<Option<SnapshotId>, Error> {
    let Some(known) = engine.store().snapshot_of_chain(chain)? else { return Ok(None) };
    match lease.hold(&known) {
        Ok(()) => Ok(Some(known)),
        Err(store::Error::NoSuchSnapshot { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn commit(
    engine: &Engine,
    reference: &Reference,
    resolved: &Resolved,
    snapshots: &[SnapshotId],
) -> Result<Image, Error> {
    engine.store().put_blob(&resolved.manifest_bytes)?;
    let kind = resolved.manifest.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
    let manifest = StoredManifest { digest: resolved.manifest_digest, media_type: kind.to_owned() };
    let id = engine.store().put_image(&resolved.config_bytes, snapshots, Some(&manifest))?;
    let pinned = format!("{}/{}@{}", reference.host(), reference.path(), resolved.digest());
    engine.store().add_digest(&id, &Reference::parse(&pinned)?)?;
    engine.image(&id)
}
