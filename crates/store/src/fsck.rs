//! What is wrong with a store, and taking it out.
//!
//! Here every record is read, and compared with what it points to, under the lock that keeps all others from changing
//! anything: it takes as long as reading the records. What is in blobs and snapshots is the engine's to read, one by one
//! and held by leases, while others build: it knows how a snapshot is packed. The comparison is in `examine`, taking out
//! in `repair`.

mod examine;
mod repair;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use oci::{BlobDigest, Descriptor, DiffId, ImageId};

use crate::{ContainerId, Layer, SnapshotId, Store, error::Error, record::Kind};

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A record that cannot be read: which kind, and under which key.
    Record {
        /// What it is about.
        kind: &'static str,
        /// Its key.
        key: String,
    },
    /// An image.
    Image(ImageId),
    /// A name of images.
    Tag(String),
    /// The result of a step, by its instruction.
    Step(String),
    /// A layer of images, or of the cache.
    Layer(SnapshotId),
    /// A blob.
    Blob(BlobDigest),
    /// A container, by its name.
    Container(String),
    /// A volume.
    Volume(String),
    /// A cache mount.
    CacheMount(String),
    /// A file that is none of kiln's.
    File(PathBuf),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { kind, key } => write!(f, "record `{kind}/{key}`"),
            Self::Image(id) => write!(f, "image `{id}`"),
            Self::Tag(name) => write!(f, "tag `{name}`"),
            Self::Step(title) => write!(f, "cached step `{title}`"),
            Self::Layer(id) => write!(f, "layer `{id}`"),
            Self::Blob(digest) => write!(f, "blob `{digest}`"),
            Self::Container(name) => write!(f, "container `{name}`"),
            Self::Volume(name) => write!(f, "volume `{name}`"),
            Self::CacheMount(name) => write!(f, "cache mount `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone)]
pub struct Finding {
    /// With what.
    pub subject: Subject,
    /// What, in words.
    pub reason: String,
    /// Who uses it: images, tags, steps.
    pub users: Vec<String>,
    fix: Fix,
}

impl Finding {
    /// What is wrong with a layer.
    pub fn of_layer(id: SnapshotId, reason: String, users: Vec<String>) -> Self {
        Self { subject: Subject::Layer(id), reason, users, fix: Fix::Snapshot }
    }

    /// What is wrong with a blob.
    pub fn of_blob(digest: BlobDigest, reason: String, users: Vec<String>) -> Self {
        Self { subject: Subject::Blob(digest), reason, users, fix: Fix::Blob }
    }

    /// Returns what somebody has to do about it, if taking it out would lose what is somebody's own.
    pub fn advice(&self) -> Option<&str> {
        match &self.fix {
            Fix::ByHand(advice) => Some(advice),
            _ => None,
        }
    }
}

/// How a finding is taken out of the store.
#[derive(Debug, Clone)]
enum Fix {
    /// A file is removed.
    File(PathBuf),
    /// A record is removed.
    Record(Kind, String),
    /// The record of a layer says that its blob is lost.
    WithoutBlob(SnapshotId),
    /// An image does not speak of its manifest any more.
    WithoutManifest(ImageId),
    /// A name is left to the images that are there.
    Retag(String, Vec<ImageId>),
    /// The layer itself: it is among what is [`Broken`].
    Snapshot,
    /// The blob itself: it is among what is [`Broken`].
    Blob,
    /// The user has to.
    ByHand(String),
}

/// What is known to be broken besides: nothing may point to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Broken {
    /// Layers.
    pub snapshots: BTreeSet<SnapshotId>,
    /// Blobs.
    pub blobs: BTreeSet<BlobDigest>,
}

/// Where a layer lies in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The layers below it, the bottom first.
    pub below: Vec<SnapshotId>,
    /// Its digest, as the image's config has it.
    pub diff_id: DiffId,
    /// Its blob, as the manifest has it that the image came with.
    pub blob: Option<Descriptor>,
}

/// What a layer is said to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// By its own record.
    pub layer: Option<Layer>,
    /// By an image that has it, or by a container.
    pub position: Option<Position>,
    /// Who uses it.
    pub users: Vec<String>,
}

/// A blob that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// How many bytes it has.
    pub size: u64,
    /// How many it should have, where that is written down.
    pub expected: Option<u64>,
    /// Who uses it.
    pub users: Vec<String>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records of all kinds.
    pub records: usize,
    /// Images.
    pub images: usize,
    /// Names of images.
    pub tags: usize,
    /// Results of steps.
    pub steps: usize,
    /// Containers.
    pub containers: usize,
    /// Volumes.
    pub volumes: usize,
    /// Cache mounts.
    pub mounts: usize,
    /// Living processes that use the store, this one among them.
    pub processes: usize,
    /// Records of a later version of kiln, which are left alone.
    pub later: usize,
    /// Broken records that were put aside earlier.
    pub lost: usize,
    /// Layers and blobs that nothing names: what a collection removes.
    pub unneeded: usize,
    /// Bytes of those blobs, and of the contents of those layers as far as they are written down.
    pub unneeded_bytes: u64,
}

/// What all records of a store say, and how far that is true.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How much there is.
    pub counts: Counts,
    /// The layers that are there.
    pub layers: BTreeMap<SnapshotId, Said>,
    /// The blobs that are there.
    pub blobs: BTreeMap<BlobDigest, Kept>,
}

/// What was taken out.
#[derive(Debug, Clone, Default)]
pub struct Repaired {
    /// What is gone, in words.
    pub dropped: BTreeSet<String>,
    /// What is still wrong.
    pub left: Vec<Finding>,
}

impl Store {
    /// Compares all records with each other and with what they point to. Nothing is changed.
    pub fn survey(&self) -> Result<Survey, Error> {
        // Exclusive, so that nobody is just between removing a record and what it points to.
        let lock = self.inner.lock_exclusive()?;
        self.inner.survey(&lock, &Broken::default())
    }

    /// Takes out of the store what is broken, and then what points to something that is not there: names of images that
    /// are gone, and the like. What a living process uses is not removed, only not found any more.
    ///
    /// Containers and volumes stay: what is in them is nobody's to make again.
    pub fn repair(&self, broken: &Broken) -> Result<Repaired, Error> {
        self.inner.repair(broken)
    }

    /// Puts one layer in the place of another with the same contents, everywhere. The old one is removed, unless a living
    /// process uses it: then the next collection does it.
    pub fn replace_snapshot(
        &self,
        old: &SnapshotId,
        new: &SnapshotId,
        layer: &Layer,
    ) -> Result<(), Error> {
        self.inner.replace_snapshot(old, new, layer)
    }
}

/// What people call a container.
fn container_name(name: &str, id: &ContainerId) -> String {
    if name.is_empty() { id.to_string() } else { name.to_owned() }
}

#[cfg(test)]
mod tests;
