//! `RUN --mount`: what a command sees besides the root file system, and what is never in the layer.

use crate::Origin;

/// One `--mount` of a RUN, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the root file system. Empty for a secret that is only a variable.
    pub target: String,
    /// What is mounted there.
    pub kind: MountKind,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// Files of an origin.
    Bind {
        /// Whose files.
        origin: Origin,
        /// Path in the origin.
        source: String,
        /// Writable; what is written is discarded after the step.
        read_write: bool,
    },
    /// A directory that outlives the build.
    Cache {
        /// Which cache: mounts of the same id, mode, uid and gid share it.
        id: String,
        /// What the cache starts with.
        origin: Origin,
        /// Path in the origin or in the cache.
        source: String,
        /// Not writable.
        read_only: bool,
        /// What concurrent steps do.
        sharing: Sharing,
        /// Permission bits of the directory when it is made.
        mode: u32,
        /// Owner of the directory when it is made.
        uid: u32,
        /// Group of the directory when it is made.
        gid: u32,
        /// Whether mode, uid or gid was given: with `--no-cache` such a cache starts empty.
        owned: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Its limit in bytes.
        size: Option<u64>,
    },
    /// A secret, as a file, as a variable or as both.
    Secret {
        /// Which secret.
        id: String,
        /// The variable that holds the value.
        env: Option<String>,
        /// Whether the step fails without it.
        required: bool,
        /// Permission bits of the file.
        mode: u32,
        /// Owner of the file.
        uid: u32,
        /// Group of the file.
        gid: u32,
    },
    /// A socket of the ssh agent.
    Ssh {
        /// Which agent.
        id: String,
        /// Whether the step fails without it.
        required: bool,
        /// Permission bits of the socket.
        mode: u32,
        /// Owner of the socket.
        uid: u32,
        /// Group of the socket.
        gid: u32,
    },
}

/// What steps that use one cache at the same time do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sharing {
    /// They share it.
    Shared,
    /// The second gets another one.
    Private,
    /// The second waits.
    Locked,
}

impl Mount {
    /// Returns whose files the mount shows, if its contents are part of the key.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.kind {
            MountKind::Bind { origin, .. } => Some(origin),
            MountKind::Cache { origin: Origin::Scratch, .. } => None,
            MountKind::Cache { origin, .. } => Some(origin),
            MountKind::Tmpfs { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => None,
        }
    }
}
