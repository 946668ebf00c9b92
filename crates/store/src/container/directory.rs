//! The directory of a container: where the overlay, the log and the socket are.

use std::path::{Path, PathBuf};

use crate::{ContainerId, Store, layout::Layout};

/// Where the parts of one container are on the disk. Nothing is opened by it, and nothing promised to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDirectory {
    path: PathBuf,
    fs: PathBuf,
    work: PathBuf,
}

impl Store {
    /// Returns where the parts of a container are.
    pub fn container_directory(&self, id: &ContainerId) -> ContainerDirectory {
        of(&self.inner.layout, id)
    }
}

/// Returns where the parts of a container are.
pub(super) fn of(layout: &Layout, id: &ContainerId) -> ContainerDirectory {
    let path = layout.container(id);
    ContainerDirectory { fs: path.join("fs"), work: path.join("work"), path }
}

impl ContainerDirectory {
    /// The directory of the container itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the container has written: the overlay's upper directory. It changes as long as the container runs.
    pub fn fs(&self) -> &Path {
        &self.fs
    }

    /// The overlay's work directory.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// What the container has written to its output: one JSON object a line, as Docker's driver `json-file`.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The name, in the directory, of the socket to the process that keeps the container. The path as a whole may be too
    /// long for a socket's address.
    pub fn control(&self) -> &'static str {
        "control"
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path.join("state")
    }
}
