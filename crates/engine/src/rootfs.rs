//! Snapshots as a root file system: stacked by overlay, through mounts that are attached nowhere, or, where nothing can be
//! mounted, copied onto each other (`copied`). What many layers are stacked on is in `floor`, what a RUN is mounted on in
//! `stubs`.
//!
//! What a step changes lands in its snapshot: at once where that is overlay's upper directory, by [`Writable::collect`]
//! where it is not.

mod copied;
mod floor;
mod stubs;

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use filetree::{Files, RootDir, Served, Unsettled};
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps};
use sandbox::{Confinement, MOST_LAYERS, Overlay, Rung, Spec, Syncs};
use store::{Container, ContainerDirectory, Image, Open, Snapshot, SnapshotId};

use self::copied::{Borrowed, Tree};
pub(crate) use self::{
    copied::Trees,
    floor::Floors,
    stubs::{Entry, Stubs},
};
use crate::{Engine, Error, sealed};

/// A root file system and what it needs to exist.
#[derive(Debug)]
pub struct Rootfs {
    root: RootDir,
    _held: Held,
}

/// What a root file system that is read needs to exist.
#[derive(Debug)]
enum Held {
    /// Nothing: a mount exists as long as it is open.
    Nothing,
    /// What is shown where there is no snapshot at all.
    Empty(#[expect(dead_code, reason = "it is removed when it is dropped")] Snapshot<Open>),
    /// A copy.
    Tree(#[expect(dead_code, reason = "it is given back when it is dropped")] Borrowed),
}

impl Rootfs {
    /// The root directory.
    pub fn root(&self) -> &RootDir {
        &self.root
    }
}

/// Returns the merged root file system of an image, to be read.
pub fn merged(engine: &Engine, image: &Image) -> Result<Rootfs, Error> {
    readable(engine, &image.snapshots)
}

/// Returns a new snapshot to be written on top of `below`, with the metadata of the root directory below.
///
/// The snapshot is removed again unless it is sealed.
pub(crate) fn fresh(engine: &Engine, below: &[SnapshotId]) -> Result<Snapshot<Open>, Error> {
    let snapshot = engine.store.create_snapshot()?;
    if let Some(top) = below.last() {
        take_root_metadata(&engine.store.snapshot_dir(top), snapshot.fs())?;
    }
    Ok(snapshot)
}

/// Overlay shows the metadata of the upper directory as the root's, so it has to be that of the root below.
pub(crate) fn take_root_metadata(
    from: &std::path::Path,
    to: &std::path::Path,
) -> Result<(), Error> {
    let stat = filetree::lstat(from).map_err(Error::errno("read", from))?;
    filetree::chown(to, stat.st_uid, stat.st_gid)
        .map_err(Error::errno("change the owner of", to))?;
    rustix::fs::chmod(to, Mode::from_raw_mode(stat.st_mode))
        .map_err(Error::errno("change the mode of", to))?;
    let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    let times = Timestamps { last_access: modified, last_modification: modified };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::empty())
        .map_err(Error::errno("set the times of", to))
}

/// Mounts `snapshot` on top of `below`, to be written by this program.
pub(crate) fn writable(
    engine: &Engine,
    snapshot: &Snapshot<Open>,
    below: &[SnapshotId],
) -> Result<Writable, Error> {
    let (upper, work) = (Some(snapshot.fs()), Some(snapshot.work()));
    if !engine.rung.mounts() {
        return match below {
            [] => {
                let root = RootDir::open(snapshot.fs())?;
                Ok(Writable { shape: Shape::Itself, root })
            }
            _ => Writable::copied(engine, below),
        };
    }
    let overlay = floor::mount_on(engine, below, |lowers| {
        Ok(Overlay::mount(engine.rung, lowers, upper, work)?)
    })?;
    Writable::mounted(overlay)
}

/// Mounts `snapshot` on top of `below`, to be written by a program of the image; with `stubs`, it finds there what is mounted
/// for it, and must not be able to undo that.
pub(crate) fn runnable(
    engine: &Engine,
    snapshot: &Snapshot<Open>,
    below: &[SnapshotId],
    stubs: Option<&Stubs>,
) -> Result<Writable, Error> {
    if !engine.rung.mounts() {
        return Writable::copied(engine, below);
    }
    let mut lowers = directories(engine, below)?;
    if let Some(stubs) = stubs.filter(|_| lowers.len() < MOST_LAYERS) {
        lowers.push(stubs.below(engine, below)?);
    }
    let overlay = Overlay::mount(engine.rung, &lowers, Some(snapshot.fs()), Some(snapshot.work()))?;
    Writable::mounted(overlay)
}

/// Mounts what a container has written on top of `below`, to be written to further.
pub(crate) fn kept(
    engine: &Engine,
    directory: &ContainerDirectory,
    below: &[SnapshotId],
    syncs: Syncs,
) -> Result<Writable, Error> {
    ensure_mounts(engine, "a container")?;
    let lowers = directories(engine, below)?;
    let (upper, work) = (Some(directory.fs()), Some(directory.work()));
    let overlay = Overlay::mount_with(engine.rung, &lowers, upper, work, syncs)?;
    Writable::mounted(overlay)
}

/// Returns an error if nothing can be mounted; `what` is what needs it.
pub(crate) fn ensure_mounts(engine: &Engine, what: &str) -> Result<(), Error> {
    match engine.rung.mounts() {
        true => Ok(()),
        false => Err(sandbox::Error::NeedsNamespaces { what: what.to_owned() }.into()),
    }
}

/// A root file system whose changes go into an open snapshot.
#[derive(Debug)]
pub(crate) struct Writable {
    shape: Shape,
    root: RootDir,
}

/// What it is made as.
#[derive(Debug)]
enum Shape {
    /// A mount with the snapshot as its upper directory.
    Mounted(Overlay),
    /// The snapshot itself.
    Itself,
    /// A copy of the layers, compared with what it was.
    Copied(Trees, Tree),
}

impl Writable {
    fn mounted(overlay: Overlay) -> Result<Self, Error> {
        let root = RootDir::from_fd(overlay.try_clone_fd()?);
        Ok(Self { shape: Shape::Mounted(overlay), root })
    }

    fn copied(engine: &Engine, below: &[SnapshotId]) -> Result<Self, Error> {
        let tree = engine.trees.take(engine, below)?;
        let root = tree.root()?;
        Ok(Self { shape: Shape::Copied(engine.trees.clone(), tree), root })
    }

    /// The root directory.
    pub(crate) fn root(&self) -> &RootDir {
        &self.root
    }

    /// The mount, for a sandbox that is kept.
    pub(crate) fn mount(&self) -> Result<OwnedFd, Error> {
        match &self.shape {
            Shape::Mounted(overlay) => Ok(overlay.try_clone_fd()?),
            Shape::Itself | Shape::Copied(..) => {
                Err(sandbox::Error::NeedsNamespaces { what: "a container".to_owned() }.into())
            }
        }
    }

    /// What runs a program on it, which is still to be filled in.
    pub(crate) fn spec(&self) -> Result<Spec, Error> {
        let Shape::Copied(_, tree) = &self.shape else { return Ok(Spec::new(self.mount()?)) };
        let duplicate = || self.root.as_fd().try_clone_to_owned();
        let root = duplicate().map_err(Error::io("open", "the root file system"))?;
        let confinement = Confinement::Chroot { aside: tree.aside()? };
        Ok(Spec { confinement, ..Spec::new(root) })
    }

    /// Puts into the snapshot what was changed, if it is not there already. What is at or below the paths of `except`
    /// counts as unchanged; nobody writes any more.
    ///
    /// # Errors
    /// Those of [`filetree::collect`]; the snapshot is no layer then.
    pub(crate) fn collect(
        self,
        engine: &Engine,
        snapshot: &Snapshot<Open>,
        except: &[&Path],
    ) -> Result<(), Error> {
        match self.shape {
            Shape::Mounted(overlay) => adopt(engine, &overlay, snapshot.fs()),
            Shape::Itself => Ok(()),
            Shape::Copied(trees, tree) => trees.collect(engine, tree, snapshot, except),
        }
    }
}

/// Writes the marks in an upper directory, to which nobody writes any more, as the kernel would.
fn adopt(engine: &Engine, overlay: &Overlay, upper: &Path) -> Result<(), Error> {
    if engine.rung != Rung::FuseOverlay {
        return Ok(());
    }
    overlay.ensure_served()?;
    Ok(filetree::adopt_marks(upper, engine.flavour())?)
}

/// The same for what a container has written, which may go on.
pub(crate) fn adopt_kept(engine: &Engine, container: &Container) -> Result<(), Error> {
    if engine.rung != Rung::FuseOverlay {
        return Ok(());
    }
    let directory = engine.store().container_directory(&container.id);
    Ok(filetree::adopt_marks(directory.fs(), engine.flavour())?)
}

/// Lists what may be no change of what was written into `upper`.
pub(crate) fn unsettled(engine: &Engine, upper: &Path, files: Files) -> Result<Unsettled, Error> {
    let served = match engine.rung {
        Rung::FuseOverlay => Served::ByProgram,
        _ => Served::ByKernel,
    };
    Ok(Unsettled::list(upper, engine.flavour(), served, files)?)
}

/// Seals what a step has made.
pub(crate) fn seal(engine: &Engine, snapshot: Snapshot<Open>) -> Result<SnapshotId, Error> {
    let directory = snapshot.fs().to_owned();
    let id = snapshot.seal()?;
    engine.trees.sealed(&directory, id);
    Ok(id)
}

/// Mounts `snapshots`, the bottom first, to be read.
pub(crate) fn readable(engine: &Engine, snapshots: &[SnapshotId]) -> Result<Rootfs, Error> {
    if directories(engine, snapshots)?.is_empty() {
        let empty = fresh(engine, snapshots)?;
        return Ok(Rootfs { root: RootDir::open(empty.fs())?, _held: Held::Empty(empty) });
    }
    if !engine.rung.mounts() {
        let (root, borrowed) = engine.trees.borrow(engine, snapshots)?;
        return Ok(Rootfs { root, _held: Held::Tree(borrowed) });
    }
    let overlay = floor::mount_on(engine, snapshots, |lowers| {
        Ok(Overlay::mount(engine.rung, lowers, None, None)?)
    })?;
    Ok(Rootfs { root: RootDir::from_fd(overlay.try_clone_fd()?), _held: Held::Nothing })
}

/// Mounts `snapshots` with `top` above them, to be read. Somebody may write to `top` meanwhile.
pub(crate) fn readable_with(
    engine: &Engine,
    snapshots: &[SnapshotId],
    top: &std::path::Path,
) -> Result<Rootfs, Error> {
    ensure_mounts(engine, "a container")?;
    let mut lowers = directories(engine, snapshots)?;
    if sealed::is_empty(top)? {
        return readable(engine, snapshots);
    }
    lowers.insert(0, top.to_owned());
    let overlay = Overlay::mount(engine.rung, &lowers, None, None)?;
    Ok(Rootfs { root: RootDir::from_fd(overlay.try_clone_fd()?), _held: Held::Nothing })
}

/// Returns an error if one more layer is more than could be mounted.
pub(crate) fn ensure_room(engine: &Engine, below: &[SnapshotId]) -> Result<(), Error> {
    // Empty ones are not looked for where it cannot matter: each step would take longer than the one before.
    if below.len() < MOST_LAYERS {
        return Ok(());
    }
    let layers = directories(engine, below)?.len() + 1;
    if layers > MOST_LAYERS {
        return Err(sandbox::Error::TooManyLayers { layers, most: MOST_LAYERS }.into());
    }
    Ok(())
}

/// The directories of `snapshots` that hold anything, the top first. A step that changed nothing costs later steps nothing.
fn directories(engine: &Engine, snapshots: &[SnapshotId]) -> Result<Vec<PathBuf>, Error> {
    let mut directories = Vec::with_capacity(snapshots.len());
    for snapshot in snapshots.iter().rev() {
        let directory = engine.store.snapshot_dir(snapshot);
        if !engine.sealed.is_empty(snapshot, &directory)? {
            directories.push(directory);
        }
    }
    Ok(directories)
}
