//! Trees without overlay: snapshots copied onto each other, for where nothing can be mounted, and back: what a command has
//! changed in such a tree, as a snapshot.
//!
//! - `lay`: a snapshot onto a tree, as overlay would show it.
//! - `scan`: what a tree looks like, by metadata only.
//! - `changes`: from two scans to a snapshot. No file is read that is as it was.
//!
//! Nobody else may write into a tree meanwhile.

mod changes;
mod lay;
mod scan;

#[cfg(test)]
mod tests;

use std::{
    ffi::{CStr, OsStr},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps},
    io::Errno,
};

pub use self::{changes::collect, lay::lay, scan::Scan};
use crate::{
    Error,
    copy::data::Mover,
    deed,
    pack::walk::{open_dir, open_file},
    root::read_link_at,
    unpack::tree::remove_below,
    xattr::{Carrier, path_through},
};

/// A tree that files are copied into, with their looks.
struct Copier<'a> {
    root: BorrowedFd<'a>,
    mover: Mover,
    /// The first name of each file that has several, by device and inode of the original.
    links: std::collections::BTreeMap<(u64, u64), Vec<u8>>,
}

impl<'a> Copier<'a> {
    fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, mover: Mover::new(), links: std::collections::BTreeMap::new() }
    }

    /// Opens a directory of the tree; the path is free of links and without slashes around it.
    fn open(&self, path: &[u8]) -> Result<OwnedFd, Error> {
        open_below(self.root, path).map_err(Error::io("open", shown(path)))
    }

    /// Copies what is no directory, to a place where nothing is. Sockets mean nothing without their process.
    fn copy(
        &mut self,
        from: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        to: BorrowedFd<'_>,
        path: &[u8],
    ) -> Result<(), Error> {
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&id) {
                let (dir, first) = split(first);
                let dir = self.open(dir)?;
                return deed::link(dir, first, to, name).map_err(Error::io("link", shown(path)));
            }
            self.links.insert(id, path.to_vec());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.copy_file(from, name, stat, to, path),
            FileType::Symlink => {
                let target = read_link_at(from, OsStr::from_bytes(name.to_bytes()))
                    .map_err(Error::io("read the link", shown(path)))?;
                rustix::fs::symlinkat(target, to, name)
                    .map_err(Error::io("create the link", shown(path)))?;
                dress_node(from, name, stat, to, path)
            }
            FileType::Socket | FileType::Directory => Ok(()),
            kind => {
                let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                deed::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, device)
                    .map_err(Error::io("create the node", shown(path)))?;
                dress_node(from, name, stat, to, path)
            }
        }
    }

    fn copy_file(
        &self,
        from: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        to: BorrowedFd<'_>,
        path: &[u8],
    ) -> Result<(), Error> {
        let source = open_file(from, name).map_err(Error::io("open", shown(path)))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = crate::interrupted::openat(to, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(Error::io("create", shown(path)))?;
        self.mover
            .copy(&source, &file, stat.st_size as u64, &|_| {})
            .map_err(Error::io("copy", shown(path)))?;
        dress(source.as_fd(), stat, file.as_fd(), path)?;
        rustix::fs::futimens(&file, &times(stat))
            .map_err(Error::io("set the times of", shown(path)))
    }
}

/// Gives an open file or directory the owner, the attributes and the mode of another, but not the times.
fn dress(from: BorrowedFd<'_>, stat: &Stat, to: BorrowedFd<'_>, path: &[u8]) -> Result<(), Error> {
    // The owner first: a change of it clears set-id bits and capabilities.
    deed::give(to, (stat.st_uid, stat.st_gid))
        .map_err(Error::io("set the owner of", shown(path)))?;
    copy_attributes(Carrier::Open(from), Carrier::Open(to))
        .map_err(Error::io("set the attributes of", shown(path)))?;
    deed::chmod(to, stat.st_mode & 0o7777).map_err(Error::io("set the mode of", shown(path)))
}

/// The same for what must not be opened, with its times.
fn dress_node(
    from: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    to: BorrowedFd<'_>,
    path: &[u8],
) -> Result<(), Error> {
    let (kind, owner) = (FileType::from_raw_mode(stat.st_mode), (stat.st_uid, stat.st_gid));
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    deed::give_at(to, name, kind, owner).map_err(Error::io("set the owner of", shown(path)))?;
    let (source, target) = (path_through(from, name.to_bytes()), path_through(to, name.to_bytes()));
    copy_attributes(Carrier::Path(&source), Carrier::Path(&target))
        .map_err(Error::io("set the attributes of", shown(path)))?;
    if kind != FileType::Symlink {
        // It was made a moment ago and is no link.
        deed::chmod_at(to, name, kind, stat.st_mode & 0o7777)
            .map_err(Error::io("set the mode of", shown(path)))?;
    }
    rustix::fs::utimensat(to, name, &times(stat), nofollow)
        .map_err(Error::io("set the times of", shown(path)))
}

/// Afterwards the one has the attributes of the other that travel, and no others of those.
fn copy_attributes(from: Carrier<'_>, to: Carrier<'_>) -> Result<(), Errno> {
    let wanted = from.all_travelling()?;
    for (name, _) in to.all_travelling()? {
        if wanted.iter().all(|(other, _)| *other != name) {
            to.remove(&name)?;
        }
    }
    for (name, value) in &wanted {
        match to.set(name, value) {
            // Nothing that this file system keeps, or that this process may set: as when a layer is unpacked.
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn times(stat: &Stat) -> Timestamps {
    let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: modified, last_modification: modified }
}

/// Opens a directory by a path that must be free of links; the empty one is the root's.
fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

/// Removes whatever has this name, with all below it.
fn remove(dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), Error> {
    let failed = Error::io("remove", shown(path));
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let name = std::ffi::CString::new(name).unwrap_or_default();
    remove_below(open_dir(dir, &name).map_err(Error::io("open", shown(path)))?)?;
    rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR).map_err(failed)
}

/// The directory and the name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A path as messages show it: absolute inside the tree.
fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&[b"/", path].concat()))
}
