//! Files as what their deeds say: every look at a file of a snapshot or a tree goes through here, and so does giving one to
//! somebody.
//!
//! Where this process can give files to their owners nothing is different from the calls themselves. Where it cannot, which
//! whoever knows where it stands tells once ([`keep_deeds`]), an owner and a device are written beside the file ([`Deed`]). What
//! an ordinary user has to write down besides is in `ordinary`.

mod ordinary;

use std::{
    os::fd::{AsFd, AsRawFd},
    path::Path,
    sync::atomic::{AtomicU8, Ordering},
};

use oci::{Deed, Device};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags, getxattr, lgetxattr},
    io::Errno,
    path::Arg,
};

use crate::{
    owner::Owner,
    xattr::{Carrier, path_through},
};

/// The longest value of a deed: five numbers of ten digits, and what is between them.
const LONGEST: usize = 64;

/// What is written down beside files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deeds {
    /// Nothing: files belong to their owners.
    None,
    /// Owners and devices: in a user namespace with one id.
    Owners,
    /// Modes and capabilities, too: as an ordinary user.
    All,
}

/// Which deeds are kept. The kernel knows for each process what it may do, so this is one for all.
static KEPT: AtomicU8 = AtomicU8::new(Deeds::None as u8);

/// Keeps these deeds from now on, for good. To be called before anything else of this crate.
pub fn keep_deeds(deeds: Deeds) {
    KEPT.store(deeds as u8, Ordering::Relaxed);
}

/// Which deeds are kept.
pub(crate) fn kept() -> Deeds {
    match KEPT.load(Ordering::Relaxed) {
        1 => Deeds::Owners,
        2 => Deeds::All,
        _ => Deeds::None,
    }
}

/// Whether deeds are kept at all.
pub(crate) fn are_kept() -> bool {
    kept() != Deeds::None
}

/// Where the deed of a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Attribute,
    Capability,
}

impl Place {
    fn of(kind: FileType) -> Self {
        match kind {
            FileType::Symlink | FileType::Fifo | FileType::Socket => Self::Capability,
            // A device is one by its deed, which a regular file has.
            _ => Self::Attribute,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Attribute => Deed::ATTRIBUTE,
            Self::Capability => Deed::CAPABILITY,
        }
    }

    fn read(self, value: &[u8]) -> Option<Deed> {
        match self {
            Self::Attribute => Deed::parse(value),
            Self::Capability => Deed::from_capability(value),
        }
    }
}

/// What an open file is, also one that is open as a place only.
pub(crate) fn fstat(fd: impl AsFd) -> Result<Stat, Errno> {
    let mut stat = rustix::fs::fstat(&fd)?;
    let read = |name: &str, buffer: &mut [u8]| match rustix::fs::fgetxattr(&fd, name, &mut *buffer)
    {
        // It may be followed: this link of `/proc` leads to the file itself, also if that is a link.
        Err(Errno::BADF) => {
            getxattr(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()), name, buffer)
        }
        read => read,
    };
    // Where a link is that is open by itself, nobody knows.
    apply(&mut stat, read, || Ok(None))?;
    Ok(stat)
}

/// What `name` in `dir` is; a link is not followed.
pub(crate) fn statat(dir: impl AsFd, name: impl Arg + Copy) -> Result<Stat, Errno> {
    let mut stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let read = |attribute: &str, buffer: &mut [u8]| {
        let name = name.as_cow_c_str()?;
        lgetxattr(path_through(dir.as_fd(), name.to_bytes()), attribute, buffer)
    };
    let beside = || ordinary::owner_beside(dir.as_fd(), name.as_cow_c_str()?.to_bytes());
    apply(&mut stat, read, beside)?;
    Ok(stat)
}

/// What there is at a path of the store, whose directories are trusted; a link is not followed.
///
/// # Errors
/// The operating system's.
pub fn lstat(path: &Path) -> Result<Stat, Errno> {
    let mut stat = rustix::fs::lstat(path)?;
    let beside = || {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent, flags, Mode::empty())?;
        ordinary::owner_beside(parent.as_fd(), name.as_encoded_bytes())
    };
    apply(&mut stat, |name, buffer| lgetxattr(path, name, buffer), beside)?;
    Ok(stat)
}

/// Changes what the kernel says of a file into what its deed says.
fn apply(
    stat: &mut Stat,
    read: impl Fn(&str, &mut [u8]) -> Result<usize, Errno>,
    beside: impl FnOnce() -> Result<Option<Owner>, Errno>,
) -> Result<(), Errno> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        return Ok(());
    }
    match kept() {
        Deeds::None => return Ok(()),
        Deeds::Owners => {}
        Deeds::All => return ordinary::apply(stat, read, beside),
    }
    let place = Place::of(kind);
    let mut value = [0; LONGEST];
    let deed = match read(place.name(), &mut value) {
        Ok(length) => place.read(&value[..length]),
        // `RANGE`: it is longer, and so no deed.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => None,
        Err(errno) => return Err(errno),
    };
    let Some(Deed { uid, gid, device }) = deed else { return Ok(()) };
    (stat.st_uid, stat.st_gid) = (uid, gid);
    set_device(stat, kind, device);
    Ok(())
}

/// A regular file that stands for a device is that.
fn set_device(stat: &mut Stat, kind: FileType, device: Option<Device>) {
    if let Some(Device { is_block, major, minor }) = device.filter(|_| kind.is_file()) {
        let kind = if is_block { FileType::BlockDevice } else { FileType::CharacterDevice };
        stat.st_mode = kind.as_raw_mode() | stat.st_mode & 0o7777;
        stat.st_rdev = rustix::fs::makedev(major, minor);
    }
}

/// Gives an open file to `owner`.
pub(crate) fn give(fd: impl AsFd, owner: Owner) -> Result<(), Errno> {
    if are_kept() {
        return note(Carrier::Open(fd.as_fd()), FileType::RegularFile, owner);
    }
    let (uid, gid) = ids(owner);
    rustix::fs::fchown(fd, uid, gid)
}

/// Gives a directory or a socket of the store to a user and a group.
///
/// # Errors
/// The operating system's.
pub fn chown(path: &Path, uid: u32, gid: u32) -> Result<(), Errno> {
    if are_kept() {
        let kind = FileType::from_raw_mode(rustix::fs::lstat(path)?.st_mode);
        return note(Carrier::Path(path.as_os_str().as_encoded_bytes()), kind, (uid, gid));
    }
    let (uid, gid) = ids((uid, gid));
    rustix::fs::chown(path, uid, gid)
}

/// Gives what `name` in `dir` is, a link itself included, to `owner`.
pub(crate) fn give_at(
    dir: impl AsFd,
    name: impl Arg + Copy,
    kind: FileType,
    owner: Owner,
) -> Result<(), Errno> {
    if kept() == Deeds::All && Place::of(kind) == Place::Capability {
        return ordinary::give_beside(dir.as_fd(), name.as_cow_c_str()?.to_bytes(), owner);
    }
    if are_kept() {
        let through = path_through(dir.as_fd(), name.as_cow_c_str()?.to_bytes());
        return note(Carrier::Path(&through), kind, owner);
    }
    let (uid, gid) = ids(owner);
    rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}

/// Gives an open file or directory a mode.
pub(crate) fn chmod(fd: impl AsFd, mode: u32) -> Result<(), Errno> {
    let change = |mode| rustix::fs::fchmod(&fd, mode);
    if kept() != Deeds::All {
        return change(Mode::from_raw_mode(mode));
    }
    let is_dir = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode).is_dir();
    ordinary::set_mode(Carrier::Open(fd.as_fd()), is_dir, mode, change)
}

/// Gives what `name` in `dir` is, which is no link, a mode.
pub(crate) fn chmod_at(
    dir: impl AsFd,
    name: impl Arg + Copy,
    kind: FileType,
    mode: u32,
) -> Result<(), Errno> {
    let change = |mode| rustix::fs::chmodat(&dir, name, mode, AtFlags::empty());
    if kept() != Deeds::All || Place::of(kind) == Place::Capability {
        return change(Mode::from_raw_mode(mode));
    }
    let through = path_through(dir.as_fd(), name.as_cow_c_str()?.to_bytes());
    ordinary::set_mode(Carrier::Path(&through), kind.is_dir(), mode, change)
}

/// Gives a file a second name, and that the first one's owner.
pub(crate) fn link(
    from: impl AsFd,
    name: impl Arg + Copy,
    to: impl AsFd,
    new: impl Arg + Copy,
) -> Result<(), Errno> {
    rustix::fs::linkat(&from, name, &to, new, AtFlags::empty())?;
    if kept() != Deeds::All {
        return Ok(());
    }
    let (name, new) = (name.as_cow_c_str()?, new.as_cow_c_str()?);
    ordinary::give_as((from.as_fd(), name.to_bytes()), (to.as_fd(), new.to_bytes()))
}

/// Writes the owner down; a device stays one.
fn note(carrier: Carrier<'_>, kind: FileType, owner: Owner) -> Result<(), Errno> {
    let place = Place::of(kind);
    let old = carrier.value(place.name().as_bytes())?.and_then(|value| place.read(&value));
    let device = old.and_then(|deed| deed.device);
    let new = Deed { uid: owner.0, gid: owner.1, device };
    let name = place.name().as_bytes();
    match place {
        _ if new == old.unwrap_or_default() => Ok(()),
        _ if new.is_plain() => carrier.remove(name),
        Place::Attribute => carrier.set(name, new.to_text().as_bytes()),
        Place::Capability => carrier.set(name, &new.to_capability()),
    }
}

/// Makes a device or a FIFO; a device that nobody could make is a file with a deed.
pub(crate) fn mknodat(
    dir: impl AsFd,
    name: impl Arg + Copy,
    kind: FileType,
    mode: Mode,
    (major, minor): (u32, u32),
) -> Result<(), Errno> {
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    if !are_kept() || !is_device {
        return rustix::fs::mknodat(dir, name, kind, mode, rustix::fs::makedev(major, minor));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, mode)?;
    let device = Device { is_block: kind == FileType::BlockDevice, major, minor };
    let deed = Deed { device: Some(device), ..Deed::default() };
    let text = deed.to_text();
    rustix::fs::fsetxattr(file, Deed::ATTRIBUTE, text.as_bytes(), XattrFlags::empty())
}

fn ids((uid, gid): Owner) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

/// Under which name the capabilities of a file are kept.
pub(crate) fn capabilities() -> &'static str {
    if kept() == Deeds::All { Deed::CAPABILITIES } else { Deed::CAPABILITY }
}

/// Says whether an attribute is a deed.
pub(crate) fn is_deed(name: &[u8], value: &[u8]) -> bool {
    name == Deed::CAPABILITY.as_bytes() && Deed::from_capability(value).is_some()
}
