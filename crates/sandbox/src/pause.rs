//! A sandbox whose processes stand still for a moment, so that its files can be read as they are.
//!
//! They are stopped by a signal, one after the other, until none is left that runs: control groups would stop them at
//! once, but an ordinary user rarely has any. They go on in the opposite order, so that a shell which was stopped itself
//! does not see its children stopped.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;

use crate::Error;
use crate::Process;
use crate::sys;

/// How long processes may go on making others before this is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sandbox that stands still. Dropping this lets it go on.
#[derive(Debug)]
pub struct Paused {
    /// The processes that were stopped, those first that were found first.
    stopped: Vec<Stopped>,
}

/// A process that was stopped, and when it was started: its number may be another's later.
#[derive(Debug)]
struct Stopped {
    pid: i32,
    began: u64,
}

/// What `/proc/…/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    parent: i32,
    began: u64,
}

/// Stops every process of a sandbox. To be called in the user namespace that it was started from.
///
/// # Errors
/// If it cannot be done, everything goes on.
pub fn pause(first: &Process) -> Result<Paused, Error> {
    let failed = "pause the container";
    let mut paused = Paused { stopped: Vec::new() };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let running = running(first).map_err(Error::setup(failed))?;
        if running.is_empty() {
            return Ok(paused);
        }
        for (pid, stat) in running {
            if paused.stopped.iter().any(|it| (it.pid, it.began) == (pid, stat.began)) {
                continue;
            }
            let Some(process) = Pid::from_raw(pid) else { continue };
            match sys::kill(process, libc::SIGSTOP) {
                Ok(()) => paused.stopped.push(Stopped { pid, began: stat.began }),
                // It has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(Error::setup(failed)(error)),
            }
        }
        if Instant::now() > deadline {
            return Err(Error::setup(failed)(io::Error::from(io::ErrorKind::TimedOut)));
        }
        // The kernel stops them when they come by.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the process ids of all processes of a sandbox, lowest first, as this process sees them.
///
/// # Errors
/// When the first process has ended.
pub fn processes(first: &Process) -> Result<Vec<i32>, Error> {
    let inside = inside(first).map_err(Error::setup("list the processes of the container"))?;
    Ok(inside.into_iter().map(|(pid, _)| pid).collect())
}

fn inside(first: &Process) -> io::Result<Vec<(i32, Stat)>> {
    let all = all_processes()?;
    let namespace = namespace(first.pid)?;
    let is_inside = |pid: i32| {
        let mut at = pid;
        // Whoever was started inside has the first process above it; whoever joined is in its namespace.
        while at > 1 {
            if at == first.pid || namespace_is(at, &namespace) {
                return true;
            }
            match all.get(&at) {
                Some(stat) => at = stat.parent,
                None => return false,
            }
        }
        false
    };
    let inside = all.iter().filter(|(pid, _)| is_inside(**pid));
    Ok(inside.map(|(pid, stat)| (*pid, *stat)).collect())
}

/// The processes of a sandbox that do not stand still yet.
fn running(first: &Process) -> io::Result<Vec<(i32, Stat)>> {
    let mut inside = inside(first)?;
    inside.retain(|(_, stat)| !matches!(stat.state, b'T' | b't' | b'Z' | b'X'));
    Ok(inside)
}

impl Drop for Paused {
    fn drop(&mut self) {
        for Stopped { pid, began } in self.stopped.iter().rev() {
            let same = stat(*pid).is_some_and(|stat| stat.began == *began);
            if let Some(process) = Pid::from_raw(*pid).filter(|_| same) {
                // It fails when it has been killed meanwhile.
                let _ = sys::kill(process, libc::SIGCONT);
            }
        }
    }
}

fn all_processes() -> io::Result<BTreeMap<i32, Stat>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        all.extend(stat(pid).map(|stat| (pid, stat)));
    }
    Ok(all)
}

/// Reads proc_pid_stat(5); `None` if the process is gone.
fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name, in parentheses, may hold anything.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let state = *fields.first()?.as_bytes().first()?;
    let (parent, began) = (fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?);
    Some(Stat { state, parent, began })
}

fn namespace(pid: i32) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid"))
}

fn namespace_is(pid: i32, wanted: &Path) -> bool {
    namespace(pid).is_ok_and(|found| found == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says() {
        let text = "12 (a) b) S 7 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1 18446744073709551615";
        assert_eq!(parse(text), Some(Stat { state: b'S', parent: 7, began: 4711 }));
        assert_eq!(parse("12 (a)"), None);
        assert!(stat(1).is_some());
    }
}
