//! Which value of which file of a control group stands for a limit, in both versions.

use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::path::Path;

use crate::Error;
use crate::cgroup::Amount;
use crate::cgroup::Resources;

/// What a control group can limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    Cpu,
    Cpuset,
    Memory,
    Pids,
}

impl Controller {
    pub(super) const ALL: [Self; 4] = [Self::Cpu, Self::Cpuset, Self::Memory, Self::Pids];

    /// The kernel's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// What is limited by it, for people.
    fn what(self) -> &'static str {
        match self {
            Self::Cpu => "processor time",
            Self::Cpuset => "processors and memory nodes",
            Self::Memory => "memory",
            Self::Pids => "the number of processes",
        }
    }

    /// The error for a limit that cannot be had.
    pub(super) fn refused(self, reason: String, source: Option<io::Error>) -> Error {
        Error::Resources { what: self.what().to_owned(), reason, source }
    }
}

/// A file of a control group and what is written into it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: Controller,
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Whether nobody asked for this one in particular.
    pub(super) optional: bool,
}

impl Setting {
    /// Writes it for a group.
    pub(super) fn write_to(&self, group: &Path) -> Result<(), Error> {
        match write(&group.join(self.file), &self.value) {
            // A kernel that does not count swap.
            Err(error) if self.optional && error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(cannot_write(self.controller, group, self.file)),
        }
    }
}

/// The controllers that the limits need.
pub(super) fn controllers(resources: &Resources) -> Vec<Controller> {
    let settings = of_version_2(resources);
    let needed = |controller: &Controller| settings.iter().any(|it| it.controller == *controller);
    Controller::ALL.into_iter().filter(needed).collect()
}

/// Time of more processors than there are is a mistake, as with Docker.
pub(super) fn check_cpus(resources: &Resources) -> Result<(), Error> {
    let Some((time, period)) = resources.cpu_time else { return Ok(()) };
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let Some(count) = count(&online) else { return Ok(()) };
    if time > period.saturating_mul(count) {
        let reason = format!(
            "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        );
        return Err(Controller::Cpu.refused(reason, None));
    }
    Ok(())
}

/// Processors that are not there cannot be chosen; the kernel would only say that the number is too large.
pub(super) fn check_cpuset(resources: &Resources) -> Result<(), Error> {
    let Some(wanted) = &resources.cpus else { return Ok(()) };
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    match (last(wanted), last(&online)) {
        (Some(wanted_last), Some(online_last)) if wanted_last > online_last => {
            let reason = format!(
                "requested CPUs are not available: requested {wanted}, available: {}",
                online.trim()
            );
            Err(Controller::Cpuset.refused(reason, None))
        }
        _ => Ok(()),
    }
}

/// The greatest number of a list of ranges.
fn last(list: &str) -> Option<u64> {
    let range = |part: &str| part.rsplit_once('-').map_or(part, |(_, last)| last).parse().ok();
    list.trim().split(',').map(range).collect::<Option<Vec<u64>>>()?.into_iter().max()
}

/// How many numbers a list of ranges has: `0-3,6`.
fn count(list: &str) -> Option<u64> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    list.trim().split(',').map(range).sum()
}

/// The files of version 2 (the kernel's `cgroup-v2.rst`).
pub(super) fn of_version_2(resources: &Resources) -> Vec<Setting> {
    let mut settings = List::default();
    if let Some(memory) = resources.memory {
        settings.add(Controller::Memory, "memory.max", memory);
        let (swap, optional) = swap(resources, memory);
        let value = match swap {
            Amount::Unlimited => "max".to_owned(),
            Amount::Limited(both) => both.saturating_sub(memory).to_string(),
        };
        settings.add_swap("memory.swap.max", value, optional);
    }
    if let Some(reserved) = resources.memory_reserved {
        settings.add(Controller::Memory, "memory.low", reserved);
    }
    if let Some((time, period)) = resources.cpu_time {
        settings.add(Controller::Cpu, "cpu.max", format!("{time} {period}"));
    }
    if let Some(shares) = resources.cpu_shares {
        // From 2…262144 to 1…10000, as runc does.
        let shares = shares.clamp(2, 262_144);
        settings.add(Controller::Cpu, "cpu.weight", 1 + (shares - 2) * 9999 / 262_142);
    }
    settings.add_cpusets(resources);
    settings.0
}

/// The files of version 1 (the kernel's `cgroup-v1/`).
pub(super) fn of_version_1(resources: &Resources) -> Vec<Setting> {
    let mut settings = List::default();
    if let Some(memory) = resources.memory {
        settings.add(Controller::Memory, "memory.limit_in_bytes", memory);
        let (swap, optional) = swap(resources, memory);
        let value = match swap {
            Amount::Unlimited => "-1".to_owned(),
            Amount::Limited(both) => both.to_string(),
        };
        settings.add_swap("memory.memsw.limit_in_bytes", value, optional);
    }
    if let Some(reserved) = resources.memory_reserved {
        settings.add(Controller::Memory, "memory.soft_limit_in_bytes", reserved);
    }
    if let Some((time, period)) = resources.cpu_time {
        settings.add(Controller::Cpu, "cpu.cfs_period_us", period);
        settings.add(Controller::Cpu, "cpu.cfs_quota_us", time);
    }
    if let Some(shares) = resources.cpu_shares {
        settings.add(Controller::Cpu, "cpu.shares", shares.clamp(2, 262_144));
    }
    settings.add_cpusets(resources);
    settings.0
}

/// Memory and swap together, as Docker has it when nothing is said: twice the memory; and whether nothing
/// was said.
fn swap(resources: &Resources, memory: u64) -> (Amount, bool) {
    match resources.memory_and_swap {
        Some(amount) => (amount, false),
        None => (Amount::Limited(memory.saturating_mul(2)), true),
    }
}

#[derive(Default)]
struct List(Vec<Setting>);

impl List {
    fn add(&mut self, controller: Controller, file: &'static str, value: impl ToString) {
        let value = value.to_string();
        self.0.push(Setting { controller, file, value, optional: false });
    }

    fn add_swap(&mut self, file: &'static str, value: String, optional: bool) {
        self.0.push(Setting { controller: Controller::Memory, file, value, optional });
    }

    /// What both versions call the same.
    fn add_cpusets(&mut self, resources: &Resources) {
        if let Some(cpus) = &resources.cpus {
            self.add(Controller::Cpuset, "cpuset.cpus", cpus);
        }
        if let Some(nodes) = &resources.memory_nodes {
            self.add(Controller::Cpuset, "cpuset.mems", nodes);
        }
        if let Some(Amount::Limited(processes)) = resources.processes {
            self.add(Controller::Pids, "pids.max", processes);
        }
    }
}

/// Says that a file of a group does not take what was to be written into it.
pub(super) fn cannot_write<'a>(
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
pub(super) fn write(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resources: &Resources, one: &str, two: &str) {
        let shown = |settings: Vec<Setting>| {
            let shown: Vec<_> =
                settings.iter().map(|it| format!("{}={}", it.file, it.value)).collect();
            shown.join(", ")
        };
        assert_eq!(shown(of_version_1(resources)), one);
        assert_eq!(shown(of_version_2(resources)), two);
    }

    #[test]
    fn each_limit_in_both_versions() {
        check(&Resources::default(), "", "");
        check(
            &Resources { memory: Some(100), ..Resources::default() },
            "memory.limit_in_bytes=100, memory.memsw.limit_in_bytes=200",
            "memory.max=100, memory.swap.max=100",
        );
        let both = Some(Amount::Limited(150));
        check(
            &Resources { memory: Some(100), memory_and_swap: both, ..Resources::default() },
            "memory.limit_in_bytes=100, memory.memsw.limit_in_bytes=150",
            "memory.max=100, memory.swap.max=50",
        );
        let both = Some(Amount::Unlimited);
        check(
            &Resources { memory: Some(100), memory_and_swap: both, ..Resources::default() },
            "memory.limit_in_bytes=100, memory.memsw.limit_in_bytes=-1",
            "memory.max=100, memory.swap.max=max",
        );
        check(
            &Resources {
                memory_reserved: Some(7),
                cpu_time: Some((50_000, 100_000)),
                cpu_shares: Some(1024),
                ..Resources::default()
            },
            "memory.soft_limit_in_bytes=7, cpu.cfs_period_us=100000, cpu.cfs_quota_us=50000, cpu.shares=1024",
            "memory.low=7, cpu.max=50000 100000, cpu.weight=39",
        );
        let rest = Resources {
            cpus: Some("0-1".into()),
            memory_nodes: Some("0".into()),
            processes: Some(Amount::Limited(9)),
            ..Resources::default()
        };
        let same = "cpuset.cpus=0-1, cpuset.mems=0, pids.max=9";
        check(&rest, same, same);
        assert_eq!(controllers(&rest), [Controller::Cpuset, Controller::Pids]);
    }

    #[test]
    fn processors_that_are_not_there() {
        assert_eq!(last("0-3,6\n"), Some(6));
        assert_eq!(last("0"), Some(0));
        assert_eq!(last("x"), None);
        let wants = |cpus: &str| {
            check_cpuset(&Resources { cpus: Some(cpus.into()), ..Resources::default() })
        };
        wants("0").unwrap();
        let error = wants("0,9999").unwrap_err().to_string();
        assert!(error.contains("not available: requested 0,9999, available: 0"), "{error}");
    }

    #[test]
    fn more_processors_than_there_are() {
        assert_eq!(count("0-3,6\n"), Some(5));
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("x"), None);
        let wants = |processors: u64| {
            let cpu_time = Some((processors * 100_000, 100_000));
            check_cpus(&Resources { cpu_time, ..Resources::default() })
        };
        wants(1).unwrap();
        let error = wants(1_000_000).unwrap_err().to_string();
        assert!(error.contains("range of CPUs is from 0.01 to"), "{error}");
    }
}
