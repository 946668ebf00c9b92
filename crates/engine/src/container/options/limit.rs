//! `--memory`, `--cpus`, `--pids-limit` and their kin, which limit all processes of a container together; `--ulimit`,
//! which limits each.

use std::{
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use sandbox::Amount;
use serde::{Deserialize, Serialize};

use super::{BadOption, ByteSize};

/// The least memory that a process can be started with, as Docker has it.
const LEAST_MEMORY: u64 = 6 << 20;

/// Microseconds of a scheduling period, as Docker and the kernel have it when nothing is said.
const CPU_PERIOD: u64 = 100_000;

/// Limits of all processes of a container together. What is not given is not limited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory in bytes.
    pub memory: Option<ByteSize>,
    /// Memory and swap together; twice the memory when not given.
    pub memory_swap: Option<MemorySwap>,
    /// Memory in bytes that is not taken away under pressure.
    pub memory_reservation: Option<ByteSize>,
    /// How many processors' time.
    pub cpus: Option<Cpus>,
    /// Length of a scheduling period in microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds in each period.
    pub cpu_quota: Option<i64>,
    /// Weight against others, 1024 being the usual one.
    pub cpu_shares: Option<u64>,
    /// Which processors: `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Which memory nodes.
    pub cpuset_mems: Option<String>,
    /// How many processes and threads; 0 and less: no limit.
    pub pids: Option<i64>,
    /// The control group that it is all in a part of.
    pub cgroup_parent: Option<CgroupParent>,
}

impl Resources {
    /// Finds values that are out of range or do not fit each other.
    pub fn validate(&self) -> Result<(), BadOption> {
        let bad = |text: &str| Err(BadOption::new(text));
        if self.memory.is_some_and(|memory| (1..LEAST_MEMORY).contains(&memory.0)) {
            return bad("minimum memory limit allowed is 6MB");
        }
        match (self.memory_limit(), self.memory_swap) {
            (None, Some(MemorySwap::Bytes(ByteSize(1..)))) => {
                return bad(
                    "you should always set the memory limit when using the memory-swap limit",
                );
            }
            (Some(memory), Some(MemorySwap::Bytes(ByteSize(swap))))
                if swap > 0 && swap < memory =>
            {
                return bad("minimum memory-swap limit should be larger than the memory limit");
            }
            _ => {}
        }
        let reservation = self.memory_reservation.map_or(0, |size| size.0);
        if self.memory_limit().is_some_and(|memory| memory < reservation) {
            return bad("minimum memory limit should be larger than the memory reservation limit");
        }
        if self.cpus.is_some() && self.cpu_period.is_some() {
            return bad("conflicting options: CPUs and CPU period cannot both be set");
        }
        if self.cpus.is_some() && self.cpu_quota.is_some() {
            return bad("conflicting options: CPUs and CPU quota cannot both be set");
        }
        if self.cpu_period.is_some_and(|period| period > 0 && !(1000..=1_000_000).contains(&period))
        {
            return bad(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            );
        }
        if self.cpu_quota.is_some_and(|quota| (1..1000).contains(&quota)) {
            return bad("CPU cfs quota can not be less than 1ms (i.e. 1000)");
        }
        for (what, list) in [("cpus", &self.cpuset_cpus), ("mems", &self.cpuset_mems)] {
            if let Some(list) = list.as_deref().filter(|list| !list.is_empty() && !is_list(list)) {
                return Err(BadOption::new(format!("invalid value {list} for cpuset {what}")));
            }
        }
        Ok(())
    }

    /// In the words of the sandbox.
    pub fn limits(&self) -> sandbox::Resources {
        let memory = self.memory_limit();
        let memory_and_swap = match self.memory_swap {
            None | Some(MemorySwap::Bytes(ByteSize(0))) => None,
            Some(MemorySwap::Unlimited) => Some(Amount::Unlimited),
            Some(MemorySwap::Bytes(ByteSize(bytes))) => Some(Amount::Limited(bytes)),
        };
        let positive = |number: Option<i64>| {
            number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
        };
        let period = self.cpu_period.filter(|period| *period > 0).unwrap_or(CPU_PERIOD);
        let cpu_time = match self.cpus {
            Some(Cpus(billionths @ 1..)) => Some(billionths / (1_000_000_000 / CPU_PERIOD)),
            Some(Cpus(0)) | None => positive(self.cpu_quota),
        };
        let given = |list: &Option<String>| list.clone().filter(|list| !list.is_empty());
        sandbox::Resources {
            memory,
            memory_and_swap: memory_and_swap.filter(|_| memory.is_some()),
            memory_reserved: self.memory_reservation.map(|size| size.0).filter(|size| *size > 0),
            cpu_time: cpu_time.map(|time| (time, period)),
            cpu_shares: self.cpu_shares.filter(|shares| *shares > 0),
            cpus: given(&self.cpuset_cpus),
            memory_nodes: given(&self.cpuset_mems),
            processes: self.pids.map(|pids| match u64::try_from(pids) {
                Ok(pids @ 1..) => Amount::Limited(pids),
                Ok(0) | Err(_) => Amount::Unlimited,
            }),
            parent: self.cgroup_parent.as_ref().map(|parent| parent.0.clone()),
        }
    }

    /// The limit of memory in bytes; 0 is none.
    pub fn memory_limit(&self) -> Option<u64> {
        self.memory.map(|memory| memory.0).filter(|memory| *memory > 0)
    }
}

/// A control group, as a path below where the hierarchies are mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CgroupParent(PathBuf);

impl FromStr for CgroupParent {
    type Err = BadOption;

    /// Reads a path, with or without a slash in front, or the name of a slice of systemd's: `a-b.slice` is in `a.slice`.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let path = Path::new(text.trim_matches('/'));
        let mut components = path.components().peekable();
        if components.peek().is_none() || !components.all(|it| matches!(it, Component::Normal(_))) {
            return Err(BadOption::new(format!(
                "`{text}` is no control group: it is a path below `/sys/fs/cgroup`, without `..`"
            )));
        }
        match text.strip_suffix(".slice") {
            Some(name) if !text.contains('/') => Ok(Self(slice(name))),
            _ => Ok(Self(path.to_owned())),
        }
    }
}

/// Where systemd has the slice of this name.
fn slice(name: &str) -> PathBuf {
    let ends = name.match_indices('-').map(|(end, _)| end).chain([name.len()]);
    ends.map(|end| format!("{}.slice", &name[..end])).collect()
}

/// Whether a text is a list of numbers and ranges of them: `0-2,4`.
fn is_list(text: &str) -> bool {
    text.split(',').all(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) => first <= last,
            _ => false,
        }
    })
}

/// A limit of memory and swap together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemorySwap {
    /// As much swap as there is.
    Unlimited,
    /// This much; 0 is as if it were not given.
    Bytes(ByteSize),
}

impl FromStr for MemorySwap {
    type Err = BadOption;

    fn from_str(text: &str) -> Result<Self, BadOption> {
        match text {
            "-1" => Ok(Self::Unlimited),
            text => text.parse().map(Self::Bytes),
        }
    }
}

/// An amount of processor time, in billionths of one processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cpus(pub u64);

impl FromStr for Cpus {
    type Err = BadOption;

    /// Reads a number of processors, with up to nine decimals.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let not_rational =
            || BadOption::new(format!("failed to parse {text} as a rational number"));
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || (whole.is_empty() && decimals.is_empty()) {
            return Err(not_rational());
        }
        if decimals.trim_end_matches('0').len() > 9 {
            return Err(BadOption::new("value is too precise"));
        }
        let decimals = format!("{:0<9}", decimals.trim_end_matches('0'));
        let number = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u64>() };
        let whole = number(whole).ok().and_then(|whole| whole.checked_mul(1_000_000_000));
        let decimals = number(&decimals).ok();
        let billionths = whole.zip(decimals).and_then(|(a, b)| a.checked_add(b));
        match billionths.ok_or_else(not_rational)? {
            billionths @ (0 | 10_000_000..) => Ok(Self(billionths)),
            _ => Err(BadOption::new("the least of CPUs is 0.01")),
        }
    }
}

/// A limit of each process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Of what: `nofile`.
    pub name: String,
    /// What holds until the process raises it; none: no limit.
    pub soft: Option<u64>,
    /// How far it may; none: no limit.
    pub hard: Option<u64>,
}

impl Ulimit {
    /// In the words of the sandbox.
    pub fn limit(&self) -> sandbox::Limit {
        sandbox::Limit { name: self.name.clone(), soft: self.soft, hard: self.hard }
    }
}

impl FromStr for Ulimit {
    type Err = BadOption;

    /// Reads `NAME=SOFT[:HARD]`; -1 is no limit.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let invalid = || BadOption::new(format!("invalid ulimit argument: {text}"));
        let (name, values) = text.split_once('=').ok_or_else(invalid)?;
        if values.is_empty() {
            return Err(invalid());
        }
        if !sandbox::Limit::is_name(name) {
            return Err(BadOption::new(format!("invalid ulimit type: {name}")));
        }
        let parse = |value: &str| match value {
            "-1" | "unlimited" => Ok(None),
            value => value.parse().map(Some).map_err(|_| invalid()),
        };
        let (soft, hard) = match values.split(':').collect::<Vec<_>>()[..] {
            [both] => (parse(both)?, parse(both)?),
            [soft, hard] => (parse(soft)?, parse(hard)?),
            _ => {
                return Err(BadOption::new(format!(
                    "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
                )));
            }
        };
        let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |it| it.to_string());
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(BadOption::new(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                shown(soft),
                shown(hard)
            )));
        }
        Ok(Self { name: name.to_owned(), soft, hard })
    }
}
