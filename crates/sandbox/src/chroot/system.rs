//! What a program finds in `/dev`, `/proc` and `/sys` where nothing can be mounted: the devices that every program counts on,
//! and facts about the system that do not change with the process that asks.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::places::Places;
use crate::Error;
use crate::device::LINKS;
use crate::device::NODES;

/// What is told of the host's `/proc`. Nothing of it tells about single processes.
const FACTS: &[&str] = &[
    "cpuinfo",
    "devices",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "version",
    "sys/crypto/fips_enabled",
    "sys/fs/file-max",
    "sys/fs/nr_open",
    "sys/fs/pipe-max-size",
    "sys/kernel/cap_last_cap",
    "sys/kernel/hostname",
    "sys/kernel/ngroups_max",
    "sys/kernel/osrelease",
    "sys/kernel/ostype",
    "sys/kernel/overflowgid",
    "sys/kernel/overflowuid",
    "sys/kernel/pid_max",
    "sys/kernel/random/boot_id",
    "sys/kernel/random/uuid",
    "sys/kernel/threads-max",
    "sys/kernel/version",
    "sys/net/core/somaxconn",
    "sys/net/ipv4/ip_local_port_range",
    "sys/vm/max_map_count",
    "sys/vm/overcommit_memory",
    "sys/vm/swappiness",
];

/// Of devices: anybody may read and write.
const EVERYBODY: Mode = Mode::from_raw_mode(0o666);

/// Where a program looks for itself.
const OWN: &[&str] = &["self", "thread-self"];

/// What `/proc/mounts` says: there is one file system.
const MOUNTS: &[u8] = b"none / none rw,relatime 0 0\n";

/// What becomes of opening the devices of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Devices {
    /// They are device nodes.
    Nodes,
    /// They stand for the outer ones: see [`open_lent`].
    Lent,
}

/// Puts the three directories into their places.
pub(super) fn fill(places: &mut Places<'_>) -> Result<Devices, Error> {
    let failed = "make `/dev`";
    let (name, directory) = places.workshop(0o755).map_err(Error::setup(failed))?;
    let devices = devices(directory.as_fd()).map_err(Error::setup(failed))?;
    places.put_own("dev", &name)?;

    let failed = "make `/proc`";
    let (name, directory) = places.workshop(0o555).map_err(Error::setup(failed))?;
    facts(directory.as_fd()).map_err(Error::setup(failed))?;
    places.put_own("proc", &name)?;

    let (name, _) = places.workshop(0o555).map_err(Error::setup("make `/sys`"))?;
    places.put_own("sys", &name)?;
    Ok(devices)
}

/// Whether device nodes that a program makes can be opened: no device control group forbids it, as a container's does, and
/// neither does the file system of this directory, which is the root's.
///
/// Asked with the number of `/dev/kmem`, which no kernel has any more: opening it does nothing.
pub(super) fn devices_work(directory: BorrowedFd<'_>) -> bool {
    let probe = || -> Result<bool, Errno> {
        const NAME: &str = "device";
        let number = rustix::fs::makedev(1, 2);
        rustix::fs::mknodat(directory, NAME, FileType::CharacterDevice, Mode::RUSR, number)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::openat(directory, NAME, flags, Mode::empty());
        rustix::fs::unlinkat(directory, NAME, AtFlags::empty())?;
        Ok(!matches!(opened, Err(Errno::PERM | Errno::ACCESS)))
    };
    probe().unwrap_or(true)
}

fn devices(directory: BorrowedFd<'_>) -> io::Result<Devices> {
    for (name, target) in LINKS.iter().filter(|(name, _)| *name != "ptmx") {
        rustix::fs::symlinkat(*target, directory, *name)?;
    }
    rustix::fs::mkdirat(directory, "shm", Mode::from_raw_mode(0o1777))?;
    match nodes(directory) {
        Ok(()) => Ok(Devices::Nodes),
        // In a user namespace none can be made; on some file systems they can be made and not be opened.
        Err(Errno::PERM | Errno::ACCESS) => {
            stand_ins(directory)?;
            Ok(Devices::Lent)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn nodes(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    for (name, major, minor) in NODES {
        let number = rustix::fs::makedev(*major, *minor);
        rustix::fs::mknodat(directory, *name, FileType::CharacterDevice, EVERYBODY, number)?;
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(directory, "null", flags, Mode::empty()).map(drop)
}

/// What has the names of the devices for those who only look, and for the few whose calls are not answered: the device that
/// everybody may make and nobody open, so that the end of a file is not taken for random numbers. `null` is a file: whoever
/// writes to it without being answered wants nothing more.
fn stand_ins(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    for (name, ..) in NODES {
        match rustix::fs::unlinkat(directory, *name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let make = |kind| rustix::fs::mknodat(directory, *name, kind, EVERYBODY, 0);
        match *name {
            "null" => make(FileType::RegularFile),
            // On an overlay it would be a deletion, which nobody may make there; a socket cannot be opened either.
            _ => make(FileType::CharacterDevice).or_else(|_| make(FileType::Socket)),
        }?;
    }
    Ok(())
}

/// The name of a device that can be lent. Terminals cannot: that of the build is none of the program's business.
pub(super) fn lent_device(name: &str) -> Option<&'static str> {
    let known = NODES.iter().map(|(known, ..)| *known).filter(|known| *known != "tty");
    known.into_iter().find(|known| *known == name)
}

/// Opens a device of the host for a program that has none of its own; `None` if the call is better answered by what stands for
/// it.
pub(super) fn open_lent(name: &str, flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
    let none_of = OFlags::PATH | OFlags::DIRECTORY | OFlags::EXCL;
    if flags.intersects(none_of) {
        return None;
    }
    let (_, major, minor) = NODES.iter().find(|(known, ..)| *known == name)?;
    let kept = flags & (OFlags::WRONLY | OFlags::RDWR | OFlags::APPEND | OFlags::NONBLOCK);
    let flags = kept | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(format!("/dev/{name}"), flags, Mode::empty());
    let opened = opened.and_then(|device| {
        let stat = rustix::fs::fstat(&device)?;
        let is_it = stat.st_rdev == rustix::fs::makedev(*major, *minor)
            && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        if is_it { Ok(device) } else { Err(Errno::NXIO) }
    });
    Some(opened)
}

fn facts(directory: BorrowedFd<'_>) -> io::Result<()> {
    for path in FACTS {
        // Not every kernel has all of them.
        let Ok(content) = fs::read(format!("/proc/{path}")) else { continue };
        let mut names: Vec<&str> = path.split('/').collect();
        let Some(file) = names.pop() else { continue };
        let mut here = directory.try_clone_to_owned()?;
        for name in names {
            match rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(0o555)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            here = rustix::fs::openat(&here, name, flags, Mode::empty())?;
        }
        write(here.as_fd(), file, &content)?;
    }
    write(directory, "mounts", MOUNTS)?;
    // So that it is there for who only looks; what is opened in it is answered by `super::own`.
    for name in OWN {
        rustix::fs::mkdirat(directory, *name, Mode::from_raw_mode(0o555))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let own = rustix::fs::openat(directory, *name, flags, Mode::empty())?;
        write(own.as_fd(), "mounts", MOUNTS)?;
    }
    Ok(())
}

fn write(directory: BorrowedFd<'_>, name: &str, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::RUSR)?;
    fs::File::from(file).write_all(content)?;
    rustix::fs::chmodat(directory, name, Mode::from_raw_mode(0o444), AtFlags::empty())?;
    Ok(())
}
