//! `--cap-add`, `--cap-drop` and `--security-opt`: what a container may do.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{BadOption, parse_bool};

/// The name of a capability: `CAP_…`, or `ALL`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapabilityName(String);

impl CapabilityName {
    /// As the kernel's headers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The set that it stands for.
    pub fn capabilities(&self) -> sandbox::Capabilities {
        match self.is_all() {
            true => sandbox::Capabilities::ALL,
            // The name was looked up when it was read; a record may be of a later version.
            false => sandbox::Capabilities::named(&self.0).unwrap_or(sandbox::Capabilities::NONE),
        }
    }

    /// Whether it stands for all of them.
    pub fn is_all(&self) -> bool {
        self.0 == "ALL"
    }
}

impl FromStr for CapabilityName {
    type Err = BadOption;

    /// Reads a name, with `CAP_` or without, large or small.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        if name == "ALL" {
            return Ok(Self(name.to_owned()));
        }
        let name = format!("CAP_{name}");
        if !sandbox::Capabilities::is_name(&name) {
            return Err(BadOption::new(format!("unknown capability: \"{name}\"")));
        }
        Ok(Self(name))
    }
}

/// What `--security-opt` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityOption {
    /// Set-user-id programs give nothing more.
    NoNewPrivileges,
    /// Every system call may be made.
    SeccompUnconfined,
    /// Nothing of `/proc` and `/sys` is hidden or read-only.
    SystemPathsUnconfined,
    /// What holds anyway: no profile of SELinux or AppArmor, kiln's own filter.
    Nothing,
}

impl FromStr for SecurityOption {
    type Err = BadOption;

    fn from_str(text: &str) -> Result<Self, BadOption> {
        let invalid = || BadOption::new(format!("Invalid --security-opt: \"{text}\""));
        let (name, value) = match text.split_once(['=', ':']) {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        match (name, value) {
            ("no-new-privileges", None) => Ok(Self::NoNewPrivileges),
            ("no-new-privileges", Some(value)) => match parse_bool(value).ok_or_else(invalid)? {
                true => Ok(Self::NoNewPrivileges),
                false => Ok(Self::Nothing),
            },
            ("seccomp", Some("unconfined")) => Ok(Self::SeccompUnconfined),
            ("seccomp", Some("builtin")) | ("label", Some("disable")) => Ok(Self::Nothing),
            ("apparmor", Some("unconfined")) => Ok(Self::Nothing),
            ("systempaths", Some("unconfined")) => Ok(Self::SystemPathsUnconfined),
            ("seccomp", Some(_)) => Err(BadOption::new(
                "seccomp profiles of files are not supported: there are kiln's own (`builtin`) and none (`unconfined`)",
            )),
            ("apparmor" | "label", Some(_)) => Err(BadOption::new(format!(
                "{name} profiles are not supported: containers of kiln run without one"
            ))),
            _ => Err(invalid()),
        }
    }
}
