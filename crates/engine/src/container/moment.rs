//! A container at one moment: what it has written, seen from outside while nobody starts or removes it.

use std::os::unix::net::UnixStream;

use filetree::{Difference, differences};
use sandbox::MountPoints;
use store::{Container, Kept};

use super::{
    control::{self, WhenStopped},
    wire::{Answer, Request},
};
use crate::{
    Engine, Error,
    rootfs::{self, Rootfs},
};

/// Whether a container goes on meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meanwhile {
    /// Its processes stand still.
    Paused,
    /// They do not.
    Running,
}

/// A container at one moment, as long as this lives.
#[derive(Debug)]
pub(super) struct Moment {
    /// What is in its root file system only because it runs.
    pub(super) mount_points: MountPoints,
    /// Whether it runs.
    pub(super) is_running: bool,
    _paused: Option<UnixStream>,
    _at_rest: Option<Kept>,
}

/// Takes hold of a container.
///
/// # Errors
/// [`store::Error::ContainerKept`] if somebody else has it in hand without running it.
pub(super) fn hold(
    engine: &Engine,
    container: &Container,
    meanwhile: Meanwhile,
) -> Result<Moment, Error> {
    let paused = match meanwhile {
        Meanwhile::Paused => {
            control::request(engine, container, &Request::HoldStill, WhenStopped::Tell)
        }
        Meanwhile::Running => {
            control::request(engine, container, &Request::MountPoints, WhenStopped::Tell)
        }
    };
    let not_running = match paused {
        Ok((Answer::MountPoints(mount_points), stream)) => {
            let _paused = Some(stream);
            rootfs::adopt_kept(engine, container)?;
            return Ok(Moment { mount_points, is_running: true, _paused, _at_rest: None });
        }
        Ok(_) => return Err(Error::Lost { what: "what a container is mounted on" }),
        Err(error @ Error::NotRunning { .. }) => error,
        Err(error) => return Err(error),
    };
    let Some(kept) = engine.store().keep_container(&container.id)? else {
        // It is being started or removed.
        drop(not_running);
        return Err(store::Error::ContainerKept { name: container.name.clone() }.into());
    };
    rootfs::adopt_kept(engine, container)?;
    let mount_points = MountPoints::default();
    Ok(Moment { mount_points, is_running: false, _paused: None, _at_rest: Some(kept) })
}

/// Returns what a container has changed in the root file system of its image, by path.
pub fn changes(engine: &Engine, container: &Container) -> Result<Vec<Difference>, Error> {
    let moment = hold(engine, container, Meanwhile::Running)?;
    let below = rootfs::readable(engine, &container.snapshots)?;
    let directory = engine.store().container_directory(&container.id);
    let skip = |path: &std::path::Path| moment.mount_points.contains(path);
    Ok(differences(directory.fs(), engine.flavour(), below.root(), &skip)?)
}

/// Returns the root file system of a container as it has written it, without what is mounted there.
pub(super) fn written(engine: &Engine, container: &Container) -> Result<Rootfs, Error> {
    let directory = engine.store().container_directory(&container.id);
    rootfs::readable_with(engine, &container.snapshots, directory.fs())
}

/// Writes the whole root file system of a container as a tar, without what is mounted there. What is written while a
/// container runs is in it as it was at some moment.
pub fn export(
    engine: &Engine,
    container: &Container,
    out: &mut impl std::io::Write,
) -> Result<(), Error> {
    let moment = hold(engine, container, Meanwhile::Running)?;
    let rootfs = written(engine, container)?;
    match moment.is_running {
        true => filetree::pack_living_tree(rootfs.root(), out)?,
        false => filetree::pack_tree(rootfs.root(), None, out)?,
    }
    Ok(())
}
