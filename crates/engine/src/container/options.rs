//! Everything that `run` and `create` can be asked for, as one value that is kept with the container.
//!
//! Each kind of option has its file below; their texts are parsed there, with Docker's error texts. Not here: the command
//! line (`src/command/run/options.rs`), and what becomes of it all in the kernel (`container::world`).

mod host;
mod limit;
mod log;
mod mount;
mod number;
mod port;
mod right;
mod signal;
mod variable;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use oci::{Config, Healthcheck};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    host::{Device, HostAddress, HostEntry, Sysctl},
    limit::{CgroupParent, Cpus, MemorySwap, Resources, Ulimit},
    log::{LogDriver, LogLimits, LogOptions},
    mount::{BindOptions, Mount, MountKind, TmpfsOptions, volume_name},
    number::{ByteSize, parse_bool},
    port::{Port, Protocol, Publish},
    right::{CapabilityName, SecurityOption},
    signal::signal_number,
    variable::{Label, Variable, parse_env_file, parse_label_file},
};

/// A value of an option that makes no sense, in Docker's words where Docker refuses it, too.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadOption(pub(crate) String);

impl BadOption {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What a container is like, as far as the command line says something; the rest is the image's to say.
///
/// Kept as JSON: a field that an older record does not have is as if nothing was said.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerOptions {
    /// Replaces CMD unless empty.
    pub command: Vec<String>,
    /// Replaces ENTRYPOINT; an empty text clears it.
    pub entrypoint: Option<String>,
    /// Further variables, over those of the image; one without value takes the image's away.
    pub env: Vec<Variable>,
    /// Replaces WORKDIR.
    pub workdir: Option<String>,
    /// Replaces USER.
    pub user: Option<String>,
    /// Further groups, by name or number.
    pub groups: Vec<String>,
    /// Whether the command reads the caller's standard input.
    pub interactive: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Labels, over those of the image.
    pub labels: BTreeMap<String, String>,
    /// Replaces STOPSIGNAL.
    pub stop_signal: Option<String>,
    /// Seconds between that signal and the kill; negative: for ever.
    pub stop_timeout: Option<i64>,
    /// How it is found to be healthy, over what the image says.
    pub health: Option<Healthcheck>,
    /// Whether the first process is kiln's own, which passes signals on and reaps.
    pub init: bool,

    /// The host name; the beginning of the container's id if there is none.
    pub hostname: Option<String>,
    /// What it reaches.
    pub network: Network,
    /// Ports of the host that lead to ports of the container.
    pub publish: Vec<Publish>,
    /// Whether every exposed port gets a port of the host.
    pub publish_all: bool,
    /// Ports that are said to be served, besides those of EXPOSE.
    pub expose: Vec<Port>,
    /// Further lines of `/etc/hosts`.
    pub hosts: Vec<HostEntry>,
    /// Replaces the name servers.
    pub dns: Vec<IpAddr>,
    /// Replaces the search domains; `.` for none.
    pub dns_search: Vec<String>,
    /// Replaces the options of the resolver.
    pub dns_options: Vec<String>,

    /// Directories, volumes and memory in the file system, in the order in which they were asked for.
    pub mounts: Vec<Mount>,
    /// Whether the root file system cannot be written to.
    pub read_only: bool,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Devices of the host.
    pub devices: Vec<Device>,

    /// Whether nothing is held back that root can have.
    pub privileged: bool,
    /// Capabilities besides the default ones.
    pub cap_add: Vec<CapabilityName>,
    /// Capabilities to do without.
    pub cap_drop: Vec<CapabilityName>,
    /// What is said by `--security-opt`.
    pub security: Vec<SecurityOption>,
    /// Kernel settings of the container's own namespaces.
    pub sysctls: Vec<Sysctl>,
    /// Limits of all its processes together.
    pub resources: Resources,
    /// Limits of each of its processes.
    pub ulimits: Vec<Ulimit>,
    /// What is kept of its output.
    pub log: LogOptions,
}

/// What a container reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The outside, through a network of its own where that can be had.
    #[default]
    Default,
    /// Nothing but its own loopback.
    None,
    /// The host's network.
    Host,
}

impl std::str::FromStr for Network {
    type Err = BadOption;

    fn from_str(text: &str) -> Result<Self, BadOption> {
        match text {
            "default" | "bridge" => Ok(Self::Default),
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            text if text.starts_with("container:") => Err(BadOption::new(
                "joining the network of another container is not supported; use `--network host` for both",
            )),
            text => Err(BadOption::new(format!(
                "network {text} not found: there are `default`, `none` and `host`"
            ))),
        }
    }
}

impl ContainerOptions {
    /// Finds what the options, each right by itself, do not fit together in.
    pub fn validate(&self) -> Result<(), BadOption> {
        self.resources.validate()?;
        if let Some(hostname) = &self.hostname {
            host::check_hostname(hostname)?;
        }
        if self.network == Network::Host && self.sysctls.iter().any(Sysctl::is_of_network) {
            return Err(BadOption::new("sysctls of `net` are not allowed in the host's network"));
        }
        if let Some(dir) = self.workdir.as_deref().filter(|dir| !dir.starts_with('/')) {
            return Err(BadOption::new(format!(
                "the working directory '{dir}' is invalid, it needs to be an absolute path"
            )));
        }
        if let Some(signal) = self.stop_signal.as_deref().filter(|it| signal_number(it).is_none()) {
            return Err(BadOption::new(format!("invalid signal: {signal}")));
        }
        if let Some(health) = &self.health {
            check_health(health)?;
        }
        mount::check_unique(&self.mounts)
    }

    /// How a container of an image with this config is found to be healthy. What the options do not say is the image's to
    /// say; one of them is enough for that.
    pub fn health_check(&self, image: &Config) -> Option<Healthcheck> {
        let Some(own) = &self.health else { return image.healthcheck.clone() };
        let below = image.healthcheck.clone().unwrap_or_default();
        let or = |own: i64, below: i64| if own == 0 { below } else { own };
        Some(Healthcheck {
            test: if own.test.is_empty() { below.test } else { own.test.clone() },
            interval: or(own.interval, below.interval),
            timeout: or(own.timeout, below.timeout),
            start_period: or(own.start_period, below.start_period),
            start_interval: or(own.start_interval, below.start_interval),
            retries: or(own.retries, below.retries),
        })
    }

    /// Whether set-user-id programs give nothing more.
    pub fn no_new_privileges(&self) -> bool {
        self.security.contains(&SecurityOption::NoNewPrivileges)
    }
}

/// Finds times that make no sense, in Docker's words.
fn check_health(health: &Healthcheck) -> Result<(), BadOption> {
    const LEAST: i64 = 1_000_000;
    let times = [
        ("Interval", "interval", health.interval),
        ("Timeout", "timeout", health.timeout),
        ("StartPeriod", "start-period", health.start_period),
        ("StartInterval", "start-interval", health.start_interval),
    ];
    for (name, option, time) in times {
        if time < 0 {
            return Err(BadOption::new(format!("--health-{option} cannot be negative")));
        }
        if time != 0 && time < LEAST {
            return Err(BadOption::new(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    match health.retries {
        ..0 => Err(BadOption::new("--health-retries cannot be negative")),
        _ => Ok(()),
    }
}
