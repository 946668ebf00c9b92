//! From a host to a connection: address, TCP, the proxy's tunnel, TLS, HTTP/1.1.
//!
//! Also the rule which addresses a registry may send to. Which connection is used again is in [`crate::exchange`].
//!
//! HTTP/1.1 only: layers come over connections of their own, where HTTP/2 would press them through one.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{
    Fault, Limits,
    content::Payload,
    error::harmless,
    proxy::{Proxy, Routes},
    tls::Trust,
    url::{Origin, Scheme},
};

/// Who chose the host that is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The user named it: any address will do.
    Named,
    /// The registry named it, which itself is not on this machine: nothing that only this machine can reach will do.
    Foreign,
}

/// Everything that connections are made from.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) offline: bool,
    pub(crate) limits: Limits,
    pub(crate) routes: Routes,
    pub(crate) trust: Trust,
}

/// A connection, ready for a request.
pub(crate) struct Connected {
    pub(crate) sender: SendRequest<Payload>,
    /// The proxy, if requests are to be addressed to it rather than tunnelled.
    pub(crate) by_proxy: Option<Proxy>,
}

impl Connector {
    /// Connects to a host, within the time limit for all of it.
    pub(crate) async fn connect(&self, origin: &Origin, reach: Reach) -> Result<Connected, Fault> {
        if self.offline {
            return Err(Fault::Offline);
        }
        let after = self.limits.connect;
        let late = |_| Fault::Timeout { of: "connection", after };
        timeout(after, self.connect_at_leisure(origin, reach)).await.map_err(late)?
    }

    async fn connect_at_leisure(&self, origin: &Origin, reach: Reach) -> Result<Connected, Fault> {
        let proxy = self.routes.proxy(origin);
        let stream = match proxy {
            None => tcp(origin, reach).await?,
            Some(proxy) => {
                // The proxy looks names up, but what is an address already can be judged here.
                if reach == Reach::Foreign && origin.address().is_some_and(is_private_to_machine) {
                    return Err(Fault::Forbidden { host: origin.host.clone() });
                }
                tcp(&proxy.origin, Reach::Named).await?
            }
        };
        match (origin.scheme, proxy) {
            (Scheme::Http, proxy) => {
                Ok(Connected { sender: speak_http(stream).await?, by_proxy: proxy.cloned() })
            }
            (Scheme::Https, proxy) => {
                let stream = match proxy {
                    Some(proxy) => tunnel(stream, proxy, origin).await?,
                    None => stream,
                };
                let sender = speak_http(self.encrypt(stream, origin).await?).await?;
                Ok(Connected { sender, by_proxy: None })
            }
        }
    }

    async fn encrypt(
        &self,
        stream: TcpStream,
        origin: &Origin,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, Fault> {
        let host = &origin.host;
        let failed = |source| Fault::Tls { host: host.clone(), source };
        let name = ServerName::try_from(host.clone())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let connector = TlsConnector::from(self.trust.config(origin)?);
        connector.connect(name, stream).await.map_err(failed)
    }
}

/// Starts HTTP/1.1 on a stream, and a task that serves it until both sides are done.
async fn speak_http<T>(stream: T) -> Result<SendRequest<Payload>, Fault>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // Real heads are below 16 KiB even with signed locations.
    const LONGEST_HEAD: usize = 64 * 1024;
    let handshake =
        http1::Builder::new().max_header_size(LONGEST_HEAD).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(|error| Fault::Broken(Box::new(error)))?;
    tokio::spawn(async move {
        // What goes wrong here is told to whoever waits for the answer.
        let _ = connection.await;
    });
    Ok(sender)
}

/// Connects to the first address that answers, giving each a head start before the next is tried as well
/// (RFC 8305): where IPv6 is announced but dead, that is the difference between a moment and a minute.
async fn tcp(origin: &Origin, reach: Reach) -> Result<TcpStream, Fault> {
    const HEAD_START: Duration = Duration::from_millis(250);
    let mut addresses = addresses(origin, reach).await?.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = addresses.next() {
            attempts.spawn(TcpStream::connect(address));
        } else if attempts.is_empty() {
            return Err(Fault::Connect { host: origin.host_and_port(), source: last });
        }
        let head_start = if addresses.len() > 0 { HEAD_START } else { Duration::MAX };
        let Ok(Some(attempt)) = timeout(head_start, attempts.join_next()).await else { continue };
        match attempt.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(stream) => {
                // Requests are small and complete: waiting for more to send would only delay them.
                stream.set_nodelay(true).map_err(|error| Fault::Broken(Box::new(error)))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
}

/// Looks a host up, and judges what was found, so that a name cannot mean another address when it is connected to.
async fn addresses(origin: &Origin, reach: Reach) -> Result<Vec<SocketAddr>, Fault> {
    let host = &origin.host;
    let lost = |source| Fault::Lookup { host: host.clone(), source };
    let found = match origin.address() {
        Some(address) => vec![SocketAddr::new(address, origin.port)],
        None => {
            tokio::net::lookup_host((host.as_str(), origin.port)).await.map_err(lost)?.collect()
        }
    };
    if reach == Reach::Foreign && found.iter().any(|address| is_private_to_machine(address.ip())) {
        return Err(Fault::Forbidden { host: host.clone() });
    }
    Ok(found)
}

/// Whether an address leads to this machine or its link only, as the metadata services of clouds do.
fn is_private_to_machine(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                // The metadata service of EC2.
                || v6.segments()[..3] == [0xfd00, 0x0ec2, 0]
        }
    }
}

/// Asks a proxy for a tunnel (RFC 9110, section 9.3.6).
async fn tunnel(mut stream: TcpStream, proxy: &Proxy, to: &Origin) -> Result<TcpStream, Fault> {
    const LONGEST_HEAD: usize = 8 * 1024;
    let broken = |error: io::Error| Fault::Broken(Box::new(error));
    let to = to.host_and_port();
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;

    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // One byte at a time: what follows the head belongs to the tunnel.
        head.push(stream.read_u8().await.map_err(broken)?);
        if head.len() > LONGEST_HEAD {
            break;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    if status.is_some_and(|status| status.starts_with('2')) {
        return Ok(stream);
    }
    Err(Fault::Tunnel { proxy: proxy.origin.authority(), answer: harmless(line) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_machine_reaches_is_known() {
        for (address, private) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("169.254.169.254", true),
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("::1", true),
            ("::", true),
            ("fe80::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:169.254.169.254", true),
            ("fd00:ec2::254", true),
            ("224.0.0.1", true),
            ("10.0.0.1", false),
            ("192.168.1.1", false),
            ("8.8.8.8", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private_to_machine(address.parse().unwrap()), private, "{address}");
        }
    }

    #[tokio::test]
    async fn a_foreign_name_for_this_machine_is_not_connected_to() {
        let origin = Origin::parse(Scheme::Https, "localhost:1").unwrap();
        assert!(matches!(tcp(&origin, Reach::Foreign).await, Err(Fault::Forbidden { .. })));
        assert!(matches!(tcp(&origin, Reach::Named).await, Err(Fault::Connect { .. })));
    }
}
