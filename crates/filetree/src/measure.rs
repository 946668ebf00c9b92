//! How much is in a tree: the bytes of its files, as Docker counts the size of a layer.

use std::{collections::BTreeSet, os::fd::AsFd, path::Path};

use rustix::fs::{AtFlags, FileType, Stat};

use crate::{
    Error, RootDir,
    pack::walk::{Visit, Walk, open_dir},
};

/// Returns the bytes of contents of everything below `root` that is not a directory: a file with several names counts once,
/// a symbolic link as long as its target is, a device not at all. What [`pack`](fn@crate::pack) returns, without packing.
pub fn contents_size(root: &Path) -> Result<u64, Error> {
    let root = RootDir::open(root)?;
    let top = open_dir(root.as_fd(), c".").map_err(Error::io("open", "/"))?;
    let mut walk = Walk::new(top)?;
    let mut sizes = Sizes::default();
    while let Some(visit) = walk.next()? {
        let Visit::Name(name, kind) = visit else { continue };
        if kind == FileType::Directory {
            let path = || walk.path_of(name.to_bytes());
            let fd = open_dir(walk.dir()?, &name).map_err(Error::io("open", path()))?;
            walk.enter(fd, &name)?;
            continue;
        }
        let stat = rustix::fs::statat(walk.dir()?, &name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::io("stat", walk.path_of(name.to_bytes())))?;
        sizes.add(&stat);
    }
    Ok(sizes.total())
}

/// Adds up what files contain.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    size: u64,
    /// The files with several names that were counted.
    linked: BTreeSet<(u64, u64)>,
}

impl Sizes {
    pub(crate) fn total(&self) -> u64 {
        self.size
    }

    pub(crate) fn add(&mut self, stat: &Stat) {
        if stat.st_nlink < 2 || self.linked.insert((stat.st_dev, stat.st_ino)) {
            self.size += size_of(stat);
        }
    }
}

/// Returns the bytes of contents of one file.
pub(crate) fn size_of(stat: &Stat) -> u64 {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Symlink => u64::try_from(stat.st_size).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::sink, os::unix::fs::symlink};

    use super::*;
    use crate::{Flavour, PackOptions, pack, test_data::TempDir};

    #[test]
    fn a_file_counts_once_and_a_link_as_its_target() {
        let dir = TempDir::new();
        let root = dir.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/file"), [1; 1000]).unwrap();
        fs::hard_link(root.join("a/file"), root.join("a/b/same")).unwrap();
        fs::hard_link(root.join("a/file"), root.join("again")).unwrap();
        fs::write(root.join("empty"), "").unwrap();
        symlink("a/file", root.join("link")).unwrap();
        fs::File::create(root.join("sparse")).unwrap().set_len(5_000_000).unwrap();
        let size = contents_size(root).unwrap();
        assert_eq!(size, 1000 + "a/file".len() as u64 + 5_000_000);
        let options = PackOptions::OWN;
        assert_eq!(pack(root, Flavour::User, &options, &mut sink()).unwrap(), size);
    }
}
