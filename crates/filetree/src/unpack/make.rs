//! Making what the entries of an archive say; what is there already gives way, never through a link.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{Error, deed, xattr::Carrier};

use super::{
    below::Below,
    path::{join, split},
    tree::{Dir, DirMode, Dress, Tree, host_path, is_dir},
};

/// What new things are made with until their own mode is set: nobody else may use them before they are complete.
const NEW_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Whether a directory was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    New,
    /// New, in the place of something else.
    Replaced,
    Existing,
}

impl Tree<'_> {
    /// Makes a file; its contents are written by `fill`, which returns their checksum if it knows it.
    pub(super) fn make_file(
        &mut self,
        dir: &Dir,
        name: &[u8],
        dress: &Dress<'_>,
        fill: impl FnOnce(BorrowedFd<'_>) -> Result<Option<u64>, Error>,
    ) -> Result<(), Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self
            .replacing(dir, name, || crate::interrupted::openat(&dir.fd, name, flags, NEW_FILE))?;
        let sum = fill(fd.as_fd())?;
        let path = || dir.path_of(name);
        if self.lowers.is_some() {
            self.written.note(&fd, sum).map_err(Error::io("look at", path()))?;
        }
        // In this order: a new owner takes the set-id bits and the capabilities away.
        self.own(path, |owner| deed::give(&fd, owner), dress)?;
        self.set_xattrs(Carrier::Open(fd.as_fd()), dress.xattrs, path)?;
        deed::chmod(&fd, dress.mode).map_err(Error::io("set the mode of", path()))?;
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
        self.own(host_path, |owner| deed::give(&fd, owner), dress)?;
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
            Ok(()) if self.unhide(dir, name)? => return Ok(Made::Replaced),
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
        if kind == FileType::CharacterDevice && device == (0, 0) {
            // To overlay this would be a deletion, which the archive does not say.
            self.skipped += 1;
            return Ok(());
        }
        let made =
            self.replacing(dir, name, || deed::mknodat(&dir.fd, name, kind, NEW_FILE, device));
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
        self.replacing(dir, name, || deed::link(&from.fd, target, &dir.fd, name))?;
        Ok(true)
    }

    /// Marks `name` as deleted, unless the layer itself has put something there: then it hides what lower layers have.
    pub(super) fn make_whiteout(&mut self, dir: &Dir, name: &[u8]) -> Result<(), Error> {
        let path = join(&dir.path, name);
        if self.copied_up.remove(&path) {
            self.clear(dir, name)?;
        }
        let Some(lowers) = self.lowers else { return Ok(()) };
        match lowers.flavour.make_whiteout(dir.fd.as_fd(), name) {
            Ok(()) => {
                self.whiteouts.insert(path);
                Ok(())
            }
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

    /// Takes away the whiteouts that hide nothing. Overlay leaves whiteouts out of the listing only of a directory that a lower
    /// layer has too: anywhere else, their names would be listed and not be there.
    pub(super) fn remove_useless_whiteouts(&mut self) -> Result<(), Error> {
        let Some(lowers) = self.lowers else { return Ok(()) };
        for path in std::mem::take(&mut self.whiteouts) {
            let shown = || host_path(&path);
            let hides =
                !self.is_in_opaque(&path) && !matches!(lowers.look_up(&path), Ok(Below::Nothing));
            if hides {
                continue;
            }
            let (parent, name) = split(&path);
            let fd = self.open_dir(parent).map_err(Error::io("open", shown()))?;
            let dir = Dir { path: parent.to_vec(), fd: Arc::new(fd) };
            let is_unhidden = lowers.flavour.unhide(dir.fd.as_fd(), name);
            if is_unhidden.map_err(Error::io("remove the whiteout", shown()))? {
                continue;
            }
            // Something else may have taken its place.
            if self.stat(&dir, name)?.is_some_and(|stat| self.is_deletion(&stat)) {
                rustix::fs::unlinkat(&dir.fd, name, AtFlags::empty())
                    .map_err(Error::io("remove the whiteout", shown()))?;
            }
        }
        Ok(())
    }

    /// Whether a directory on the way to `path` hides what lower layers have in it; never the root, which cannot.
    fn is_in_opaque(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(end, _)| &path[..end]).any(|directory| self.opaque.contains(directory))
    }

    /// Lets nothing of the lower layers show in a directory.
    pub(super) fn make_opaque(&mut self, dir: &Dir) -> Result<(), Error> {
        let Some(lowers) = self.lowers else { return Ok(()) };
        lowers
            .flavour
            .make_opaque(dir.fd.as_fd())
            .map_err(Error::io("make opaque", dir.path_of(b"")))?;
        self.opaque.insert(dir.path.clone());
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
        let made = made.map_err(Error::io("create", dir.path_of(name)))?;
        self.unhide(dir, name)?;
        Ok(made)
    }

    /// Takes the whiteout of a name away that stands beside it. Says whether there was one.
    fn unhide(&self, dir: &Dir, name: &[u8]) -> Result<bool, Error> {
        let Some(lowers) = self.lowers else { return Ok(false) };
        let unhidden = lowers.flavour.unhide(dir.fd.as_fd(), name);
        unhidden.map_err(Error::io("replace the whiteout of", dir.path_of(name)))
    }
}
