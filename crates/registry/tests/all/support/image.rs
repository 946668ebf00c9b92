//! A small image, and the script of a registry that has it.

use oci::{
    Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, Platform, RootFs, json, media_type,
};

use super::server::{Reply, Request};

#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) layer: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Image {
    /// An image whose layer has this many bytes, which are no archive: a registry does not care.
    pub(crate) fn new(platform: &str, layer_size: usize) -> Self {
        let layer: Vec<u8> = (0..layer_size).map(|i| (i * i / 251 + i) as u8).collect();
        let config = ImageConfig {
            rootfs: RootFs { diff_ids: vec![DiffId::new(Digest::of(&layer))], ..RootFs::default() },
            ..ImageConfig::scratch(&Platform::parse(platform).unwrap())
        };
        let config = json::to_bytes(&config);
        let manifest = Manifest::oci(
            Descriptor::of(media_type::OCI_CONFIG, &config),
            vec![Descriptor::of(media_type::OCI_LAYER, &layer)],
        );
        Self { layer, config, manifest: json::to_bytes(&manifest) }
    }

    pub(crate) fn layer_descriptor(&self) -> Descriptor {
        Descriptor::of(media_type::OCI_LAYER, &self.layer)
    }

    pub(crate) fn manifest_descriptor(&self, platform: &str) -> Descriptor {
        Descriptor {
            platform: Some(Platform::parse(platform).unwrap()),
            ..Descriptor::of(media_type::OCI_MANIFEST, &self.manifest)
        }
    }

    /// Answers as an honest registry does, for `team/app:1` and everything by digest.
    pub(crate) fn serve(&self, request: &Request) -> Reply {
        serve(&[self], None, request)
    }
}

/// An index of images with their platforms.
pub(crate) fn index(images: &[(&str, &Image)]) -> Vec<u8> {
    let descriptors = images.iter().map(|(platform, image)| image.manifest_descriptor(platform));
    json::to_bytes(&Index::oci(descriptors.collect()))
}

/// Answers for an index, if there is one, or else the first image as `team/app:1`, and for all by digest.
pub(crate) fn serve(images: &[&Image], index: Option<&[u8]>, request: &Request) -> Reply {
    let Some(name) = request.target.strip_prefix("/v2/team/app/") else {
        return Reply::status(404);
    };
    let mut documents: Vec<(&str, &[u8])> =
        index.map(|index| (media_type::OCI_INDEX, index)).into_iter().collect();
    documents.extend(images.iter().map(|i| (media_type::OCI_MANIFEST, i.manifest.as_slice())));
    for (kind, bytes) in &documents {
        if name == format!("manifests/{}", Digest::of(bytes)) || (name == "manifests/1") {
            let digest = Digest::of(bytes).to_string();
            let headers = [("Content-Type", *kind), ("Docker-Content-Digest", &digest)];
            return Reply::new(200, &headers, bytes);
        }
    }
    for image in images {
        for bytes in [&image.layer, &image.config] {
            if name == format!("blobs/{}", Digest::of(bytes)) {
                return Reply::ok(bytes);
            }
        }
    }
    Reply::status(404)
}
