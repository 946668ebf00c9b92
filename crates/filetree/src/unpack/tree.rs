//! The tree an archive is unpacked into: making, replacing and dressing what the entries say, by descriptors only.
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
    fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid},
    io::Errno,
};

use crate::{
    Error, RootDir,
    pack::walk::{Visit, Walk, open_dir},
    root::{Timestamp, stat_at},
    whiteout::is_whiteout,
    xattr::{Carrier, Xattr, path_through, travels},
};

use super::{
    below::Lowers,
    path::{is_within, join},
};

/// What new things are made with until their own mode is set: nobody else may use them before they are complete.
const NEW_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

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
    /// The files that are here only because a hard link needed them.
    pub(super) copied_up: BTreeSet<Vec<u8>>,
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

/// Whether a directory was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    New,
    /// New, in the place of something else.
    Replaced,
    Existing,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(root: &'a RootDir, lowers: Option<Lowers<'a>>) -> Self {
        Self {
            root: root.as_fd(),
            lowers,
            current: None,
            dirs: BTreeMap::new(),
            opaque: BTreeSet::new(),
            copied_up: BTreeSet::new(),
            skipped: 0,
            foreign_owners: 0,
        }
    }

    /// Makes a file; its contents are written by `fill`.
    pub(super) fn make_file(
        &mut self,
        dir: &Dir,
        name: &[u8],
        dress: &Dress<'_>,
        fill: impl FnOnce(BorrowedFd<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.replacing(dir, name, || {
            rustix::fs::openat(&dir.fd, name, flags, NEW_FILE)
        })?;
        fill(fd.as_fd())?;
        let path = || dir.path_of(name);
        // In this order: a new owner takes the set-id bits and the capabilities away.
        self.own(path, |uid, gid| rustix::fs::fchown(&fd, uid, gid), dress)?;
        self.set_xattrs(Carrier::Open(fd.as_fd()), dress.xattrs, path)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(dress.mode))
            .map_err(Error::io("set the mode of", path()))?;
        rustix::fs::futimens(&fd, &dress.mtime.to_timestamps())
            .map_err(Error::io("set the times of", path()))
    }

    /// Makes a directory or takes the one that is there. Mode and times are set at the end.
    pub(super) fn make_dir(
        &mut self,
        dir: &Dir,
        name: &[u8],
        dress: &Dress<'_>,
    ) -> Result<(Dir, Made), Error> {
        let path = join(&dir.path, name);
        let made = self.make_bare_dir(dir, name)?;
        let fd = self.open_child(dir, name)?;
        let host_path = || dir.path_of(name);
        self.own(host_path, |uid, gid| rustix::fs::fchown(&fd, uid, gid), dress)?;
        self.set_xattrs(Carrier::Open(fd.as_fd()), dress.xattrs, host_path)?;
        let mode = DirMode { mode: dress.mode, mtime: Some(dress.mtime) };
        self.dirs.insert(path.clone(), mode);
        let new = Dir { path, fd: Arc::new(fd) };
        if made == Made::Replaced && self.lowers.is_some() {
            // What was here hid a directory that may be below; this one must not show it.
            self.make_opaque(&new)?;
        }
        Ok((new, made))
    }

    fn make_bare_dir(&mut self, dir: &Dir, name: &[u8]) -> Result<Made, Error> {
        match rustix::fs::mkdirat(&dir.fd, name, Mode::RWXU) {
            Ok(()) => return Ok(Made::New),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("create the directory", dir.path_of(name))(errno)),
        }
        if self.stat(dir, name)?.is_some_and(|stat| is_dir(&stat)) {
            return Ok(Made::Existing);
        }
        self.clear(dir, name)?;
        rustix::fs::mkdirat(&dir.fd, name, Mode::RWXU)
            .map_err(Error::io("create the directory", dir.path_of(name)))?;
        Ok(Made::Replaced)
    }

    pub(super) fn make_symlink(
        &mut self,
        dir: &Dir,
        name: &[u8],
        target: &[u8],
        dress: &Dress<'_>,
    ) -> Result<(), Error> {
        self.replacing(dir, name, || rustix::fs::symlinkat(target, &dir.fd, name))?;
        self.dress(dir, name, FileType::Symlink, dress)
    }

    /// Makes a device or a FIFO; a device is skipped where this process may not.
    pub(super) fn make_node(
        &mut self,
        dir: &Dir,
        name: &[u8],
        kind: FileType,
        device: (u32, u32),
        dress: &Dress<'_>,
    ) -> Result<(), Error> {
        let (major, minor) = device;
        if kind == FileType::CharacterDevice && device == (0, 0) {
            // To overlay this would be a deletion, which the archive does not say.
            self.skipped += 1;
            return Ok(());
        }
        let number = rustix::fs::makedev(major, minor);
        let made = self.replacing(dir, name, || {
            rustix::fs::mknodat(&dir.fd, name, kind, NEW_FILE, number)
        });
        match made {
            Ok(()) => self.dress(dir, name, kind, dress),
            Err(Error::Io { source, .. })
                if kind != FileType::Fifo
                    && source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                self.skipped += 1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the file `target` in `from` a second name; `false` if it already is that file.
    pub(super) fn make_hard_link(
        &mut self,
        from: &Dir,
        target: &[u8],
        stat: &Stat,
        dir: &Dir,
        name: &[u8],
    ) -> Result<bool, Error> {
        let present = self.stat(dir, name)?;
        if present.is_some_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)) {
            return Ok(false);
        }
        self.replacing(dir, name, || {
            rustix::fs::linkat(&from.fd, target, &dir.fd, name, AtFlags::empty())
        })?;
        Ok(true)
    }

    /// Marks `name` as deleted, unless the layer itself has put something there: then it hides what lower layers have.
    pub(super) fn make_whiteout(&mut self, dir: &Dir, name: &[u8]) -> Result<(), Error> {
        let path = join(&dir.path, name);
        if self.copied_up.remove(&path) {
            self.clear(dir, name)?;
        }
        let device = FileType::CharacterDevice;
        match rustix::fs::mknodat(&dir.fd, name, device, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                if self.stat(dir, name)?.is_some_and(|stat| is_dir(&stat)) {
                    let fd = Arc::new(self.open_child(dir, name)?);
                    self.make_opaque(&Dir { path, fd })?;
                }
                Ok(())
            }
            Err(errno) => Err(Error::io("create the whiteout", dir.path_of(name))(errno)),
        }
    }

    /// Lets nothing of the lower layers show in a directory.
    pub(super) fn make_opaque(&mut self, dir: &Dir) -> Result<(), Error> {
        let Some(lowers) = self.lowers else { return Ok(()) };
        Carrier::Open(dir.fd.as_fd())
            .set(lowers.flavour.opaque().as_bytes(), b"y")
            .map_err(Error::io("make opaque", dir.path_of(b"")))?;
        self.opaque.insert(dir.path.clone());
        Ok(())
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
        let chown = |uid, gid| rustix::fs::chownat(&dir.fd, name, uid, gid, nofollow);
        self.own(path, chown, dress)?;
        if !dress.xattrs.is_empty() {
            let through = path_through(dir.fd.as_fd(), name);
            self.set_xattrs(Carrier::Path(&through), dress.xattrs, path)?;
        }
        if kind != FileType::Symlink {
            // Follows links, but this is none, and nobody can have made it one.
            rustix::fs::chmodat(&dir.fd, name, Mode::from_raw_mode(dress.mode), AtFlags::empty())
                .map_err(Error::io("set the mode of", path()))?;
        }
        rustix::fs::utimensat(&dir.fd, name, &dress.mtime.to_timestamps(), nofollow)
            .map_err(Error::io("set the times of", path()))
    }

    fn own(
        &mut self,
        path: impl Fn() -> PathBuf,
        chown: impl FnOnce(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
        dress: &Dress<'_>,
    ) -> Result<(), Error> {
        match chown(Some(Uid::from_raw(dress.uid)), Some(Gid::from_raw(dress.gid))) {
            Ok(()) => Ok(()),
            // Not privileged, or not an owner of this user namespace.
            Err(Errno::PERM | Errno::INVAL) => {
                self.foreign_owners += 1;
                Ok(())
            }
            Err(errno) => Err(Error::io("set the owner of", path())(errno)),
        }
    }

    fn set_xattrs(
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

    /// Makes something; what is there already gives way.
    fn replacing<T>(
        &mut self,
        dir: &Dir,
        name: &[u8],
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Error> {
        let made = match make() {
            Err(Errno::EXIST) => {
                self.clear(dir, name)?;
                make()
            }
            made => made,
        };
        made.map_err(Error::io("create", dir.path_of(name)))
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
        self.copied_up.retain(|path| !is_within(path, &gone));
        Ok(())
    }

    /// Sets modes and times of all directories, the deepest first.
    pub(crate) fn finish_dirs(&mut self) -> Result<(), Error> {
        for (path, dir) in std::mem::take(&mut self.dirs).iter().rev() {
            let shown = || host_path(path);
            let fd = self.open_dir(path).map_err(Error::io("open", shown()))?;
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(dir.mode))
                .map_err(Error::io("set the mode of", shown()))?;
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
        rustix::fs::openat(&dir.fd, name, flags, Mode::empty())
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
fn host_path(path: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec([b"/", path].concat()))
}

fn is_dir(stat: &Stat) -> bool {
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
fn remove_below(dir: OwnedFd) -> Result<(), Error> {
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
