//! Limits of all processes of a sandbox together: control groups, of whichever version the machine has.
//!
//! The supervisor makes the groups and writes the limits, the first process enters them before it does
//! anything else, and the supervisor removes them when all is dead. Nothing is made if nothing is limited.
//! Where the groups are is found in `find`; they are made in `one` and `two`, which is each version's own way, as what
//! `directory` knows of them; what is written into which file is in `settings`. `vacate` makes room for them.

mod directory;
mod find;
mod one;
mod settings;
mod two;
mod vacate;

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::thread::UnshareFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::Error;
use crate::cgroup::directory::make_directory;
use crate::cgroup::directory::remove;
use crate::cgroup::find::Hierarchies;
use crate::cgroup::settings::Controller;
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
