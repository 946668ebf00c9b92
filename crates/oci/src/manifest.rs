//! What a registry or a layout stores about an image: its manifest, or an index of several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Error, Platform, media_type};

/// The manifest of one image (image-spec, manifest.md; Docker's v2 schema 2 has the same shape).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u8,
    /// What kind of manifest; absent in some OCI documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, from the bottom.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// Further facts, by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes)
            .map_err(|source| Error::Document { document: "manifest", source })
    }

    /// Returns an OCI manifest of these parts.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let media_type = Some(media_type::OCI_MANIFEST.to_owned());
        Self { schema_version: 2, media_type, config, layers, annotations: None }
    }
}

/// A list of manifests, one for each platform or name (image-spec, image-index.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u8,
    /// What kind of index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// Further facts, by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Index {
    /// Reads an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes)
            .map_err(|source| Error::Document { document: "image index", source })
    }

    /// Returns an OCI index of these manifests.
    pub fn oci(manifests: Vec<Descriptor>) -> Self {
        let media_type = Some(media_type::OCI_INDEX.to_owned());
        Self { schema_version: 2, media_type, manifests, annotations: None }
    }

    /// Returns the manifest that `platform` [likes best](Platform::preference); without one, the first of those that name
    /// no platform. Attestations (platform `unknown`) never.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let unnamed = |descriptor: &&Descriptor| descriptor.platform.is_none();
        let named = |descriptor: &Descriptor| {
            descriptor.platform.clone().filter(|platform| !platform.architecture.is_empty())
        };
        let best = platform.choose(&self.manifests, named);
        best.or_else(|| self.manifests.iter().find(unnamed))
    }
}
