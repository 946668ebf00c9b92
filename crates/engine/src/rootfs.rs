//! Snapshots as a root file system: stacked by overlay, through mounts that are attached nowhere. What many layers are
//! stacked on is in `floor`, what a RUN is
//! mounted on in `stubs`.

mod floor;
mod stubs;

use std::path::PathBuf;

use filetree::RootDir;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid};
use sandbox::{MOST_LAYERS, Overlay, Syncs};
use store::{ContainerDirectory, Image, Open, Snapshot, SnapshotId};

pub(crate) use self::{
    floor::Floors,
    stubs::{Entry, Stubs},
};
use crate::{Engine, Error, sealed};

/// A root file system and what it needs to exist.
#[derive(Debug)]
pub struct Rootfs {
    root: RootDir,
    /// What is shown where there is no snapshot at all.
    _empty: Option<Snapshot<Open>>,
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
    let stat = rustix::fs::stat(from).map_err(Error::errno("read", from))?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chown(to, Some(uid), Some(gid)).map_err(Error::errno("change the owner of", to))?;
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
    let overlay = floor::mount_on(engine, below, |lowers| {
        Ok(Overlay::mount(engine.rung, lowers, upper, work)?)
    })?;
    let root = RootDir::from_fd(overlay.try_clone_fd()?);
    Ok(Writable { overlay, root })
}

/// Mounts `snapshot` on top of `below`, to be written by a program of the image; with `stubs`, it finds there what is mounted
/// for it, and must not be able to undo that.
pub(crate) fn runnable(
    engine: &Engine,
    snapshot: &Snapshot<Open>,
    below: &[SnapshotId],
    stubs: Option<&Stubs>,
) -> Result<Writable, Error> {
    let mut lowers = directories(engine, below)?;
    if let Some(stubs) = stubs.filter(|_| lowers.len() < MOST_LAYERS) {
        lowers.push(stubs.below(engine, below)?);
    }
    let overlay = Overlay::mount(engine.rung, &lowers, Some(snapshot.fs()), Some(snapshot.work()))?;
    let root = RootDir::from_fd(overlay.try_clone_fd()?);
    Ok(Writable { overlay, root })
}

/// Mounts what a container has written on top of `below`, to be written to further.
pub(crate) fn kept(
    engine: &Engine,
    directory: &ContainerDirectory,
    below: &[SnapshotId],
    syncs: Syncs,
) -> Result<Writable, Error> {
    let lowers = directories(engine, below)?;
    let (upper, work) = (Some(directory.fs()), Some(directory.work()));
    let overlay = Overlay::mount_with(engine.rung, &lowers, upper, work, syncs)?;
    let root = RootDir::from_fd(overlay.try_clone_fd()?);
    Ok(Writable { overlay, root })
}

/// A root file system whose changes go into an open snapshot.
#[derive(Debug)]
pub(crate) struct Writable {
    overlay: Overlay,
    root: RootDir,
}

impl Writable {
    /// The root directory.
    pub(crate) fn root(&self) -> &RootDir {
        &self.root
    }

    /// The mount, for a sandbox.
    pub(crate) fn mount(&self) -> Result<std::os::fd::OwnedFd, Error> {
        Ok(self.overlay.try_clone_fd()?)
    }
}

/// Mounts `snapshots`, the bottom first, to be read.
pub(crate) fn readable(engine: &Engine, snapshots: &[SnapshotId]) -> Result<Rootfs, Error> {
    if directories(engine, snapshots)?.is_empty() {
        let empty = fresh(engine, snapshots)?;
        return Ok(Rootfs { root: RootDir::open(empty.fs())?, _empty: Some(empty) });
    }
    let overlay = floor::mount_on(engine, snapshots, |lowers| {
        Ok(Overlay::mount(engine.rung, lowers, None, None)?)
    })?;
    Ok(Rootfs { root: RootDir::from_fd(overlay.try_clone_fd()?), _empty: None })
}

/// Mounts `snapshots` with `top` above them, to be read. Somebody may write to `top` meanwhile.
pub(crate) fn readable_with(
    engine: &Engine,
    snapshots: &[SnapshotId],
    top: &std::path::Path,
) -> Result<Rootfs, Error> {
    let mut lowers = directories(engine, snapshots)?;
    if sealed::is_empty(top)? {
        return readable(engine, snapshots);
    }
    lowers.insert(0, top.to_owned());
    let overlay = Overlay::mount(engine.rung, &lowers, None, None)?;
    Ok(Rootfs { root: RootDir::from_fd(overlay.try_clone_fd()?), _empty: None })
}

/// Returns an error if one more layer is more than could be mounted.
pub(crate) fn ensure_room(engine: &Engine, below: &[SnapshotId]) -> Result<(), Error> {
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
