//! What a container finds in its file system besides the image: from options to mounts.

use std::{fs, io, path::Path};

use sandbox::MountSource;
use store::Volume;

use super::options::{BindOptions, ContainerOptions, Mount, MountKind, TmpfsOptions};
use crate::{Engine, Error};

/// Permission bits of a tmpfs that nobody has said anything about.
const TMPFS_MODE: u32 = 0o1777;

/// Returns the mounts, the ones nearer to the root first, so that none hides another.
pub(super) fn of(
    engine: &Engine,
    options: &ContainerOptions,
) -> Result<Vec<sandbox::Mount>, Error> {
    let mut mounts: Vec<&Mount> = options.mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.target.matches('/').count());
    mounts.into_iter().map(|it| mount(engine, it)).collect()
}

fn mount(engine: &Engine, mount: &Mount) -> Result<sandbox::Mount, Error> {
    let source = match &mount.kind {
        MountKind::Bind(bind) => bound(bind)?,
        MountKind::Tmpfs(tmpfs) => memory(tmpfs),
        MountKind::Volume { name, .. } => volume(engine, name.as_deref())?,
    };
    Ok(sandbox::Mount { target: mount.target.clone(), source, read_only: mount.read_only })
}

/// The directory of a volume, which was made with the container. One that has been taken away since is empty again.
fn volume(engine: &Engine, name: Option<&str>) -> Result<MountSource, Error> {
    let Some(name) = name else { return Err(Error::Lost { what: "a volume" }) };
    engine.store().create_volume(&Volume::new(name), |_| Ok(()))?;
    Ok(MountSource::Bind(engine.store().volume_directory(name)))
}

fn memory(tmpfs: &TmpfsOptions) -> MountSource {
    MountSource::Tmpfs {
        size: tmpfs.size,
        mode: tmpfs.mode.unwrap_or(TMPFS_MODE),
        uid: tmpfs.uid,
        gid: tmpfs.gid,
        exec: tmpfs.exec,
    }
}

/// A place of the host; `-v` makes a directory where there is none.
fn bound(bind: &BindOptions) -> Result<MountSource, Error> {
    match fs::metadata(&bind.source) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && bind.create => {
            make_directory(&bind.source)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoBindSource { path: bind.source.clone() });
        }
        Err(error) => return Err(Error::io("use", &bind.source)(error)),
    }
    Ok(match bind.non_recursive {
        true => MountSource::BindAlone(bind.source.clone()),
        false => MountSource::Bind(bind.source.clone()),
    })
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io("make the directory", path))
}
