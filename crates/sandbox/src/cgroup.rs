//! Limits of all processes of a sandbox together: control groups, of whichever version the machine has.
//!
//! The supervisor makes the groups and writes the limits, the first process enters them before it does
//! anything else, and the supervisor removes them when all is dead. Nothing is made if nothing is limited.
//! Where the groups are is found in `find`; what is written into which file is in `settings`.

mod find;
mod settings;

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::UnshareFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::Error;
use crate::cgroup::find::Hierarchies;
use crate::cgroup::settings::Controller;
use crate::cgroup::settings::Setting;
use crate::sys;

/// What all processes of a sandbox together may use. What is not given is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Memory and swap in bytes; only together with `memory`.
    pub memory_and_swap: Option<Amount>,
    /// Memory in bytes that is taken away last.
    pub memory_reserved: Option<u64>,
    /// Microseconds of processor time in each period, and the period in microseconds.
    pub cpu_time: Option<(u64, u64)>,
    /// Weight against others where processors are scarce; 1024 is the usual one, 2 the least.
    pub cpu_shares: Option<u64>,
    /// Which processors, as a list of ranges.
    pub cpus: Option<String>,
    /// Which memory nodes, as a list of ranges.
    pub memory_nodes: Option<String>,
    /// How many processes and threads.
    pub processes: Option<u64>,
}

/// A limit that can be said to be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amount {
    /// As much as there is.
    Unlimited,
    /// This much and no more.
    Limited(u64),
}

/// The control groups of one sandbox. Dropping it removes them, which needs that no process is in them.
#[derive(Debug)]
pub(crate) struct Groups {
    directories: Vec<Directory>,
    /// Their `cgroup.procs`.
    doors: Vec<File>,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Groups {
    /// Makes the groups that the limits need; `None` if there are no limits.
    pub(crate) fn make(resources: &Resources) -> Result<Option<Groups>, Error> {
        let controllers = settings::controllers(resources);
        if controllers.is_empty() {
            return Ok(None);
        }
        settings::check_cpus(resources)?;
        let hierarchies = Hierarchies::of_this_process()?;
        let mut groups = Groups { directories: Vec::new(), doors: Vec::new() };
        let mut of_two = Vec::new();
        for controller in controllers {
            match hierarchies.one.get(&controller) {
                Some(mount) => groups.make_in_one(controller, mount, resources)?,
                None => of_two.push(controller),
            }
        }
        if !of_two.is_empty() {
            groups.make_in_two(&of_two, &hierarchies, resources)?;
        }
        groups.open_doors()?;
        Ok(Some(groups))
    }

    /// Makes a group in a hierarchy of version 1, which has its own for each controller. It is in a group
    /// of kiln's at the top, as Docker's are in one of Docker's.
    fn make_in_one(
        &mut self,
        controller: Controller,
        mount: &Path,
        resources: &Resources,
    ) -> Result<(), Error> {
        let all = mount.join("kiln");
        let path = all.join(own_name());
        let made = retry_once(|| {
            make_directory(&all)?;
            remove_left_over(&all);
            make_directory(&path)
        });
        made.map_err(|source| {
            let reason = match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => format!(
                    "the control groups below `{}` cannot be changed by this user (version 1 is for root alone)",
                    mount.display()
                ),
                _ => format!("the control group `{}` cannot be made", path.display()),
            };
            controller.refused(reason, Some(source))
        })?;
        self.directories.push(Directory { path: path.clone(), version: Version::One });
        if controller == Controller::Cpuset {
            for directory in [&all, &path] {
                inherit_cpuset(directory).map_err(cannot_write(
                    controller,
                    directory,
                    "cpuset.cpus",
                ))?;
            }
        }
        for setting in settings::of_version_1(resources) {
            if setting.controller == controller {
                write_setting(&path, &setting)?;
            }
        }
        Ok(())
    }

    /// Makes a group in the hierarchy of version 2: below this process's own, or as near to that as can be,
    /// so that limits of the groups above hold for it, too.
    fn make_in_two(
        &mut self,
        controllers: &[Controller],
        hierarchies: &Hierarchies,
        resources: &Resources,
    ) -> Result<(), Error> {
        let first = controllers.first().copied().unwrap_or(Controller::Memory);
        let Some(two) = &hierarchies.two else {
            let reason = "this machine has no control groups mounted below `/sys/fs/cgroup`";
            return Err(first.refused(reason.to_owned(), None));
        };
        let offered = fs::read_to_string(two.mount.join("cgroup.controllers")).unwrap_or_default();
        let offers = |it: &Controller| offered.split_whitespace().any(|name| name == it.name());
        if let Some(missing) = controllers.iter().find(|controller| !offers(controller)) {
            let reason =
                format!("no control group of this machine has the controller `{}`", missing.name());
            return Err(missing.refused(reason, None));
        }
        let mut problem = None;
        for parent in two.own.ancestors().take_while(|parent| parent.starts_with(&two.mount)) {
            match make_below(parent, controllers) {
                Ok(path) => {
                    self.directories.push(Directory { path: path.clone(), version: Version::Two });
                    for setting in settings::of_version_2(resources) {
                        if controllers.contains(&setting.controller) {
                            write_setting(&path, &setting)?;
                        }
                    }
                    return Ok(());
                }
                // The first one is about the own group, which is where one would look.
                Err(error) => drop(problem.get_or_insert(error)),
            }
        }
        let reason = format!(
            "no control group can be made in or above `{}`, where this process is; it needs one that is handed over to \
             it, as by: systemd-run --user --scope -p Delegate=yes kiln …",
            two.own.display()
        );
        Err(first.refused(reason, problem))
    }

    fn open_doors(&mut self) -> Result<(), Error> {
        for directory in &self.directories {
            let path = directory.path.join("cgroup.procs");
            let door = OpenOptions::new().write(true).open(&path);
            self.doors.push(door.map_err(Error::setup("open a control group"))?);
        }
        Ok(())
    }

    /// Moves this process into the groups, which from then on look to it like the whole tree.
    pub(crate) fn enter(&self) -> Result<(), Error> {
        let doors: Vec<BorrowedFd<'_>> = self.doors.iter().map(AsFd::as_fd).collect();
        enter(&doors)?;
        match sys::unshare(UnshareFlags::NEWCGROUP) {
            // A kernel without such namespaces.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            result => result.map_err(Error::setup("make a namespace of control groups")),
        }
    }

    /// Whether the kernel has killed any process in them for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.directories.iter().any(|directory| {
            let file = match directory.version {
                Version::One => "memory.oom_control",
                Version::Two => "memory.events",
            };
            let text = fs::read_to_string(directory.path.join(file)).unwrap_or_default();
            let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            kills.is_some_and(|count| count.trim() != "0")
        })
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.doors.clear();
        for directory in &self.directories {
            remove(&directory.path);
            if let (Version::One, Some(all)) = (directory.version, directory.path.parent()) {
                // Fails while other sandboxes have groups there.
                let _ = fs::remove_dir(all);
            }
        }
    }
}

/// Opens the doors of the groups that another process is in and this one is not.
///
/// To be called while this process still sees the groups of the host.
pub(crate) fn doors_of(process: BorrowedFd<'_>) -> Result<Vec<File>, Error> {
    let failed = "find the control groups of the container";
    let Some(theirs) = find::of_process(process).map_err(Error::setup(failed))? else {
        return Ok(Vec::new());
    };
    let hierarchies = Hierarchies::of_this_process()?;
    let mut doors = Vec::new();
    for directory in hierarchies.directories(&theirs) {
        let path = directory.join("cgroup.procs");
        let door = OpenOptions::new().write(true).open(path);
        doors.push(door.map_err(Error::setup("open a control group of the container"))?);
    }
    Ok(doors)
}

/// Moves this process into groups.
pub(crate) fn enter(doors: &[BorrowedFd<'_>]) -> Result<(), Error> {
    for door in doors {
        // Whoever writes it.
        rustix::io::write(door, b"0").map_err(Error::setup("enter a control group"))?;
    }
    Ok(())
}

/// Makes a group of version 2 with these controllers.
fn make_below(parent: &Path, controllers: &[Controller]) -> io::Result<PathBuf> {
    let file = parent.join("cgroup.subtree_control");
    let there = fs::read_to_string(&file)?;
    let missing: Vec<String> = controllers
        .iter()
        .filter(|it| !there.split_whitespace().any(|name| name == it.name()))
        .map(|it| format!("+{}", it.name()))
        .collect();
    if !missing.is_empty() {
        write(&file, &missing.join(" "))?;
    }
    remove_left_over(parent);
    let path = parent.join(own_name());
    make_directory(&path)?;
    Ok(path)
}

/// What the names of groups begin with; the supervisor's pid follows.
const PREFIX: &str = "kiln-";

/// A name that no other living supervisor has.
fn own_name() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// Removes the groups of supervisors that were killed.
fn remove_left_over(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // It fails if processes are in it still: then the next one tries again.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Makes a directory; one with its name is left over from a supervisor that was killed, or kiln's own one.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// The group above may be removed by another sandbox's end just when it was found.
fn retry_once(make: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(),
        result => result,
    }
}

/// A new group of version 1 has no processors and no memory, and nobody can enter it.
fn inherit_cpuset(directory: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        if !fs::read_to_string(&own)?.trim().is_empty() {
            continue;
        }
        if let Some(above) = directory.parent() {
            write(&own, fs::read_to_string(above.join(file))?.trim())?;
        }
    }
    Ok(())
}

fn write_setting(group: &Path, setting: &Setting) -> Result<(), Error> {
    match write(&group.join(setting.file), &setting.value) {
        // A kernel that does not count swap.
        Err(error) if setting.optional && error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(cannot_write(setting.controller, group, setting.file)),
    }
}

fn cannot_write<'a>(
    controller: Controller,
    group: &'a Path,
    file: &'a str,
) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| {
        let reason = format!("`{}` takes no such value", group.join(file).display());
        controller.refused(reason, Some(source))
    }
}

/// One write, which is how the kernel takes a value; and no file is made.
fn write(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

/// The kernel is done with the dead a moment after they are waited for.
fn remove(path: &Path) {
    for _ in 0..100 {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(2));
            }
            // Nothing can be done about any other error; an empty group costs nobody anything.
            _ => return,
        }
    }
}
