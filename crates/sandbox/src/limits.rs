//! Limits of each process, as `ulimit` shows them.

use std::fs;

use rustix::io::Errno;
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

/// Raises what the limits need to be raised, as long as this process has the right to. Nothing is lowered yet: the sandbox
/// itself still has files to open and memory to use.
pub(crate) fn raise(limits: &[Limit]) -> Result<(), Error> {
    for limit in limits {
        let Some(resource) = resource(&limit.name) else { continue };
        let now = rustix::process::getrlimit(resource);
        let Some(most) = now.maximum else { continue };
        if limit.hard.is_none_or(|hard| hard > most) {
            let new = Rlimit { current: now.current, maximum: limit.hard };
            rustix::process::setrlimit(resource, new)
                .map_err(|errno| refused(limit, most, errno))?;
        }
    }
    Ok(())
}

/// Takes the limits, which [`raise`] has made possible. The last thing before a program is started: with few files to open or
/// little memory nothing else goes on here.
pub(crate) fn set(limits: &[Limit]) -> Result<(), Error> {
    for limit in limits {
        let Some(resource) = resource(&limit.name) else { continue };
        let new = Rlimit { current: limit.soft, maximum: limit.hard };
        rustix::process::setrlimit(resource, new)
            .map_err(Error::setup(&format!("set the limit `{}`", limit.name)))?;
    }
    Ok(())
}

/// Says why a hard limit cannot be raised above `most`.
fn refused(limit: &Limit, most: u64, errno: Errno) -> Error {
    let wanted = limit.hard.map_or_else(|| "no limit".to_owned(), |hard| hard.to_string());
    let nr_open = fs::read_to_string("/proc/sys/fs/nr_open").ok();
    let nr_open = nr_open.and_then(|text| text.trim().parse::<u64>().ok());
    let reason = match nr_open.filter(|_| limit.name == "nofile") {
        Some(all) if limit.hard.is_none_or(|hard| hard > all) => {
            format!(
                "{wanted} is more than the kernel lets any process have (`fs.nr_open` is {all})"
            )
        }
        _ => format!(
            "{wanted} is more than {most}, the hard limit of who runs kiln, which only root can raise"
        ),
    };
    let what = format!("`{}` of each process", limit.name);
    Error::Resources { what, reason, source: Some(errno.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(name: &str, hard: Option<u64>) -> String {
        let limit = Limit { name: name.to_owned(), soft: hard, hard };
        refused(&limit, 1000, Errno::PERM).to_string()
    }

    #[test]
    fn why_a_limit_cannot_be_raised() {
        let text = reason("nproc", Some(2000));
        assert!(
            text.contains("cannot limit `nproc` of each process: 2000 is more than 1000"),
            "{text}"
        );
        assert!(
            reason("core", None).contains("no limit is more than 1000"),
            "{}",
            reason("core", None)
        );
        let text = reason("nofile", Some(u64::MAX));
        assert!(text.contains("`fs.nr_open` is "), "{text}");
    }
}
