//! The walk through a tree that packing, copying out and removing share: sorted, by descriptors only, without recursion.
//!
//! Not for a tree that somebody changes meanwhile: such a change is noticed at best.

use std::{
    ffi::{CStr, CString},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir},
    io::Errno,
};

use crate::{
    Error,
    whiteout::{self, Meaning},
};

/// How many directories are kept open on the way down. Deeper ones are found again through `..`, so that no tree can use
/// up the descriptors of the process.
const MAX_OPEN: usize = 64;

/// What one call of `getdents64` may fill.
const LISTING: usize = 32 * 1024;

/// A walk in progress; it stands in a directory.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The directories from the root to where the walk stands; never empty before the end.
    dirs: Vec<Dir>,
    /// The path of that directory: empty, or ended by a slash.
    path: Vec<u8>,
    listing: Box<[MaybeUninit<u8>]>,
}

#[derive(Debug)]
struct Dir {
    fd: Option<OwnedFd>,
    /// Device and inode, to be sure that `..` leads back to it.
    id: (u64, u64),
    /// Where its own name begins in the path.
    start: usize,
    names: std::vec::IntoIter<(CString, FileType)>,
}

/// What comes next on a walk.
#[derive(Debug)]
pub(crate) enum Visit {
    /// A name in the directory the walk stands in. A directory is entered only on demand.
    Name(CString, FileType),
    /// The directory of this name was left; the walk stands in its parent.
    Left(CString),
}

impl Walk {
    /// Begins at a directory that was opened for reading just now.
    pub(crate) fn new(root: OwnedFd) -> Result<Self, Error> {
        Self::below(root, Vec::new())
    }

    /// The same, with a path in front of all paths: empty, or ended by a slash.
    pub(crate) fn below(root: OwnedFd, path: Vec<u8>) -> Result<Self, Error> {
        let start = path.len();
        let listing = vec![MaybeUninit::uninit(); LISTING].into_boxed_slice();
        let mut walk = Self { dirs: Vec::new(), path, listing };
        walk.push(root, start)?;
        Ok(walk)
    }

    /// A walk that stands in a directory and does not look at what is there.
    pub(crate) fn standing_in(root: OwnedFd) -> Self {
        let dir = Dir { fd: Some(root), id: (0, 0), start: 0, names: Vec::new().into_iter() };
        Self { dirs: vec![dir], path: Vec::new(), listing: Box::new([]) }
    }

    /// Goes on; `None` when the root itself has been left.
    pub(crate) fn next(&mut self) -> Result<Option<Visit>, Error> {
        let Some(dir) = self.dirs.last_mut() else { return Ok(None) };
        if let Some((name, kind)) = dir.names.next() {
            return Ok(Some(Visit::Name(name, kind)));
        }
        let Some(left) = self.dirs.pop() else { return Ok(None) };
        if self.dirs.is_empty() {
            return Ok(None);
        }
        self.reopen(&left)?;
        let mut name = self.path.split_off(left.start);
        name.pop();
        // It came from a CString, so there is no NUL in it.
        Ok(Some(Visit::Left(CString::new(name).unwrap_or_default())))
    }

    /// Enters the directory of this name, which `fd` has open for reading.
    pub(crate) fn enter(&mut self, fd: OwnedFd, name: &CStr) -> Result<(), Error> {
        let start = self.path.len();
        self.path.extend_from_slice(name.to_bytes());
        self.path.push(b'/');
        self.push(fd, start)?;
        if let Some(far) = self.dirs.len().checked_sub(MAX_OPEN + 1) {
            self.dirs[far].fd = None;
        }
        Ok(())
    }

    /// Returns the directory the walk stands in.
    pub(crate) fn dir(&self) -> Result<BorrowedFd<'_>, Error> {
        let fd = self.dirs.last().and_then(|dir| dir.fd.as_ref());
        fd.map(AsFd::as_fd).ok_or_else(|| Error::Changed { path: self.path_of(b"") })
    }

    /// Returns the path of the directory the walk stands in: empty, or ended by a slash.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.path
    }

    /// Returns the path of a name in the directory the walk stands in, for messages.
    pub(crate) fn path_of(&self, name: &[u8]) -> PathBuf {
        let path = [b"/", &self.path[..], name].concat();
        PathBuf::from(std::ffi::OsString::from_vec(path))
    }

    fn push(&mut self, fd: OwnedFd, start: usize) -> Result<(), Error> {
        let stat = rustix::fs::fstat(&fd).map_err(Error::io("stat", self.path_of(b"")))?;
        let names = self.read_names(&fd)?;
        let id = (stat.st_dev, stat.st_ino);
        self.dirs.push(Dir { fd: Some(fd), id, start, names: names.into_iter() });
        Ok(())
    }

    fn read_names(&mut self, fd: &OwnedFd) -> Result<Vec<(CString, FileType)>, Error> {
        let mut names = Vec::new();
        let path = self.path_of(b"");
        let mut listing = RawDir::new(fd, &mut self.listing);
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(Error::io("list", &path))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                let stat = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(Error::io("stat", &path))?;
                kind = FileType::from_raw_mode(stat.st_mode);
            }
            names.push((name.to_owned(), kind));
        }
        // The whiteout of a name stands where the name would, whatever form it has.
        names.sort_unstable_by(|(left, _), (right, _)| {
            place_of(left).cmp(place_of(right)).then_with(|| left.cmp(right))
        });
        Ok(names)
    }

    /// Opens the last directory again, if it was closed on the way down.
    fn reopen(&mut self, below: &Dir) -> Result<(), Error> {
        let Some(dir) = self.dirs.last_mut() else { return Ok(()) };
        if dir.fd.is_some() {
            return Ok(());
        }
        let opened = below.fd.as_ref().map(|below| open_dir(below.as_fd(), c".."));
        let id = dir.id;
        if let Some(Ok(fd)) = opened {
            let stat = rustix::fs::fstat(&fd).map_err(Error::io("stat", self.path_of(b"")))?;
            if (stat.st_dev, stat.st_ino) == id {
                if let Some(dir) = self.dirs.last_mut() {
                    dir.fd = Some(fd);
                }
                return Ok(());
            }
        }
        Err(Error::Changed { path: self.path_of(b"") })
    }
}

/// Opens a directory for reading; never through a link.
pub(crate) fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    crate::interrupted::openat(dir, name, flags, Mode::empty())
}

/// Opens a regular file for reading, without following a link, waiting for a FIFO, or (where the kernel permits that)
/// leaving a time of access behind.
pub(crate) fn open_file(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match crate::interrupted::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => crate::interrupted::openat(dir, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// What a name is sorted by.
fn place_of(name: &CStr) -> &[u8] {
    match whiteout::meaning(name.to_bytes()) {
        Meaning::Whiteout(hidden) => hidden,
        _ => name.to_bytes(),
    }
}
