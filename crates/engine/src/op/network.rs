//! The network of a command, and the files that tell about it: RUN and containers have the same.

use std::{fmt::Write, fs, net::IpAddr, sync::Arc};

use sandbox::{BuildNetwork, MountSource};

use crate::{
    Event, Events,
    container::options::{HostAddress, HostEntry},
};

/// The network of a command.
#[derive(Debug)]
pub(crate) enum Network {
    /// Only a loopback device.
    None,
    /// The host's.
    Host,
    /// The build's own.
    Own(Arc<BuildNetwork>),
}

impl Network {
    pub(crate) fn spec(&self) -> Result<sandbox::Network, sandbox::Error> {
        match self {
            Self::None => Ok(sandbox::Network::None),
            Self::Host => Ok(sandbox::Network::Host),
            Self::Own(network) => network.network(),
        }
    }
}

/// Returns a network of its own where pasta can join one to the outside, else none. Sends a note of which it is: when it is
/// first used, or at once if there is none.
pub(crate) fn own_network(events: &Events) -> Option<Arc<BuildNetwork>> {
    let note = |events: &Events, text: String| events.send(Event::Note(format!("network: {text}")));
    if let Some(reason) = sandbox::pasta_missing() {
        note(events, format!("the host's ({reason})"));
        return None;
    }
    let network = BuildNetwork::prepare({
        let events = events.clone();
        move |connected| match connected {
            Ok(()) => note(&events, "a namespace of the build's own, joined by pasta".to_owned()),
            Err(error) => {
                note(&events, format!("none ({error}); from the next step on the host's"))
            }
        }
    });
    match network {
        Ok(network) => Some(Arc::new(network)),
        Err(error) => {
            note(events, format!("the host's ({error})"));
            None
        }
    }
}

/// Which names a command knows, and whom it asks for others.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    /// Its own.
    pub(crate) hostname: &'a str,
    /// Further ones.
    pub(crate) hosts: &'a [HostEntry],
    /// Name servers instead of the host's.
    pub(crate) servers: &'a [IpAddr],
    /// Search domains instead of the host's; `.` for none.
    pub(crate) search: &'a [String],
    /// Options of the resolver instead of the host's.
    pub(crate) options: &'a [String],
    /// What stands for the machine that the command runs on.
    pub(crate) gateway: Option<IpAddr>,
}

impl Names<'_> {
    /// `/etc/hosts`. In the host's network its names are known, too.
    pub(crate) fn hosts_file(&self, network: &Network) -> Vec<u8> {
        let mut text = match network {
            Network::Host => fs::read_to_string("/etc/hosts").unwrap_or_default(),
            Network::None | Network::Own(_) => String::new(),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&self.hosts_lines());
        text.into_bytes()
    }

    /// The lines of `/etc/hosts` that are the command's own.
    fn hosts_lines(&self) -> String {
        let mut text = format!(
            "127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
            self.hostname
        );
        for HostEntry { name, address } in self.hosts {
            let address = match address {
                HostAddress::Ip(address) => Some(*address),
                HostAddress::HostGateway => self.gateway,
            };
            if let Some(address) = address {
                // Writing to a text does not fail.
                let _ = writeln!(text, "{address}\t{name}");
            }
        }
        text
    }

    /// `/etc/resolv.conf`: the host's, but for what was given.
    fn resolv_conf(&self, network: &Network) -> Vec<u8> {
        let host = match network {
            Network::Own(_) => sandbox::own_resolv_conf(),
            Network::Host | Network::None => sandbox::host_resolv_conf(),
        };
        if self.servers.is_empty() && self.search.is_empty() && self.options.is_empty() {
            return host;
        }
        self.replace_in(&String::from_utf8_lossy(&host)).into_bytes()
    }

    fn replace_in(&self, host: &str) -> String {
        let mut text = String::new();
        for server in self.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        match self.search {
            [] => {}
            [dot] if dot == "." => {}
            domains => drop(writeln!(text, "search {}", domains.join(" "))),
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        for line in host.lines() {
            let replaced = match line.split_whitespace().next() {
                Some("nameserver") => !self.servers.is_empty(),
                Some("search" | "domain") => !self.search.is_empty(),
                Some("options") => !self.options.is_empty(),
                Some(_) => false,
                None => true,
            };
            if !replaced {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }

    /// `/etc/hosts` and `/etc/resolv.conf` as a RUN sees them; they are mounts and never in a layer.
    pub(crate) fn files_of_step(&self, network: &Network) -> Vec<sandbox::Mount> {
        vec![
            file("/etc/hosts", self.hosts_lines().into_bytes(), true),
            file("/etc/resolv.conf", self.resolv_conf(network), true),
        ]
    }

    /// The same as a container sees them, which may write to them; and `/etc/hostname`.
    pub(crate) fn files_of_container(&self, network: &Network) -> Vec<sandbox::Mount> {
        vec![
            file("/etc/hostname", format!("{}\n", self.hostname).into_bytes(), false),
            file("/etc/hosts", self.hosts_file(network), false),
            file("/etc/resolv.conf", self.resolv_conf(network), false),
        ]
    }
}

fn file(target: &str, content: Vec<u8>, read_only: bool) -> sandbox::Mount {
    sandbox::Mount {
        target: target.to_owned(),
        source: MountSource::File { content, mode: 0o644, uid: 0, gid: 0 },
        read_only,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_hosts() {
        let hosts = ["db:10.0.0.1", "six:[::2]", "me:host-gateway"];
        let hosts = hosts.map(|text| text.parse().unwrap());
        let gateway = Some("10.0.0.254".parse().unwrap());
        let names = Names { hostname: "h", hosts: &hosts, gateway, ..Names::default() };
        assert_eq!(
            names.hosts_lines(),
            "127.0.0.1\tlocalhost h\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             10.0.0.1\tdb\n::2\tsix\n10.0.0.254\tme\n"
        );
    }

    #[test]
    fn what_is_given_replaces_the_hosts() {
        let host = "search a.example b.example\nnameserver 10.0.0.1\noptions edns0\nsortlist x\n";
        let servers = ["1.1.1.1".parse().unwrap(), "::1".parse().unwrap()];
        let check = |names: Names<'_>, expected: &str| assert_eq!(names.replace_in(host), expected);
        check(
            Names { servers: &servers, ..Names::default() },
            "nameserver 1.1.1.1\nnameserver ::1\nsearch a.example b.example\noptions edns0\nsortlist x\n",
        );
        check(
            Names { search: &["c.example".to_owned()], ..Names::default() },
            "search c.example\nnameserver 10.0.0.1\noptions edns0\nsortlist x\n",
        );
        check(
            Names { search: &[".".to_owned()], ..Names::default() },
            "nameserver 10.0.0.1\noptions edns0\nsortlist x\n",
        );
        check(
            Names { options: &["ndots:1".to_owned()], ..Names::default() },
            "options ndots:1\nsearch a.example b.example\nnameserver 10.0.0.1\nsortlist x\n",
        );
    }
}
