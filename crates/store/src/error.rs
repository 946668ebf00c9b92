//! What can go wrong with the state directory, by what the caller can do about it.

use std::{io, path::PathBuf};

use oci::{BlobDigest, ImageId};
use thiserror::Error;

use crate::{ContainerId, Marks, SnapshotId};

/// A failure of the store. Whatever was being written is removed; what was visible before stays as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refuses: permissions, space, a broken disk.
    #[error("cannot {action} `{path}`", path = path.display())]
    Io {
        /// What was tried: "create", "read", …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A later version of kiln has made the store.
    #[error(
        "the store `{path}` has format {found}, and this kiln knows {known}: use a newer kiln, or another directory",
        path = path.display()
    )]
    NewerFormat {
        /// The store's directory.
        path: PathBuf,
        /// The version found.
        found: u64,
        /// The version of this program.
        known: u64,
    },
    /// A store whose snapshots are of no use on this rung of the isolation ladder.
    #[error(
        "the store `{path}` was made where {made}, which is another way round here: use another one \
         (`--root`), or the isolation that it was made with (`--isolation`)",
        path = path.display(),
        made = match found {
            Some(Marks::Overlay) => "layers can be mounted, and files belong to their owners",
            Some(Marks::Names) => "layers cannot be mounted",
            Some(Marks::Deeds) => "files cannot belong to their owners",
            Some(Marks::NamesAndDeeds) => {
                "layers cannot be mounted, and files cannot belong to their owners"
            }
            None => "a newer kiln made it",
        }
    )]
    Marks {
        /// The store's directory.
        path: PathBuf,
        /// How its snapshots mark deletions; nothing if this program does not know it.
        found: Option<Marks>,
    },
    /// A directory with something else in it; nothing is touched there.
    #[error("`{path}` is not empty and not a store of kiln", path = path.display())]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Another user's store; what this user wrote there, its owner could not remove.
    #[error("the store `{path}` belongs to uid {owner}, and this is uid {user}", path = path.display())]
    ForeignOwner {
        /// The store's directory.
        path: PathBuf,
        /// To whom it belongs.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// The kernel does not say which boot this is, so nothing unsynced could be told from what a power cut broke.
    #[error("cannot tell this boot from the last: `{boot}` is no boot id")]
    BootId {
        /// What was found.
        boot: String,
    },
    /// Neither a reference, nor an id, nor the beginning of one.
    #[error("no such image: `{name}`")]
    NoSuchImage {
        /// The name as given.
        name: String,
    },
    /// Several ids begin like this.
    #[error("`{prefix}` is the beginning of {} image ids", candidates.len())]
    AmbiguousId {
        /// The beginning as given.
        prefix: String,
        /// The ids.
        candidates: Vec<ImageId>,
    },
    /// Neither a container's name, nor its id, nor the beginning of one.
    #[error("no such container: `{name}`")]
    NoSuchContainer {
        /// The name as given.
        name: String,
    },
    /// Several containers' ids begin like this.
    #[error("`{prefix}` is the beginning of {} container ids", candidates.len())]
    AmbiguousContainer {
        /// The beginning as given.
        prefix: String,
        /// The ids.
        candidates: Vec<ContainerId>,
    },
    /// A name that another container has.
    #[error(
        "the container name `{name}` is already in use by container `{id}`: remove or rename that container to use the name again"
    )]
    ContainerNameInUse {
        /// The name.
        name: String,
        /// Who has it.
        id: ContainerId,
    },
    /// A name that no container can have.
    #[error(
        "invalid container name `{name}`: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, two characters at least"
    )]
    ContainerName {
        /// The name as given.
        name: String,
    },
    /// A process keeps the container: it runs, or somebody is just starting or removing it.
    #[error("the container `{name}` is running")]
    ContainerKept {
        /// Its name.
        name: String,
    },
    /// A volume that is not there.
    #[error("no such volume: `{name}`")]
    NoSuchVolume {
        /// The name as given.
        name: String,
    },
    /// A blob that is not there.
    #[error("no such blob: `{digest}`")]
    NoSuchBlob {
        /// Its digest.
        digest: BlobDigest,
    },
    /// A snapshot that is not there, or no longer.
    #[error("no such snapshot: `{id}`")]
    NoSuchSnapshot {
        /// Its id.
        id: SnapshotId,
    },
    /// Bytes that are not those which their digest names.
    #[error("the bytes have digest `{actual}`, not `{expected}`")]
    WrongDigest {
        /// As announced.
        expected: Box<BlobDigest>,
        /// As computed.
        actual: Box<BlobDigest>,
    },
    /// More or fewer bytes than announced.
    #[error("{actual} bytes, not {expected}")]
    WrongSize {
        /// As announced.
        expected: u64,
        /// As counted.
        actual: u64,
    },
    /// A config that lists another number of layers than the image has snapshots.
    #[error("the image config lists {layers} layers, and there are {snapshots} snapshots")]
    LayerCount {
        /// In the config.
        layers: usize,
        /// Given.
        snapshots: usize,
    },
    /// An image config that cannot be read.
    #[error("cannot store the image")]
    Config {
        /// What is wrong with it.
        #[source]
        source: oci::Error,
    },
    /// The rest of a blob that was read while it was being written will never come: why is known to who wrote it.
    #[error("the blob was given up")]
    Abandoned,
    /// Nobody wants the blob any more that is being written.
    #[error("the blob is not wanted any more")]
    Unwanted,
    /// A failed sync in this boot: what was written before it may be lost at a power cut, and no later sync can tell.
    #[error("an earlier sync of `{path}` has failed: what was built since this boot cannot be made durable", path = path.display())]
    Poisoned {
        /// The store's directory.
        path: PathBuf,
    },
}

impl Error {
    /// Whether it is that the file system is mounted read-only.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Makes the error of a failed call on a path.
    pub(crate) fn io<E: Into<io::Error>>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source: source.into() }
    }
}

/// Whether an error says that the disk, or what is on it, is broken. Others say that this process cannot read it now.
pub fn is_of_disk(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    const EBADMSG: i32 = 74;
    const EUCLEAN: i32 = 117;
    matches!(error.raw_os_error(), Some(EIO | EBADMSG | EUCLEAN))
}

/// Whether nothing can be written: the disk is full, or mounted read-only.
pub(crate) fn has_no_room(error: &Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error {
        Error::Io { source, .. } => {
            matches!(source.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
        }
        _ => false,
    }
}

/// A result of this crate.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
