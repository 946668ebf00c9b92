//! Archives and layouts into the store: `kiln load`, `kiln import`, `--build-context name=oci-layout://…`.
//!
//! Both kinds of archive are read: an OCI image layout (image-spec, image-layout.md) and what `docker save` writes. Every
//! blob is verified while it is read; an image becomes visible when all of it is there.

mod archive;
mod contents;
pub(crate) mod layer;

use std::{fs::File, io::Read, path::Path};

use oci::{Config, Descriptor, ImageConfig, ImageId, ManifestDigest, Platform, Reference};
use registry::Client;
use store::{Image, SnapshotId, StoredManifest};

use crate::{Engine, Error, LimitName, commit, container::change, pull, remote::web, rootfs};
use archive::Archive;
use contents::{Found, LayerFile, named};

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name that the archive gives it.
    pub reference: Option<Reference>,
    /// The image.
    pub id: ImageId,
    /// The image that has lost the name to it.
    pub replaced: Option<ImageId>,
}

/// Loads every image of the archive at `path`, and gives them the archive's names: for one platform, or for all that are
/// in it.
pub fn load(
    engine: &Engine,
    path: &Path,
    platform: Option<&Platform>,
) -> Result<Vec<Loaded>, Error> {
    load_archive(engine, &Archive::open(engine, path)?, platform)
}

/// Loads every image of an archive that comes as a stream, such as standard input.
pub fn load_stream(
    engine: &Engine,
    input: impl Read,
    platform: Option<&Platform>,
) -> Result<Vec<Loaded>, Error> {
    load_archive(engine, &Archive::spool(engine, "standard input", input)?, platform)
}

fn load_archive(
    engine: &Engine,
    archive: &Archive,
    platform: Option<&Platform>,
) -> Result<Vec<Loaded>, Error> {
    let mut loaded = Vec::new();
    for mut found in named(archive, platform)? {
        if let Some(platform) = platform {
            found.keep_for(archive, platform)?;
        }
        let mut ids = Vec::with_capacity(found.images.len());
        for image in &found.images {
            ids.push(store_image(engine, archive, image)?.id);
        }
        for reference in found.names.iter().map(Reference::tagged) {
            let before = engine.store().find_reference(&reference)?.map(|before| before.id);
            engine.store().tag_all(&reference, &ids)?;
            let replaced = before.filter(|before| !ids.contains(before));
            loaded.push(Loaded { reference: Some(reference), id: ids[0], replaced });
        }
        if found.names.is_empty() {
            let nameless = |id| Loaded { reference: None, id, replaced: None };
            loaded.extend(ids.into_iter().map(nameless));
        }
    }
    Ok(loaded)
}

/// Returns the image of a layout that has this tag or digest, or the only one; it gets no name in the store.
pub(crate) fn layout_image(
    engine: &Engine,
    path: &Path,
    name: Option<&str>,
    platform: &Platform,
) -> Result<Image, Error> {
    let archive = Archive::open(engine, path)?;
    let mut found = named(&archive, Some(platform))?;
    if let Some(name) = name {
        found.retain(|found| found.is_called(name));
    }
    let mut images: Vec<_> = found.into_iter().flat_map(|found| found.images).collect();
    // A layout may list the images for several platforms without an index of their own.
    if images.len() > 1 {
        images.retain(|image| platform.runs(&image.platform()));
    }
    match images.as_slice() {
        [image] => store_image(engine, &archive, image),
        [] => Err(archive.refused(match name {
            Some(name) => format!("it has no image `{name}`"),
            None => "it has no image".to_owned(),
        })),
        _ => {
            Err(archive
                .refused("it has several images; name one by `:tag` or `@digest`".to_owned()))
        }
    }
}

/// What is wanted of an image that is made from a tar.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// What the files are for.
    pub platform: Platform,
    /// The name that it gets.
    pub name: Option<Reference>,
    /// Where it comes from, or why it was made.
    pub message: Option<String>,
    /// Instructions of a Dockerfile that change the config.
    pub changes: Vec<String>,
}

/// Makes an image of one layer from the root file system in a tar archive, compressed or not, and gives it a name.
///
/// # Errors
/// [`Error::Change`] before anything is read.
pub fn import(
    engine: &Engine,
    input: impl Read + Send,
    request: &ImportRequest,
) -> Result<ImageId, Error> {
    let created = Some(commit::now());
    let mut config = changed(request, created.clone())?;
    let snapshot = rootfs::fresh(engine, &[])?;
    layer::unpack(engine, input, &snapshot, &[])?;
    let snapshot = snapshot.seal()?;
    config.rootfs.diff_ids = vec![commit::layer(engine, snapshot)?.diff_id];
    let comment = request.message.clone();
    let comment = comment.unwrap_or_else(|| "imported from a tar archive".to_owned());
    config.history = vec![oci::History { created, comment, ..oci::History::default() }];
    let id = engine.store().put_image(&oci::json::to_bytes(&config), &[snapshot], None)?;
    if let Some(name) = &request.name {
        engine.store().tag(&name.tagged(), &id)?;
    }
    Ok(id)
}

/// The same from the archive at an http or https address. The archive is kept only until it is unpacked.
///
/// # Errors
/// Those of [`import`]; [`Error::Registry`] when the download fails.
pub async fn import_from(
    engine: &Engine,
    client: &Client,
    address: &str,
    request: &ImportRequest,
) -> Result<ImageId, Error> {
    // Wrong instructions need not wait for the download.
    changed(request, None)?;
    let temporary = engine.store().create_snapshot()?;
    let path = temporary.fs().join("archive");
    web::download_to(client, address, engine.limits().layer.bytes, &path).await?;
    let archive = File::open(&path).map_err(Error::io("open", &path))?;
    import(engine, archive, request)
}

/// The config of an image that is imported.
fn changed(request: &ImportRequest, created: Option<String>) -> Result<ImageConfig, Error> {
    let mut config = ImageConfig {
        config: Config::default(),
        created,
        ..ImageConfig::scratch(&request.platform)
    };
    config.config = change::apply(&config, &request.changes)?;
    Ok(config)
}

fn store_image(engine: &Engine, archive: &Archive, found: &Found) -> Result<Image, Error> {
    let diff_ids = &found.config.rootfs.diff_ids;
    let allowed = engine.limits().layers;
    if found.layers.len() as u64 > allowed {
        let (name, limit) = (archive.name().to_owned(), LimitName::Layers);
        return Err(Error::Limit { name, limit, allowed, unit: "layers" });
    }
    if diff_ids.len() != found.layers.len() {
        let (layers, ids) = (found.layers.len(), diff_ids.len());
        return Err(
            archive.refused(format!("its config names {ids} layers, its manifest {layers}"))
        );
    }
    let lease = engine.store().lease()?;
    let mut snapshots: Vec<SnapshotId> = Vec::with_capacity(diff_ids.len());
    for (index, chain) in oci::ChainId::of_each(diff_ids).iter().enumerate() {
        // Held at once: another process may remove it, and then it is not there.
        let snapshot = match pull::held(engine, &lease, chain)? {
            Some(known) => known,
            None => {
                let LayerFile { path, descriptor } = &found.layers[index];
                let missing = || archive.refused(format!("`{path}` is missing"));
                let opened = archive.open_file(path)?.ok_or_else(missing)?;
                let descriptor = descriptor.as_ref();
                let diff_id = &diff_ids[index];
                let source = layer::Source { name: path, descriptor, diff_id, chain };
                layer::store(engine, source, opened.reader, &snapshots)?
            }
        };
        lease.hold(&snapshot)?;
        snapshots.push(snapshot);
    }
    let manifest =
        found.manifest.as_ref().map(|manifest| store_manifest(engine, manifest)).transpose()?;
    let id = engine.store().put_image(&found.config_bytes, &snapshots, manifest.as_ref())?;
    engine.image(&id)
}

/// Keeps a manifest byte for byte, so that the image can be named by its digest.
fn store_manifest(
    engine: &Engine,
    (descriptor, bytes): &(Descriptor, Vec<u8>),
) -> Result<StoredManifest, Error> {
    let digest = engine.store().put_blob(bytes)?;
    let media_type = descriptor.media_type.clone();
    Ok(StoredManifest { digest: ManifestDigest::new(*digest.as_digest()), media_type })
}
