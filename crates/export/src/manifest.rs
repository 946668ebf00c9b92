//! An image as its documents: config, layers, manifest.

use filetree::Flavour;
use oci::{BlobDigest, Descriptor, Manifest, json, media_type};
use store::{Image, Store};

use crate::{
    annotation::Annotations,
    error::Error,
    error::Result,
    layer::{self, Layer, LayerOptions},
};

/// In whose words a manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaTypes {
    /// The image specification's.
    Oci,
    /// Docker's, of before it.
    Docker,
    /// Those that the image came with, so that what was pulled has the same digest when it is pushed. For what was built
    /// Docker's, as BuildKit does, since all registries and engines know them and podman heeds a HEALTHCHECK only there;
    /// the image specification's where Docker has no word for it: zstd, annotations.
    AsKept,
}

/// An image ready to be written: every document, and every layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// What describes the manifest, with the image's platform.
    pub descriptor: Descriptor,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// What describes the config.
    pub config: Descriptor,
    /// The config's bytes.
    pub config_bytes: Vec<u8>,
    /// The layers, bottom first, with the media types of the manifest.
    pub layers: Vec<Layer>,
}

/// Assembles an image. A manifest that the image came with is kept as it is, byte for byte, wherever its types and its
/// layers are those which are wanted.
pub fn assemble(
    store: &Store,
    flavour: Flavour,
    image: &Image,
    types: MediaTypes,
    layers: &LayerOptions,
    annotations: &Annotations,
) -> Result<Assembled, Error> {
    let layers = layer::layers(store, flavour, image, layers)?;
    assemble_of(store, image, types, layers, annotations)
}

/// The same of layers that were prepared.
pub(crate) fn assemble_of(
    store: &Store,
    image: &Image,
    types: MediaTypes,
    mut layers: Vec<Layer>,
    annotations: &Annotations,
) -> Result<Assembled> {
    let platform = image.config.platform();
    let described = annotations.manifest_descriptor(&platform);
    let annotations = annotations.manifest(&platform);
    if annotations.is_empty()
        && let Some(mut kept) = kept(store, image, types, &layers)?
    {
        kept.descriptor.annotations = described;
        return Ok(kept);
    }
    let has_word = |layer: &Layer| {
        let media_type = &layer.descriptor.media_type;
        WORDS.iter().any(|(oci, docker)| [oci, docker].contains(&&media_type.as_str()))
    };
    let types = match types {
        MediaTypes::AsKept if annotations.is_empty() && layers.iter().all(has_word) => {
            MediaTypes::Docker
        }
        MediaTypes::AsKept => MediaTypes::Oci,
        types => types,
    };
    for layer in &mut layers {
        layer.descriptor.media_type = in_words_of(types, &layer.descriptor.media_type).to_owned();
        if types == MediaTypes::Docker {
            // There were none in those days.
            layer.descriptor.annotations = None;
        }
    }
    let config_type = in_words_of(types, media_type::OCI_CONFIG);
    let config = Descriptor::of(config_type, &image.config_bytes);
    let layer_list = layers.iter().map(|layer| layer.descriptor.clone()).collect();
    let manifest_type = in_words_of(types, media_type::OCI_MANIFEST);
    let manifest = Manifest {
        media_type: Some(manifest_type.to_owned()),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..Manifest::oci(config.clone(), layer_list)
    };
    let bytes = json::to_bytes(&manifest);
    let mut assembled = Assembled::new(image, manifest_type, bytes, config, layers);
    assembled.descriptor.annotations = described;
    Ok(assembled)
}

impl Assembled {
    fn new(
        image: &Image,
        manifest_type: &str,
        manifest: Vec<u8>,
        config: Descriptor,
        layers: Vec<Layer>,
    ) -> Self {
        let mut descriptor = Descriptor::of(manifest_type, &manifest);
        descriptor.platform = Some(image.config.platform());
        let config_bytes = image.config_bytes.clone();
        Self { descriptor, manifest, config, config_bytes, layers }
    }
}

/// Returns the image with the manifest that it came with, if that says what is wanted.
fn kept(
    store: &Store,
    image: &Image,
    types: MediaTypes,
    layers: &[Layer],
) -> Result<Option<Assembled>> {
    let Some(kept) = &image.manifest else { return Ok(None) };
    let wanted = match types {
        MediaTypes::Oci => kept.media_type == media_type::OCI_MANIFEST,
        MediaTypes::Docker => kept.media_type == media_type::DOCKER_MANIFEST,
        MediaTypes::AsKept => media_type::is_manifest(&kept.media_type),
    };
    let digest = BlobDigest::new(*kept.digest.as_digest());
    if !wanted || !store.has_blob(&digest)? {
        return Ok(None);
    }
    let bytes = store.read_blob(&digest)?;
    // What cannot be read is made anew.
    let Ok(manifest) = Manifest::parse(&bytes) else { return Ok(None) };
    let same_layers = manifest.layers.len() == layers.len()
        && manifest.layers.iter().zip(layers).all(|(a, b)| a.digest == b.descriptor.digest);
    if !same_layers || manifest.config.digest.as_digest() != image.id.as_digest() {
        return Ok(None);
    }
    let mut layers = layers.to_vec();
    for (layer, descriptor) in layers.iter_mut().zip(manifest.layers) {
        layer.descriptor = descriptor;
    }
    Ok(Some(Assembled::new(image, &kept.media_type, bytes, manifest.config, layers)))
}

/// What is the same in the image specification's words and in Docker's.
const WORDS: [(&str, &str); 4] = [
    (media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST),
    (media_type::OCI_CONFIG, media_type::DOCKER_CONFIG),
    (media_type::OCI_LAYER, media_type::DOCKER_LAYER),
    (media_type::OCI_LAYER_GZIP, media_type::DOCKER_LAYER_GZIP),
];

/// Says the same in other words. What has none in them (a foreign layer, zstd in Docker's) stays.
fn in_words_of(types: MediaTypes, media_type: &str) -> &str {
    let pair = WORDS.iter().find(|(oci, docker)| [oci, docker].contains(&&media_type));
    match (types, pair) {
        (MediaTypes::Docker, Some((_, docker))) => docker,
        // A manifest made anew is in one language, and not in the layers' own: `AsKept` was decided before.
        (MediaTypes::Oci | MediaTypes::AsKept, Some((oci, _))) => oci,
        (_, None) => media_type,
    }
}
