//! Making room in a group of version 2 that was handed over and that kiln was started in: a group with processes in it cannot
//! hand its controllers on, so they go into one below, as long as all of them are kiln's own.
//!
//! ```text
//! scope/   kiln, kiln-sandbox            scope/
//!                                   →      kiln/         kiln, kiln-sandbox
//!                                          kiln-4711/    what is limited
//! ```
//!
//! That group is left behind, empty: the last of them cannot remove what it is in.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::directory::make_directory;
use super::settings::write;

/// The group for kiln's own processes.
const OWN: &str = "kiln";

/// What the names of kiln's processes begin with; those of what it has started need not.
const PREFIX: &str = "kiln";

/// How often processes are looked for that were started meanwhile.
const TURNS: usize = 100;

/// Whether a group is one that was made for kiln's own processes.
pub(super) fn is_kilns_own(group: &Path) -> bool {
    group.file_name() == Some(OWN.as_ref())
}

/// Moves the processes of a group into one below it.
///
/// # Errors
/// `EBUSY` if there are others than kiln's, or there are always more; what the kernel says if the group is not handed over to
/// this user. Nothing has moved then.
pub(super) fn vacate(group: &Path) -> io::Result<()> {
    if !holds_kiln_only(group)? {
        return Err(Errno::BUSY.into());
    }
    let own = group.join(OWN);
    make_directory(&own)?;
    move_all(group, &own).inspect_err(|_| give_back(group))
}

/// Undoes it, as far as that can be.
pub(super) fn give_back(group: &Path) {
    let own = group.join(OWN);
    // Where they are they have what they had.
    let _ = move_all(&own, group);
    let _ = fs::remove_dir(&own);
}

fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    let door = to.join("cgroup.procs");
    for _ in 0..TURNS {
        let there = processes(from)?;
        if there.is_empty() {
            return Ok(());
        }
        for process in there {
            match write(&door, &process.to_string()) {
                // It has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                moved => moved?,
            }
        }
    }
    Err(Errno::BUSY.into())
}

/// Whether all processes of a group are kiln's, or were started by one of those.
fn holds_kiln_only(group: &Path) -> io::Result<bool> {
    Ok(processes(group)?.into_iter().all(is_kilns))
}

fn is_kilns(process: u32) -> bool {
    let mut seen = BTreeSet::new();
    let mut at = process;
    // 0 is one that cannot be seen from here, and the parent of the first.
    while at != 0 && seen.insert(at) {
        let Some((name, parent)) = fs::read_to_string(format!("/proc/{at}/stat"))
            .ok()
            .and_then(|stat| name_and_parent(&stat))
        else {
            return false;
        };
        if name.starts_with(PREFIX) {
            return true;
        }
        at = parent;
    }
    false
}

/// Reads `/proc/…/stat` (proc_pid_stat(5)). The name may have anything in it.
fn name_and_parent(stat: &str) -> Option<(String, u32)> {
    let (front, back) = stat.rsplit_once(')')?;
    let (_, name) = front.split_once('(')?;
    let parent = back.split_whitespace().nth(1)?.parse().ok()?;
    Some((name.to_owned(), parent))
}

fn processes(group: &Path) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(group.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

#[cfg(test)]
mod tests;
