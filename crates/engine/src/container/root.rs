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
    /// As long as this lives, nobody can start one that does not run.
    at_rest: Option<Kept>,
    seen: Seen,
}

/// From where a root file system is seen.
#[derive(Debug)]
enum Seen {
    /// As its program sees it.
    Inside,
    /// What a program would see that was started now.
    AtRest { _mounted: Writable },
    /// What it has written on its image: without what is mounted there, and not to be written to, for this reason.
    Outside { _mounted: Rootfs, refusal: &'static str },
}

/// Why nothing can be written to a container that runs on what `fuse-overlayfs` serves.
const RUNS_SERVED: &str =
    "with isolation `fuse`, only what runs in a container can write to it; stop it first";

/// Why nothing can be written to a container in a store that cannot be written.
const STORE_READ_ONLY: &str =
    "the file system of the store is mounted read-only: mount it for writing";

impl ContainerRoot {
    /// The root directory, to be read and written. Its programs may change it at the same time.
    pub fn root(&self) -> &RootDir {
        &self.root
    }

    /// Whether the container runs.
    pub fn is_running(&self) -> bool {
        self.at_rest.is_none()
    }

    /// If it is seen from outside, without what is mounted there: why it is not to be written to.
    pub fn refusal(&self) -> Option<&'static str> {
        match &self.seen {
            Seen::Outside { refusal, .. } => Some(refusal),
            Seen::Inside | Seen::AtRest { .. } => None,
        }
    }
}

/// Opens the root file system of a container.
///
/// # Errors
/// [`store::Error::ContainerKept`] if somebody else has the container in hand without running it.
pub fn root(engine: &Engine, container: &Container) -> Result<ContainerRoot, Error> {
    match control::request_root(engine, container) {
        Ok(_) if engine.rung() == Rung::FuseOverlay => {
            return outside(engine, container, None, RUNS_SERVED);
        }
        Ok(root) => {
            let root = RootDir::from_fd(root);
            return Ok(ContainerRoot { root, at_rest: None, seen: Seen::Inside });
        }
        Err(Error::NotRunning { .. }) => {}
        Err(error) => return Err(error),
    }
    let kept = engine.store().keep_container(&container.id)?;
    let name = || container.name.clone();
    let kept = kept.ok_or_else(|| store::Error::ContainerKept { name: name() })?;
    match kept.clear_work() {
        // To get files out of it is what one wants of a disk that is broken.
        Err(error) if error.is_read_only() => {
            return outside(engine, container, Some(kept), STORE_READ_ONLY);
        }
        cleared => cleared?,
    }
    let directory = engine.store().container_directory(&container.id);
    let writable = rootfs::kept(engine, &directory, &container.snapshots, Syncs::Honoured)?;
    let root = writable.root().try_clone()?;
    Ok(ContainerRoot { root, at_rest: Some(kept), seen: Seen::AtRest { _mounted: writable } })
}

/// Opens what a container has written on its image.
fn outside(
    engine: &Engine,
    container: &Container,
    at_rest: Option<Kept>,
    refusal: &'static str,
) -> Result<ContainerRoot, Error> {
    let mounted = moment::written(engine, container)?;
    let root = mounted.root().try_clone()?;
    Ok(ContainerRoot { root, at_rest, seen: Seen::Outside { _mounted: mounted, refusal } })
}
