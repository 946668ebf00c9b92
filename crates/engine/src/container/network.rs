//! The network of a container: what it reaches, and which ports of the host lead to it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use oci::Config;
use sandbox::{BuildNetwork, PortWish, PublishedPort, Reach};

use super::options::{ContainerOptions, HostAddress, Network as Wanted, Port, Protocol, Publish};
use crate::{Error, op::network::Network};

/// A container's network; it lasts as long as this value.
#[derive(Debug)]
pub(crate) struct Outside {
    /// The network itself.
    pub(crate) network: Network,
    /// What stands for the host, if anybody asked for it.
    pub(crate) gateway: Option<IpAddr>,
}

impl Outside {
    /// The ports of the host that lead to the container; at every address: one of each kind.
    pub(crate) fn published_ports(&self) -> Vec<store::PublishedPort> {
        let published = match &self.network {
            Network::Own(network) => network.published(),
            Network::None | Network::Host => &[],
        };
        published.iter().flat_map(in_words).collect()
    }
}

/// Makes the network that was asked for.
pub(crate) fn outside(options: &ContainerOptions, config: &Config) -> Result<Outside, Error> {
    let asks_for_host = options.hosts.iter().any(|it| it.address == HostAddress::HostGateway);
    let wishes = wishes(options, config);
    match options.network {
        Wanted::None if asks_for_host => Err(Error::NoHostGateway),
        Wanted::None => Ok(Outside { network: Network::None, gateway: None }),
        Wanted::Host => Ok(of_host()),
        Wanted::Default => match sandbox::pasta_missing() {
            Some(reason) if !wishes.is_empty() => Err(Error::NoPorts { reason: reason.to_owned() }),
            Some(_) => Ok(of_host()),
            None => own(wishes, asks_for_host),
        },
    }
}

fn in_words(port: &PublishedPort) -> Vec<store::PublishedPort> {
    let addresses = match port.address {
        Some(IpAddr::V4(address)) => vec![address.to_string()],
        Some(IpAddr::V6(address)) => vec![format!("[{address}]")],
        None => vec!["0.0.0.0".to_owned(), "[::]".to_owned()],
    };
    let entry = |address| store::PublishedPort {
        address,
        host_port: port.host,
        container_port: port.inside,
        protocol: port.protocol.to_string(),
    };
    addresses.into_iter().map(entry).collect()
}

/// The host's network, where the host is this machine.
fn of_host() -> Outside {
    Outside { network: Network::Host, gateway: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) }
}

fn own(ports: Vec<PortWish>, host: bool) -> Result<Outside, Error> {
    let needed = host || !ports.is_empty();
    let gateway = match host {
        true => Some(sandbox::host_gateway().ok_or(Error::NoHostGateway)?),
        false => None,
    };
    match BuildNetwork::start_with(&Reach { ports, host }) {
        Ok(network) => Ok(Outside { network: Network::Own(Arc::new(network)), gateway }),
        // Without a network of its own, as it was announced: see `warnings`.
        Err(sandbox::Error::Pasta { .. }) if !needed => Ok(of_host()),
        Err(error) => Err(error.into()),
    }
}

/// What is not as one might think, for people.
pub fn warnings(options: &ContainerOptions) -> Vec<String> {
    let publishes = !options.publish.is_empty() || options.publish_all;
    let mut warnings = Vec::new();
    match options.network {
        Wanted::Host if publishes => {
            warnings.push("published ports are discarded when using host network mode".to_owned());
        }
        Wanted::None if publishes => {
            warnings.push("published ports are discarded: the container has no network".to_owned());
        }
        Wanted::Default if !publishes => {
            let reason = sandbox::pasta_missing();
            warnings.extend(reason.map(|reason| format!("network: the host's ({reason})")));
        }
        Wanted::Default | Wanted::Host | Wanted::None => {}
    }
    warnings
}

/// The ports that are to be published: those that were named, and with `-P` every other exposed one.
fn wishes(options: &ContainerOptions, config: &Config) -> Vec<PortWish> {
    let mut wishes: Vec<PortWish> = options.publish.iter().flat_map(wishes_of).collect();
    if options.publish_all {
        let named: BTreeSet<_> = wishes.iter().map(|wish| (wish.inside, wish.protocol)).collect();
        let others = exposed(options, config).into_iter().filter(|port| !named.contains(port));
        wishes.extend(others.map(|(inside, protocol)| PortWish {
            protocol,
            address: None,
            host: None,
            inside,
        }));
    }
    wishes
}

/// One wish for each port of the container. A range of the host's for a single one is to choose from.
fn wishes_of(publish: &Publish) -> impl Iterator<Item = PortWish> + '_ {
    let Port { first, last, protocol } = publish.container;
    (first..=last).map(move |inside| PortWish {
        protocol: protocol_of(protocol),
        address: publish.address,
        host: publish.host.map(|(host_first, host_last)| match first == last {
            true => (host_first, host_last),
            false => (host_first + (inside - first), host_first + (inside - first)),
        }),
        inside,
    })
}

/// The ports of EXPOSE and `--expose`; what the image says and is no port is skipped.
pub(crate) fn exposed(
    options: &ContainerOptions,
    config: &Config,
) -> BTreeSet<(u16, sandbox::Protocol)> {
    let of_image = config.exposed_ports.keys().filter_map(|port| port.parse::<Port>().ok());
    let all = of_image.chain(options.expose.iter().copied());
    all.flat_map(|port| (port.first..=port.last).map(move |it| (it, protocol_of(port.protocol))))
        .collect()
}

fn protocol_of(protocol: Protocol) -> sandbox::Protocol {
    match protocol {
        Protocol::Tcp => sandbox::Protocol::Tcp,
        Protocol::Udp => sandbox::Protocol::Udp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(publish: &[&str], all: bool, expected: &[&str]) {
        let options = ContainerOptions {
            publish: publish.iter().map(|text| text.parse().unwrap()).collect(),
            publish_all: all,
            expose: vec!["53/udp".parse().unwrap()],
            ..ContainerOptions::default()
        };
        let exposed_ports =
            ["80/tcp", "nonsense"].map(|port| (port.to_owned(), Default::default()));
        let config = Config { exposed_ports: exposed_ports.into(), ..Config::default() };
        let shown: Vec<String> = wishes(&options, &config)
            .iter()
            .map(|wish| {
                let host = wish.host.map_or("any".to_owned(), |(a, b)| format!("{a}-{b}"));
                format!("{host}:{}/{}", wish.inside, wish.protocol)
            })
            .collect();
        assert_eq!(shown, expected, "{publish:?} {all}");
    }

    #[test]
    fn published_ports() {
        check(&[], false, &[]);
        check(&["80"], false, &["any:80/tcp"]);
        check(&["7000-7001:8000-8001"], false, &["7000-7000:8000/tcp", "7001-7001:8001/tcp"]);
        check(&["7000-7005:80/udp"], false, &["7000-7005:80/udp"]);
        check(&["8000-8001"], false, &["any:8000/tcp", "any:8001/tcp"]);
        check(&[], true, &["any:53/udp", "any:80/tcp"]);
        check(&["8080:80"], true, &["8080-8080:80/tcp", "any:53/udp"]);
    }
}
