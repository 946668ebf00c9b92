//! The processes of a sandbox, as the machine sees them: which there are, and what they use.
//!
//! A control group would tell more exactly what they use, but most sandboxes have none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::Error;
use crate::Process;

/// The kernel counts processor time for `/proc` in these (time(7), USER_HZ), whatever its own clock is.
const TICKS_PER_SECOND: u64 = 100;

/// What all processes of a sandbox together use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time since they were started, with that of children which have ended.
    pub processor: Duration,
    /// Bytes of memory; what several share is counted once, where the kernel tells.
    pub memory: u64,
    /// Bytes that the living ones have read from disks.
    pub read: u64,
    /// Bytes that the living ones have written to disks.
    pub written: u64,
    /// Bytes that came over the network, without that of the host and without loopback.
    pub received: u64,
    /// Bytes that went over it.
    pub sent: u64,
    /// How many threads there are.
    pub threads: u64,
}

/// What `/proc/…/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: u8,
    parent: i32,
    ticks: u64,
    threads: u64,
    pub(crate) began: u64,
}

/// Returns what all processes of a sandbox use. To be called in the user namespace that it was started from: else there
/// are files that cannot be read, and what is in them counts as nothing.
///
/// # Errors
/// When the first process has ended.
pub fn usage(first: &Process) -> Result<Usage, Error> {
    let inside = inside(first).map_err(Error::setup("list the processes of the container"))?;
    let mut usage = Usage::default();
    for (pid, stat) in inside {
        let io = read(pid, "io");
        usage.processor += Duration::from_millis(stat.ticks * 1000 / TICKS_PER_SECOND);
        usage.memory += memory(pid);
        usage.read += value_of(&io, "read_bytes:").unwrap_or(0);
        usage.written += value_of(&io, "write_bytes:").unwrap_or(0);
        usage.threads += stat.threads;
    }
    let network = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    if network(&first.pid.to_string()) != network("self") {
        (usage.received, usage.sent) = traffic(&read(first.pid, "net/dev"));
    }
    Ok(usage)
}

/// What is gone meanwhile, or not for us, is empty.
fn read(pid: i32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn memory(pid: i32) -> u64 {
    let kibibytes = value_of(&read(pid, "smaps_rollup"), "Pss:");
    // Kernels without it, and processes that are not for us, tell what is resident.
    kibibytes.or_else(|| value_of(&read(pid, "status"), "VmRSS:")).unwrap_or(0) * 1024
}

/// The number after a name in a file of lines.
fn value_of(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Bytes received and sent, of `/proc/…/net/dev`.
fn traffic(text: &str) -> (u64, u64) {
    let interfaces = text.lines().filter_map(|line| line.split_once(':'));
    let outside = interfaces.filter(|(name, _)| name.trim() != "lo");
    outside.fold((0, 0), |(received, sent), (_, counts)| {
        let counts: Vec<u64> = counts.split_whitespace().flat_map(str::parse).collect();
        let count = |place: usize| counts.get(place).copied().unwrap_or(0);
        (received + count(0), sent + count(8))
    })
}

/// Returns the process ids of all processes of a sandbox, lowest first, as this process sees them.
///
/// # Errors
/// When the first process has ended.
pub fn processes(first: &Process) -> Result<Vec<i32>, Error> {
    let inside = inside(first).map_err(Error::setup("list the processes of the container"))?;
    Ok(inside.into_iter().map(|(pid, _)| pid).collect())
}

pub(crate) fn inside(first: &Process) -> io::Result<Vec<(i32, Stat)>> {
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
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name, in parentheses, may hold anything.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let state = *fields.first()?.as_bytes().first()?;
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    let (threads, began) = (number(17)?, number(19)?);
    Some(Stat { state, parent: fields.get(1)?.parse().ok()?, ticks, threads, began })
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
        let text = "12 (a) b) S 7 12 12 0 -1 4194560 1 0 0 0 5 6 70 80 20 0 3 0 4711 1 1 18446744073709551615";
        let expected = Stat { state: b'S', parent: 7, ticks: 161, threads: 3, began: 4711 };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("12 (a)"), None);
        assert!(stat(1).is_some());
    }

    #[test]
    fn numbers_in_files() {
        assert_eq!(value_of("Rss: 1 kB\nPss:     12 kB\n", "Pss:"), Some(12));
        assert_eq!(value_of("Rss: 1 kB\n", "Pss:"), None);
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo: 5 1 0 0 0 0 0 0 5 1\n\
                    eth0: 10 1 0 0 0 0 0 0 20 1\n tap:1 1 0 0 0 0 0 0 2 1\n";
        assert_eq!(traffic(text), (11, 22));
    }

    #[test]
    fn this_process_uses_something() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(memory(pid) > 100_000, "{}", memory(pid));
    }
}
