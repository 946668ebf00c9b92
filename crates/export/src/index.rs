//! The images of one name: one, or one for each of several platforms with an index of them (image-spec, image-index.md).
//!
//! The store keeps no index, only which images a name has (`store::Store::find_all`). Whoever writes one makes it here: the
//! same images make the same bytes.

use filetree::Flavour;
use oci::{Descriptor, Index, json, media_type};
use store::{Image, Store};

use crate::{
    annotation::Annotations,
    error::{Error, Result},
    layer::LayerOptions,
    manifest::{self, Assembled, MediaTypes},
};

/// The images of one name, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembly {
    images: Vec<Assembled>,
    /// What describes the whole: the index, or the only manifest.
    descriptor: Descriptor,
    /// The index; an image for one platform has none.
    index: Option<Vec<u8>>,
}

impl Assembly {
    /// Assembles images, each as [`assemble`](crate::assemble) does.
    ///
    /// # Errors
    /// Those of `assemble`, and [`Error::NoImage`] if there is no image.
    pub fn new(
        store: &Store,
        flavour: Flavour,
        images: &[Image],
        types: MediaTypes,
        layers: &LayerOptions,
        annotations: &Annotations,
    ) -> Result<Self, Error> {
        let assemble =
            |image| manifest::assemble(store, flavour, image, types, layers, annotations);
        let images: Vec<Assembled> = images.iter().map(assemble).collect::<Result<_>>()?;
        let described: Vec<_> = images.iter().map(|image| image.descriptor.clone()).collect();
        let (descriptor, index) = match described.as_slice() {
            [] => return Err(Error::NoImage),
            [only] => (only.clone(), None),
            several => {
                let (descriptor, bytes) = index(several, types, annotations);
                (descriptor, Some(bytes))
            }
        };
        Ok(Self { images, descriptor, index })
    }

    /// Returns the images, in the order of the index. There is one at least.
    pub fn images(&self) -> &[Assembled] {
        &self.images
    }

    /// Returns what describes the whole: the index, or the only manifest.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Returns the bytes of the index; an image for one platform has none.
    pub fn index(&self) -> Option<&[u8]> {
        self.index.as_deref()
    }
}

/// Returns an index of manifests, each of which says its platform, and what describes it. A manifest is in it once.
pub(crate) fn index(
    manifests: &[Descriptor],
    types: MediaTypes,
    annotations: &Annotations,
) -> (Descriptor, Vec<u8>) {
    let mut listed: Vec<Descriptor> = Vec::new();
    for manifest in manifests {
        if !listed.iter().any(|known| known.digest == manifest.digest) {
            listed.push(manifest.clone());
        }
    }
    let kind = match types {
        MediaTypes::Docker => media_type::DOCKER_MANIFEST_LIST,
        MediaTypes::Oci | MediaTypes::AsKept => media_type::OCI_INDEX,
    };
    let index = Index {
        media_type: Some(kind.to_owned()),
        annotations: annotations.index(),
        ..Index::oci(listed)
    };
    let bytes = json::to_bytes(&index);
    let annotations = annotations.index_descriptor();
    (Descriptor { annotations, ..Descriptor::of(kind, &bytes) }, bytes)
}
