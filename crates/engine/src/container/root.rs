//! The root file system of a container, to look into and to write to from outside: what copying in and out, comparing and
//! exporting begin with.
//!
//! Of a container that runs it is the one its program sees, with everything mounted there, as its keeper hands it out. Of
//! another it is what the container has written on its image; nobody can start or remove the container meanwhile. So it is
//! of one that runs on what `fuse-overlayfs` serves, which answers only who is in its own user namespace.

use filetree::RootDir;
use sandbox::{Rung, Syncs};
use store::{Container, Kept};

use super::{control, moment};
use crate::{
    Engine, Error,
    rootfs::{self, Rootfs, Writable},
};

/// The root file system of a container, as long as the value lives.
#[derive(Debug)]
pub struct ContainerRoot {
    root: RootDir,
    /// Of one that does not run.
    at_rest: Option<(Writable, Kept)>,
    /// Of one that runs, seen from outside.
    outside: Option<Rootfs>,
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

    /// Whether it is seen from outside: without what is mounted there, and not to be written to.
    pub fn is_outside(&self) -> bool {
        self.outside.is_some()
    }
}

/// Opens the root file system of a container.
///
/// # Errors
/// [`store::Error::ContainerKept`] if somebody else has the container in hand without running it.
pub fn root(engine: &Engine, container: &Container) -> Result<ContainerRoot, Error> {
    match control::request_root(engine, container) {
        Ok(_) if engine.rung() == Rung::FuseOverlay => {
            let rootfs = moment::written(engine, container)?;
            let root = rootfs.root().try_clone()?;
            return Ok(ContainerRoot { root, at_rest: None, outside: Some(rootfs) });
        }
        Ok(root) => {
            let root = RootDir::from_fd(root);
            return Ok(ContainerRoot { root, at_rest: None, outside: None });
        }
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
    Ok(ContainerRoot { root, at_rest: Some((writable, kept)), outside: None })
}
