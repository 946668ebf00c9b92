//! What can go wrong with an export, by what the caller can do about it.

use std::{io, path::PathBuf};

use oci::{BlobDigest, DiffId};
use thiserror::Error;

/// An error of this crate. The destination is as it was before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The value of `--output` is no list of `key=value`.
    #[error("invalid output `{value}`: {reason}")]
    Syntax {
        /// The value as given.
        value: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// There is no such type of output.
    #[error("unknown output type `{name}`{}", did_you_mean(nearest.as_deref()))]
    UnknownType {
        /// The type as given.
        name: String,
        /// The one that looks most like it.
        nearest: Option<String>,
    },
    /// The type of output has no such key.
    #[error("output type `{kind}` has no key `{key}`{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The type.
        kind: &'static str,
        /// The key as given.
        key: String,
        /// The one that looks most like it.
        nearest: Option<String>,
    },
    /// A key has a value that it cannot have.
    #[error("invalid value `{value}` for `{key}`: {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it can have.
        expected: &'static str,
    },
    /// The type of output needs a key.
    #[error("output type `{kind}` needs `{key}`")]
    Missing {
        /// The type.
        kind: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A name in `--output` is no reference.
    #[error("cannot name the image")]
    Name {
        /// Which rule it breaks.
        #[source]
        source: oci::Error,
    },
    /// The file system refuses.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Whoever was to read the output has stopped.
    #[error("nobody reads what is written to `{}`", path.display())]
    Unread {
        /// The output, `-` for standard output.
        path: PathBuf,
    },
    /// There is no directory to write to.
    #[error("invalid output path: directory `{}` does not exist", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A directory with something else in it.
    #[error("`{}` is neither empty nor an OCI image layout", path.display())]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// An archive cannot replace a directory.
    #[error("`{}` is a directory; `tar=false` writes one", path.display())]
    IsDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A kept blob cannot be copied: the disk of either side, or bytes that are not those of its digest.
    #[error("cannot copy the layer `{digest}`")]
    Copy {
        /// The blob.
        digest: Box<BlobDigest>,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A layer cannot be compressed into the store.
    #[error("cannot compress the layer `{diff_id}`")]
    Compress {
        /// The layer.
        diff_id: Box<DiffId>,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A snapshot does not pack to the layer that the image's config names: its files, or its blob, are damaged.
    #[error(
        "the layer `{expected}` is damaged: what is stored of it has digest `{actual}`; build or pull the image again"
    )]
    Damaged {
        /// As the config has it.
        expected: Box<DiffId>,
        /// As packed.
        actual: Box<DiffId>,
    },
    /// The files of a layer do not contain as many bytes as were written down when it was unpacked.
    #[error(
        "the layer `{expected}` is damaged: its files contain {found} bytes instead of {contents}; build or pull the image again"
    )]
    DamagedFiles {
        /// As the config has it.
        expected: Box<DiffId>,
        /// As written down.
        contents: u64,
        /// As they are.
        found: u64,
    },
    /// The files of a layer contain as many bytes, and are not those that were unpacked.
    #[error(
        "the layer `{expected}` is damaged: its files are not what was unpacked; build or pull the image again"
    )]
    DamagedContents {
        /// As the config has it.
        expected: Box<DiffId>,
    },
    /// There is no image to write.
    #[error("no image was given to be written")]
    NoImage,
    /// The form has no room for images of several platforms.
    #[error("{kind} exporter does not currently support exporting manifest lists; `type=oci` does")]
    Several {
        /// The type.
        kind: &'static str,
    },
    /// Two images that should go to places of their own are for the same platform: a base has none for one of those that
    /// were asked for.
    #[error("two of the images are for {platform}")]
    SamePlatform {
        /// The platform.
        platform: String,
    },
    /// A directory or a tar was asked for without a root file system to take it from.
    #[error("output type `{kind}` was given no root file system")]
    NoRoot {
        /// The type.
        kind: &'static str,
    },
    /// A registry refused, or cannot be reached.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A task ended without a result.
    #[error("internal error: {what} ended without a result; please report it")]
    Lost {
        /// Which task.
        what: &'static str,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Packing a snapshot, or copying a tree.
    #[error(transparent)]
    Tree(#[from] filetree::Error),
}

impl Error {
    /// Whether whoever was to read the output has stopped: nothing to tell anybody about. A connection that broke is another
    /// thing.
    pub fn is_unread(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            // What is wrapped in an error of input and output is not its source.
            let io: Option<&io::Error> = error.downcast_ref();
            let wrapped = io.and_then(|io| io.get_ref()?.downcast_ref());
            if matches!(wrapped.or_else(|| error.downcast_ref()), Some(Self::Unread { .. })) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Makes the error of a failed call on a path.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// A result of this crate.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}
