//! The end of every process that came from this one, whatever session or group it is in: orphans are this one's children,
//! as it has asked for them.

use std::collections::BTreeMap;
use std::fs;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitOptions;

use crate::Error;

/// Kills all descendants, and returns when none is left.
///
/// One that starts others faster than this looks is caught in a later round: its children are descendants, too.
pub(super) fn end_all() -> Result<(), Error> {
    let failed = "end the processes of the step";
    loop {
        let all = all().map_err(Error::setup(failed))?;
        // Stopped first, so that none starts another one behind this one's back.
        for signal in [Signal::STOP, Signal::KILL] {
            for process in &all {
                // It fails for one that is dead already.
                let _ = rustix::process::kill_process(*process, signal);
            }
        }
        // Those that are dead, whatever group they were in; and one that is dying, if there is any.
        let mut options = WaitOptions::empty();
        loop {
            match rustix::process::wait(options) {
                Ok(Some(_)) => options = WaitOptions::NOHANG,
                Ok(None) => break,
                Err(Errno::INTR) => {}
                Err(Errno::CHILD) => return Ok(()),
                Err(errno) => return Err(Error::setup(failed)(errno)),
            }
        }
    }
}

/// The descendants of this process that there are now.
fn all() -> std::io::Result<Vec<Pid>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may be gone by now.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut ahead = vec![rustix::process::getpid().as_raw_nonzero().get()];
    while let Some(pid) = ahead.pop() {
        let born = children.remove(&pid).unwrap_or_default();
        found.extend(born.iter().filter_map(|pid| Pid::from_raw(*pid)));
        ahead.extend(born);
    }
    Ok(found)
}

/// The parent in a line of `/proc/PID/stat`, whose second field is a name in parentheses that may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(super::parent("17 (a) b ) 3 (c)) S 4 17 17 0"), Some(4));
        assert_eq!(super::parent(""), None);
    }
}
