//! A process that asks: its memory, and the files that it means. What is here finds them; nothing is changed.
//!
//! This thread has the sandbox's root as its root directory and the outer `/proc` as its working directory. So an absolute
//! path means to it what it means to the process, and `PID/cwd/…` and `PID/fd/N/…` are the other places that paths begin
//! at; none of them leads out of the sandbox's root, as what they begin at is inside. Nothing that a program says is ever put
//! directly behind `PID/`, where `..` would be the outer `/proc`.
//!
//! A process of ours that has not become a program yet, and a program that does not want it, cannot be looked into, unless
//! with `CAP_SYS_PTRACE`. This thread uses that ([`Sight`]) for the memory of who asks and for what its paths begin at, and
//! never while it walks a path: so the links that the sandbox's `/proc` has for a process of ours lead nowhere.
//! What the outer `/proc` tells of a process that has just ended and whose
//! number is another's by now is of use to nobody: before anything is changed it is made sure that the call still waits.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::sys;

/// `PATH_MAX`, with the zero.
const LONGEST: usize = 4096;

/// Bytes that nearly every path fits in.
const FIRST_TRY: usize = 256;

/// Bytes of a page of memory, which is there as a whole or not at all.
const PAGE: u64 = 4096;

/// A thread that asks, and whether it has to be looked into against its will.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pub(super) id: i32,
    is_hidden: bool,
}

/// The right to look into any process, as long as this lives.
#[derive(Debug)]
struct Sight;

impl Sight {
    fn take() -> Result<Self, Errno> {
        set_sight(true).map(|()| Self)
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        // Giving up a right never fails.
        let _ = set_sight(false);
    }
}

/// Takes that right, or lays it down.
pub(super) fn set_sight(has: bool) -> Result<(), Errno> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective.set(CapabilitySet::SYS_PTRACE, has);
    rustix::thread::set_capabilities(None, sets)
}

/// The root directory that all of the sandbox have who did not change theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RootId {
    device: u64,
    inode: u64,
    /// Whether anybody has changed theirs, so that it has to be looked at.
    pub(super) somebody_left: bool,
}

impl RootId {
    pub(super) fn of(root: impl AsFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(root)?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino, somebody_left: false })
    }
}

/// What a call names: a path from a directory on, or a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Path { from: i32, address: u64, follow: bool, or_itself: bool },
    Descriptor(i32),
}

/// A path as this thread can use it, and whether a link at its end is followed.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) path: Vec<u8>,
    pub(super) follow: bool,
    /// What it goes through, open.
    _held: Option<OwnedFd>,
}

/// The directory that something is or will be in, and its name there.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) path: Vec<u8>,
    pub(super) name: Vec<u8>,
    _held: Option<OwnedFd>,
}

impl Process {
    pub(super) fn new(id: i32) -> Self {
        Self { id, is_hidden: false }
    }

    /// Looks; if that is refused, once more with more rights.
    pub(super) fn look<T>(self, look: impl Fn(Self) -> Result<T, Errno>) -> Result<T, Errno> {
        match look(self) {
            Err(Errno::PERM | Errno::ACCESS) => look(Self { is_hidden: true, ..self }),
            seen => seen,
        }
    }

    /// Does something with all the rights that are needed.
    fn seeing<T>(self, see: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        let _sight = self.is_hidden.then(Sight::take).transpose()?;
        see()
    }

    fn read(self, address: u64, to: &mut [u8]) -> Result<usize, Errno> {
        self.seeing(|| sys::read_memory(self.id, address, to).map_err(|error| errno_of(&error)))
    }

    /// Opens something of its directory in the outer `/proc`, as a place only.
    fn open_own(self, name: &str) -> Result<OwnedFd, Errno> {
        self.seeing(|| open(&format!("{}/{name}", self.id), OFlags::PATH))
    }

    /// Reads a path.
    pub(super) fn path(self, address: u64) -> Result<Vec<u8>, Errno> {
        let mut path = Vec::new();
        let mut at = address;
        while path.len() < LONGEST {
            let in_page = usize::try_from(PAGE - at % PAGE).map_err(|_| Errno::FAULT)?;
            let mut piece = [0; FIRST_TRY];
            let piece = &mut piece[..FIRST_TRY.min(in_page)];
            let read = self.read(at, piece)?;
            let piece = &piece[..read];
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                path.extend_from_slice(&piece[..end]);
                return Ok(path);
            }
            if read == 0 {
                return Err(Errno::FAULT);
            }
            at += read as u64;
            path.extend_from_slice(piece);
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Reads 32-bit numbers.
    pub(super) fn numbers(self, address: u64, count: usize) -> Result<Vec<u32>, Errno> {
        self.look(|it| {
            let mut bytes = vec![0; count * 4];
            if it.read(address, &mut bytes)? < bytes.len() {
                return Err(Errno::FAULT);
            }
            let number = |it: &[u8]| it.try_into().map_or(0, u32::from_ne_bytes);
            Ok(bytes.chunks_exact(4).map(number).collect())
        })
    }

    /// Writes into its memory.
    pub(super) fn write(self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.look(|it| {
            it.seeing(|| sys::write_memory(it.id, address, bytes).map_err(|error| errno_of(&error)))
        })
    }

    /// The mode bits that its new files do not get.
    pub(super) fn umask(self) -> Option<u32> {
        let mut text = [0; 256];
        let file = open(&format!("{}/status", self.id), OFlags::RDONLY).ok()?;
        let length = rustix::io::read(file, &mut text).ok()?;
        let text = String::from_utf8_lossy(&text[..length]);
        let line = text.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    }

    /// Where this thread finds what a call names.
    pub(super) fn spot(self, root: &RootId, named: Named) -> Result<Spot, Errno> {
        let (from, address, follow) = match named {
            Named::Descriptor(number) => return self.itself(number),
            // A null address stands for an empty path there, since Linux 6.11.
            Named::Path { from, address: 0, or_itself: true, .. } => return self.itself(from),
            Named::Path { from, address, follow, .. } => (from, address, follow),
        };
        let path = self.path(address)?;
        if path.is_empty() {
            let itself = matches!(named, Named::Path { or_itself: true, .. });
            return if itself { self.itself(from) } else { Err(Errno::NOENT) };
        }
        if follow && let Some(number) = own_descriptor(&path) {
            return self.itself(number);
        }
        let (path, held) = self.translate(root, from, &path)?;
        Ok(Spot { path, follow, _held: held })
    }

    /// What a descriptor stands for, or the working directory. It is followed, as the link of `/proc` that it is; what it
    /// leads to is not followed further.
    fn itself(self, from: i32) -> Result<Spot, Errno> {
        let (path, held) = self.beginning(from)?;
        Ok(Spot { path, follow: true, _held: held })
    }

    /// What paths begin at, as this thread can use it: what it holds open itself, if it cannot be gone through.
    fn beginning(self, from: i32) -> Result<(Vec<u8>, Option<OwnedFd>), Errno> {
        let name = match from {
            libc::AT_FDCWD => "cwd".to_owned(),
            number => format!("fd/{number}"),
        };
        if !self.is_hidden {
            return Ok((format!("{}/{name}", self.id).into_bytes(), None));
        }
        let held = self.open_own(&name)?;
        Ok((format!("self/fd/{}", held.as_raw_fd()).into_bytes(), Some(held)))
    }

    /// The same for the directory of something that is to be made, which is a directory itself or not; `None` if its name is
    /// not one of a new thing.
    pub(super) fn parent(
        self,
        root: &RootId,
        from: i32,
        address: u64,
        is_directory: bool,
    ) -> Result<Option<Parent>, Errno> {
        let mut path = self.path(address)?;
        while is_directory && path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let name = path.split_off(start);
        if matches!(&name[..], b"" | b"." | b"..") {
            return Ok(None);
        }
        if path.is_empty() {
            path.push(b'.');
        }
        let (path, held) = self.translate(root, from, &path)?;
        Ok(Some(Parent { path, name, _held: held }))
    }

    /// A path as this thread can use it.
    fn translate(
        self,
        root: &RootId,
        from: i32,
        path: &[u8],
    ) -> Result<(Vec<u8>, Option<OwnedFd>), Errno> {
        if !path.starts_with(b"/") {
            let (mut beginning, held) = self.beginning(from)?;
            beginning.push(b'/');
            beginning.extend_from_slice(path);
            return Ok((beginning, held));
        }
        if !root.somebody_left {
            return Ok((path.to_vec(), None));
        }
        let place = self.open_own("root")?;
        let stat = rustix::fs::fstat(&place)?;
        match (stat.st_dev, stat.st_ino) == (root.device, root.inode) {
            true => Ok((path.to_vec(), None)),
            false => below(place, path),
        }
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::FAULT)
}

/// A path of a process that has another root directory: all but the last name is looked up from there.
fn below(root: OwnedFd, path: &[u8]) -> Result<(Vec<u8>, Option<OwnedFd>), Errno> {
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let (parent, name) = (&path[..=slash], &path[slash + 1..]);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let parent = rustix::fs::openat2(root, parent, flags, Mode::empty(), resolve)?;
    let path = format!("self/fd/{}/", parent.as_raw_fd());
    Ok(([path.as_bytes(), name].concat(), Some(parent)))
}

/// The descriptor that a path of the process itself leads to. This thread has another `self` in that `/proc`, or none.
fn own_descriptor(path: &[u8]) -> Option<i32> {
    let path = std::str::from_utf8(path).ok()?;
    match path {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        _ => {
            let number = ["/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"]
                .iter()
                .find_map(|start| path.strip_prefix(start))?;
            number.parse().ok()
        }
    }
}

/// Opens a path of this thread's.
pub(super) fn open(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
}

impl Spot {
    /// Opens what is there, as a place only.
    pub(super) fn open(&self) -> Result<OwnedFd, Errno> {
        let follow = if self.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::PATH | OFlags::CLOEXEC | follow;
        rustix::fs::openat(CWD, &self.path[..], flags, Mode::empty())
    }
}

impl Parent {
    /// Opens it, as a place only.
    pub(super) fn open(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, &self.path[..], flags, Mode::empty())
    }

    /// What it is.
    pub(super) fn stat(&self) -> Result<Stat, Errno> {
        rustix::fs::statat(CWD, &self.path[..], AtFlags::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_by_path() {
        let check = |path: &str, expected| {
            assert_eq!(own_descriptor(path.as_bytes()), expected, "{path}");
        };
        check("/proc/self/fd/63", Some(63));
        check("/dev/stdout", Some(1));
        check("/dev/fd/4", Some(4));
        check("/proc/self/fd/63/x", None);
        check("/proc/1/fd/3", None);
        check("/etc/passwd", None);
    }
}
