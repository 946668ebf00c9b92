//! The volumes of a container: those that it was asked to have, and one for each VOLUME of its image.
//!
//! An empty volume starts with what the image has at its place, as with Docker, when the container is made.

use std::{collections::BTreeSet, fs, io, path::Path};

use filetree::{Owners, Placement, RootDir, Tree, Wanted};
use rustix::fs::{FileType, Mode, Stat};
use store::{Container, Image, Volume, VolumesGate};

use super::{
    create::Settings,
    options::{ContainerOptions, Mount, MountKind},
};
use crate::{
    Engine, Error,
    rootfs::{self, Rootfs},
};

/// The volumes of a container that is being made. They stay while this lives; dropped without [`Prepared::keep`], those that
/// were made for this container alone are removed again.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    engine: &'a Engine,
    own: Vec<String>,
    _gate: VolumesGate,
}

impl Prepared<'_> {
    /// Says that the container is there now, with its volumes.
    pub(super) fn keep(mut self) {
        self.own.clear();
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        for name in &self.own {
            // One that stays is an empty directory that `volume prune` finds.
            let _ = self.engine.store().remove_volume(name);
        }
    }
}

/// Makes the volumes that are not there yet. Afterwards every volume of the options has a name, and the options also have
/// those of the image.
pub(super) fn prepare<'a>(
    engine: &'a Engine,
    options: &mut ContainerOptions,
    image: &Image,
) -> Result<Prepared<'a>, Error> {
    add_those_of_the_image(options, image);
    let gate = engine.store().use_volumes()?;
    let mut prepared = Prepared { engine, own: Vec::new(), _gate: gate };
    let mut source = Source { engine, image, root: None };
    for mount in &mut options.mounts {
        let MountKind::Volume { name, copy } = &mut mount.kind else { continue };
        let volume = name.as_deref().map_or_else(Volume::anonymous, Volume::new);
        let mut failure = None;
        let fill = |directory: &Path| {
            let filled = if *copy { source.fill(directory, &mount.target) } else { Ok(()) };
            filled.map_err(|error| {
                failure = Some(error);
                io::Error::other("the volume cannot be filled")
            })
        };
        let made = engine.store().create_volume(&volume, fill);
        let made = made.map_err(|error| failure.unwrap_or_else(|| error.into()))?;
        if volume.anonymous {
            prepared.own.push(volume.name.clone());
        }
        if !made && *copy {
            source.fill_if_empty(&engine.store().volume_directory(&volume.name), &mount.target)?;
        }
        *name = Some(volume.name);
    }
    Ok(prepared)
}

/// A VOLUME where nothing else was asked for is a volume of the container's own.
fn add_those_of_the_image(options: &mut ContainerOptions, image: &Image) {
    let taken: BTreeSet<String> = options.mounts.iter().map(|mount| mount.target.clone()).collect();
    for path in image.config.config.volumes.keys() {
        // What is no place for a mount, an image may say and nobody heeds.
        let Ok(Mount { target, .. }) = Mount::parse_volume(path) else { continue };
        if !taken.contains(&target) {
            let kind = MountKind::Volume { name: None, copy: true };
            options.mounts.push(Mount { target, kind, read_only: false });
        }
    }
}

/// Where volumes get their first content from; mounted when the first one needs it.
struct Source<'a> {
    engine: &'a Engine,
    image: &'a Image,
    root: Option<Rootfs>,
}

impl Source<'_> {
    /// Fills an empty directory with what the image has at `path`, and makes it look like that.
    fn fill(&mut self, directory: &Path, path: &str) -> Result<(), Error> {
        let root = match &self.root {
            Some(rootfs) => rootfs.root(),
            None => self.root.insert(rootfs::merged(self.engine, self.image)?).root(),
        };
        let found = root.metadata(Path::new(path)).map_err(Error::io("read", path))?;
        let Some(stat) = found.filter(is_directory) else { return Ok(()) };
        let tree = Tree::new(root.try_clone()?, Owners::Keep);
        let sources = [format!("{path}/")];
        let wanted = Wanted { sources: &sources, ..Wanted::default() };
        let selection = filetree::select(&tree, &wanted)?;
        let dest = "/".to_owned();
        let placement = Placement {
            dest,
            owner: None,
            mode: None,
            created: None,
            budget: self.engine.limits().layer,
        };
        filetree::copy(&tree, &selection, &RootDir::open(directory)?, &placement)?;
        resemble(directory, &stat)
    }

    /// The same for a volume that was there already, if nobody has put anything into it.
    fn fill_if_empty(&mut self, directory: &Path, path: &str) -> Result<(), Error> {
        let mut entries = fs::read_dir(directory).map_err(Error::io("read", directory))?;
        if entries.next().is_some() {
            return Ok(());
        }
        let filled = self.fill(directory, path);
        if filled.is_err() {
            // Half of it must not be taken for all of it the next time.
            clear(directory)?;
        }
        filled
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Gives a directory the owner and the mode of another one.
fn resemble(directory: &Path, stat: &Stat) -> Result<(), Error> {
    filetree::chown(directory, stat.st_uid, stat.st_gid)
        .map_err(Error::errno("change the owner of", directory))?;
    rustix::fs::chmod(directory, Mode::from_raw_mode(stat.st_mode))
        .map_err(Error::errno("change the mode of", directory))
}

fn clear(directory: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::io("read", directory))? {
        let entry = entry.map_err(Error::io("read", directory))?;
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        removed.map_err(Error::io("remove", path))?;
    }
    Ok(())
}

/// Returns the names of a container's volumes.
pub(super) fn of(options: &ContainerOptions) -> impl Iterator<Item = &str> {
    options.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume { name, .. } => name.as_deref(),
        MountKind::Bind(_) | MountKind::Tmpfs(_) => None,
    })
}

/// Removes the volumes that were made for a container alone, once it is gone.
pub fn remove_own(engine: &Engine, container: &Container) -> Result<(), Error> {
    let options = Settings::of(container)?.options;
    for name in of(&options) {
        let own = engine.store().volume(name)?.is_some_and(|volume| volume.anonymous);
        // Another container may have been given it by its name.
        if own {
            match remove(engine, name) {
                Err(
                    Error::VolumeInUse { .. } | Error::Store(store::Error::NoSuchVolume { .. }),
                ) => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}

/// Removes a volume that no container has.
pub fn remove(engine: &Engine, name: &str) -> Result<(), Error> {
    let _gate = engine.store().close_volumes()?;
    let users = users(engine, name)?;
    match users.is_empty() {
        true => Ok(engine.store().remove_volume(name)?),
        false => Err(Error::VolumeInUse { name: name.to_owned(), containers: users }),
    }
}

/// The ids of the containers that have a volume.
pub fn users(engine: &Engine, name: &str) -> Result<Vec<String>, Error> {
    let mut users = Vec::new();
    for container in engine.store().containers()? {
        if of(&Settings::of(&container)?.options).any(|volume| volume == name) {
            users.push(container.id.to_string());
        }
    }
    Ok(users)
}
