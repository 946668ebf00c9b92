//! `kiln commit`: what a container has written becomes a layer, and what it was started with the config of an image.

use std::{
    fs::File,
    io::{BufWriter, Write},
    os::fd::AsFd,
};

use filetree::{Files, PackOptions, RootDir};
use oci::{Config, History, ImageConfig, ImageId, Reference};
use store::{Ancestry, Container, Open, Snapshot, SnapshotId};

use super::{
    Settings, change, merged,
    moment::{self, Meanwhile},
    options::{ContainerOptions, MountKind},
    pipe::through_pipe,
};
use crate::{Engine, Error, commit::layer, load, rootfs};

/// What is wanted of an image that is made from a container.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// Who made it.
    pub author: String,
    /// Why.
    pub message: String,
    /// Instructions of a Dockerfile that change the config.
    pub changes: Vec<String>,
    /// Whether the container goes on while its files are read.
    pub go_on: bool,
    /// The name that the image gets.
    pub name: Option<Reference>,
}

/// Makes an image from a container. The container is as before.
///
/// # Errors
/// [`Error::Change`] before anything is done; after any error no image is there.
pub fn commit(
    engine: &Engine,
    container: &Container,
    request: &CommitRequest,
) -> Result<ImageId, Error> {
    let mut config = ImageConfig::parse(container.image_config.as_bytes())?;
    let options = Settings::of(container)?.options;
    config.config = config_of(engine, &config.config, &options)?;
    let command = config.config.cmd.clone().unwrap_or_default().join(" ");
    config.config = change::apply(&config, &request.changes)?;

    let lease = engine.store().lease()?;
    for snapshot in &container.snapshots {
        lease.hold(snapshot)?;
    }
    let mut snapshots = container.snapshots.clone();
    let meanwhile = if request.go_on { Meanwhile::Running } else { Meanwhile::Paused };
    let made = written_layer(engine, container, meanwhile)?;
    let is_empty = made.is_none();
    if let Some(snapshot) = made {
        rootfs::ensure_room(engine, &container.snapshots)?;
        lease.hold(&snapshot)?;
        config.rootfs.diff_ids.push(layer(engine, snapshot)?.diff_id);
        snapshots.push(snapshot);
    }

    let created = Some(crate::commit::now());
    config.author.clone_from(&request.author);
    config.created.clone_from(&created);
    config.history.push(History {
        created,
        created_by: command,
        author: request.author.clone(),
        comment: request.message.clone(),
        empty_layer: is_empty,
    });
    let ancestry = Ancestry { base: Some(container.image), ancestors: Vec::new() };
    let bytes = oci::json::to_bytes(&config);
    let id = engine.store().put_made_image(&bytes, &snapshots, None, &ancestry)?;
    if let Some(name) = &request.name {
        engine.store().tag(&name.tagged(), &id)?;
    }
    Ok(id)
}

/// The config that a container was started with: the image's with what it was asked to be. Without triggers, which were
/// meant for builds on the image.
fn config_of(engine: &Engine, image: &Config, options: &ContainerOptions) -> Result<Config, Error> {
    let mut config = Config { on_build: Vec::new(), ..merged(options, image) };
    for mount in &options.mounts {
        let MountKind::Volume { name: Some(name), .. } = &mount.kind else { continue };
        // One that was asked for by its name is not the image's to ask for.
        if engine.store().volume(name)?.is_some_and(|volume| volume.anonymous) {
            config.volumes.insert(mount.target.clone(), oci::config::Empty {});
        }
    }
    Ok(config)
}

/// Copies what a container has written into a snapshot; `None` if that is nothing.
fn written_layer(
    engine: &Engine,
    container: &Container,
    meanwhile: Meanwhile,
) -> Result<Option<SnapshotId>, Error> {
    let snapshot = rootfs::fresh(engine, &container.snapshots)?;
    let moment = moment::hold(engine, container, meanwhile)?;
    copy_upper(engine, container, &snapshot)?;
    let mount_points = moment.mount_points.clone();
    // From here on it goes on.
    drop(moment);

    let root = RootDir::open(snapshot.fs())?;
    let directory = File::open(snapshot.fs()).map_err(Error::io("open", snapshot.fs()))?;
    mount_points.remove_from(directory.as_fd())?;
    let below = rootfs::readable(engine, &container.snapshots)?;
    rootfs::unsettled(engine, snapshot.fs(), Files::Put)?.settle(below.root())?;
    match root.is_empty()? {
        true => Ok(None),
        false => Ok(Some(snapshot.seal()?)),
    }
}

/// Copies overlay's upper directory, whiteouts and all, by way of the layer that it is.
fn copy_upper(
    engine: &Engine,
    container: &Container,
    snapshot: &Snapshot<Open>,
) -> Result<(), Error> {
    let directory = engine.store().container_directory(&container.id);
    let pack = |out: File| {
        let mut out = BufWriter::new(out);
        let options = PackOptions::OWN;
        filetree::pack(directory.fs(), engine.flavour(), &options, &mut out)?;
        let failed = |source| Error::Files(filetree::Error::WriteArchive { source });
        out.flush().map_err(failed)
    };
    let below = load::layer::lowers(engine, &container.snapshots)?;
    through_pipe(pack, |input| load::layer::unpack(engine, input, snapshot, &below).map(drop))
}
