//! Patterns of hosts: a name, a name with a port, a network.

use std::net::IpAddr;

use crate::proxy::{in_network, network_of};

/// Which hosts a setting is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Addresses of a network; names are not looked up.
    Network { address: IpAddr, bits: u8 },
    /// A host, at all its ports or at one.
    Host { name: String, port: Option<u16> },
    /// All hosts below a domain, which begins with a dot.
    Below(String),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim().to_ascii_lowercase();
        if let Some(domain) = text.strip_prefix('*') {
            return Self::Below(domain.to_owned());
        }
        if let Some((address, bits)) = network_of(&text).filter(|_| text.contains('/')) {
            return Self::Network { address, bits };
        }
        let host = text.split('/').next().unwrap_or_default();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
            _ => (host, None),
        };
        Self::Host { name: name.trim_matches(['[', ']']).to_owned(), port }
    }

    /// Whether it means this host; an IPv6 address is without brackets.
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Network { address, bits } => {
                host.parse().is_ok_and(|host| in_network(host, *address, *bits))
            }
            Self::Host { name, port: wanted } => {
                name == host && wanted.is_none_or(|wanted| wanted == port)
            }
            Self::Below(domain) => host.ends_with(domain.as_str()),
        }
    }
}
