//! How much is in snapshots and cache mounts: the bytes of their files that are on the disk, as `filetree::tree_size` counts them.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    rc::Rc,
};

use rustix::fs::{AtFlags, FileType};

use crate::{
    Layer, SnapshotId, Store,
    error::{Error, Result},
    open::Inner,
    record::Kind,
    remove,
};

/// How deep a tree is counted. Each level keeps a descriptor open, and what is deeper was made to exhaust something; it
/// is removed like everything else, only not counted before.
const COUNTED_DEPTH: usize = 256;

/// An entry that is still to be counted: its directory, its name, its depth.
type Waiting = (Rc<OwnedFd>, CString, usize);

impl Store {
    /// Returns how many bytes the files of a snapshot have on the disk, none if it is not there. Those of a layer are
    /// counted once and written down; they are not the size of the image that has it, where there are holes.
    pub fn snapshot_size(&self, id: &SnapshotId) -> Result<u64, Error> {
        self.inner.snapshot_size(id)
    }
}

impl Inner {
    /// Returns how many bytes the files of a snapshot have on the disk, none if it is not there.
    pub(crate) fn snapshot_size(&self, id: &SnapshotId) -> Result<u64> {
        let layer: Option<Layer> = self.get(Kind::Layer, &id.to_string())?;
        match layer.and_then(|layer| layer.on_disk()) {
            Some(bytes) => Ok(bytes),
            None => on_disk(&self.layout.snapshot(id)),
        }
    }
}

/// Returns how many bytes the files of a tree have on the disk, none if there is no tree.
pub(crate) fn on_disk(path: &Path) -> Result<u64> {
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("open", path)(error)),
        Ok(root) => tree_size(root.into()).map_err(Error::io("list", path)),
    }
}

/// Adds up what the disk has of the files of a tree.
fn tree_size(root: OwnedFd) -> rustix::io::Result<u64> {
    let mut waiting = list_sized(root, 0)?;
    let mut linked = BTreeSet::new();
    let mut size = 0;
    while let Some((parent, name, depth)) = waiting.pop() {
        let stat = match rustix::fs::statat(&*parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // A cache mount may be in use.
            Err(rustix::io::Errno::NOENT) => continue,
            stat => stat?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if stat.st_nlink == 1 || linked.insert(stat.st_ino) {
                size += remove::on_disk(&stat);
            }
        } else if depth < COUNTED_DEPTH
            && let Ok(directory) = remove::open(parent.as_fd(), &name)
        {
            waiting.extend(list_sized(directory, depth + 1)?);
        }
    }
    Ok(size)
}

fn list_sized(directory: OwnedFd, depth: usize) -> rustix::io::Result<Vec<Waiting>> {
    let directory = Rc::new(directory);
    let entries = remove::list(directory.as_fd())?;
    Ok(entries.into_iter().map(|(name, _)| (Rc::clone(&directory), name, depth)).collect())
}
