//! A snapshot onto a tree: what overlay would show with the snapshot on top.

use std::{
    ffi::CStr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, Stat},
    io::Errno,
};

use super::{Copier, dress, remove, shown, times};
use crate::{
    Error, Flavour, RootDir, deed,
    pack::walk::{Visit, Walk, open_dir},
    root::is_dir,
    whiteout::{Meaning, is_whiteout, meaning},
};

/// Lays a sealed snapshot, in the form that `flavour` says, onto a tree.
///
/// # Errors
/// The operating system's; the tree has a part of the snapshot then and is to be thrown away.
pub fn lay(snapshot: &Path, flavour: Flavour, tree: &RootDir) -> Result<(), Error> {
    let source = RootDir::open(snapshot)?;
    let root = open_dir(source.as_fd(), c".").map_err(Error::io("open", "/"))?;
    let stat = deed::fstat(&root).map_err(Error::io("look at", "/"))?;
    let mut layer = Layer {
        flavour,
        copier: Copier::new(tree.as_fd()),
        open: vec![stat],
        here: open_dir(tree.as_fd(), c".").map_err(Error::io("open", "/"))?,
    };
    dress(root.as_fd(), &stat, layer.here.as_fd(), b"")?;
    let mut walk = Walk::new(root)?;
    while let Some(visit) = walk.next()? {
        match visit {
            Visit::Name(name, kind) => layer.put(&mut walk, &name, kind)?,
            Visit::Left(_) => layer.leave(&walk)?,
        }
    }
    layer.finish(b"")
}

struct Layer<'a> {
    flavour: Flavour,
    copier: Copier<'a>,
    /// What the directories look like that are open, from the root on; they get their times when nothing is added any more.
    open: Vec<Stat>,
    /// The directory of the tree where the walk stands.
    here: OwnedFd,
}

impl Layer<'_> {
    fn put(&mut self, walk: &mut Walk, name: &CStr, kind: FileType) -> Result<(), Error> {
        let path = [walk.prefix(), name.to_bytes()].concat();
        if self.flavour == Flavour::Names {
            match meaning(name.to_bytes()) {
                Meaning::Entry => {}
                Meaning::Whiteout(hidden) => return remove(self.here.as_fd(), hidden, &path),
                // It was read with its directory.
                Meaning::Opaque | Meaning::Meta | Meaning::Invalid => return Ok(()),
            }
        }
        if kind == FileType::Directory {
            return self.enter(walk, name, &path);
        }
        let from = walk.dir()?;
        let stat = deed::statat(from, name).map_err(Error::io("look at", shown(&path)))?;
        remove(self.here.as_fd(), name.to_bytes(), &path)?;
        if is_whiteout(&stat) {
            return Ok(());
        }
        self.copier.copy(from, name, &stat, self.here.as_fd(), &path)
    }

    fn enter(&mut self, walk: &mut Walk, name: &CStr, path: &[u8]) -> Result<(), Error> {
        let failed = |action| Error::io(action, shown(path));
        let source = open_dir(walk.dir()?, name).map_err(failed("open"))?;
        let stat = deed::fstat(&source).map_err(failed("look at"))?;
        if self.flavour.is_opaque(source.as_fd()).map_err(failed("look at"))? {
            remove(self.here.as_fd(), name.to_bytes(), path)?;
        }
        let make = || rustix::fs::mkdirat(&self.here, name, Mode::RWXU);
        match make() {
            Err(Errno::EXIST) if !self.has_directory(name, path)? => {
                remove(self.here.as_fd(), name.to_bytes(), path)?;
                make().map_err(failed("create"))?;
            }
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("create")(errno)),
        }
        let target = open_dir(self.here.as_fd(), name).map_err(failed("open"))?;
        dress(source.as_fd(), &stat, target.as_fd(), path)?;
        self.here = target;
        self.open.push(stat);
        walk.enter(source, name)
    }

    fn has_directory(&self, name: &CStr, path: &[u8]) -> Result<bool, Error> {
        rustix::fs::statat(&self.here, name, AtFlags::SYMLINK_NOFOLLOW)
            .map(|stat| is_dir(&stat))
            .map_err(Error::io("look at", shown(path)))
    }

    /// Goes back to where the walk stands now.
    fn leave(&mut self, walk: &Walk) -> Result<(), Error> {
        let path = walk.prefix();
        let path = path.strip_suffix(b"/").unwrap_or(path);
        self.finish(path)?;
        self.here = self.copier.open(path)?;
        Ok(())
    }

    /// Sets the times of a directory that is complete.
    fn finish(&mut self, path: &[u8]) -> Result<(), Error> {
        let Some(stat) = self.open.pop() else { return Ok(()) };
        rustix::fs::futimens(&self.here, &times(&stat))
            .map_err(Error::io("set the times of", shown(path)))
    }
}
