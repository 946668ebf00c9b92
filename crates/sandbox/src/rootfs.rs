//! The sandbox's view of the file system: the root with everything mounted in it, and the switch to
//! it.
//!
//! All mounts are made detached and then moved to their place, which is a descriptor; no path inside
//! the root is ever given to the kernel as a path from outside.

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;
use rustix::mount::FsMountFlags;
use rustix::mount::FsOpenFlags;
use rustix::mount::MountAttrFlags;
use rustix::mount::MoveMountFlags;
use rustix::mount::OpenTreeFlags;
use rustix::mount::UnmountFlags;

use crate::Error;
use crate::device;
use crate::device::Device;
use crate::emulation;
use crate::kernel_files;
use crate::sys;
use crate::sys::Depth;
use crate::target;
use crate::target::Kind;
use crate::target::Place;
use crate::target::Root;
use crate::target::Stub;
use crate::wire::Job;
use crate::wire::Luggage;
use crate::wire::MountJob;
use crate::wire::SourceJob;

/// A root that is ready to be switched to.
pub(crate) struct RootFs<'a> {
    root: BorrowedFd<'a>,
    /// The same with all its mounts, but that it cannot be written to.
    read_only: Option<OwnedFd>,
    pub(crate) device: Device,
}

/// A small tmpfs among the host's mounts, where files and directories come from that are not in the
/// root and not the host's. It disappears from view with the host's mounts.
///
/// It is attached because mounts can be made of parts of an attached mount only, before Linux 6.15.
pub(crate) struct Workshop {
    mount: OwnedFd,
    made: usize,
}

/// Mounts everything; what had to be made in the root for it is added to `stubs`, also on failure.
pub(crate) fn build<'a>(
    job: &Job,
    luggage: &'a Luggage,
    stubs: &mut Vec<Stub>,
) -> Result<RootFs<'a>, Error> {
    let failed = "attach the root file system";
    // Nothing that is mounted from here on shows up in another namespace.
    let host = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::setup(failed))?;
    sys::mount_setattr(&host, Depth::Recursive, MountAttrFlags::empty())
        .map_err(Error::setup("make mounts private"))?;

    let root = luggage.at(job.root).map_err(Error::setup(failed))?;
    sys::mount_setattr(root, Depth::One, no_devices(job)).map_err(Error::setup(failed))?;
    attach(root, CWD, "/").map_err(Error::setup(failed))?;
    let mut places = Root::new(root, stubs).map_err(Error::setup(failed))?;

    let proc = kernel_files::proc()?;
    kernel_files::set(&proc, &job.settings)?;
    if job.resources.processes.is_none() {
        kernel_files::bound_processes(&proc);
    }
    let sys = kernel_files::sys(job)?;
    let mut workshop = Workshop::open()?;
    let device = Device::build(job, &mut places)?;
    kernel_files::attach_proc(&proc, job, &mut places, &device, &workshop)?;
    if let Some(sys) = sys {
        kernel_files::attach_sys(&sys, job, &mut places, &workshop)?;
    }

    let mut contents = luggage.contents.as_slice();
    for mount in &job.mounts {
        let content = match mount.source {
            SourceJob::File { length, .. } => {
                let length = usize::try_from(length).unwrap_or(usize::MAX).min(contents.len());
                let (content, rest) = contents.split_at(length);
                contents = rest;
                content
            }
            _ => &[],
        };
        add(mount, content, job, luggage, &mut places, &mut workshop)?;
    }
    device::lend_all(&job.devices, &mut places)?;
    let read_only = job.read_only.then(|| read_only(root)).transpose();
    let read_only = read_only.map_err(Error::setup("make the root file system read-only"))?;
    Ok(RootFs { root, read_only, device })
}

/// One more mount of the root and of all that is mounted in it.
///
/// What was made in the root for mounts is removed through the first one, which therefore stays as it is.
fn read_only(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mount = part_of(root, "", Depth::Recursive)?;
    set_attributes(&mount, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    attach(&mount, CWD, "/")?;
    Ok(mount)
}

impl RootFs<'_> {
    /// Makes the root the root of this process, and lets go of the host's mounts.
    pub(crate) fn switch(&self) -> Result<(), Error> {
        let failed = "switch to the root file system";
        let root = self.read_only.as_ref().map_or(self.root, AsFd::as_fd);
        rustix::process::fchdir(root).map_err(Error::setup(failed))?;
        // The old root goes on top of the new one, from where it can be unmounted without having
        // needed a directory for it (pivot_root(2), "pivot_root(".", ".")").
        rustix::process::pivot_root(".", ".").map_err(Error::setup(failed))?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(Error::setup(failed))?;
        rustix::process::chdir("/").map_err(Error::setup(failed))
    }
}

impl Workshop {
    fn open() -> Result<Self, Error> {
        let failed = "make a place for files";
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let options = [("mode", "0700")];
        let mount = new_mount("tmpfs", &options, attributes).map_err(Error::setup(failed))?;
        // Over a directory which is sure to exist, and is not needed any more.
        attach(&mount, CWD, "/proc").map_err(Error::setup(failed))?;
        rustix::fs::mkdirat(&mount, "empty", Mode::from_raw_mode(0o555))
            .map_err(Error::setup(failed))?;
        Ok(Self { mount, made: 0 })
    }

    /// A mount of an empty directory that nobody can write to.
    pub(crate) fn empty_directory(&self) -> Result<OwnedFd, Errno> {
        let mount = part_of(&self.mount, "empty", Depth::One)?;
        set_attributes(&mount, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        Ok(mount)
    }

    /// A mount of a new file.
    fn file(&mut self, content: &[u8], mode: u32, uid: u32, gid: u32) -> io::Result<OwnedFd> {
        let name = self.next_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.mount, &name, flags, Mode::RUSR)?;
        let mut file = File::from(file);
        file.write_all(content)?;
        emulation::give(&file, uid, gid)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(part_of(&self.mount, &name, Depth::One)?)
    }

    /// A mount of a part of another one, which is attached here for that.
    fn part(&mut self, whole: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
        let name = self.next_name();
        rustix::fs::mkdirat(&self.mount, &name, Mode::RWXU)?;
        attach(whole, &self.mount, &name)?;
        let in_root = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let part = target::resolve(whole, path, OFlags::PATH, in_root)?;
        part_of(&part, "", Depth::Recursive)
    }

    fn next_name(&mut self) -> String {
        self.made += 1;
        self.made.to_string()
    }
}

/// Makes one of the caller's mounts.
fn add(
    mount: &MountJob,
    content: &[u8],
    job: &Job,
    luggage: &Luggage,
    places: &mut Root<'_>,
    workshop: &mut Workshop,
) -> Result<(), Error> {
    let (what, made) = source(&mount.source, content, luggage, workshop);
    let failed = |source: io::Error| Error::Mount {
        kind: what.to_owned(),
        target: mount.target.clone(),
        source,
    };
    let (source, mut attributes) = made.map_err(failed)?;
    attributes |= no_devices(job);
    if mount.read_only {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    sys::mount_setattr(&source, Depth::Recursive, attributes).map_err(failed)?;

    let stat = rustix::fs::fstat(&source).map_err(|errno| failed(errno.into()))?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        _ => Kind::File,
    };
    let place = place_of_mount(places, &mount.target, kind, what)?;
    attach(&source, &place.descriptor, "").map_err(|errno| failed(errno.into()))
}

/// Finds or makes the place where something of the caller's is to be mounted; `what` is a word or two for it.
pub(crate) fn place_of_mount(
    places: &mut Root<'_>,
    target: &str,
    kind: Kind,
    what: &str,
) -> Result<Place, Error> {
    let place = places.place(target, kind).map_err(|errno| Error::Mount {
        kind: what.to_owned(),
        target: target.to_owned(),
        source: errno.into(),
    })?;
    let mut names = place.path.components();
    let first = names.next().map(|name| name.as_os_str().to_owned());
    if first.is_none_or(|first| first == "proc" || first == "sys") {
        return Err(Error::MountTarget { target: target.to_owned() });
    }
    Ok(place)
}

/// What is to be mounted, what to call it, and the attributes that it has in any case.
fn source(
    source: &SourceJob,
    content: &[u8],
    luggage: &Luggage,
    workshop: &mut Workshop,
) -> (&'static str, io::Result<(OwnedFd, MountAttrFlags)>) {
    let none = MountAttrFlags::empty();
    let no_suid = MountAttrFlags::MOUNT_ATTR_NOSUID;
    match source {
        SourceJob::Detached(place) => {
            let mount = luggage.at(*place).and_then(|fd| fd.try_clone_to_owned());
            ("a directory", mount.map(|mount| (mount, none)))
        }
        SourceJob::Within { root, path } => {
            let mount = luggage.at(*root).and_then(|root| Ok(workshop.part(root, path)?));
            ("a part of a directory", mount.map(|mount| (mount, none)))
        }
        SourceJob::Bind(path) | SourceJob::Lent(path) => {
            let mount = rustix::mount::open_tree(CWD, path, tree(Depth::Recursive));
            ("a directory of the host", mount.map(|it| (it, none)).map_err(io::Error::from))
        }
        SourceJob::BindAlone(path) => {
            let mount = rustix::mount::open_tree(CWD, path, tree(Depth::One));
            ("a directory of the host", mount.map(|it| (it, none)).map_err(io::Error::from))
        }
        SourceJob::Tmpfs { size, mode, uid, gid, exec } => {
            let (mode, size) = (format!("{mode:o}"), size.map(|size| size.to_string()));
            let mut options = vec![("mode", mode.as_str())];
            options.extend(size.as_deref().map(|size| ("size", size)));
            let mount = new_mount("tmpfs", &options, none).and_then(|mount| {
                emulation::give(&open_root(&mount)?, *uid, *gid)?;
                Ok(mount)
            });
            let mount = mount.map_err(io::Error::from);
            let no_exec = if *exec { none } else { MountAttrFlags::MOUNT_ATTR_NOEXEC };
            ("tmpfs", mount.map(|mount| (mount, no_suid | no_exec)))
        }
        SourceJob::File { mode, uid, gid, .. } => {
            let mount = workshop.file(content, *mode, *uid, *gid);
            ("a file", mount.map(|mount| (mount, no_suid)))
        }
    }
}

/// The attribute that keeps device nodes from being opened.
///
/// The sandbox may make any node (CAP_MKNOD is among Docker's capabilities), and there is no device
/// control group here that says which may be opened; so none can, but those of `/dev`.
pub(crate) fn no_devices(job: &Job) -> MountAttrFlags {
    match job.device_nodes {
        true => MountAttrFlags::empty(),
        false => MountAttrFlags::MOUNT_ATTR_NODEV,
    }
}

/// The root directory of a mount, open for more than its place.
fn open_root(mount: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(mount, ".", flags, Mode::empty())
}

/// A new file system, attached nowhere.
pub(crate) fn new_mount(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A further mount of something inside an attached mount.
pub(crate) fn part_of(mount: impl AsFd, path: &str, depth: Depth) -> Result<OwnedFd, Errno> {
    let flags = tree(depth) | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rustix::mount::open_tree(mount, path, flags)
}

fn tree(depth: Depth) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match depth {
        Depth::One => flags,
        Depth::Recursive => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// Puts a mount at a name of a directory that is ours, or on the descriptor itself if there is no
/// name.
pub(crate) fn attach(mount: impl AsFd, to: impl AsFd, name: &str) -> Result<(), Errno> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if name.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    rustix::mount::move_mount(mount, "", to, name, flags)
}

/// [`sys::mount_setattr`] for one mount, with the error type of its neighbours.
pub(crate) fn set_attributes(mount: &OwnedFd, attributes: MountAttrFlags) -> Result<(), Errno> {
    sys::mount_setattr(mount, Depth::One, attributes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
