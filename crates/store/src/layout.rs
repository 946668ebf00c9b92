//! Where each thing is in the state directory (drawn in `lib.rs`). No other file joins a path there.

use std::path::{Path, PathBuf};

use oci::{BlobDigest, Digest};

use crate::{ContainerId, SnapshotId, record::Kind};

/// The version of the drawing in `lib.rs`; a store with a higher one is refused.
pub(crate) const FORMAT: u64 = 1;

/// The names that a store just being made may have before its `format` is there.
pub(crate) const EARLY_NAMES: [&str; 3] = ["format.new", "lock", "lost+found"];

const FORMAT_WORD: &str = "kiln-store";
const BOOT_PREFIX: &str = "boot-";

/// Returns what the `format` file says.
pub(crate) fn format_text() -> String {
    format!("{FORMAT_WORD} {FORMAT}\n")
}

/// Reads the `format` file's text; `None` if it is not one of kiln's.
pub(crate) fn parse_format(text: &str) -> Option<u64> {
    text.strip_prefix(FORMAT_WORD)?.trim().parse().ok()
}

/// Which of the two trees a record or a blob is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tree {
    /// Written in this boot, not covered by a sync.
    Fresh,
    /// Covered by a sync.
    Kept,
}

impl Tree {
    /// In the order of a lookup. A sync moves from the first to the second, so that a lookup in this order never
    /// misses what is being moved; and what is in both is newer in the first.
    pub(crate) const LOOKUP: [Self; 2] = [Self::Fresh, Self::Kept];
}

/// The paths of one store, in one boot.
#[derive(Debug)]
pub(crate) struct Layout {
    boot: String,
    root: PathBuf,
    fresh: PathBuf,
    kept: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path, boot: &str) -> Self {
        Self {
            boot: boot.to_owned(),
            root: root.to_owned(),
            fresh: root.join(format!("{BOOT_PREFIX}{boot}")),
            kept: root.join("kept"),
        }
    }

    /// The boot in which these are the paths.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// There if snapshots mark deletions by names.
    pub(crate) fn marks(&self) -> PathBuf {
        self.root.join("marks")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    pub(crate) fn new_format(&self) -> PathBuf {
        self.root.join("format.new")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Where broken records are moved to.
    pub(crate) fn lost(&self) -> PathBuf {
        self.root.join("lost")
    }

    pub(crate) fn tree(&self, tree: Tree) -> &Path {
        match tree {
            Tree::Fresh => &self.fresh,
            Tree::Kept => &self.kept,
        }
    }

    /// Whether an entry of the root is what an earlier boot has left unsynced.
    pub(crate) fn is_of_another_boot(&self, name: &str) -> bool {
        name.starts_with(BOOT_PREFIX) && self.fresh != self.root.join(name)
    }

    pub(crate) fn root_entry(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Exists after a failed sync, until the next boot.
    pub(crate) fn poisoned(&self) -> PathBuf {
        self.fresh.join("poisoned")
    }

    pub(crate) fn records(&self, tree: Tree, kind: Kind) -> PathBuf {
        self.tree(tree).join("records").join(kind.directory())
    }

    pub(crate) fn record(&self, tree: Tree, kind: Kind, key: &str) -> PathBuf {
        let mut path = self.records(tree, kind);
        path.push(key);
        path
    }

    /// The directory of all blobs whose digests have one algorithm.
    pub(crate) fn blobs(&self, tree: Tree, algorithm: &str) -> PathBuf {
        self.tree(tree).join("blobs").join(algorithm)
    }

    pub(crate) fn blob(&self, tree: Tree, digest: &BlobDigest) -> PathBuf {
        let digest = digest.as_digest();
        self.blobs(tree, digest.algorithm()).join(digest.to_hex())
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(crate) fn partial(&self, digest: &BlobDigest) -> PathBuf {
        let digest = digest.as_digest();
        self.partials().join(format!("{}-{}", digest.algorithm(), digest.to_hex()))
    }

    /// The directories of blobs and records, in the fresh tree and in the kept one, each before those that point to it.
    pub(crate) fn mirrored(&self) -> Vec<(PathBuf, PathBuf)> {
        let blobs = ["sha256", "sha512"].map(|algorithm| {
            (self.blobs(Tree::Fresh, algorithm), self.blobs(Tree::Kept, algorithm))
        });
        let records =
            Kind::ALL.map(|kind| (self.records(Tree::Fresh, kind), self.records(Tree::Kept, kind)));
        blobs.into_iter().chain(records).collect()
    }

    /// The directories above those of the fresh tree, inner ones first.
    pub(crate) fn fresh_directories(&self) -> [PathBuf; 3] {
        [self.fresh.join("blobs"), self.fresh.join("records"), self.fresh.clone()]
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn snapshot(&self, id: &SnapshotId) -> PathBuf {
        self.snapshots().join(id.to_string())
    }

    /// The layer itself inside a snapshot's directory.
    pub(crate) fn snapshot_fs(&self, id: &SnapshotId) -> PathBuf {
        self.snapshot(id).join("fs")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub(crate) fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.to_string())
    }

    /// Taken for a moment by who gives a container a name, or looks whether one is kept by a process.
    pub(crate) fn containers_lock(&self) -> PathBuf {
        self.root.join("locks").join("containers")
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }

    pub(crate) fn mount(&self, name: &str) -> PathBuf {
        self.mounts().join(name)
    }

    pub(crate) fn mount_lock(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(format!("mount-{name}"))
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    pub(crate) fn volumes_lock(&self) -> PathBuf {
        self.root.join("locks").join("volumes")
    }

    pub(crate) fn stat_caches(&self) -> PathBuf {
        self.root.join("stat")
    }

    pub(crate) fn stat_cache(&self, context: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.stat_caches().join(Digest::of(context.as_os_str().as_bytes()).to_hex())
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// What a process owns while it lives.
    pub(crate) fn owned(&self, process: &str, number: u64) -> PathBuf {
        let mut path = self.tmp();
        path.push(format!("{process}-{number}"));
        path
    }
}
