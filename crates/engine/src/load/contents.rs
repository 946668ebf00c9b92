//! What an archive says that it has: the documents of a layout, or of what `docker save` writes. Layers are not looked at.

use oci::{BlobDigest, Descriptor, ImageConfig, Index, Manifest, Platform, Reference, media_type};
use serde::Deserialize;

use super::archive::{self, Archive};
use crate::Error;

/// How many indexes may stand inside each other.
const MAX_NESTING: usize = 4;

/// What an archive has under a name: an image, or one for each of several platforms.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) names: Vec<Reference>,
    /// What the layout calls it, where that is no reference.
    tag: Option<String>,
    /// What the layout lists: a manifest or an index; a docker archive has neither.
    digest: Option<BlobDigest>,
    /// One at least.
    pub(super) images: Vec<Found>,
}

/// An image in an archive.
#[derive(Debug)]
pub(super) struct Found {
    /// The manifest and its bytes; a docker archive has none.
    pub(super) manifest: Option<(Descriptor, Vec<u8>)>,
    pub(super) config: ImageConfig,
    pub(super) config_bytes: Vec<u8>,
    pub(super) layers: Vec<LayerFile>,
}

impl Found {
    pub(super) fn platform(&self) -> Platform {
        self.config.platform()
    }

    fn has_digest(&self, digest: &str) -> bool {
        let manifest = self.manifest.as_ref();
        manifest.is_some_and(|(descriptor, _)| descriptor.digest.to_string() == digest)
    }
}

impl Named {
    /// Leaves the image for a platform only.
    pub(super) fn keep_for(&mut self, archive: &Archive, platform: &Platform) -> Result<(), Error> {
        self.images.retain(|image| platform.runs(&image.platform()));
        if !self.images.is_empty() {
            return Ok(());
        }
        let name = self.names.first().map(|name| format!("`{}` ", name.familiar()));
        Err(archive.refused(format!("{}has no image for {platform}", name.unwrap_or_default())))
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        let by_name = |reference: &Reference| reference.tag_or_latest() == name;
        self.tag.as_deref() == Some(name)
            || self.digest.is_some_and(|digest| digest.to_string() == name)
            || self.images.iter().any(|image| image.has_digest(name))
            || self.names.iter().any(by_name)
    }
}

/// A layer in an archive.
#[derive(Debug)]
pub(super) struct LayerFile {
    pub(super) path: String,
    /// What the manifest says about it; a docker archive says nothing.
    pub(super) descriptor: Option<Descriptor>,
}

/// Returns what an archive has: of an index the image for a platform, or all of them that are there.
pub(super) fn named(archive: &Archive, platform: Option<&Platform>) -> Result<Vec<Named>, Error> {
    let from_layout = match archive.read("index.json", archive.limits().document_bytes)? {
        Some(bytes) => of_layout(archive, &Index::parse(&bytes)?, platform)?,
        None => Vec::new(),
    };
    // What `docker save` writes is both; only one of the two descriptions may carry the names.
    if from_layout.iter().any(|image| !image.names.is_empty()) {
        return Ok(from_layout);
    }
    match archive.read("manifest.json", archive.limits().document_bytes)? {
        Some(bytes) => match Manifest::parse(&bytes) {
            // What `skopeo copy … dir:` and `podman save --format docker-dir` write: blobs without a directory.
            Ok(manifest) => Ok(vec![of_plain_directory(archive, manifest, bytes)?]),
            Err(_) => of_docker(archive, &bytes),
        },
        None if from_layout.is_empty() => Err(archive.refused(
            "it is neither an OCI layout (no `index.json`) nor a docker archive (no `manifest.json`)".to_owned(),
        )),
        None => Ok(from_layout),
    }
}

fn of_layout(
    archive: &Archive,
    index: &Index,
    platform: Option<&Platform>,
) -> Result<Vec<Named>, Error> {
    let mut all: Vec<Named> = Vec::new();
    archive.check_manifests("index.json", index)?;
    for descriptor in index.manifests.iter().filter(|descriptor| !is_attestation(descriptor)) {
        let named = of_descriptor(archive, descriptor, platform, MAX_NESTING)?;
        match all.iter_mut().find(|known| known.digest == named.digest) {
            Some(known) => known.names.extend(named.names),
            None => all.push(named),
        }
    }
    Ok(all)
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    let annotations = descriptor.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key("vnd.docker.reference.type"))
        || descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
}

fn of_descriptor(
    archive: &Archive,
    descriptor: &Descriptor,
    platform: Option<&Platform>,
    nesting: usize,
) -> Result<Named, Error> {
    let images = images_of(archive, descriptor, platform, nesting)?;
    let digest = Some(descriptor.digest);
    let mut image = Named { names: Vec::new(), tag: None, digest, images };
    let annotation = |key: &str| descriptor.annotations.as_ref().and_then(|all| all.get(key));
    let full = annotation("io.containerd.image.name").and_then(|name| Reference::parse(name).ok());
    let tag = annotation("org.opencontainers.image.ref.name");
    // A reference name with a `:` or a `/` is a whole name; a bare word is a tag in this layout.
    let whole = tag.filter(|name| name.contains([':', '/']));
    image.names.extend(full.or_else(|| whole.and_then(|name| Reference::parse(name).ok())));
    image.tag = tag.cloned();
    Ok(image)
}

/// Returns the image of a manifest; of an index that for a platform, or all whose manifests are in the archive: a tool may
/// have taken only those it wanted.
fn images_of(
    archive: &Archive,
    descriptor: &Descriptor,
    platform: Option<&Platform>,
    nesting: usize,
) -> Result<Vec<Found>, Error> {
    let bytes = archive.read_blob(descriptor, archive.limits().document_bytes)?;
    if !media_type::is_index(&descriptor.media_type) {
        let manifest = Manifest::parse(&bytes)?;
        let config_bytes = archive.read_blob(&manifest.config, archive.limits().document_bytes)?;
        return Ok(vec![Found {
            config: ImageConfig::parse(&config_bytes)?,
            config_bytes,
            layers: manifest.layers.into_iter().map(LayerFile::of_blob).collect(),
            manifest: Some((descriptor.clone(), bytes)),
        }]);
    }
    if nesting == 0 {
        return Err(archive.refused("its indexes stand too deep inside each other".to_owned()));
    }
    let index = Index::parse(&bytes)?;
    archive.check_manifests(&descriptor.digest.to_string(), &index)?;
    let wanted: Vec<&Descriptor> = match platform {
        Some(platform) => index.select(platform).into_iter().collect(),
        None => index.manifests.iter().filter(|inner| !is_attestation(inner)).collect(),
    };
    let mut images = Vec::new();
    for inner in wanted {
        let is_there = archive.open_file(&archive::blob_path(&inner.digest))?.is_some();
        if platform.is_some() || is_there {
            images.extend(images_of(archive, inner, platform, nesting - 1)?);
        }
    }
    if images.is_empty() {
        let wanted = platform.map_or(String::new(), |platform| format!(" for {platform}"));
        return Err(archive.refused(format!("`{}` has no image{wanted}", descriptor.digest)));
    }
    Ok(images)
}

fn of_plain_directory(
    archive: &Archive,
    manifest: Manifest,
    bytes: Vec<u8>,
) -> Result<Named, Error> {
    let path = |descriptor: &Descriptor| descriptor.digest.as_digest().to_hex();
    let config_bytes = archive.read_verified(
        &path(&manifest.config),
        &manifest.config,
        archive.limits().document_bytes,
    )?;
    let layer =
        |layer: Descriptor| LayerFile { path: path(&layer), descriptor: Some(layer.clone()) };
    let media_type = manifest.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
    let descriptor = Descriptor::of(media_type, &bytes);
    let digest = Some(descriptor.digest);
    let found = Found {
        config: ImageConfig::parse(&config_bytes)?,
        config_bytes,
        layers: manifest.layers.into_iter().map(layer).collect(),
        manifest: Some((descriptor, bytes)),
    };
    Ok(Named { names: Vec::new(), tag: None, digest, images: vec![found] })
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

fn of_docker(archive: &Archive, manifest: &[u8]) -> Result<Vec<Named>, Error> {
    let images: Vec<DockerImage> = serde_json::from_slice(manifest)
        .map_err(|source| oci::Error::Document { document: "docker manifest", source })?;
    images.into_iter().map(|image| of_docker_image(archive, image)).collect()
}

fn of_docker_image(archive: &Archive, image: DockerImage) -> Result<Named, Error> {
    let names = image.repo_tags.unwrap_or_default();
    let config_bytes = archive
        .read(&image.config, archive.limits().document_bytes)?
        .ok_or_else(|| archive.refused(format!("`{}` is missing", image.config)))?;
    let layers = image.layers.unwrap_or_default().into_iter();
    let found = Found {
        manifest: None,
        config: ImageConfig::parse(&config_bytes)?,
        config_bytes,
        layers: layers.map(|path| LayerFile { path, descriptor: None }).collect(),
    };
    Ok(Named {
        names: names.iter().map(|name| Reference::parse(name)).collect::<Result<_, _>>()?,
        tag: None,
        digest: None,
        images: vec![found],
    })
}
