//! What the lower layers show at a path: what overlay would, without a mount.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::{
    RootDir,
    pack::walk::{Visit, Walk, open_dir},
    root::read_link_at,
    whiteout::{self, Flavour, Meaning},
};

/// What there is at a path.
#[derive(Debug)]
pub(super) enum Below {
    /// Nothing, or a deletion.
    Nothing,
    /// A directory, open for reading: the topmost, whose mode, owner and times overlay shows.
    Directory(OwnedFd, Stat),
    /// A link and its target.
    Link(Vec<u8>, Stat),
    /// A regular file, open for reading.
    File(OwnedFd, Stat),
    /// A device, a FIFO or a socket.
    Node(Stat),
}

/// The snapshots below a layer that is unpacked. They may still be being unpacked themselves when it begins: most layers
/// describe every directory that they have something in, and never ask.
pub trait Underneath: Sync {
    /// Returns them, the topmost first, when they are complete; `None` if they never will be.
    fn layers(&self) -> Option<Vec<&RootDir>>;
}

impl Underneath for Vec<RootDir> {
    fn layers(&self) -> Option<Vec<&RootDir>> {
        Some(self.iter().collect())
    }
}

impl Underneath for &[RootDir] {
    fn layers(&self) -> Option<Vec<&RootDir>> {
        Some(self.iter().collect())
    }
}

impl<const N: usize> Underneath for [RootDir; N] {
    fn layers(&self) -> Option<Vec<&RootDir>> {
        Some(self.iter().collect())
    }
}

/// The lower layers, the topmost first.
#[derive(Clone, Copy)]
pub(crate) struct Lowers<'a> {
    pub(super) layers: &'a dyn Underneath,
    pub(super) flavour: Flavour,
}

impl fmt::Debug for Lowers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lowers")
    }
}

impl Lowers<'_> {
    fn layers(&self) -> Result<Vec<&RootDir>, Errno> {
        self.layers.layers().ok_or(Errno::CANCELED)
    }

    /// Looks `path` up; its parents must be directories, free of links.
    pub(super) fn look_up(&self, path: &[u8]) -> Result<Below, Errno> {
        for layer in self.layers()? {
            match open(layer, path, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(fd) => return found(layer, path, fd),
                // Something on the way is no directory, a whiteout too: nothing below shows.
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Below::Nothing),
                Err(Errno::NOENT) if self.hides(layer, path)? => return Ok(Below::Nothing),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(Below::Nothing)
    }

    /// Returns the names in the merged root.
    pub(super) fn root_names(&self) -> Result<BTreeSet<Vec<u8>>, crate::Error> {
        let mut names = BTreeSet::new();
        let layers = self.layers().map_err(crate::Error::io("open", "/"))?;
        for layer in layers {
            let root = open_dir(layer.as_fd(), c".").map_err(crate::Error::io("open", "/"))?;
            let mut walk = Walk::new(root)?;
            while let Some(Visit::Name(name, _)) = walk.next()? {
                if whiteout::meaning(name.to_bytes()) == Meaning::Entry {
                    names.insert(name.into_bytes());
                }
            }
        }
        Ok(names)
    }

    /// Says whether a layer that has nothing at `path` hides what lower ones have, by an opaque directory on the way or a
    /// whiteout beside it.
    fn hides(&self, layer: &RootDir, path: &[u8]) -> Result<bool, Errno> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for end in std::iter::once(0).chain(slashes.map(|(slash, _)| slash)) {
            let parent = if end == 0 { b"." } else { &path[..end] };
            let dir = match open(layer, parent, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(dir) => dir,
                Err(Errno::NOENT) => return Ok(false),
                Err(errno) => return Err(errno),
            };
            let start = if end == 0 { 0 } else { end + 1 };
            let next = path[start..].split(|byte| *byte == b'/').next().unwrap_or_default();
            if self.flavour.is_opaque(dir.as_fd())? || self.flavour.hides(dir.as_fd(), next)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn found(layer: &RootDir, path: &[u8], fd: OwnedFd) -> Result<Below, Errno> {
    let stat = crate::deed::fstat(&fd)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            Below::Directory(open(layer, path, OFlags::RDONLY | OFlags::DIRECTORY)?, stat)
        }
        FileType::Symlink => {
            let target = read_link_at(fd.as_fd(), OsStr::new("")).map_err(|_| Errno::IO)?;
            Below::Link(target.into_vec(), stat)
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            Below::File(open(layer, path, flags)?, stat)
        }
        _ if whiteout::is_whiteout(&stat) => Below::Nothing,
        _ => Below::Node(stat),
    })
}

fn open(layer: &RootDir, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let path = OsStr::from_bytes(path);
    let flags = flags | OFlags::CLOEXEC;
    let open = || rustix::fs::openat2(layer, path, flags, Mode::empty(), resolve);
    rustix::io::retry_on_intr(open)
}
