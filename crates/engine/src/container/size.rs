//! How much a container has written.

use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt};

use filetree::TreeSize;
use store::Container;

use crate::{Engine, Error};

/// Returns how much is in all files that a container has written or changed, as Docker counts them: each file once, however
/// many names it has, and nothing for directories. Files that vanish meanwhile do not count.
pub fn written_size(engine: &Engine, container: &Container) -> Result<TreeSize, Error> {
    let mut seen = BTreeSet::new();
    let mut size = TreeSize::default();
    let mut ahead = vec![engine.store().container_directory(&container.id).fs().to_owned()];
    while let Some(directory) = ahead.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::io("read", &directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &directory))?;
            // Not followed, if it is a link.
            let Ok(stat) = entry.metadata() else { continue };
            if stat.is_dir() {
                ahead.push(entry.path());
            } else if stat.nlink() == 1 || seen.insert((stat.dev(), stat.ino())) {
                size.contents += stat.len();
                size.holes +=
                    if stat.is_file() { filetree::holes(stat.len(), stat.blocks()) } else { 0 };
            }
        }
    }
    Ok(size)
}

/// Returns the bytes of the layers that a container is made on.
pub fn image_size(engine: &Engine, container: &Container) -> Result<u64, Error> {
    let mut size = 0;
    for snapshot in &container.snapshots {
        size += engine.store().layer(snapshot)?.map_or(0, |layer| layer.size);
    }
    Ok(size)
}
