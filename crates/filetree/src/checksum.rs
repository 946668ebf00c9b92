//! Checksums of trees: whether the files that were unpacked still contain what they did.
//!
//! They are against disks and stray writes, not against people: whoever can change a file of the store can change what is written
//! down of it. So they may be quick, and are taken while the bytes go by. Owners, modes and times are not in them.
//!
//! ```text
//! for each name, in the order of the walk:
//!   its path, ended by 0                         bytes
//!   d: directory; f: file; l: link; o: another   one byte
//!   f: its size, the XXH64 of its contents       two numbers of eight bytes, little endian
//!   l: the size of its target                    one number
//! ```
//!
//! The checksum is the XXH64 of that, with seed 0.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::Hasher,
    os::fd::AsFd,
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType},
    io::Errno,
};
use twox_hash::XxHash64;

use crate::{
    Error, RootDir,
    measure::{self, Sizes, TreeSize, size_of},
    pack::walk::{Visit, Walk, open_dir, open_file},
};

/// What one call reads.
const BUFFER: usize = 256 * 1024;

/// Says in what is written down which format it is of.
const VERSION: &str = "xxh64-1-";

/// What the files of a tree contain, by a format that is drawn above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum(u64);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}{:016x}", self.0)
    }
}

impl Checksum {
    /// Reads what was written down; `None` for another format.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text.strip_prefix(VERSION)?, 16).ok().map(Self)
    }
}

/// How much is in a tree, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// As [`tree_size`](crate::tree_size) counts it.
    pub size: TreeSize,
    /// What it is.
    pub checksum: Checksum,
}

/// The checksums of files as they were written, by inode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written(HashMap<u64, u64>);

impl Written {
    /// Notes a file that was made just now: what was written into it, or that nobody knows. Its inode may have been another
    /// file's, which is gone.
    pub(crate) fn note(&mut self, file: impl AsFd, sum: Option<u64>) -> Result<(), Errno> {
        let inode = rustix::fs::fstat(file)?.st_ino;
        match sum {
            Some(sum) => self.0.insert(inode, sum),
            None => self.0.remove(&inode),
        };
        Ok(())
    }
}

/// The checksum of a file that is being written from its beginning to its end.
pub(crate) struct Writing(XxHash64);

impl Writing {
    pub(crate) fn new() -> Self {
        Self(XxHash64::with_seed(0))
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    pub(crate) fn finish(self) -> u64 {
        self.0.finish()
    }
}

/// Returns what everything below `root` contains. Files are read, except for those of which it is known what was written.
///
/// # Errors
/// Something cannot be read.
pub fn contents(root: &Path, written: &Written) -> Result<Contents, Error> {
    let root = RootDir::open(root)?;
    let top = open_dir(root.as_fd(), c".").map_err(Error::io("open", "/"))?;
    let mut walk = Walk::new(top)?;
    let mut reading = Reading { written, read: BTreeMap::new(), buffer: Vec::new() };
    let (mut all, mut sizes) = (XxHash64::with_seed(0), Sizes::default());
    while let Some(visit) = walk.next()? {
        let Visit::Name(name, kind) = visit else { continue };
        all.write(walk.prefix());
        all.write(name.to_bytes_with_nul());
        if kind == FileType::Directory {
            all.write(b"d");
            let path = || walk.path_of(name.to_bytes());
            let fd = open_dir(walk.dir()?, &name).map_err(Error::io("open", path()))?;
            walk.enter(fd, &name)?;
            continue;
        }
        let stat = rustix::fs::statat(walk.dir()?, &name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::io("stat", walk.path_of(name.to_bytes())))?;
        // What was written from its beginning to its end has no holes, whether the disk has it already or not.
        let has_none = written.0.contains_key(&stat.st_ino);
        sizes.add(&stat, |stat| if has_none { 0 } else { measure::holes_of(stat) });
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                all.write(b"f");
                all.write(&size_of(&stat).to_le_bytes());
                let path = || walk.path_of(name.to_bytes());
                let open = || open_file(walk.dir()?, &name).map_err(Error::io("open", path()));
                let sum = reading.sum(stat.st_ino, stat.st_nlink > 1, open, path)?;
                all.write(&sum.to_le_bytes());
            }
            FileType::Symlink => {
                all.write(b"l");
                all.write(&size_of(&stat).to_le_bytes());
            }
            _ => all.write(b"o"),
        }
    }
    Ok(Contents { size: sizes.total(), checksum: Checksum(all.finish()) })
}

/// Finds out what files contain.
struct Reading<'a> {
    written: &'a Written,
    /// The files with several names that were read.
    read: BTreeMap<u64, u64>,
    buffer: Vec<u8>,
}

impl Reading<'_> {
    fn sum(
        &mut self,
        inode: u64,
        has_several_names: bool,
        open: impl FnOnce() -> Result<std::os::fd::OwnedFd, Error>,
        path: impl Fn() -> std::path::PathBuf,
    ) -> Result<u64, Error> {
        let known = self.written.0.get(&inode).or_else(|| self.read.get(&inode));
        if let Some(known) = known {
            return Ok(*known);
        }
        let file = open()?;
        self.buffer.resize(BUFFER, 0);
        let mut sum = Writing::new();
        loop {
            match rustix::io::read(&file, &mut self.buffer) {
                Ok(0) => break,
                Ok(length) => sum.add(&self.buffer[..length]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io("read", path())(errno)),
            }
        }
        let sum = sum.finish();
        if has_several_names {
            self.read.insert(inode, sum);
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests;
