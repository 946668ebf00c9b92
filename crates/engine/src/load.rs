//! Archives and layouts into the store: `kiln load`, `kiln import`, `--build-context name=oci-layout://…`.
//!
//! Both kinds of archive are read: an OCI image layout (image-spec, image-layout.md) and what `docker save` writes. Every
//! blob is verified while it is read; an image becomes visible when all of it is there.

mod archive;
pub(crate) mod layer;

use std::{io::Read, path::Path};

use oci::{
    BlobDigest, Config, Descriptor, ImageConfig, ImageId, Index, Manifest, ManifestDigest,
    Platform, Reference, media_type,
};
use serde::Deserialize;
use store::{Image, SnapshotId, StoredManifest};

use crate::{Engine, Error, commit, rootfs};
use archive::Archive;

/// A manifest, an index or an image config larger than this is refused.
const MAX_DOCUMENT: u64 = 16 << 20;
/// How many indexes may stand inside each other.
const MAX_NESTING: usize = 4;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name that the archive gives it.
    pub reference: Option<Reference>,
    /// The image.
    pub id: ImageId,
}

/// Loads every image of the archive at `path` for `platform`, and gives them the archive's names.
pub fn load(engine: &Engine, path: &Path, platform: &Platform) -> Result<Vec<Loaded>, Error> {
    load_archive(engine, &Archive::open(engine, path)?, platform)
}

/// Loads every image of an archive that comes as a stream, such as standard input.
pub fn load_stream(
    engine: &Engine,
    input: impl Read,
    platform: &Platform,
) -> Result<Vec<Loaded>, Error> {
    load_archive(engine, &Archive::spool(engine, "standard input", input)?, platform)
}

fn load_archive(
    engine: &Engine,
    archive: &Archive,
    platform: &Platform,
) -> Result<Vec<Loaded>, Error> {
    let mut loaded = Vec::new();
    for found in images(archive, platform)? {
        let image = store_image(engine, archive, &found)?;
        for reference in &found.names {
            engine.store().tag(&reference.tagged(), &image.id)?;
            loaded.push(Loaded { reference: Some(reference.tagged()), id: image.id });
        }
        if found.names.is_empty() {
            loaded.push(Loaded { reference: None, id: image.id });
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
    let mut found = images(&archive, platform)?;
    if let Some(name) = name {
        found.retain(|image| image.is_called(name));
    }
    match found.as_slice() {
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

/// Makes an image of one layer from the root file system for `platform` in a tar archive, compressed or not, and gives it
/// a name.
pub fn import(
    engine: &Engine,
    input: impl Read,
    platform: &Platform,
    reference: Option<&Reference>,
) -> Result<ImageId, Error> {
    let snapshot = rootfs::fresh(engine, &[])?;
    layer::unpack(engine, input, &snapshot, &[])?;
    let snapshot = snapshot.seal()?;
    let created = Some(commit::now());
    let mut config = ImageConfig {
        config: Config::default(),
        created: created.clone(),
        ..ImageConfig::scratch(platform)
    };
    config.rootfs.diff_ids = vec![commit::layer(engine, snapshot)?.diff_id];
    let comment = "imported from a tar archive".to_owned();
    config.history = vec![oci::History { created, comment, ..oci::History::default() }];
    let id = engine.store().put_image(&oci::json::to_bytes(&config), &[snapshot], None)?;
    if let Some(reference) = reference {
        engine.store().tag(&reference.tagged(), &id)?;
    }
    Ok(id)
}

/// An image in an archive.
#[derive(Debug)]
struct Found {
    names: Vec<Reference>,
    /// What the layout calls it, where that is no reference.
    tag: Option<String>,
    /// The manifest and its bytes; a docker archive has none.
    manifest: Option<(Descriptor, Vec<u8>)>,
    config: Vec<u8>,
    layers: Vec<LayerFile>,
}

impl Found {
    fn digest(&self) -> Option<&BlobDigest> {
        self.manifest.as_ref().map(|(descriptor, _)| &descriptor.digest)
    }

    fn is_called(&self, name: &str) -> bool {
        let by_name = |reference: &Reference| reference.tag_or_latest() == name;
        self.tag.as_deref() == Some(name)
            || self.digest().is_some_and(|digest| digest.to_string() == name)
            || self.names.iter().any(by_name)
    }
}

/// A layer in an archive.
#[derive(Debug)]
struct LayerFile {
    path: String,
    /// What the manifest says about it; a docker archive says nothing.
    descriptor: Option<Descriptor>,
}

fn images(archive: &Archive, platform: &Platform) -> Result<Vec<Found>, Error> {
    let from_layout = match archive.read("index.json", MAX_DOCUMENT)? {
        Some(bytes) => of_layout(archive, &Index::parse(&bytes)?, platform)?,
        None => Vec::new(),
    };
    // What `docker save` writes is both; only one of the two descriptions may carry the names.
    if from_layout.iter().any(|image| !image.names.is_empty()) {
        return Ok(from_layout);
    }
    match archive.read("manifest.json", MAX_DOCUMENT)? {
        Some(bytes) => of_docker(archive, &bytes),
        None if from_layout.is_empty() => Err(archive.refused(
            "it is neither an OCI layout (no `index.json`) nor a docker archive (no `manifest.json`)".to_owned(),
        )),
        None => Ok(from_layout),
    }
}

fn of_layout(archive: &Archive, index: &Index, platform: &Platform) -> Result<Vec<Found>, Error> {
    let is_attestation = |d: &Descriptor| {
        d.annotations.as_ref().is_some_and(|a| a.contains_key("vnd.docker.reference.type"))
    };
    let mut images: Vec<Found> = Vec::new();
    for descriptor in index.manifests.iter().filter(|d| !is_attestation(d)) {
        let image = of_descriptor(archive, descriptor, platform, MAX_NESTING)?;
        match images.iter_mut().find(|known| known.digest() == image.digest()) {
            Some(known) => known.names.extend(image.names),
            None => images.push(image),
        }
    }
    Ok(images)
}

fn of_descriptor(
    archive: &Archive,
    descriptor: &Descriptor,
    platform: &Platform,
    nesting: usize,
) -> Result<Found, Error> {
    let bytes = archive.read_blob(descriptor, MAX_DOCUMENT)?;
    let mut image = if media_type::is_index(&descriptor.media_type) {
        if nesting == 0 {
            return Err(archive.refused("its indexes stand too deep inside each other".to_owned()));
        }
        let index = Index::parse(&bytes)?;
        let inner = index.select(platform).ok_or_else(|| {
            archive.refused(format!("`{}` has no image for {platform}", descriptor.digest))
        })?;
        of_descriptor(archive, inner, platform, nesting - 1)?
    } else {
        let manifest = Manifest::parse(&bytes)?;
        Found {
            names: Vec::new(),
            tag: None,
            config: archive.read_blob(&manifest.config, MAX_DOCUMENT)?,
            layers: manifest.layers.into_iter().map(LayerFile::of_blob).collect(),
            manifest: Some((descriptor.clone(), bytes)),
        }
    };
    let annotation = |key: &str| descriptor.annotations.as_ref().and_then(|all| all.get(key));
    let full = annotation("io.containerd.image.name").and_then(|name| Reference::parse(name).ok());
    let tag = annotation("org.opencontainers.image.ref.name");
    // A reference name with a `:` or a `/` is a whole name; a bare word is a tag in this layout.
    let whole = tag.filter(|name| name.contains([':', '/']));
    image.names.extend(full.or_else(|| whole.and_then(|name| Reference::parse(name).ok())));
    image.tag = tag.cloned().or(image.tag);
    Ok(image)
}

impl LayerFile {
    fn of_blob(descriptor: Descriptor) -> Self {
        Self { path: archive::blob_path(&descriptor.digest), descriptor: Some(descriptor) }
    }
}

/// One image in the `manifest.json` of a docker archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

fn of_docker(archive: &Archive, manifest: &[u8]) -> Result<Vec<Found>, Error> {
    let images: Vec<DockerImage> = serde_json::from_slice(manifest)
        .map_err(|source| oci::Error::Document { document: "docker manifest", source })?;
    images.into_iter().map(|image| of_docker_image(archive, image)).collect()
}

fn of_docker_image(archive: &Archive, image: DockerImage) -> Result<Found, Error> {
    let names = image.repo_tags.unwrap_or_default();
    let config = archive
        .read(&image.config, MAX_DOCUMENT)?
        .ok_or_else(|| archive.refused(format!("`{}` is missing", image.config)))?;
    let layers = image.layers.unwrap_or_default().into_iter();
    Ok(Found {
        names: names.iter().map(|name| Reference::parse(name)).collect::<Result<_, _>>()?,
        tag: None,
        manifest: None,
        config,
        layers: layers.map(|path| LayerFile { path, descriptor: None }).collect(),
    })
}

fn store_image(engine: &Engine, archive: &Archive, found: &Found) -> Result<Image, Error> {
    let config = ImageConfig::parse(&found.config)?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != found.layers.len() {
        let (layers, ids) = (found.layers.len(), diff_ids.len());
        return Err(
            archive.refused(format!("its config names {ids} layers, its manifest {layers}"))
        );
    }
    let lease = engine.store().lease()?;
    let mut snapshots: Vec<SnapshotId> = Vec::with_capacity(diff_ids.len());
    for (index, chain) in oci::ChainId::of_each(diff_ids).iter().enumerate() {
        let snapshot = match engine.store().snapshot_of_chain(chain)? {
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
    let id = engine.store().put_image(&found.config, &snapshots, manifest.as_ref())?;
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
