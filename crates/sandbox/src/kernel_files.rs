//! `/proc` and `/sys`: new ones for the sandbox's namespaces, with those parts hidden or read-only
//! that are about the host. The lists are Docker's.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::mount::OpenTreeFlags;

use crate::Error;
use crate::device::Device;
use crate::release;
use crate::rootfs::Workshop;
use crate::rootfs::attach;
use crate::rootfs::new_mount;
use crate::rootfs::part_of;
use crate::rootfs::set_attributes;
use crate::sys;
use crate::sys::Depth;
use crate::target::Root;
use crate::wire::Job;

/// Hidden: they tell about the host's hardware, keys and other processes.
const HIDDEN_IN_PROC: &[&str] = &[
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];

/// Read-only: they change the host.
const READ_ONLY_IN_PROC: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Hidden directories: firmware tables, and power meters that betray what others compute.
const HIDDEN_IN_SYS: &[&str] = &["firmware", "devices/virtual/powercap"];

/// Where the processors are, and what each may have: how often it was too hot, which betrays what others compute, too.
const PROCESSORS: &str = "devices/system/cpu";
const HEAT: &str = "thermal_throttle";

/// A new `/proc` for this process's pid namespace.
pub(crate) fn proc() -> Result<OwnedFd, Error> {
    new_mount("proc", &[], plain()).map_err(Error::setup("mount `/proc`"))
}

/// Sets what is this process's namespaces' own among the kernel's settings.
pub(crate) fn set(proc: &OwnedFd, settings: &[(String, String)]) -> Result<(), Error> {
    for (name, value) in settings {
        write_setting(proc, name, value)
            .map_err(Error::setup(&format!("set `{name}` to `{value}`")))?;
    }
    Ok(())
}

/// How many processes and threads a sandbox has at most, if nothing is said of it: half of what Linux has by default for all
/// together, so that one that multiplies without end leaves enough for others.
const MOST_PROCESSES: &str = "16384";

/// Bounds the numbers of processes, and by that their count, where a namespace of processes has a bound of its own: since
/// Linux 6.14. Elsewhere it would be everybody's.
pub(crate) fn bound_processes(proc: &OwnedFd) {
    if release::is_at_least(6, 14) {
        // A limit of somebody who asked for none is no reason to stop.
        let _ = write_setting(proc, "kernel.pid_max", MOST_PROCESSES);
    }
}

fn write_setting(proc: &OwnedFd, name: &str, value: &str) -> Result<(), Errno> {
    let path = format!("sys/{}", name.replace('.', "/"));
    let (flags, beneath) = (OFlags::WRONLY | OFlags::CLOEXEC, ResolveFlags::BENEATH);
    let file = rustix::fs::openat2(proc, path, flags, Mode::empty(), beneath)?;
    // One write: the kernel takes the value from it as a whole.
    rustix::io::write(file, value.as_bytes()).map(drop)
}

/// A new `/sys` for this process's network namespace, read-only.
///
/// A user namespace may make one only for a network namespace of its own. Else it gets the host's,
/// if there is one.
pub(crate) fn sys(job: &Job) -> Result<Option<OwnedFd>, Error> {
    let attributes = match job.masked {
        true => plain() | MountAttrFlags::MOUNT_ATTR_RDONLY,
        false => plain(),
    };
    let failed = "mount `/sys`";
    let errno = match new_mount("sysfs", &[], attributes) {
        Ok(mount) => return Ok(Some(mount)),
        Err(errno) => errno,
    };
    if errno != Errno::PERM {
        return Err(Error::setup(failed)(errno));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let mount = match rustix::mount::open_tree(CWD, "/sys", flags) {
        Ok(mount) => mount,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::setup(failed)(errno)),
    };
    sys::mount_setattr(&mount, Depth::Recursive, attributes).map_err(Error::setup(failed))?;
    Ok(Some(mount))
}

/// Attaches `/proc` and protects its parts.
pub(crate) fn attach_proc(
    proc: &OwnedFd,
    job: &Job,
    places: &mut Root<'_>,
    device: &Device,
    workshop: &Workshop,
) -> Result<(), Error> {
    let place = places.own_directory("proc")?;
    attach(proc, &place, "").map_err(Error::setup("attach `/proc`"))?;
    if !job.masked {
        return Ok(());
    }
    for path in HIDDEN_IN_PROC {
        hide(proc, path, Some(device), workshop).map_err(Error::setup("hide a part of `/proc`"))?;
    }
    for path in READ_ONLY_IN_PROC {
        make_read_only(proc, path).map_err(Error::setup("protect a part of `/proc`"))?;
    }
    Ok(())
}

/// Attaches `/sys`, with the control groups if the host has them where they belong.
pub(crate) fn attach_sys(
    sys: &OwnedFd,
    job: &Job,
    places: &mut Root<'_>,
    workshop: &Workshop,
) -> Result<(), Error> {
    let place = places.own_directory("sys")?;
    attach(sys, &place, "").map_err(Error::setup("attach `/sys`"))?;
    attach_cgroup(sys, job).map_err(Error::setup("mount `/sys/fs/cgroup`"))?;
    if !job.masked {
        return Ok(());
    }
    for path in HIDDEN_IN_SYS {
        hide(sys, path, None, workshop).map_err(Error::setup("hide a part of `/sys`"))?;
    }
    for path in counters_of_heat(sys).map_err(Error::setup("look for a part of `/sys`"))? {
        hide(sys, &path, None, workshop).map_err(Error::setup("hide a part of `/sys`"))?;
    }
    Ok(())
}

/// Finds the counters of all processors. Where the first one has none, none has.
fn counters_of_heat(sys: &OwnedFd) -> Result<Vec<String>, Errno> {
    if find(sys, &format!("{PROCESSORS}/cpu0/{HEAT}"))?.is_none() {
        return Ok(Vec::new());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let processors = rustix::fs::openat(sys, PROCESSORS, flags, Mode::empty())?;
    let mut paths = Vec::new();
    for entry in Dir::read_from(&processors)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let number = name.strip_prefix("cpu").unwrap_or_default();
        if number.parse::<u32>().is_ok() {
            paths.push(format!("{PROCESSORS}/{name}/{HEAT}"));
        }
    }
    Ok(paths)
}

/// Mounts control groups of version 2, seen from this process's own.
fn attach_cgroup(sys: &OwnedFd, job: &Job) -> Result<(), Errno> {
    /// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
    const CGROUP2: u64 = 0x6367_7270;
    let Ok(host) = rustix::fs::statfs("/sys/fs/cgroup") else {
        return Ok(());
    };
    if u64::try_from(host.f_type) != Ok(CGROUP2) {
        return Ok(());
    }
    let attributes = match job.masked {
        true => plain() | MountAttrFlags::MOUNT_ATTR_RDONLY,
        false => plain(),
    };
    match new_mount("cgroup2", &[], attributes).and_then(|it| attach(it, sys, "fs/cgroup")) {
        // Not allowed, or no directory to mount it on, in some containers: nothing depends on it.
        Err(Errno::PERM | Errno::NOENT | Errno::BUSY) => Ok(()),
        result => result,
    }
}

/// Hides a directory behind an empty one, a file behind `/dev/null`; what is not there needs no
/// hiding.
fn hide(
    mount: &OwnedFd,
    path: &str,
    device: Option<&Device>,
    workshop: &Workshop,
) -> Result<(), Errno> {
    let Some(place) = find(mount, path)? else {
        return Ok(());
    };
    let stat = rustix::fs::fstat(&place)?;
    let cover = match (FileType::from_raw_mode(stat.st_mode), device) {
        (FileType::Directory, _) => workshop.empty_directory()?,
        (_, Some(device)) => device.null_mount()?,
        (_, None) => return Err(Errno::NOTDIR),
    };
    attach(cover, &place, "")
}

fn make_read_only(mount: &OwnedFd, path: &str) -> Result<(), Errno> {
    let Some(place) = find(mount, path)? else {
        return Ok(());
    };
    let cover = part_of(&place, "", Depth::One)?;
    set_attributes(&cover, plain() | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    attach(cover, &place, "")
}

/// Opens a place in a mount that is known to be ours.
fn find(mount: &OwnedFd, path: &str) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(mount.as_fd(), path, flags, Mode::empty()) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn plain() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This machine may well have none.
    #[test]
    fn counters_of_all_processors_are_found() {
        let sys = std::env::temp_dir().join(format!("kiln-heat-{}", std::process::id()));
        let found = || {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let mut paths =
                counters_of_heat(&rustix::fs::open(&sys, flags, Mode::empty()).unwrap()).unwrap();
            paths.sort();
            paths
        };
        let processors = sys.join(PROCESSORS);
        for name in ["cpu1", "cpu0", "cpufreq", "power"] {
            std::fs::create_dir_all(processors.join(name)).unwrap();
        }
        assert!(found().is_empty());
        for name in ["cpu0", "cpu1", "cpu12"] {
            std::fs::create_dir_all(processors.join(name).join(HEAT)).unwrap();
        }
        let expected = [0, 1, 12].map(|it| format!("{PROCESSORS}/cpu{it}/{HEAT}"));
        assert_eq!(found(), expected);
        std::fs::remove_dir_all(&sys).unwrap();
    }
}
