//! Limits of each process, as `ulimit` shows them.

use rustix::process::Resource;
use rustix::process::Rlimit;
use serde::Deserialize;
use serde::Serialize;

use crate::Error;

/// What can be limited, by the names of `limits.conf(5)`.
const RESOURCES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// A limit of each process (setrlimit(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Of what: `nofile`.
    pub name: String,
    /// What holds until the process raises it; none: no limit. In the units of setrlimit(2).
    pub soft: Option<u64>,
    /// How far it may; none: no limit.
    pub hard: Option<u64>,
}

impl Limit {
    /// Whether the kernel has a limit of this name.
    pub fn is_name(name: &str) -> bool {
        resource(name).is_some()
    }
}

fn resource(name: &str) -> Option<Resource> {
    RESOURCES.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource)
}

/// Takes the limits. An ordinary user's cannot be above those of who started kiln.
pub(crate) fn set(limits: &[Limit]) -> Result<(), Error> {
    for limit in limits {
        let Some(resource) = resource(&limit.name) else { continue };
        let new = Rlimit { current: limit.soft, maximum: limit.hard };
        rustix::process::setrlimit(resource, new)
            .map_err(Error::setup(&format!("set the limit `{}`", limit.name)))?;
    }
    Ok(())
}
