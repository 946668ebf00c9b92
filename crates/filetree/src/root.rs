//! An untrusted tree, reached only through one directory descriptor.
//!
//! Every path given here is resolved by the kernel as if the directory were `/` (`openat2` with `RESOLVE_IN_ROOT`), so
//! that no symbolic link of an image can lead outside. `RootDir::place` in `root/place.rs` is the one
//! resolver of our own, for destinations that do not exist yet.

mod place;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::{
    Error, deed,
    xattr::{Carrier, Xattr},
};

pub(crate) use place::{NewDir, Place, restore_times};

/// How often a resolution that raced with a rename is tried again before it is reported.
const RETRIES: usize = 128;

/// How much of a path is given to the kernel at once, which takes 4096 bytes.
const MAX_PIECE: usize = 4000;

/// A point in time as files carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds, below 1 000 000 000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Returns the time of so many seconds since 1970.
    pub fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// Returns the time of a clock reading.
    pub fn from_system_time(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => {
                Self { seconds: after.as_secs() as i64, nanoseconds: after.subsec_nanos() }
            }
            Err(before) => {
                let before = before.duration();
                let nanoseconds = before.subsec_nanos();
                let borrow = i64::from(nanoseconds > 0);
                Self {
                    seconds: -(before.as_secs() as i64) - borrow,
                    nanoseconds: if nanoseconds > 0 { 1_000_000_000 - nanoseconds } else { 0 },
                }
            }
        }
    }

    /// Returns both file times set to this time, for `utimensat`.
    pub(crate) fn to_timestamps(self) -> rustix::fs::Timestamps {
        let time =
            rustix::fs::Timespec { tv_sec: self.seconds, tv_nsec: i64::from(self.nanoseconds) };
        rustix::fs::Timestamps { last_access: time, last_modification: time }
    }
}

/// Whether [`RootDir::create_dir_all`] had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The directory and perhaps some of its parents were made.
    New,
    /// It was there already.
    Existing,
}

/// The root of an untrusted tree.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
    /// Whether its files are what the kernel says, as kiln has not made them: what looks like a deed there is none.
    is_foreign: bool,
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl RootDir {
    /// Opens a directory of the host; `path` itself is trusted.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = crate::interrupted::openat(CWD, path, flags, Mode::empty())
            .map_err(Error::io("open the directory", path))?;
        Ok(Self { fd, is_foreign: false })
    }

    /// Opens a directory of the host that is not kiln's: anybody may have given its files attributes that look like deeds
    /// ([`oci::Deed`]), so as to have them taken for devices, deletions or set-user-id programs. They mean nothing there.
    pub fn open_foreign(path: &Path) -> Result<Self, Error> {
        Ok(Self { is_foreign: true, ..Self::open(path)? })
    }

    /// Takes a directory that is already open (for reading, or with `O_PATH`).
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd, is_foreign: false }
    }

    /// Returns a second descriptor of the same tree.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let fd = self.fd.try_clone().map_err(Error::io("duplicate", "/"))?;
        Ok(Self { fd, is_foreign: self.is_foreign })
    }

    /// Returns the tree whose root is `path` inside this one; links are followed inside the root.
    pub fn open_root(&self, path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self.open_at(path, flags, Mode::empty()).map_err(Error::io("open", path))?;
        Ok(Self { fd, is_foreign: self.is_foreign })
    }

    /// Opens `path` inside the root. Links are followed inside the root, the last one too unless `flags` has
    /// `NOFOLLOW`. `CLOEXEC` is added.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        for _ in 0..RETRIES {
            match rustix::fs::openat2(&self.fd, path, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(fd) => return Ok(fd),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Opens the directory that holds `path` (which is cleaned lexically first, so that `..` cannot be the last name)
    /// and returns it with the last name. The root itself has no parent: `None`.
    pub fn open_parent(&self, path: &Path) -> io::Result<Option<(OwnedFd, OsString)>> {
        let clean = clean(path);
        let Some(name) = clean.file_name() else { return Ok(None) };
        let parent = clean.parent().unwrap_or(Path::new(""));
        let fd = self.open_at(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Some((fd, name.to_owned())))
    }

    /// Returns what `path` is, links followed inside the root; `None` when it does not exist.
    pub fn metadata(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.stat(path, OFlags::PATH)
    }

    /// Returns what `path` is, without following a link that is its last component; `None` when it does not exist.
    pub fn symlink_metadata(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.stat(path, OFlags::PATH | OFlags::NOFOLLOW)
    }

    /// Returns the target of the link `path`.
    pub fn read_link(&self, path: &Path) -> io::Result<OsString> {
        let fd = self.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        read_link_at(fd.as_fd(), OsStr::new(""))
    }

    /// Reads a regular file of at most `limit` bytes; `None` when it does not exist. Links are followed inside the root;
    /// a FIFO or a device is refused without waiting for it (and without having been opened for reading).
    pub fn read_file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = Path::new(path);
        match self.metadata(path) {
            Ok(None) => return Ok(None),
            Ok(Some(stat)) if !is_file(&stat) => {
                return Err(Error::NotAFile { path: path.to_owned() });
            }
            Ok(Some(_)) => {}
            Err(error) => return Err(Error::io("open", path)(error)),
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match self.open_at(path, flags, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Error::io("open", path))?,
        };
        // The path may have been replaced since it was looked at.
        let stat = rustix::fs::fstat(&fd).map_err(Error::io("stat", path))?;
        if !is_file(&stat) {
            return Err(Error::NotAFile { path: path.to_owned() });
        }
        if stat.st_size as u64 > limit {
            return Err(Error::TooLarge { path: path.to_owned(), limit });
        }
        let mut content = Vec::with_capacity(stat.st_size as usize);
        File::from(fd)
            .take(limit.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(Error::io("read", path))?;
        if content.len() as u64 > limit {
            return Err(Error::TooLarge { path: path.to_owned(), limit });
        }
        Ok(Some(content))
    }

    /// Makes the directory `path` and its missing parents, each with this mode (whatever the umask), owner and times.
    /// Directories that exist are left as they are. Links on the way are followed inside the root; of a dangling one
    /// the target is made. When it fails half-way the parents made so far stay.
    pub fn create_dir_all(
        &self,
        path: &str,
        mode: u32,
        uid: u32,
        gid: u32,
        mtime: Option<Timestamp>,
    ) -> Result<Created, Error> {
        let path = Path::new(path);
        if let Ok(Some(stat)) = self.metadata(path)
            && is_dir(&stat)
        {
            return Ok(Created::Existing);
        }
        let mut place = self.place(path)?;
        if place.file().is_some() {
            return Err(Error::NotADirectory { path: place.path() });
        }
        let made = place.create(&NewDir { mode, owner: Some((uid, gid)) })?;
        restore_times(&made, mtime)?;
        Ok(if made.is_empty() { Created::Existing } else { Created::New })
    }

    /// Says whether the root directory has no entry at all.
    pub fn is_empty(&self) -> Result<bool, Error> {
        let fd = self.open_root(Path::new("/"))?;
        let dir = rustix::io::retry_on_intr(|| rustix::fs::Dir::read_from(&fd));
        let mut dir = dir.map_err(Error::io("read", "/"))?;
        while let Some(entry) = dir.read() {
            let entry = entry.map_err(Error::io("read", "/"))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn stat(&self, path: &Path, flags: OFlags) -> io::Result<Option<Stat>> {
        match self.open_at(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(self.look_at(&fd)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns what an open file of this tree is, also one that is open as a place only.
    pub(crate) fn look_at(&self, fd: impl AsFd) -> Result<Stat, Errno> {
        if self.is_foreign { rustix::fs::fstat(fd) } else { deed::fstat(fd) }
    }

    /// Returns what `name` in a directory of this tree is; a link is not followed.
    pub(crate) fn look_in(&self, dir: impl AsFd, name: &OsStr) -> Result<Stat, Errno> {
        match self.is_foreign {
            true => rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW),
            false => deed::statat(dir, name),
        }
    }

    /// Returns the attributes that travel of a file of this tree.
    pub(crate) fn attributes(&self, carrier: Carrier<'_>) -> Result<Vec<Xattr>, Errno> {
        match self.is_foreign {
            true => carrier.all_travelling_of_others(),
            false => carrier.all_travelling(),
        }
    }
}

/// Opens the directory `path` below `base` for reading; every component must be a directory itself, not a link.
///
/// A path longer than the kernel takes is opened in pieces, so that depth has no limit and no chain of descriptors is kept.
pub(crate) fn open_dir_below(base: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    let mut rest = path.as_os_str().as_bytes();
    let mut from: Option<OwnedFd> = None;
    loop {
        let piece = match rest.get(..MAX_PIECE) {
            Some(start) => start.iter().rposition(|byte| *byte == b'/').unwrap_or(rest.len()),
            None => rest.len(),
        };
        let last = piece == rest.len();
        let name = if rest.is_empty() { b"." } else { &rest[..piece] };
        let flags = if last { OFlags::RDONLY } else { OFlags::PATH };
        let at = from.as_ref().map_or(base, AsFd::as_fd);
        let fd = open_beneath(at, OsStr::from_bytes(name), flags | OFlags::DIRECTORY)?;
        if last {
            return Ok(fd);
        }
        rest = &rest[piece + 1..];
        from = Some(fd);
    }
}

fn open_beneath(base: BorrowedFd<'_>, path: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..RETRIES {
        match rustix::fs::openat2(base, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return Ok(opened?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Returns the path without `.`, `..` and slashes at either end, seen from the root: relative, empty for the root.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Returns the target of the link `name` in `dir`, or of the link `dir` itself (opened with `O_PATH`) if `name` is empty.
pub(crate) fn read_link_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let target = rustix::fs::readlinkat(dir, name, Vec::with_capacity(256))?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// Returns what `name` in `dir` is, without following it; `None` when it does not exist.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Stat>> {
    match deed::statat(dir, name) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Says whether this is a regular file.
pub(crate) fn is_file(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
}

/// Says whether this is a directory.
pub(crate) fn is_dir(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
}
