//! The root file system of a container, to look into and to write to from outside: what copying in and out, comparing and
//! exporting begin with.
//!
//! Of a container that runs it is the one its program sees, with everything mounted there, as its keeper hands it out. Of
//! another it is what the container has written on its image; nobody can start or remove the container meanwhile.

use filetree::RootDir;
use sandbox::Syncs;
use store::{Container, Kept};

use super::control;
use crate::{
    Engine, Error,
    rootfs::{self, Writable},
};

/// The root file system of a container, as long as the value lives.
#[derive(Debug)]
pub struct ContainerRoot {
    root: RootDir,
    /// Of one that does not run.
    at_rest: Option<(Writable, Kept)>,
}

impl ContainerRoot {
    /// The root directory, to be read and written. Its programs may change it at the same time.
    pub fn root(&self) -> &RootDir {
        &self.root
    }

    /// Whether the container runs.
    pub fn is_running(&self) -> bool {
        self.at_rest.is_none()
    }
}

/// Opens the root file system of a container.
///
/// # Errors
/// [`store::Error::ContainerKept`] if somebody else has the container in hand without running it.
pub fn root(engine: &Engine, container: &Container) -> Result<ContainerRoot, Error> {
    match control::request_root(engine, container) {
        Ok(root) => return Ok(ContainerRoot { root: RootDir::from_fd(root), at_rest: None }),
        Err(Error::NotRunning { .. }) => {}
        Err(error) => return Err(error),
    }
    let kept = engine.store().keep_container(&container.id)?;
    let name = || container.name.clone();
    let kept = kept.ok_or_else(|| store::Error::ContainerKept { name: name() })?;
    kept.clear_work()?;
    let directory = engine.store().container_directory(&container.id);
    let writable = rootfs::kept(engine, &directory, &container.snapshots, Syncs::Honoured)?;
    let root = writable.root().try_clone()?;
    Ok(ContainerRoot { root, at_rest: Some((writable, kept)) })
}
