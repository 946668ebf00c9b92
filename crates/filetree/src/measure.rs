//! How much is in a tree: the bytes of its files, as Docker counts the size of a layer, and how many of them a disk has.
//!
//! The two differ by holes. What the disk has is never taken for more than the file contains: what the last block of a file
//! has room for, and directories, do not count. `store/src/collect/size.rs` counts in the same way.

use std::{collections::BTreeSet, os::fd::AsFd, path::Path};

use rustix::fs::{AtFlags, FileType, SeekFrom, Stat};

use crate::{
    Error, RootDir,
    pack::walk::{Visit, Walk, open_dir},
};

/// How much is in a tree: in everything that is not a directory. A file with several names counts once, a symbolic link as
/// long as its target is, a device not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeSize {
    /// Bytes of contents.
    pub contents: u64,
    /// How many of them are holes, and not on the disk.
    pub holes: u64,
}

impl TreeSize {
    /// The bytes that are on the disk.
    pub fn on_disk(self) -> u64 {
        self.contents.saturating_sub(self.holes)
    }
}

/// Up to this size a file has no hole that is worth counting; and some file systems keep it where no blocks are counted.
const TOO_SMALL: u64 = 4096;

/// Returns how many of the bytes of a regular file are not on the disk, by the number of its blocks (of 512 bytes, as
/// stat(2) counts them).
pub fn holes(size: u64, blocks: u64) -> u64 {
    if size <= TOO_SMALL { 0 } else { size.saturating_sub(blocks.saturating_mul(512)) }
}

/// Returns how much is below `root`. What [`pack`](fn@crate::pack) returns, without packing.
pub fn tree_size(root: &Path) -> Result<TreeSize, Error> {
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
        sizes.add(&stat, holes_of);
    }
    Ok(sizes.total())
}

/// Adds up what files contain.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    size: TreeSize,
    /// The files with several names that were counted.
    linked: BTreeSet<(u64, u64)>,
}

impl Sizes {
    pub(crate) fn total(&self) -> TreeSize {
        self.size
    }

    /// Adds a file, with what `holes` finds in it.
    pub(crate) fn add(&mut self, stat: &Stat, holes: impl FnOnce(&Stat) -> u64) {
        if stat.st_nlink < 2 || self.linked.insert((stat.st_dev, stat.st_ino)) {
            self.size.contents += size_of(stat);
            self.size.holes += holes(stat);
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

/// Returns how many bytes of a file are holes, as far as the number of its blocks tells.
pub(crate) fn holes_of(stat: &Stat) -> u64 {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => holes(size_of(stat), u64::try_from(stat.st_blocks).unwrap_or(0)),
        _ => 0,
    }
}

/// The same of an open file that was written just now: a file system may not have given it its blocks yet, so it is asked
/// whether there is a hole at all. Where the file is read next is undefined.
pub(crate) fn holes_in(file: impl AsFd, stat: &Stat) -> u64 {
    let counted = holes_of(stat);
    if counted == 0 {
        return 0;
    }
    let first = rustix::fs::seek(&file, SeekFrom::Hole(0));
    // Where it is not known, there is none.
    if first.is_ok_and(|hole| hole < size_of(stat)) { counted } else { 0 }
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
        fs::write(root.join("large"), vec![1; 300_000]).unwrap();
        let size = tree_size(root).unwrap();
        assert_eq!(size.contents, 1000 + "a/file".len() as u64 + 5_000_000 + 300_000);
        assert_eq!(size.holes, 5_000_000);
        assert_eq!(size.on_disk(), 301_006);
        let options = PackOptions::OWN;
        assert_eq!(pack(root, Flavour::User, &options, &mut sink()).unwrap(), size);
    }

    #[test]
    fn only_what_can_be_a_hole_is_one() {
        let check = |size: u64, blocks: u64, expected: u64| {
            assert_eq!(holes(size, blocks), expected, "{size} bytes in {blocks} blocks");
        };
        // Whatever is kept beside the inode.
        check(100, 0, 0);
        check(4096, 0, 0);
        check(1 << 30, 0, 1 << 30);
        check(1 << 30, 8, (1 << 30) - 4096);
        // The last block, and what was reserved behind it.
        check(5000, 16, 0);
        check(5000, 4096, 0);
        check(5000, u64::MAX, 0);
    }

    #[test]
    fn blocks_that_are_not_there_yet_are_no_holes() {
        let dir = TempDir::new();
        let file = fs::File::create(dir.path().join("sparse")).unwrap();
        file.set_len(1 << 20).unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        assert_eq!(holes_in(&file, &stat), 1 << 20);
        fs::write(dir.path().join("whole"), vec![1; 1 << 20]).unwrap();
        let whole = fs::File::open(dir.path().join("whole")).unwrap();
        let mut late = rustix::fs::fstat(&whole).unwrap();
        late.st_blocks = 1;
        assert_eq!(holes_in(&whole, &late), 0);
    }
}
