//! What a RUN is mounted on where the image has nothing: a layer below all others, which is in no image.
//!
//! Nearly every RUN mounts the same few things: `/proc`, `/sys`, `/dev`, `/etc/hosts`, `/etc/resolv.conf`. What is made for that in
//! the snapshot has to be removed again, and costs a copy of `/etc` and a good dozen changes of the disk for each step. Here it
//! is made once for a build and shows through where no layer has anything; where one hides it (a whiteout, an opaque
//! directory, a symbolic link) the sandbox makes it in the snapshot as ever.
//!
//! Nothing of it gets into a snapshot: what is mounted on cannot be written to, renamed or removed. Its directories can be
//! written to, so there are none but those that the image has too: a directory of an image has the image's metadata, and what is made in it
//! is on top.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use store::{SnapshotId, TempDir};

use crate::{Engine, Error};

/// The stub layers of a build.
#[derive(Debug, Default)]
pub(crate) struct Stubs(Mutex<Option<Layers>>);

#[derive(Debug)]
struct Layers {
    directory: TempDir,
    /// The names of those that are there. Of most builds all steps need the same one.
    made: BTreeSet<&'static str>,
}

/// What the top-most layer that has an entry of this name has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Nothing,
    Directory,
    /// Something else, a whiteout above all.
    Other,
}

impl Stubs {
    /// Returns the layer that belongs below `snapshots`.
    pub(crate) fn below(
        &self,
        engine: &Engine,
        snapshots: &[SnapshotId],
    ) -> Result<PathBuf, Error> {
        let mut layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let layers = match &mut *layers {
            Some(layers) => layers,
            None => {
                let (directory, made) = (engine.store.temp_dir()?, BTreeSet::new());
                layers.insert(Layers { directory, made })
            }
        };
        let has_etc = has_etc(engine, snapshots)?;
        let name = if has_etc { WITH_ETC } else { WITHOUT_ETC };
        let layer = layers.directory.path().join(name);
        if !layers.made.contains(name) {
            make(&layer, has_etc)?;
            layers.made.insert(name);
        }
        Ok(layer)
    }

    /// Gives them up: no step needs them any more. They go when the result is dropped, which takes a while.
    pub(crate) fn take(&self) -> Option<TempDir> {
        let layers = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        layers.map(|layers| layers.directory)
    }
}

const WITH_ETC: &str = "with-etc";
const WITHOUT_ETC: &str = "without-etc";

fn make(layer: &Path, with_etc: bool) -> Result<(), Error> {
    let directory = |path: &Path| {
        let created = fs::DirBuilder::new().mode(0o755).create(path);
        created.map_err(Error::io("create", path))
    };
    directory(layer)?;
    for name in ["dev", "proc", "sys"] {
        directory(&layer.join(name))?;
    }
    if with_etc {
        let etc = layer.join("etc");
        directory(&etc)?;
        for name in ["hosts", "resolv.conf"] {
            let file = etc.join(name);
            fs::write(&file, "").map_err(Error::io("create", &file))?;
        }
    }
    Ok(())
}

/// Whether `/etc` of this root file system is a directory.
fn has_etc(engine: &Engine, snapshots: &[SnapshotId]) -> Result<bool, Error> {
    for snapshot in snapshots.iter().rev() {
        match engine.sealed.etc(snapshot, || entry(&engine.store.snapshot_dir(snapshot), "etc"))? {
            Entry::Nothing => {}
            Entry::Directory => return Ok(true),
            Entry::Other => return Ok(false),
        }
    }
    Ok(false)
}

fn entry(layer: &Path, name: &str) -> Result<Entry, Error> {
    let path = layer.join(name);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => Ok(Entry::Directory),
        Ok(_) => Ok(Entry::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Entry::Nothing),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}
