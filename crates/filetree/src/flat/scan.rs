//! What a tree looks like: the metadata of everything in it, and the contents of nothing.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags};

use super::shown;
use crate::{
    Error, RootDir, deed,
    pack::walk::{Visit, Walk, open_dir},
    root::Timestamp,
    xattr::{Carrier, Xattr},
};

/// How deep directories may be nested. Layers have the same limit.
const MOST_DEPTH: usize = 2048;

/// A tree at one moment.
#[derive(Debug, Default)]
pub struct Scan {
    /// By path, without slashes around it.
    pub(super) entries: BTreeMap<Vec<u8>, Facts>,
    newest: Timestamp,
}

/// What tells one state of an entry from another.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Facts {
    Directory {
        looks: Looks,
        modified: Timestamp,
        /// Its attributes: what a change of theirs shows by otherwise, changes with every name in it.
        attributes: Vec<Xattr>,
        /// Its number, and when it was made: the number may be given again.
        identity: (u64, Timestamp),
    },
    Other {
        looks: Looks,
        inode: u64,
        size: u64,
        device: (u32, u32),
        modified: Timestamp,
        /// The time that no program can set: it changes with contents, mode, owner, attributes and names.
        changed: Timestamp,
    },
}

/// Type and mode, user and group.
pub(super) type Looks = (u16, u32, u32);

impl Facts {
    pub(super) fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }

    /// Whether both are one directory, whatever it looks like.
    pub(super) fn is_same_directory(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory { identity: one, .. }, Self::Directory { identity: other, .. }) => {
                one == other
            }
            _ => false,
        }
    }
}

impl Scan {
    /// Looks at everything in a tree.
    ///
    /// # Errors
    /// The operating system's, and [`Error::Deep`] for directories that no layer could have.
    pub fn of(tree: &RootDir) -> Result<Self, Error> {
        let mut scan = Self::default();
        let root = open_dir(tree.as_fd(), c".").map_err(Error::io("open", "/"))?;
        let mut walk = Walk::new(root)?;
        let mut depth = 0;
        while let Some(visit) = walk.next()? {
            let Visit::Name(name, kind) = visit else {
                depth -= 1;
                continue;
            };
            let path = [walk.prefix(), name.to_bytes()].concat();
            let facts = if kind == FileType::Directory {
                let directory =
                    open_dir(walk.dir()?, &name).map_err(Error::io("open", shown(&path)))?;
                let facts = scan.directory(directory.as_fd(), &path)?;
                depth += 1;
                if depth > MOST_DEPTH {
                    return Err(Error::Deep { path: shown(&path), most: MOST_DEPTH });
                }
                walk.enter(directory, &name)?;
                facts
            } else {
                let stat = look(walk.dir()?, &name, AtFlags::SYMLINK_NOFOLLOW, &path)?;
                scan.other(&stat)
            };
            scan.entries.insert(path, facts);
        }
        Ok(scan)
    }

    /// The latest moment at which anything in it was changed.
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    fn directory(&mut self, directory: BorrowedFd<'_>, path: &[u8]) -> Result<Facts, Error> {
        let stat = look(directory, c"", AtFlags::EMPTY_PATH, path)?;
        let attributes = Carrier::Open(directory)
            .all_travelling()
            .map_err(Error::io("read the attributes of", shown(path)))?;
        self.newest = self.newest.max(time(stat.stx_ctime));
        let mut looks = (stat.stx_mode, stat.stx_uid, stat.stx_gid);
        if deed::are_kept() {
            let told = deed::fstat(directory).map_err(Error::io("look at", shown(path)))?;
            looks = (told.st_mode as u16, told.st_uid, told.st_gid);
        }
        Ok(Facts::Directory {
            looks,
            modified: time(stat.stx_mtime),
            attributes,
            identity: (stat.stx_ino, time(stat.stx_btime)),
        })
    }

    fn other(&mut self, stat: &Statx) -> Facts {
        let changed = time(stat.stx_ctime);
        self.newest = self.newest.max(changed);
        Facts::Other {
            looks: (stat.stx_mode, stat.stx_uid, stat.stx_gid),
            inode: stat.stx_ino,
            size: stat.stx_size,
            device: (stat.stx_rdev_major, stat.stx_rdev_minor),
            modified: time(stat.stx_mtime),
            changed,
        }
    }
}

fn look(
    directory: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    flags: AtFlags,
    path: &[u8],
) -> Result<Statx, Error> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    rustix::fs::statx(directory, name, flags, wanted).map_err(Error::io("look at", shown(path)))
}

fn time(time: rustix::fs::StatxTimestamp) -> Timestamp {
    Timestamp { seconds: time.tv_sec, nanoseconds: time.tv_nsec }
}
