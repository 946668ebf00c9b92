//! Places inside an untrusted root: found without ever leaving it, made when they are missing, and
//! removed again.
//!
//! A path is walked one name at a time with descriptors, and symbolic links are read and walked like
//! the rest, so that `..` and `/` in them mean the root that this walk began at. What is made on the
//! way, to have something to mount on, is a *stub*. Stubs would end up in the layer, so they are
//! removed after the sandbox's end, as BuildKit does.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::StatxFlags;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::io::Errno;
use serde::Deserialize;
use serde::Serialize;

use crate::Error;

/// The kernel's limit of symbolic links in a path.
const LINKS: usize = 40;

/// What a place must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// A directory or file that was made to be mounted on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stub {
    /// The names from the root to its directory; none of them a symbolic link.
    directory: PathBuf,
    name: OsString,
    kind: Kind,
    /// The modification time of its directory, before it was made and after.
    before: Time,
    after: Time,
}

/// The directories and files that were made in a root file system to have something to mount on, and that are there as
/// long as its sandbox runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MountPoints(pub(crate) Vec<Stub>);

impl MountPoints {
    /// Removes them from a copy of the root file system, or of the layer on top of it, as if they had never been there. What
    /// has become something else stays.
    pub fn remove_from(&self, copy: BorrowedFd<'_>) -> Result<(), Error> {
        remove(copy, &self.0)
    }

    /// Whether one of them has this path, relative to the root.
    pub fn contains(&self, path: &std::path::Path) -> bool {
        self.0.iter().any(|stub| stub.directory.join(&stub.name) == path)
    }
}

/// Seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Time(i64, u32);

/// A root file system in which places are looked for, and the list of its stubs.
pub(crate) struct Root<'a> {
    root: BorrowedFd<'a>,
    mount: u64,
    stubs: &'a mut Vec<Stub>,
}

/// A place: its descriptor, and its path without symbolic links, relative to the root.
pub(crate) struct Place {
    pub(crate) descriptor: OwnedFd,
    pub(crate) path: PathBuf,
}

impl<'a> Root<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, stubs: &'a mut Vec<Stub>) -> Result<Self, Errno> {
        Ok(Self { root, mount: look(root)?.0, stubs })
    }

    /// Finds or makes the place at `path`, and all directories on the way.
    pub(crate) fn place(&mut self, path: &str, kind: Kind) -> Result<Place, Errno> {
        let mut ahead: VecDeque<OsString> = names(path.as_bytes()).collect();
        let mut trail: Vec<(OsString, OwnedFd)> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                trail.pop();
                continue;
            }
            let here = trail.last().map_or(self.root, |(_, descriptor)| descriptor.as_fd());
            let last = ahead.is_empty();
            let descriptor = match open(here, &name) {
                Err(Errno::NOENT) => {
                    let kind = if last { kind } else { Kind::Directory };
                    let directory = trail.iter().map(|(name, _)| name).collect();
                    self.make(here, directory, &name, kind)?;
                    open(here, &name)?
                }
                result => result?,
            };
            match FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP);
                    }
                    let to = rustix::fs::readlinkat(&descriptor, "", Vec::new())?.into_bytes();
                    if to.starts_with(b"/") {
                        trail.clear();
                    }
                    for name in names(&to).rev() {
                        ahead.push_front(name);
                    }
                }
                FileType::Directory if !last || kind == Kind::Directory => {
                    trail.push((name, descriptor));
                }
                FileType::Directory => return Err(Errno::ISDIR),
                _ if last && kind == Kind::File => trail.push((name, descriptor)),
                _ => return Err(Errno::NOTDIR),
            }
        }
        let path = trail.iter().map(|(name, _)| name).collect();
        let descriptor = match trail.pop() {
            Some((_, descriptor)) => descriptor,
            None => self.root.try_clone_to_owned().map_err(|_| Errno::MFILE)?,
        };
        Ok(Place { descriptor, path })
    }

    /// Finds or makes a directory of the root itself, which must not be a symbolic link.
    pub(crate) fn own_directory(&mut self, name: &str) -> Result<OwnedFd, Error> {
        let path = format!("/{name}");
        let failed = |source: Errno| Error::Mount {
            kind: "file system".to_owned(),
            target: path.clone(),
            source: source.into(),
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(self.root, name, flags, Mode::empty());
        match open() {
            Ok(directory) => return Ok(directory),
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(Error::NotADirectory { path }),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        self.make(self.root, PathBuf::new(), OsStr::new(name), Kind::Directory).map_err(failed)?;
        rustix::fs::openat(self.root, name, flags, Mode::empty()).map_err(failed)
    }

    /// Makes a stub. It is noted only if it is in the root, not in something mounted there: what is
    /// made in a cache directory stays.
    fn make(
        &mut self,
        here: BorrowedFd<'_>,
        directory: PathBuf,
        name: &OsStr,
        kind: Kind,
    ) -> Result<(), Errno> {
        let (mount, before) = look(here)?;
        match kind {
            Kind::Directory => rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755))?,
            Kind::File => {
                let mode = Mode::from_raw_mode(0o644);
                rustix::fs::mknodat(here, name, FileType::RegularFile, mode, 0)?;
            }
        }
        if mount == self.mount {
            let (_, after) = look(here)?;
            self.stubs.push(Stub { directory, name: name.to_owned(), kind, before, after });
        }
        Ok(())
    }
}

/// Removes stubs, the last one first, if they still are what they were made as.
///
/// The sandbox's processes may have moved anything anywhere, so each directory is looked up anew, by
/// names that were no symbolic links and must still be none.
pub(crate) fn remove(root: BorrowedFd<'_>, stubs: &[Stub]) -> Result<(), Error> {
    for stub in stubs.iter().rev() {
        match remove_one(root, stub) {
            // It is gone, its directory is, or it has become something else: not ours any more.
            Ok(())
            | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV)
            | Err(Errno::NOTEMPTY | Errno::ISDIR) => {}
            Err(errno) => {
                let path = stub.directory.join(&stub.name);
                let action = format!("remove `/{}`, made for a mount", path.display());
                return Err(Error::Setup { action, source: errno.into() });
            }
        }
    }
    Ok(())
}

fn remove_one(root: BorrowedFd<'_>, stub: &Stub) -> Result<(), Errno> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let path = match stub.directory.as_os_str().is_empty() {
        true => OsStr::new("."),
        false => stub.directory.as_os_str(),
    };
    let directory = resolve(root, path, OFlags::DIRECTORY, beneath)?;
    let stat = rustix::fs::statat(&directory, &stub.name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = match (stub.kind, FileType::from_raw_mode(stat.st_mode)) {
        (Kind::Directory, FileType::Directory) => AtFlags::REMOVEDIR,
        (Kind::File, FileType::RegularFile) if stat.st_size == 0 => AtFlags::empty(),
        _ => return Ok(()),
    };
    let (_, now) = look(directory.as_fd())?;
    rustix::fs::unlinkat(&directory, &stub.name, flags)?;

    // As if it had never been there; but a time that somebody else has set is kept.
    let Time(seconds, nanoseconds) = if now == stub.after { stub.before } else { now };
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    };
    rustix::fs::futimens(&directory, &times)
}

/// The mount that a directory is in, and its modification time.
fn look(directory: BorrowedFd<'_>) -> Result<(u64, Time), Errno> {
    let mask = StatxFlags::MTIME | StatxFlags::MNT_ID;
    let stat = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, mask)?;
    Ok((stat.stx_mnt_id, Time(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec)))
}

/// openat2(2) with `O_PATH` and a way to resolve.
///
/// The kernel gives up on `..` when anything was renamed or mounted anywhere meanwhile, as other
/// sandboxes do all the time; then it is asked again.
pub(crate) fn resolve<P: rustix::path::Arg + Copy>(
    root: BorrowedFd<'_>,
    path: P,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    // More than any storm of mounts lasts, less than what looks like a hang.
    const ATTEMPTS: usize = 100_000;
    let open = || rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
    let mut attempts = (0..ATTEMPTS).map(|_| open());
    attempts.find(|result| !matches!(result, Err(Errno::AGAIN))).unwrap_or(Err(Errno::AGAIN))
}

fn open(here: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(here, name, flags, Mode::empty())
}

/// The names of a path that mean something.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| OsString::from_vec(name.to_vec()))
}
