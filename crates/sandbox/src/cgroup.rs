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
use crate::cgroup::find::Hierarchy;
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
    /// How many processes and threads. What is not said is bounded, where the kernel can do that without a control group.
    pub processes: Option<Amount>,
    /// The control group that it is all in a part of: a path below where the hierarchies are mounted, without `..`. It is made
    /// if it is not there. Without it, kiln finds one.
    pub parent: Option<PathBuf>,
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
    /// What was made above them, the top first.
    above: Vec<PathBuf>,
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
    /// Makes the groups that the limits need, or that are to be in a certain one; `None` if none are.
    pub(crate) fn make(resources: &Resources) -> Result<Option<Groups>, Error> {
        let controllers = settings::controllers(resources);
        if controllers.is_empty() && resources.parent.is_none() {
            return Ok(None);
        }
        settings::check_cpus(resources)?;
        settings::check_cpuset(resources)?;
        let hierarchies = Hierarchies::of_this_process()?;
        let mut groups = Groups { directories: Vec::new(), doors: Vec::new(), above: Vec::new() };
        let mut of_two = Vec::new();
        for controller in Controller::ALL {
            let is_needed = controllers.contains(&controller);
            match hierarchies.one.get(&controller) {
                // Whoever names a group means it wherever there is one.
                Some(one) if is_needed || resources.parent.is_some() => {
                    groups.make_in_one(controller, one, resources)?;
                }
                None if is_needed => of_two.push(controller),
                _ => {}
            }
        }
        if !of_two.is_empty() || hierarchies.one.is_empty() {
            groups.make_in_two(&of_two, &hierarchies, resources)?;
        }
        groups.open_doors()?;
        Ok(Some(groups))
    }

    /// Makes a group in a hierarchy of version 1, which has its own for each controller. It is in a group
    /// of kiln's at the top, as Docker's are in one of Docker's; an ordinary user's is in the group that kiln is in, if that
    /// was handed over.
    fn make_in_one(
        &mut self,
        controller: Controller,
        one: &Hierarchy,
        resources: &Resources,
    ) -> Result<(), Error> {
        let all = match &resources.parent {
            Some(parent) => one.mount.join(parent),
            None => one.mount.join("kiln"),
        };
        if resources.parent.is_some() {
            self.make_above(&one.mount, &all)
                .map_err(|source| refused_in_one(controller, one, &all, source))?;
        }
        let (all, path) = match make_group(&all) {
            Err(error) if is_forbidden(&error) && resources.parent.is_none() => {
                let made = make_group(&one.own).map(|path| (one.own.clone(), path));
                made.map_err(|_| refused_in_one(controller, one, &all, error))?
            }
            made => {
                let path = made.map_err(|source| refused_in_one(controller, one, &all, source))?;
                (all, path)
            }
        };
        self.directories.push(Directory { path: path.clone(), version: Version::One });
        if controller == Controller::Cpuset {
            let above = all.ancestors().take_while(|it| *it != one.mount);
            let mut down: Vec<&Path> = above.collect();
            down.reverse();
            down.push(&path);
            for directory in down {
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
        if let Some(parent) = &resources.parent {
            let parent = two.mount.join(parent);
            let made = self
                .make_above(&two.mount, &parent)
                .and_then(|()| enable_down_to(&two.mount, &parent, controllers))
                .and_then(|()| make_below(&parent, controllers));
            let path = made.map_err(|source| {
                let reason = format!("no control group can be made in `{}`", parent.display());
                first.refused(reason, Some(source))
            })?;
            return self.take_in_two(path, controllers, resources);
        }
        let mut problem = None;
        for parent in two.own.ancestors().take_while(|parent| parent.starts_with(&two.mount)) {
            match make_below(parent, controllers) {
                Ok(path) => return self.take_in_two(path, controllers, resources),
                // The first one is about the own group, which is where one would look, unless that is only busy.
                Err(error) if problem.as_ref().is_none_or(is_busy) => problem = Some(error),
                Err(_) => {}
            }
        }
        let reason = format!(
            "no control group can be made in or above `{}`, where this process is; it needs one that is handed over to \
             it and has processes in parts of it only, as by: systemd-run --user --scope -p Delegate=yes kiln …",
            two.own.display()
        );
        Err(first.refused(reason, problem))
    }

    /// Writes the limits of a new group of version 2.
    fn take_in_two(
        &mut self,
        path: PathBuf,
        controllers: &[Controller],
        resources: &Resources,
    ) -> Result<(), Error> {
        self.directories.push(Directory { path: path.clone(), version: Version::Two });
        for setting in settings::of_version_2(resources) {
            if controllers.contains(&setting.controller) {
                write_setting(&path, &setting)?;
            }
        }
        Ok(())
    }

    /// Makes the directories from `top`, which is there, down to `path`.
    fn make_above(&mut self, top: &Path, path: &Path) -> io::Result<()> {
        let missing = path.ancestors().take_while(|it| *it != top && !it.exists());
        let mut missing: Vec<&Path> = missing.collect();
        missing.reverse();
        for directory in missing {
            make_directory(directory)?;
            self.above.push(directory.to_owned());
        }
        Ok(())
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
                if all.file_name() == Some("kiln".as_ref()) {
                    let _ = fs::remove_dir(all);
                }
            }
        }
        for directory in self.above.iter().rev() {
            // The same.
            let _ = fs::remove_dir(directory);
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

/// Makes a group of version 1 in another one, which may have to be made before.
fn make_group(all: &Path) -> io::Result<PathBuf> {
    let path = all.join(own_name());
    retry_once(|| {
        make_directory(all)?;
        remove_left_over(all);
        make_directory(&path)
    })?;
    Ok(path)
}

fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn refused_in_one(controller: Controller, one: &Hierarchy, all: &Path, source: io::Error) -> Error {
    let reason = match is_forbidden(&source) {
        true => format!(
            "this user may change the control groups neither below `{}` nor in `{}`, where this process is; those of version 1 are root's, \
             who may hand one over (chown)",
            all.parent().unwrap_or(all).display(),
            one.own.display()
        ),
        false => format!("no control group can be made in `{}`", all.display()),
    };
    controller.refused(reason, Some(source))
}

/// Lets the groups from `top` to the one above `parent` pass the controllers on.
fn enable_down_to(top: &Path, parent: &Path, controllers: &[Controller]) -> io::Result<()> {
    let above = parent.ancestors().skip(1).take_while(|it| it.starts_with(top));
    let mut down: Vec<&Path> = above.collect();
    down.reverse();
    down.into_iter().try_for_each(|group| enable(group, controllers))
}

/// Makes a group of version 2 with these controllers.
///
/// One with processes in it cannot hand controllers on, but for the top one; where it seems to be able to, nothing can enter
/// what is made in it (the kernel's `cgroup-v2.rst`, "No Internal Process Constraint" and "Threads").
fn make_below(parent: &Path, controllers: &[Controller]) -> io::Result<PathBuf> {
    let is_top = !parent.join("cgroup.type").exists();
    if !is_top && !fs::read_to_string(parent.join("cgroup.procs"))?.trim().is_empty() {
        return Err(rustix::io::Errno::BUSY.into());
    }
    enable(parent, controllers)?;
    remove_left_over(parent);
    let path = parent.join(own_name());
    make_directory(&path)?;
    Ok(path)
}

/// Lets a group of version 2 pass these controllers on to those in it.
fn enable(group: &Path, controllers: &[Controller]) -> io::Result<()> {
    let file = group.join("cgroup.subtree_control");
    let there = fs::read_to_string(&file)?;
    let missing: Vec<String> = controllers
        .iter()
        .filter(|it| !there.split_whitespace().any(|name| name == it.name()))
        .map(|it| format!("+{}", it.name()))
        .collect();
    if !missing.is_empty() {
        write(&file, &missing.join(" "))?;
    }
    Ok(())
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
