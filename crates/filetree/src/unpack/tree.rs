//! The tree an archive is unpacked into: opening, dressing and removing, by descriptors only. Making new things is in
//! `unpack/make.rs`.
//!
//! Nobody else may write into the tree meanwhile. Names given here are single names in the directory that
//! [`enter`](Tree::enter) found; how it finds that is in `unpack/resolve.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::{
    Error, RootDir, Written, deed,
    owner::Owner,
    pack::walk::{Visit, Walk, open_dir},
    root::{Timestamp, stat_at},
    whiteout::is_whiteout,
    xattr::{Carrier, Xattr, path_through, travels},
};

use super::{
    below::Lowers,
    path::{is_within, join},
};

/// How often an open that raced with a rename elsewhere in the file system is tried again.
const RETRIES: usize = 128;

/// A tree that is being filled.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    pub(super) root: BorrowedFd<'a>,
    /// The layers below, for a snapshot in overlay's form; nothing for a plain tree.
    pub(super) lowers: Option<Lowers<'a>>,
    /// The directory that was entered last.
    pub(super) current: Option<Dir>,
    /// Modes and times that directories get at the end, when nothing is added to them any more, by path.
    pub(super) dirs: BTreeMap<Vec<u8>, DirMode>,
    /// The directories that were made opaque, by path.
    pub(super) opaque: BTreeSet<Vec<u8>>,
    /// The whiteouts that were made, by path; something else may have taken their place.
    pub(super) whiteouts: BTreeSet<Vec<u8>>,
    /// The files that are here only because a hard link needed them.
    pub(super) copied_up: BTreeSet<Vec<u8>>,
    /// What was written into the files of a snapshot.
    pub(super) written: Written,
    /// Devices and attributes that could not be made.
    pub(super) skipped: u64,
    /// Owners that could not be set.
    pub(super) foreign_owners: u64,
}

/// A directory of the tree.
#[derive(Debug, Clone)]
pub(super) struct Dir {
    /// Its path, free of links.
    pub(super) path: Vec<u8>,
    pub(super) fd: Arc<OwnedFd>,
}

/// What a directory gets at the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct DirMode {
    pub(super) mode: u32,
    /// The clock's, when there is none.
    pub(super) mtime: Option<Timestamp>,
}

/// What is set on anything that is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dress<'a> {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: &'a [Xattr],
}

impl<'a> Tree<'a> {
    pub(crate) fn new(root: &'a RootDir, lowers: Option<Lowers<'a>>) -> Self {
        Self {
            root: root.as_fd(),
            lowers,
            current: None,
            dirs: BTreeMap::new(),
            opaque: BTreeSet::new(),
            whiteouts: BTreeSet::new(),
            copied_up: BTreeSet::new(),
            written: Written::default(),
            skipped: 0,
            foreign_owners: 0,
        }
    }

    /// Sets owner, attributes, mode and times of what must not be opened, or of a file by one of its names.
    pub(super) fn dress(
        &mut self,
        dir: &Dir,
        name: &[u8],
        kind: FileType,
        dress: &Dress<'_>,
    ) -> Result<(), Error> {
        let path = || dir.path_of(name);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        self.own(path, |owner| deed::give_at(&dir.fd, name, kind, owner), dress)?;
        if !dress.xattrs.is_empty() {
            let through = path_through(dir.fd.as_fd(), name);
            self.set_xattrs(Carrier::Path(&through), dress.xattrs, path)?;
        }
        if kind != FileType::Symlink {
            // Follows links, but this is none, and nobody can have made it one.
            deed::chmod_at(&dir.fd, name, kind, dress.mode)
                .map_err(Error::io("set the mode of", path()))?;
        }
        rustix::fs::utimensat(&dir.fd, name, &dress.mtime.to_timestamps(), nofollow)
            .map_err(Error::io("set the times of", path()))
    }

    pub(super) fn own(
        &mut self,
        path: impl Fn() -> PathBuf,
        give: impl FnOnce(Owner) -> Result<(), Errno>,
        dress: &Dress<'_>,
    ) -> Result<(), Error> {
        match give((dress.uid, dress.gid)) {
            Ok(()) => Ok(()),
            // Not privileged, or not an owner of this user namespace.
            Err(Errno::PERM | Errno::INVAL) => {
                self.foreign_owners += 1;
                Ok(())
            }
            Err(errno) => Err(Error::io("set the owner of", path())(errno)),
        }
    }

    pub(super) fn set_xattrs(
        &mut self,
        carrier: Carrier<'_>,
        xattrs: &[Xattr],
        path: impl Fn() -> PathBuf,
    ) -> Result<(), Error> {
        for (name, value) in xattrs.iter().filter(|(name, _)| travels(name)) {
            match carrier.set(name, value) {
                Ok(()) => {}
                // Not privileged, or nothing that this file system keeps.
                Err(Errno::PERM | Errno::NOTSUP) => self.skipped += 1,
                Err(errno) => return Err(Error::io("set the attributes of", path())(errno)),
            }
        }
        Ok(())
    }

    /// Removes whatever has this name, with all below it, and forgets what was to be done with it.
    pub(super) fn clear(&mut self, dir: &Dir, name: &[u8]) -> Result<(), Error> {
        let path = || dir.path_of(name);
        // The directory entered last may be below, or behind a link that goes now.
        self.current = None;
        let Some(stat) = self.stat(dir, name)? else { return Ok(()) };
        if !is_dir(&stat) {
            return rustix::fs::unlinkat(&dir.fd, name, AtFlags::empty())
                .map_err(Error::io("replace", path()));
        }
        remove_below(self.open_child(dir, name)?)?;
        rustix::fs::unlinkat(&dir.fd, name, AtFlags::REMOVEDIR)
            .map_err(Error::io("replace", path()))?;
        let gone = join(&dir.path, name);
        self.dirs.retain(|path, _| !is_within(path, &gone));
        self.opaque.retain(|path| !is_within(path, &gone));
        self.whiteouts.retain(|path| !is_within(path, &gone));
        self.copied_up.retain(|path| !is_within(path, &gone));
        Ok(())
    }

    /// Sets modes and times of all directories, the deepest first.
    pub(crate) fn finish_dirs(&mut self) -> Result<(), Error> {
        for (path, dir) in std::mem::take(&mut self.dirs).iter().rev() {
            let shown = || host_path(path);
            let fd = self.open_dir(path).map_err(Error::io("open", shown()))?;
            deed::chmod(&fd, dir.mode).map_err(Error::io("set the mode of", shown()))?;
            if let Some(mtime) = dir.mtime {
                rustix::fs::futimens(&fd, &mtime.to_timestamps())
                    .map_err(Error::io("set the times of", shown()))?;
            }
        }
        Ok(())
    }

    /// Returns the root as a directory of the tree.
    pub(super) fn root_dir(&self) -> Result<Dir, Error> {
        let fd = self.open_dir(b"").map_err(Error::io("open", "/"))?;
        Ok(Dir { path: Vec::new(), fd: Arc::new(fd) })
    }

    /// Says whether this stands for a deletion in this tree.
    pub(super) fn is_deletion(&self, stat: &Stat) -> bool {
        self.lowers.is_some() && is_whiteout(stat)
    }

    /// Opens a directory by its path, which must be free of links.
    pub(super) fn open_dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        for _ in 0..RETRIES {
            match rustix::fs::openat2(self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }

    pub(super) fn open_child(&self, dir: &Dir, name: &[u8]) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        crate::interrupted::openat(&dir.fd, name, flags, Mode::empty())
            .map_err(Error::io("open", dir.path_of(name)))
    }

    pub(super) fn stat(&self, dir: &Dir, name: &[u8]) -> Result<Option<Stat>, Error> {
        stat_at(dir.fd.as_fd(), OsStr::from_bytes(name))
            .map_err(Error::io("stat", dir.path_of(name)))
    }
}

impl Dir {
    /// Returns the path of a name in it, for messages.
    pub(super) fn path_of(&self, name: &[u8]) -> PathBuf {
        host_path(&join(&self.path, name))
    }
}

/// Returns a path as messages show it: absolute inside the root.
pub(super) fn host_path(path: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec([b"/", path].concat()))
}

pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Writes all of it.
pub(super) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Removes everything in a directory.
pub(crate) fn remove_below(dir: OwnedFd) -> Result<(), Error> {
    let mut walk = Walk::new(dir)?;
    while let Some(visit) = walk.next()? {
        let (name, flags) = match visit {
            Visit::Name(name, FileType::Directory) => {
                let path = walk.path_of(name.to_bytes());
                let fd = open_dir(walk.dir()?, &name).map_err(Error::io("open", path))?;
                walk.enter(fd, &name)?;
                continue;
            }
            Visit::Name(name, _) => (name, AtFlags::empty()),
            Visit::Left(name) => (name, AtFlags::REMOVEDIR),
        };
        let path = walk.path_of(name.to_bytes());
        rustix::fs::unlinkat(walk.dir()?, &name, flags).map_err(Error::io("remove", path))?;
    }
    Ok(())
}
