//! `-p` and `--expose`: ports of a container, and the ports of the host that lead to them.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::BadOption;

/// What runs over a port.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The usual one.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = BadOption;

    fn from_str(text: &str) -> Result<Self, BadOption> {
        match text.to_ascii_lowercase().as_str() {
            "" | "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Err(BadOption::new("sctp is not supported: pasta forwards tcp and udp")),
            _ => Err(BadOption::new(format!("invalid proto: {text}"))),
        }
    }
}

/// Ports of a container: `80`, `80/udp`, `8000-8010/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// The first one.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// What runs over them.
    pub protocol: Protocol,
}

impl FromStr for Port {
    type Err = BadOption;

    fn from_str(text: &str) -> Result<Self, BadOption> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
        let (first, last) = range(ports)
            .ok_or_else(|| BadOption::new(format!("invalid range format for --expose: {text}")))?;
        Ok(Self { first, last, protocol: protocol.parse()? })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}/{}", self.first, self.protocol),
            false => write!(f, "{}-{}/{}", self.first, self.last, self.protocol),
        }
    }
}

/// Ports of the host that lead to ports of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// At which address of the host; at every one when not given.
    pub address: Option<IpAddr>,
    /// First and last port of the host; any that is free when not given. As many as there are ports of the container, or
    /// more for one of them: the first of those that is free.
    pub host: Option<(u16, u16)>,
    /// Ports of the container.
    pub container: Port,
}

impl FromStr for Publish {
    type Err = BadOption;

    /// Reads `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, an IPv6 address in brackets, or `target=…,published=…`.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        if text.contains('=') {
            return Self::parse_long(text);
        }
        let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
        let (rest, container) = ports.rsplit_once(':').unwrap_or(("", ports));
        let (address, host) = match rest.rsplit_once(':') {
            // Not a colon of an address in brackets.
            Some((address, host)) if !host.contains(']') => (address, host),
            _ if rest.contains(']') => (rest, ""),
            _ => ("", rest),
        };
        Self::of_parts(text, address, host, container, protocol)
    }
}

impl Publish {
    fn parse_long(text: &str) -> Result<Self, BadOption> {
        let (mut target, mut published, mut protocol) = ("", "", "");
        for field in text.split(',') {
            let (key, value) = field.split_once('=').ok_or_else(|| {
                BadOption::new(format!("invalid field format: {field}, should be name=value"))
            })?;
            match key {
                "target" => target = value,
                "published" => published = value,
                "protocol" => protocol = value,
                "mode" if value == "host" || value == "ingress" => {}
                _ => return Err(BadOption::new(format!("invalid field key: {key}"))),
            }
        }
        Self::of_parts(text, "", published, target, protocol)
    }

    fn of_parts(
        text: &str,
        address: &str,
        host: &str,
        container: &str,
        protocol: &str,
    ) -> Result<Self, BadOption> {
        if container.is_empty() {
            return Err(BadOption::new(format!("no port specified: {text}<empty>")));
        }
        let (first, last) = range(container)
            .ok_or_else(|| BadOption::new(format!("invalid containerPort: {container}")))?;
        let host = match host {
            "" => None,
            host => Some(
                range(host).ok_or_else(|| BadOption::new(format!("invalid hostPort: {host}")))?,
            ),
        };
        if let Some((host_first, host_last)) = host
            && host_last - host_first != last - first
            && first != last
        {
            return Err(BadOption::new(format!(
                "invalid ranges specified for container and host Ports: {first}-{last} and {host_first}-{host_last}"
            )));
        }
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match bare.unwrap_or(address) {
            "" => None,
            bare => Some(
                bare.parse()
                    .map_err(|_| BadOption::new(format!("invalid IP address: {address}")))?,
            ),
        };
        let container = Port { first, last, protocol: protocol.parse()? };
        Ok(Self { address, host, container })
    }
}

/// First and last port of `N` or `N-M`; 0 is none.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|port| *port > 0 && digits)
    };
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}
