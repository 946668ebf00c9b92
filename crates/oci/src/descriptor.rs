//! What points to a blob: its type, digest and size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BlobDigest, Platform};

/// A content descriptor (image-spec, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the bytes, one of [`crate::media_type`] for everything made here.
    #[serde(default)]
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: BlobDigest,
    /// How many bytes.
    pub size: u64,
    /// Further facts, by key; sorted, so that the document's bytes are always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// In an index: what the manifest's image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Describes `bytes` as a blob of `media_type`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: BlobDigest::new(crate::Digest::of(bytes)),
            size: bytes.len() as u64,
            annotations: None,
            platform: None,
        }
    }
}
