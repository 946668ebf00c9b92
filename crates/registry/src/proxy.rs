//! Which requests go through a proxy, by the rules of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` as Docker and Go
//! read them. How a tunnel is made is in [`crate::connect`].

use std::{fmt, net::IpAddr};

use crate::{
    Error, base64,
    error::harmless,
    url::{Origin, Scheme},
};

/// What the environment says about proxies; each is the value of the variable of its name, an empty one is unset.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// `HTTP_PROXY`: for registries spoken to over plain http.
    pub http: Option<String>,
    /// `HTTPS_PROXY`: for all others.
    pub https: Option<String>,
    /// `NO_PROXY`: hosts, domains, addresses and networks that are reached directly, with commas between them.
    pub none: Option<String>,
}

/// The values may contain passwords.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("none", &self.none).finish_non_exhaustive()
    }
}

/// The parsed form of [`Proxies`].
#[derive(Debug)]
pub(crate) struct Routes {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: Vec<Direct>,
}

/// A proxy that is spoken to over plain http.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<String>,
}

/// Without the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.origin).finish()
    }
}

/// An entry of `NO_PROXY`.
#[derive(Debug)]
enum Direct {
    Everything,
    Network {
        address: IpAddr,
        bits: u8,
    },
    /// The host itself and all below it; with a leading dot, only those below.
    Domain {
        name: String,
        port: Option<u16>,
    },
}

impl Routes {
    pub(crate) fn parse(proxies: &Proxies) -> Result<Self, Error> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.trim().is_empty());
        let entries = proxies.none.as_deref().unwrap_or_default().split(',').map(str::trim);
        Ok(Self {
            http: set(&proxies.http).map(|value| Proxy::parse(&value)).transpose()?,
            https: set(&proxies.https).map(|value| Proxy::parse(&value)).transpose()?,
            direct: entries.filter(|entry| !entry.is_empty()).map(Direct::parse).collect(),
        })
    }

    /// Returns the proxy for a host; this machine is always reached directly.
    pub(crate) fn proxy(&self, origin: &Origin) -> Option<&Proxy> {
        if origin.is_loopback() || self.direct.iter().any(|direct| direct.matches(origin)) {
            return None;
        }
        match origin.scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        }
    }
}

impl Proxy {
    fn parse(value: &str) -> Result<Self, Error> {
        let (scheme, rest) = value.trim().split_once("://").unwrap_or(("http", value.trim()));
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let wrong = |reason| Error::Proxy { proxy: harmless(authority), reason };
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(wrong("only proxies that speak plain http are supported"));
        }
        let origin = Origin::parse(Scheme::Http, authority).map_err(wrong)?;
        let authorization = user.map(|user| {
            let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
            format!("Basic {}", base64::encode(&decode_percent(&user)))
        });
        Ok(Self { origin, authorization })
    }
}

impl Direct {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::Everything;
        }
        if let Some(network) = network(entry) {
            return network;
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => match port.parse() {
                Ok(port) => (name, Some(port)),
                Err(_) => (entry, None),
            },
            None => (entry, None),
        };
        let name = name.strip_prefix('*').unwrap_or(name);
        Self::Domain { name: name.to_ascii_lowercase(), port }
    }

    fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Everything => true,
            Self::Network { address, bits } => {
                origin.address().is_some_and(|host| in_network(host, *address, *bits))
            }
            Self::Domain { name, port } => {
                let below = |name: &str| {
                    origin.host.strip_suffix(name).is_some_and(|rest| !rest.is_empty())
                };
                let named = match name.strip_prefix('.') {
                    Some(_) => below(name),
                    None => origin.host == *name || below(&format!(".{name}")),
                };
                named && port.is_none_or(|port| port == origin.port)
            }
        }
    }
}

fn network(entry: &str) -> Option<Direct> {
    network_of(entry).map(|(address, bits)| Direct::Network { address, bits })
}

/// Reads `address[/bits]`.
pub(crate) fn network_of(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = entry.split_once('/').map_or((entry, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(all), |bits| bits.parse().ok())?;
    (bits <= all).then_some((address, bits))
}

pub(crate) fn in_network(host: IpAddr, network: IpAddr, bits: u8) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let shift = width.saturating_sub(u32::from(bits));
        a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
    };
    match (host, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

pub(crate) fn decode_percent(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let coded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, coded) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(none: &str) -> Routes {
        let proxies = Proxies {
            http: Some("plain.example:3128".into()),
            https: Some("http://us%65r:p%40ss@secure.example:3129/".into()),
            none: Some(none.into()),
        };
        Routes::parse(&proxies).unwrap()
    }

    #[test]
    fn the_scheme_chooses_the_proxy() {
        let routes = routes("");
        let http = routes.proxy(&Origin::parse(Scheme::Http, "a.example").unwrap()).unwrap();
        assert_eq!(
            (http.origin.host_and_port(), &http.authorization),
            ("plain.example:3128".into(), &None)
        );
        let https = routes.proxy(&Origin::parse(Scheme::Https, "a.example").unwrap()).unwrap();
        assert_eq!(https.origin.host_and_port(), "secure.example:3129");
        assert_eq!(https.authorization.as_deref(), Some("Basic dXNlcjpwQHNz"));
    }

    #[test]
    fn exceptions_are_gos() {
        for (none, host, direct) in [
            ("", "127.0.0.1:5000", true),
            ("", "localhost", true),
            ("*", "a.example", true),
            ("a.example", "a.example", true),
            (" b.example , a.example", "x.a.example", true),
            (".a.example", "a.example", false),
            (".a.example", "x.a.example", true),
            ("*.a.example", "x.a.example", true),
            ("a.example", "ba.example", false),
            ("a.example:5000", "a.example", false),
            ("a.example:5000", "a.example:5000", true),
            ("10.0.0.0/8", "10.2.3.4", true),
            ("10.0.0.0/8", "11.2.3.4", false),
            ("0.0.0.0/0", "11.2.3.4", true),
            ("fd00::/8", "[fd12::1]:5000", true),
            ("10.2.3.4", "10.2.3.4:5000", true),
        ] {
            let origin = Origin::parse(Scheme::Https, host).unwrap();
            assert_eq!(routes(none).proxy(&origin).is_none(), direct, "{none} {host}");
        }
    }

    #[test]
    fn other_proxies_are_refused_without_showing_the_password() {
        for value in ["socks5://u:secret@p.example:1", "http://u:secret@p.example:x"] {
            let proxies = Proxies { https: Some(value.into()), ..Proxies::default() };
            let error = Routes::parse(&proxies).unwrap_err().to_string();
            assert!(error.contains("p.example") && !error.contains("secret"), "{error}");
        }
    }
}
