//! Ports of the host that lead into a network namespace: which are free, and how `pasta` is told.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::TcpListener;
use std::net::UdpSocket;

use serde::Deserialize;
use serde::Serialize;

use crate::Error;

/// What runs over a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A port inside that shall be reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortWish {
    /// What runs over it.
    pub protocol: Protocol,
    /// At which address of the host; at every one when not given.
    pub address: Option<IpAddr>,
    /// At which port of the host: the first one that is free of these. Any when not given.
    pub host: Option<(u16, u16)>,
    /// The port inside.
    pub inside: u16,
}

/// A port of the host that leads inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// What runs over it.
    pub protocol: Protocol,
    /// At which address of the host; at every one when not given.
    pub address: Option<IpAddr>,
    /// The port of the host.
    pub host: u16,
    /// The port inside.
    pub inside: u16,
}

impl PublishedPort {
    /// The options of `pasta` for it.
    pub(super) fn arguments(&self) -> [String; 2] {
        let option = match self.protocol {
            Protocol::Tcp => "--tcp-ports",
            Protocol::Udp => "--udp-ports",
        };
        let address = self.address.map_or(String::new(), |address| format!("{address}/"));
        [option.to_owned(), format!("{address}{}:{}", self.host, self.inside)]
    }
}

/// The ports chosen for some wishes, taken until this is dropped, so that none is chosen twice.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) ports: Vec<PublishedPort>,
    _sockets: Vec<Socket>,
}

/// Holds a port.
#[derive(Debug)]
enum Socket {
    Tcp { _listener: TcpListener },
    Udp { _socket: UdpSocket },
}

/// Chooses a port of the host for each wish.
///
/// `pasta` itself goes on without a word if it cannot have one.
pub(super) fn take(wishes: &[PortWish]) -> Result<Taken, Error> {
    let mut taken = Taken { ports: Vec::new(), _sockets: Vec::new() };
    // Those who want a certain one first, or another might have got it.
    let (certain, any): (Vec<_>, Vec<_>) = wishes.iter().partition(|wish| wish.host.is_some());
    for wish in certain.into_iter().chain(any) {
        let (first, last) = wish.host.unwrap_or((0, 0));
        let mut problem = None;
        let found = (first..=last).find_map(|port| match bind(wish, port) {
            Ok(found) => Some(found),
            Err(error) => {
                problem.get_or_insert(error);
                None
            }
        });
        let Some((host, sockets)) = found else {
            return Err(cannot_publish(wish, problem));
        };
        let PortWish { protocol, address, inside, .. } = *wish;
        taken.ports.push(PublishedPort { protocol, address, host, inside });
        taken._sockets.extend(sockets);
    }
    Ok(taken)
}

fn cannot_publish(wish: &PortWish, source: Option<io::Error>) -> Error {
    let address = wish.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let address = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let port = match wish.host {
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
        None => "0".to_owned(),
    };
    let place = format!("{address}:{port}/{}", wish.protocol);
    Error::Port { place, source: source.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()) }
}

/// Binds a port at all addresses that were wished for; 0 is any port.
fn bind(wish: &PortWish, port: u16) -> io::Result<(u16, Vec<Socket>)> {
    if let Some(address) = wish.address {
        let (port, socket) = bind_at(wish.protocol, address, port)?;
        return Ok((port, vec![socket]));
    }
    let (port, socket) = bind_at(wish.protocol, IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)?;
    let mut sockets = vec![socket];
    // The unspecified address of IPv6 would stand for those of IPv4, too, which are taken now. The host may be
    // without IPv6.
    let six = bind_at(wish.protocol, IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    match six {
        Ok((_, socket)) => sockets.push(socket),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        Err(_) => {}
    }
    Ok((port, sockets))
}

fn bind_at(protocol: Protocol, address: IpAddr, port: u16) -> io::Result<(u16, Socket)> {
    match protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind((address, port))?;
            Ok((listener.local_addr()?.port(), Socket::Tcp { _listener: listener }))
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind((address, port))?;
            Ok((socket.local_addr()?.port(), Socket::Udp { _socket: socket }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(host: Option<(u16, u16)>) -> PortWish {
        let address = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        PortWish { protocol: Protocol::Tcp, address, host, inside: 80 }
    }

    #[test]
    fn any_port_is_another_one_each_time() {
        let taken = take(&[wish(None), wish(None)]).unwrap();
        assert_ne!(taken.ports[0].host, taken.ports[1].host);
        assert!(taken.ports.iter().all(|port| port.host > 0 && port.inside == 80));
    }

    #[test]
    fn a_port_in_use() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = take(&[wish(Some((port, port)))]).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot publish the port 127.0.0.1:{port}/tcp"));
        let every = PortWish { address: None, ..wish(Some((port, port))) };
        assert!(take(&[every]).is_err(), "it is in use at one address");
        if let Some(next) = port.checked_add(3) {
            let taken = take(&[wish(Some((port, next)))]).unwrap();
            assert!((port + 1..=next).contains(&taken.ports[0].host));
        }
    }

    #[test]
    fn how_pasta_is_told() {
        let port = |protocol, address: Option<&str>| PublishedPort {
            protocol,
            address: address.map(|address| address.parse().unwrap()),
            host: 8080,
            inside: 80,
        };
        let check =
            |port: PublishedPort, expected: [&str; 2]| assert_eq!(port.arguments(), expected);
        check(port(Protocol::Tcp, None), ["--tcp-ports", "8080:80"]);
        check(port(Protocol::Udp, Some("127.0.0.1")), ["--udp-ports", "127.0.0.1/8080:80"]);
        check(port(Protocol::Tcp, Some("::1")), ["--tcp-ports", "::1/8080:80"]);
    }
}
