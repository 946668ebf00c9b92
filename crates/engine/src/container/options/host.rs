//! `--add-host`, `--hostname`, `--device` and `--sysctl`: what of the host and the kernel a container is told or lent.

use std::{net::IpAddr, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::BadOption;

/// The longest host name that the kernel takes.
const MAX_HOSTNAME: usize = 64;

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub address: HostAddress,
}

/// An address of `--add-host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostAddress {
    /// This one.
    Ip(IpAddr),
    /// The machine that the container runs on, however it is reached.
    HostGateway,
}

impl FromStr for HostEntry {
    type Err = BadOption;

    /// Reads `NAME:ADDRESS` or `NAME=ADDRESS`; an IPv6 address may be in brackets.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let parts = text.split_once('=').or_else(|| text.split_once(':'));
        let Some((name, address)) = parts.filter(|(name, _)| !name.is_empty()) else {
            return Err(BadOption::new(format!("bad format for add-host: \"{text}\"")));
        };
        // It becomes a line of a file.
        if name.contains(char::is_whitespace) {
            return Err(BadOption::new(format!("bad format for add-host: \"{text}\"")));
        }
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let bare = bare.unwrap_or(address);
        let address = match bare {
            "host-gateway" => HostAddress::HostGateway,
            bare => HostAddress::Ip(bare.parse().map_err(|_| {
                BadOption::new(format!("invalid IP address in add-host: \"{bare}\""))
            })?),
        };
        Ok(Self { name: name.to_owned(), address })
    }
}

/// Checks a host name, which also becomes a word of `/etc/hosts`.
pub(super) fn check_hostname(name: &str) -> Result<(), BadOption> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || name.len() > MAX_HOSTNAME || !name.chars().all(fine) {
        return Err(BadOption::new(format!(
            "invalid hostname \"{name}\": letters, digits, `-`, `.` and `_`, at most {MAX_HOSTNAME}"
        )));
    }
    Ok(())
}

/// A device node of the host, or a directory of such nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where it is.
    pub host: PathBuf,
    /// Where the container sees it.
    pub container: String,
}

impl FromStr for Device {
    type Err = BadOption;

    /// Reads `PATH[:PATH][:rwm]`.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let parts: Vec<&str> = text.split(':').collect();
        let is_mode = |part: &str| {
            !part.is_empty() && part.len() <= 3 && part.chars().all(|c| "rwm".contains(c))
        };
        let (host, container, mode) = match parts[..] {
            [host] => (host, host, None),
            [host, mode] if is_mode(mode) => (host, host, Some(mode)),
            [host, container] => (host, container, None),
            [host, container, mode] if is_mode(mode) => (host, container, Some(mode)),
            [_, _, mode] => return Err(BadOption::new(format!("invalid device mode: {mode}"))),
            _ => return Err(BadOption::new(format!("bad format for path: {text}"))),
        };
        for path in [host, container] {
            if !path.starts_with('/') {
                return Err(BadOption::new(format!("{path} is not an absolute path")));
            }
        }
        if mode.is_some_and(|mode| !(mode.contains('r') && mode.contains('w'))) {
            return Err(BadOption::new(format!(
                "device mode of {text} is not supported: a device is lent for reading and writing, or not at all"
            )));
        }
        Ok(Self { host: host.into(), container: container.to_owned() })
    }
}

/// A kernel setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Its name, with dots.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Sysctl {
    /// Whether it belongs to the network namespace.
    pub fn is_of_network(&self) -> bool {
        self.name.starts_with("net.")
    }
}

impl FromStr for Sysctl {
    type Err = BadOption;

    /// Reads `NAME=VALUE`; only what belongs to a namespace can be set for one container.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        const ALLOWED: [&str; 8] = [
            "kernel.msgmax",
            "kernel.msgmnb",
            "kernel.msgmni",
            "kernel.sem",
            "kernel.shmall",
            "kernel.shmmax",
            "kernel.shmmni",
            "kernel.shm_rmid_forced",
        ];
        const PREFIXES: [&str; 2] = ["net.", "fs.mqueue."];
        let not_allowed = || BadOption::new(format!("sysctl '{text}' is not allowed"));
        let (name, value) = text.split_once('=').ok_or_else(not_allowed)?;
        let name = name.replace('/', ".");
        let known = ALLOWED.contains(&name.as_str())
            || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        // The name becomes a path below /proc/sys.
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !known || !plain || name.contains("..") || name.ends_with('.') {
            return Err(not_allowed());
        }
        Ok(Self { name, value: value.to_owned() })
    }
}
