//! `/dev`: a tmpfs with the nodes that every program counts on, shared memory, message queues and
//! terminals.
//!
//! Further devices of the host are in `lent`.
//!
//! The nodes are mounts of the host's, because everything else in the sandbox is mounted so that
//! device nodes do not work, and because a user namespace cannot make any.

mod lent;

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::mount::OpenTreeFlags;
use rustix::pty::OpenptFlags;

use crate::Error;
use crate::rootfs;
use crate::rootfs::attach;
use crate::rootfs::new_mount;
use crate::sys::Depth;
use crate::target::Root;
use crate::wire::Job;

pub(crate) use lent::lend_all;

/// The nodes: name, major and minor number, as in Linux's `devices.txt`. The numbers are checked, so
/// that a host with an odd `/dev` does not lend something else.
pub(crate) const NODES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

pub(crate) const LINKS: &[(&str, &str)] = &[
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Group `tty` of every distribution: who may write to a terminal.
const TTY_GROUP: &str = "5";

/// The `/dev` of a sandbox.
pub(crate) struct Device {
    mount: OwnedFd,
    terminals: OwnedFd,
}

impl Device {
    /// Makes it and attaches it in the root.
    pub(crate) fn build(job: &Job, places: &mut Root<'_>) -> Result<Self, Error> {
        let place = places.own_directory("dev")?;
        let no_suid = MountAttrFlags::MOUNT_ATTR_NOSUID;
        let attributes = no_suid | MountAttrFlags::MOUNT_ATTR_STRICTATIME | rootfs::no_devices(job);
        let options = [("mode", "755"), ("size", "64m")];
        let mount =
            new_mount("tmpfs", &options, attributes).map_err(Error::setup("mount `/dev`"))?;
        fill(&mount, job.terminal).map_err(Error::setup("fill `/dev`"))?;
        attach(&mount, &place, "").map_err(Error::setup("attach `/dev`"))?;

        for node in NODES {
            lend(&mount, *node)?;
        }
        let terminals = terminals().map_err(Error::setup("mount `/dev/pts`"))?;
        attach(&terminals, &mount, "pts").map_err(Error::setup("attach `/dev/pts`"))?;

        let plain = no_suid | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let size = job.shm_size.to_string();
        new_mount("tmpfs", &[("mode", "1777"), ("size", &size)], plain)
            .and_then(|shm| attach(shm, &mount, "shm"))
            .map_err(Error::setup("mount `/dev/shm`"))?;
        match new_mount("mqueue", &[], plain) {
            Ok(queues) => attach(queues, &mount, "mqueue"),
            // A kernel without message queues.
            Err(Errno::NODEV) => Ok(()),
            Err(errno) => Err(errno),
        }
        .map_err(Error::setup("mount `/dev/mqueue`"))?;
        Ok(Self { mount, terminals })
    }

    /// One more mount of `/dev/null`, to hide a file with.
    pub(crate) fn null_mount(&self) -> Result<OwnedFd, Errno> {
        rootfs::part_of(&self.mount, "null", Depth::One)
    }

    /// `/dev/null`, open.
    pub(crate) fn open_null(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::openat(&self.mount, "null", flags, Mode::empty())
            .map_err(Error::setup("open `/dev/null`"))
    }

    /// A new terminal, the user's, which is `/dev/console`: the caller's end and the sandbox's.
    ///
    /// Only descriptors are used from here on: a name in `/dev/pts` may be anything by the time it is
    /// looked up (CVE-2025-52565).
    pub(crate) fn open_terminal(&self, uid: u32) -> Result<(OwnedFd, OwnedFd), Error> {
        self.terminal(uid).map_err(Error::setup("open a terminal"))
    }

    fn terminal(&self, uid: u32) -> Result<(OwnedFd, OwnedFd), Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let ours = rustix::fs::openat(&self.terminals, "ptmx", flags, Mode::empty())?;
        rustix::pty::unlockpt(&ours)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
        rustix::fs::fchown(&theirs, Some(Uid::from_raw(uid)), None)?;
        attach(rootfs::part_of(&theirs, "", Depth::One)?, &self.mount, "console")?;
        Ok((ours, theirs))
    }
}

/// Directories, links, and files to mount nodes on.
fn fill(mount: &OwnedFd, console: bool) -> Result<(), Errno> {
    for name in ["pts", "shm", "mqueue"] {
        rustix::fs::mkdirat(mount, name, Mode::from_raw_mode(0o755))?;
    }
    for (name, to) in LINKS {
        rustix::fs::symlinkat(*to, mount, *name)?;
    }
    let names = NODES.iter().map(|(name, _, _)| *name).chain(console.then_some("console"));
    for name in names {
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(mount, name, FileType::RegularFile, mode, 0)?;
    }
    Ok(())
}

/// Mounts a device node of the host.
fn lend(mount: &OwnedFd, (name, major, minor): (&str, u32, u32)) -> Result<(), Error> {
    let path = format!("/dev/{name}");
    let failed = |source: Errno| Error::Setup {
        action: format!("mount the host's `{path}`"),
        source: source.into(),
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let node = rustix::mount::open_tree(CWD, &path, flags).map_err(failed)?;
    let stat = rustix::fs::fstat(&node).map_err(failed)?;
    let is_it = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && rustix::fs::major(stat.st_rdev) == major
        && rustix::fs::minor(stat.st_rdev) == minor;
    if !is_it {
        return Err(failed(Errno::NODEV));
    }
    attach(node, mount, name).map_err(failed)
}

/// A file system of terminals of its own.
fn terminals() -> Result<OwnedFd, Errno> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", TTY_GROUP)];
    match new_mount("devpts", &options, attributes) {
        // A user namespace with so few ids that the group is not among them.
        Err(Errno::INVAL) => new_mount("devpts", &options[..2], attributes),
        result => result,
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.mount.as_fd()
    }
}
