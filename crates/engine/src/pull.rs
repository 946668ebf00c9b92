//! Images from a registry into the store: `kiln pull`, and bases that are not there yet.
//!
//! Layers are downloaded, verified, decompressed and unpacked in one stream each; those that the store has are not
//! downloaded. The image becomes visible when all of it is there.

use oci::{ChainId, Descriptor, Platform, Reference, media_type};
use registry::{Blob, Client, Resolved};
use store::{Image, SnapshotId, StoredManifest};

use crate::{Engine, Error, load::layer};

/// What was pulled.
#[derive(Debug)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// The digest of what the reference names: an index, or a manifest.
    pub digest: oci::ManifestDigest,
}

/// Which images are taken that a registry has for one platform only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// All.
    Any,
    /// Those for the platform that is asked for.
    Platform,
}

/// Pulls the image that `reference` means on `platform`, and gives it that name. Images for other platforms keep it.
pub async fn pull(
    engine: &Engine,
    client: &Client,
    reference: &Reference,
    platform: &Platform,
    accept: Accept,
) -> Result<Pulled, Error> {
    let pulled = fetch(engine, client, reference, platform, accept).await?;
    engine.store().tag_beside(&reference.tagged(), &pulled.image)?;
    Ok(pulled)
}

/// The same without a name.
pub(crate) async fn fetch(
    engine: &Engine,
    client: &Client,
    reference: &Reference,
    platform: &Platform,
    accept: Accept,
) -> Result<Pulled, Error> {
    let reference = reference.tagged();
    let resolved = client.resolve(&reference, platform).await?;
    let offered = resolved.config.platform();
    if accept == Accept::Platform && !platform.runs(&offered) {
        let (name, wanted) = (reference.familiar(), Box::new(platform.clone()));
        return Err(Error::OtherPlatform { name, wanted, there: vec![offered], source: None });
    }
    let lease = engine.store().lease()?;
    let mut snapshots: Vec<SnapshotId> = Vec::new();
    let diff_ids = &resolved.config.rootfs.diff_ids;
    for (index, chain) in ChainId::of_each(diff_ids).iter().enumerate() {
        let snapshot = match engine.store().snapshot_of_chain(chain)? {
            Some(known) => known,
            None => {
                let descriptor = &resolved.manifest.layers[index];
                let blob = client.blob(&reference, descriptor).await?;
                unpack(engine, blob, descriptor.clone(), diff_ids[index], *chain, snapshots.clone())
                    .await?
            }
        };
        lease.hold(&snapshot)?;
        snapshots.push(snapshot);
    }
    let image = commit(engine, &resolved, &snapshots)?;
    Ok(Pulled { digest: *resolved.digest(), image })
}

async fn unpack(
    engine: &Engine,
    blob: Blob,
    descriptor: Descriptor,
    diff_id: oci::DiffId,
    chain: ChainId,
    below: Vec<SnapshotId>,
) -> Result<SnapshotId, Error> {
    let engine = engine.clone();
    let reader = blob.into_reader();
    let work = move || {
        let name = descriptor.digest.to_string();
        let source = layer::Source {
            name: &name,
            descriptor: Some(&descriptor),
            diff_id: &diff_id,
            chain: &chain,
        };
        layer::store(&engine, source, reader, &below)
    };
    let unpacked = tokio::task::spawn_blocking(work).await;
    unpacked.unwrap_or(Err(Error::Lost { what: "the unpacking of a layer" }))
}

fn commit(engine: &Engine, resolved: &Resolved, snapshots: &[SnapshotId]) -> Result<Image, Error> {
    engine.store().put_blob(&resolved.manifest_bytes)?;
    let kind = resolved.manifest.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
    let manifest = StoredManifest { digest: resolved.manifest_digest, media_type: kind.to_owned() };
    let id = engine.store().put_image(&resolved.config_bytes, snapshots, Some(&manifest))?;
    engine.image(&id)
}
