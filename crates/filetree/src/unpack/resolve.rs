//! Finding the directory an entry belongs in: through the links of the tree and of the layers below it, as a process with
//! this root would, making the directories that are missing.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    sync::Arc,
};

use rustix::{
    fs::{FileType, Stat},
    io::Errno,
};

use crate::{
    Error, Fault,
    pack::mtime_of,
    root::{Timestamp, read_link_at},
    whiteout::PREFIX,
    xattr::{Carrier, Xattr},
};

use super::{
    below::{Below, Lowers},
    path::join,
    tree::{Dir, DirMode, Dress, Tree, write_all},
};

/// How many links one name may lead through, as in containerd; the kernel itself allows 40.
const MAX_LINKS: usize = 255;

/// The mode of directories that an archive implies and nobody describes.
const IMPLIED_MODE: u32 = 0o755;

/// The time of directories that a layer implies and no lower layer has: a clock's would make the layer another one.
const NO_TIME: Timestamp = Timestamp { seconds: 0, nanoseconds: 0 };

/// How much of a file is copied at once.
const COPY_BUFFER: usize = 256 * 1024;

/// Why a directory cannot be entered.
#[derive(Debug)]
pub(super) enum Refused {
    /// The archive asks for something impossible.
    Fault(Fault),
    /// The tree cannot be read or written.
    Error(Error),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Tree<'_> {
    /// Returns the directory at `path` (cleaned; may lead through links), made with its parents if missing.
    ///
    /// Entries come directory by directory, so the last one is kept. One that was reached through links is not: the next
    /// entry may replace a link.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<Dir, Refused> {
        if let Some(dir) = self.current.as_ref().filter(|dir| dir.path == path) {
            return Ok(dir.clone());
        }
        match self.open_dir(path) {
            Ok(fd) => {
                let dir = Dir { path: path.to_vec(), fd: Arc::new(fd) };
                self.current = Some(dir.clone());
                Ok(dir)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.resolve(path),
            Err(errno) => Err(Error::io("open", OsStr::from_bytes(path))(errno).into()),
        }
    }

    /// Goes name by name, following links within the root.
    fn resolve(&mut self, path: &[u8]) -> Result<Dir, Refused> {
        let mut todo: VecDeque<Vec<u8>> = names(path).collect();
        let mut dir = self.root_dir()?;
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == b".." {
                dir = self.open_resolved(parent_of(&dir.path))?;
                continue;
            }
            match self.step(&dir, &name)? {
                Step::Into(next) => dir = next,
                Step::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Fault::Links.into());
                    }
                    if target.starts_with(b"/") {
                        dir = self.root_dir()?;
                    }
                    names(&target).rev().for_each(|name| todo.push_front(name));
                }
            }
        }
        Ok(dir)
    }

    fn open_resolved(&self, path: Vec<u8>) -> Result<Dir, Error> {
        let fd = self.open_dir(&path).map_err(Error::io("open", OsStr::from_bytes(&path)))?;
        Ok(Dir { path, fd: Arc::new(fd) })
    }

    fn step(&mut self, dir: &Dir, name: &[u8]) -> Result<Step, Refused> {
        let Some(stat) = self.stat(dir, name)? else { return self.step_below(dir, name) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let fd = Arc::new(self.open_child(dir, name)?);
                Ok(Step::Into(Dir { path: join(&dir.path, name), fd }))
            }
            FileType::Symlink => {
                let target = read_link_at(dir.fd.as_fd(), OsStr::from_bytes(name))
                    .map_err(Error::io("read the link", dir.path_of(name)))?;
                Ok(Step::Link(target.into_vec()))
            }
            // Deleted, and then implied again: what was there before must not come back.
            _ if self.is_deletion(&stat) => Ok(Step::Into(self.make_implied(dir, name)?)),
            _ => Err(Fault::Parent.into()),
        }
    }

    /// Looks at the lower layers for a name that the tree itself does not have.
    fn step_below(&mut self, dir: &Dir, name: &[u8]) -> Result<Step, Refused> {
        let path = join(&dir.path, name);
        match self.look_below(&path)? {
            // A link may lead to any name; what is written down of a deletion is no directory.
            Below::Nothing if self.lowers.is_some() && name.starts_with(PREFIX) => {
                Err(Fault::Whiteout.into())
            }
            Below::Nothing => Ok(Step::Into(self.make_implied(dir, name)?)),
            Below::Link(target, _) => Ok(Step::Link(target)),
            Below::File(..) | Below::Node(_) => Err(Fault::Parent.into()),
            Below::Directory(fd, stat) => {
                let xattrs = Carrier::Open(fd.as_fd())
                    .all_travelling()
                    .map_err(Error::io("read the attributes of", dir.path_of(name)))?;
                let dress = dress_of(&stat, &xattrs);
                Ok(Step::Into(self.make_dir(dir, name, &dress)?.0))
            }
        }
    }

    /// Returns what the lower layers show at a path that the tree itself does not have.
    pub(super) fn look_below(&self, path: &[u8]) -> Result<Below, Error> {
        let Some(lowers) = self.lowers else { return Ok(Below::Nothing) };
        if self.has_whiteout(lowers, path)? {
            return Ok(Below::Nothing);
        }
        let mut parent = path.to_vec();
        while !parent.is_empty() {
            parent = parent_of(&parent);
            if self.opaque.contains(&parent) {
                return Ok(Below::Nothing);
            }
        }
        lowers.look_up(path).map_err(Error::io("look up", OsStr::from_bytes(path)))
    }

    /// Whether this layer itself has deleted `path`, with a mark that stands beside it.
    fn has_whiteout(&self, lowers: Lowers<'_>, path: &[u8]) -> Result<bool, Error> {
        if lowers.flavour.opaque().is_some() {
            return Ok(false);
        }
        let shown = OsStr::from_bytes(path);
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        match self.open_dir(&parent_of(path)) {
            Ok(dir) => lowers.flavour.hides(dir.as_fd(), name).map_err(Error::io("look at", shown)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::io("open", shown)(errno)),
        }
    }

    fn make_implied(&mut self, dir: &Dir, name: &[u8]) -> Result<Dir, Error> {
        let dress = Dress { mode: IMPLIED_MODE, uid: 0, gid: 0, mtime: NO_TIME, xattrs: &[] };
        let (made, _) = self.make_dir(dir, name, &dress)?;
        if self.lowers.is_none() {
            // Outside of layers the clock's time is as good as any, and the one that is expected.
            self.dirs.insert(made.path.clone(), DirMode { mode: IMPLIED_MODE, mtime: None });
        }
        Ok(made)
    }

    /// Brings a file that only lower layers have into the tree, with all that belongs to it, for a hard link to it.
    /// Returns what it is, or nothing if there is no such file.
    pub(super) fn copy_up(&mut self, dir: &Dir, name: &[u8]) -> Result<Option<Stat>, Error> {
        let path = join(&dir.path, name);
        match self.look_below(&path)? {
            Below::Nothing | Below::Directory(..) => return Ok(None),
            Below::Link(target, stat) => {
                self.make_symlink(dir, name, &target, &dress_of(&stat, &[]))?;
            }
            Below::Node(stat) => {
                let kind = FileType::from_raw_mode(stat.st_mode);
                let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                self.make_node(dir, name, kind, device, &dress_of(&stat, &[]))?;
            }
            Below::File(source, stat) => {
                let path = || dir.path_of(name);
                let xattrs = Carrier::Open(source.as_fd()).all_travelling();
                let xattrs = xattrs.map_err(Error::io("read the attributes of", path()))?;
                self.make_file(dir, name, &dress_of(&stat, &xattrs), |fd| {
                    copy(source.as_fd(), fd).map_err(Error::io("copy", path()))?;
                    Ok(None)
                })?;
            }
        }
        self.copied_up.insert(path);
        self.stat(dir, name)
    }
}

/// What a name leads to.
enum Step {
    Into(Dir),
    Link(Vec<u8>),
}

/// Returns what makes a copy look like the original.
fn dress_of<'a>(stat: &Stat, xattrs: &'a [Xattr]) -> Dress<'a> {
    let mode = stat.st_mode & 0o7777;
    Dress { mode, uid: stat.st_uid, gid: stat.st_gid, mtime: mtime_of(stat), xattrs }
}

fn copy(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut buffer = vec![0; COPY_BUFFER];
    loop {
        match rustix::io::read(source, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => write_all(target, &buffer[..length])?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Returns the names of a path or of a link's target, without those that mean nothing.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.map(<[u8]>::to_vec)
}

/// Returns the path of the directory above; the root's is the root.
fn parent_of(path: &[u8]) -> Vec<u8> {
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path[..slash].to_vec()
}
