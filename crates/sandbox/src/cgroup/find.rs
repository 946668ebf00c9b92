//! Where the control groups are: of this process and of others, by what `/proc` tells.
//!
//! ```text
//! /proc/self/cgroup      4:memory:/a/b        a hierarchy of version 1
//!                        0::/a/b              the one of version 2
//! /proc/self/mountinfo   … /a /sys/fs/cgroup/memory … - cgroup cgroup rw,memory
//! ```
//!
//! A container may see a part of a hierarchy only: the mount's root, `/a` above, is then where it begins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::path::PathBuf;

use crate::Error;
use crate::cgroup::settings::Controller;

/// The hierarchies that this process sees.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    /// Those of version 1, by controller.
    pub(super) one: BTreeMap<Controller, Hierarchy>,
    /// The one of version 2.
    pub(super) two: Option<Hierarchy>,
    /// What `/proc/self/cgroup` and the mounts say, for [`Hierarchies::directories`].
    own: Vec<Membership>,
    mounts: Vec<Mounted>,
}

/// A hierarchy, as far as it is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) mount: PathBuf,
    /// The directory of this process's own group.
    pub(super) own: PathBuf,
}

/// A line of `/proc/…/cgroup`: a hierarchy by its controllers, none for version 2, and the group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Membership {
    controllers: String,
    path: PathBuf,
}

/// A mount of control groups.
#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    /// As in [`Membership`].
    controllers: Option<Vec<String>>,
    root: PathBuf,
    point: PathBuf,
}

impl Hierarchies {
    pub(super) fn of_this_process() -> Result<Self, Error> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|source| Error::HostFile { path: path.into(), source })
        };
        Ok(Self::parse(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?))
    }

    fn parse(own: &str, mounts: &str) -> Self {
        let own = memberships(own);
        let mounts: Vec<Mounted> = mounts.lines().filter_map(mounted).collect();
        let mut found = Self::default();
        for controller in Controller::ALL {
            let is_it =
                |it: &&Membership| it.controllers.split(',').any(|it| it == controller.name());
            let hierarchy = own.iter().find(is_it).and_then(|it| it.hierarchy(&mounts));
            found.one.extend(hierarchy.map(|it| (controller, it)));
        }
        let two = own.iter().find(|it| it.controllers.is_empty());
        found.two = two.and_then(|it| it.hierarchy(&mounts));
        Self { own, mounts, ..found }
    }

    /// The directories of these groups, without those that this process is in itself.
    pub(super) fn directories(&self, theirs: &[Membership]) -> Vec<PathBuf> {
        let other = theirs.iter().filter(|it| !self.own.contains(it));
        other.filter_map(|it| it.directory(it.mount_among(&self.mounts)?)).collect()
    }
}

impl Membership {
    fn mount_among<'a>(&self, mounts: &'a [Mounted]) -> Option<&'a Mounted> {
        mounts.iter().find(|mount| match &mount.controllers {
            None => self.controllers.is_empty(),
            Some(options) => {
                !self.controllers.is_empty()
                    && self
                        .controllers
                        .split(',')
                        .all(|it| options.iter().any(|option| option == it))
            }
        })
    }

    fn hierarchy(&self, mounts: &[Mounted]) -> Option<Hierarchy> {
        let mount = self.mount_among(mounts)?;
        // Outside of what is mounted, the top of that is nearest.
        let own = self.directory(mount).unwrap_or_else(|| mount.point.clone());
        Some(Hierarchy { mount: mount.point.clone(), own })
    }

    fn directory(&self, mount: &Mounted) -> Option<PathBuf> {
        let inside = self.path.strip_prefix(&mount.root).ok()?;
        // `/../x` is a group above the namespace's top.
        let plain = |path: &Path| path.components().all(|it| it != std::path::Component::ParentDir);
        plain(inside).then(|| match inside.as_os_str().is_empty() {
            true => mount.point.clone(),
            false => mount.point.join(inside),
        })
    }
}

/// The groups of the process behind a pidfd; `None` if it has ended.
pub(super) fn of_process(process: BorrowedFd<'_>) -> io::Result<Option<Vec<Membership>>> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let pid: i32 = pid.and_then(|pid| pid.trim().parse().ok()).unwrap_or(-1);
    // -1 is a process that is gone.
    if pid <= 0 {
        return Ok(None);
    }
    match fs::read_to_string(format!("/proc/{pid}/cgroup")) {
        Ok(text) => Ok(Some(memberships(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn memberships(text: &str) -> Vec<Membership> {
    let parse = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Membership { controllers: controllers.to_owned(), path: path.into() })
    };
    text.lines().filter_map(parse).collect()
}

/// Reads a line of `mountinfo` (proc_pid_mountinfo(5)); `None` if it is about something else.
fn mounted(line: &str) -> Option<Mounted> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(3);
    let (root, point) = (unescape(front.next()?), unescape(front.next()?));
    let mut back = back.split(' ');
    let controllers = match back.next()? {
        "cgroup2" => None,
        "cgroup" => Some(back.nth(1)?.split(',').map(str::to_owned).collect()),
        _ => return None,
    };
    Some(Mounted { controllers, root, point })
}

/// Blanks and backslashes are written as `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let octal = rest.get(1..4).and_then(|digits| str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn both_versions_side_by_side() {
        let own = "4:memory:/a/b\n1:cpu,cpuacct:/\n9:name=systemd:/\n0::/c\n";
        let found = Hierarchies::parse(own, HYBRID);
        let one: Vec<_> =
            found.one.iter().map(|(it, one)| (*it, one.mount.to_str().unwrap())).collect();
        assert_eq!(
            one,
            [
                (Controller::Cpu, "/sys/fs/cgroup/cpu,cpuacct"),
                (Controller::Memory, "/sys/fs/cgroup/memory")
            ]
        );
        assert_eq!(found.one[&Controller::Memory].own, Path::new("/sys/fs/cgroup/memory/a/b"));
        let two = found.two.as_ref().unwrap();
        assert_eq!(two.own, Path::new("/sys/fs/cgroup/unified/c"));
        // Another process's: only what differs.
        let theirs = memberships("4:memory:/kiln/x\n1:cpu,cpuacct:/\n0::/c\n");
        assert_eq!(found.directories(&theirs), [Path::new("/sys/fs/cgroup/memory/kiln/x")]);
    }

    #[test]
    fn a_part_of_version_2() {
        let mounts = "41 31 0:38 /docker/1 /sys/fs/cg\\040roup rw - cgroup2 cgroup rw,nsdelegate\n";
        let own = |path: &str| {
            let found = Hierarchies::parse(&format!("0::{path}\n"), mounts);
            assert!(found.one.is_empty());
            found.two.unwrap().own
        };
        assert_eq!(own("/docker/1"), Path::new("/sys/fs/cg roup"));
        assert_eq!(own("/docker/1/sub"), Path::new("/sys/fs/cg roup/sub"));
        assert_eq!(own("/elsewhere"), Path::new("/sys/fs/cg roup"));
        assert_eq!(own("/docker/1/../../x"), Path::new("/sys/fs/cg roup"));
    }

    #[test]
    fn none_at_all() {
        assert_eq!(Hierarchies::parse("", "").two, None);
        assert_eq!(Hierarchies::parse("0::/\n", "1 2 0:1 / / rw - ext4 /dev/vda rw\n").two, None);
    }

    #[test]
    fn of_a_process() {
        let me = rustix::process::getpid();
        let flags = rustix::process::PidfdFlags::empty();
        let process = rustix::process::pidfd_open(me, flags).unwrap();
        let own = memberships(&fs::read_to_string("/proc/self/cgroup").unwrap());
        let found = of_process(std::os::fd::AsFd::as_fd(&process)).unwrap();
        assert_eq!(found, Some(own));
    }
}
