//! Limits: how much is taken of what comes from elsewhere. Each is far above anything honest and far below what fills a
//! machine, and each can be set by whoever knows better: the command line reads them by the names in the table.
//!
//! | limit | of what |
//! |---|---|
//! | `layer-bytes` | what the files of one layer contain, also of one that a build makes, or of one archive that is extracted, or an image archive in a stream |
//! | `layer-entries` | files, directories and all else in a layer or an archive |
//! | `layer-ratio` | how many times as large as its compressed form it may be, from 1 GiB on |
//! | `path-depth` | directories inside each other in a layer or an archive |
//! | `document-bytes` | a manifest, an index or an image config, as JSON |
//! | `layers` | layers of one image |
//! | `manifests` | images that one index lists, with those of the indexes in it |
//!
//! Some honest images have hundreds of thousands of files in a layer, TeX or a package registry's mirror, so that 200,000
//! empty ones are no attack by themselves, though they take a minute to make: who builds for others sets `layer-entries`
//! to what those need.
//!
//! What a step makes is not limited as long as it is in no layer of an image: a file of a terabyte that is all hole takes no room
//! in a stage that others copy from. In a layer it would be a terabyte of zeros, which has to be packed here and unpacked
//! everywhere, as archives that every engine can read have no holes.
//!
//! What cannot be set, because nothing honest that other programs can read is beyond it:
//!
//! | what | how much | where |
//! |---|---|---|
//! | arrays and objects inside each other in JSON | 127 | `serde_json` |
//! | indexes inside each other | 4 | `load/contents.rs`; of registries: `registry/src/fetch.rs` |
//! | links that one name leads through | 255 in an archive, 40 elsewhere | `filetree`: `unpack/resolve.rs`, `root/place.rs` |
//! | an extended header, a long name or a map of holes in a tar | 1 MiB | `filetree`: `unpack/reader.rs` |
//! | a name, a path | 255 bytes, 4095 bytes | the kernel; `filetree`: `unpack/path.rs` |
//! | the window of a Zstandard frame; the memory of an xz stream | 128 MiB; 256 MiB | `filetree`: `compress.rs` |
//! | `/etc/passwd` and `/etc/group` of an image | 10 MiB | `filetree`: `passwd.rs` |
//! | layers that are stacked | 500 | `sandbox`: `overlay.rs` |
//! | what a Dockerfile asks for | the table there | `dockerfile`: `limits.rs`, `word.rs`, `include.rs` |

use std::fmt;

use filetree::Budget;

/// The limits of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one layer or archive.
    pub layer: Budget,
    /// Bytes of a manifest, an index or an image config.
    pub document_bytes: u64,
    /// Layers of an image.
    pub layers: u64,
    /// Images that an index lists.
    pub manifests: u64,
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitName {
    /// [`Budget::bytes`].
    LayerBytes,
    /// [`Budget::entries`].
    LayerEntries,
    /// [`Budget::ratio`].
    LayerRatio,
    /// [`Budget::depth`].
    PathDepth,
    /// [`Limits::document_bytes`].
    DocumentBytes,
    /// [`Limits::layers`].
    Layers,
    /// [`Limits::manifests`].
    Manifests,
}

impl LimitName {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::LayerBytes,
        Self::LayerEntries,
        Self::LayerRatio,
        Self::PathDepth,
        Self::DocumentBytes,
        Self::Layers,
        Self::Manifests,
    ];

    /// What people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LayerBytes => "layer-bytes",
            Self::LayerEntries => "layer-entries",
            Self::LayerRatio => "layer-ratio",
            Self::PathDepth => "path-depth",
            Self::DocumentBytes => "document-bytes",
            Self::Layers => "layers",
            Self::Manifests => "manifests",
        }
    }

    /// Returns the limit of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.as_str() == name)
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<filetree::Limit> for LimitName {
    fn from(limit: filetree::Limit) -> Self {
        match limit {
            filetree::Limit::Entries => Self::LayerEntries,
            filetree::Limit::Bytes => Self::LayerBytes,
            filetree::Limit::Ratio => Self::LayerRatio,
            filetree::Limit::Depth => Self::PathDepth,
        }
    }
}

impl Limits {
    /// Those that hold unless somebody sets others.
    pub const STANDARD: Self = Self {
        layer: Budget::GENEROUS,
        // What Docker's registry and containerd accept.
        document_bytes: 4 << 20,
        // Other engines take 127, and no more than 500 are ever stacked.
        layers: 1000,
        manifests: 1000,
    };

    /// Sets one of them.
    pub fn set(&mut self, name: LimitName, value: u64) {
        match name {
            LimitName::LayerBytes => self.layer.bytes = value,
            LimitName::LayerEntries => self.layer.entries = value,
            LimitName::LayerRatio => self.layer.ratio = value,
            LimitName::PathDepth => self.layer.depth = usize::try_from(value).unwrap_or(usize::MAX),
            LimitName::DocumentBytes => self.document_bytes = value,
            LimitName::Layers => self.layers = value,
            LimitName::Manifests => self.manifests = value,
        }
    }

    /// Returns what one of them is.
    pub fn get(&self, name: LimitName) -> u64 {
        match name {
            LimitName::LayerBytes => self.layer.bytes,
            LimitName::LayerEntries => self.layer.entries,
            LimitName::LayerRatio => self.layer.ratio,
            LimitName::PathDepth => self.layer.depth as u64,
            LimitName::DocumentBytes => self.document_bytes,
            LimitName::Layers => self.layers,
            LimitName::Manifests => self.manifests,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_name_and_its_place() {
        for (number, name) in (1..).zip(LimitName::ALL) {
            assert_eq!(LimitName::parse(name.as_str()), Some(name));
            let mut limits = Limits::STANDARD;
            limits.set(name, number);
            let others = LimitName::ALL.iter().filter(|other| **other != name);
            assert_eq!(limits.get(name), number);
            for other in others {
                assert_eq!(limits.get(*other), Limits::STANDARD.get(*other));
            }
        }
        assert_eq!(LimitName::parse("layer"), None);
    }
}
