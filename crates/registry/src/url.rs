//! Addresses of resources: only what registries need of RFC 3986, and nothing that could hide where a request goes.

use std::{fmt, net::IpAddr};

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Who answers: two resources of the same origin share credentials and connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    /// In lower case; an IPv6 address has no brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    /// Parses `host[:port]`, with an IPv6 address in brackets.
    pub(crate) fn parse(scheme: Scheme, authority: &str) -> Result<Self, &'static str> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = match port {
            None => scheme.port(),
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().map_err(|_| "the port is not a number up to 65535")?
            }
            Some(_) => return Err("the port is not a number up to 65535"),
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => {
                let address = inner.parse::<std::net::Ipv6Addr>();
                address.map_err(|_| "the host is not an IPv6 address")?.to_string()
            }
            None => host.to_ascii_lowercase(),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b);
        if host.is_empty() || !host.bytes().all(plain) {
            return Err("the host has other characters than letters, digits, `.` and `-`");
        }
        if host.starts_with('.') || host.contains("..") {
            return Err("the host has an empty label");
        }
        Ok(Self { scheme, host, port })
    }

    /// The `Host` of a request: without the port where it is the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host = self.bracketed();
        if self.port == self.scheme.port() { host } else { format!("{host}:{}", self.port) }
    }

    /// The host with its port in any case, as a tunnel is asked for.
    pub(crate) fn host_and_port(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// The host, if it is an address rather than a name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether the host names this machine itself.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.address().is_some_and(|address| address.is_loopback())
    }
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Path and query, starting with `/`.
    pub(crate) target: String,
}

impl Url {
    pub(crate) fn new(origin: Origin, target: String) -> Self {
        Self { origin, target }
    }

    /// Parses `http://…` and `https://…`; the fragment is dropped.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("it is not an absolute URL")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("the scheme is neither `http` nor `https`"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err("it contains a user name");
        }
        let target = match target.split('#').next().unwrap_or_default() {
            query if query.starts_with('?') => format!("/{query}"),
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        // What a header line cannot carry would end the line.
        if !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("it has characters that a URL cannot have");
        }
        Ok(Self { origin: Origin::parse(scheme, authority)?, target })
    }

    /// Returns where a `Location` leads from here; never from `https` to `http`.
    pub(crate) fn redirected(&self, location: &str) -> Result<Self, &'static str> {
        let here = &self.origin;
        let absolute = if location.starts_with("//") {
            format!("{}:{location}", here.scheme.name())
        } else if location.starts_with('/') {
            format!("{}://{}{location}", here.scheme.name(), here.authority())
        } else if location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) {
            location.to_owned()
        } else {
            let path = self.path();
            let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
            format!("{}://{}{folder}{location}", here.scheme.name(), here.authority())
        };
        let there = Self::parse(&absolute)?;
        if here.scheme == Scheme::Https && there.origin.scheme == Scheme::Http {
            return Err("it leads from `https` to `http`");
        }
        Ok(there)
    }

    /// Returns the resource with one more parameter in its query.
    pub(crate) fn with_parameter(mut self, name: &str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(&parameter(name, value));
        self
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Without the query, which may hold the signature of a storage service.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.origin.scheme.name(), self.origin.authority())?;
        f.write_str(self.path().get(..300).unwrap_or(self.path()))
    }
}

/// Returns `name=value` for a query or a form.
pub(crate) fn parameter(name: &str, value: &str) -> String {
    let mut text = format!("{name}=");
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_leads_where_it_says() {
        let here = Url::parse("https://a.example:5000/v2/x/blobs/y?z=1").unwrap();
        for (location, there) in [
            ("https://b.example/q?s=1#f", "https://b.example/q?s=1"),
            ("//b.example/q", "https://b.example/q"),
            ("/q", "https://a.example:5000/q"),
            ("q/r:s", "https://a.example:5000/v2/x/blobs/q/r:s"),
            ("https://B.EXAMPLE:443", "https://b.example/"),
            ("https://[::1]:80/q", "https://[::1]:80/q"),
        ] {
            let url = here.redirected(location).unwrap();
            assert_eq!(url, Url::parse(there).unwrap(), "{location}");
        }
    }

    #[test]
    fn a_location_that_hides_or_weakens_is_refused() {
        let here = Url::parse("https://a.example/v2/").unwrap();
        for location in [
            "http://a.example/v2/",
            "file:///etc/passwd",
            "https://user@b.example/",
            "https://b.example:99999/",
            "https://b.example:+1/",
            "https://[fe80::1%25eth0]/",
            "https://b%2e.example/",
            "https:///x",
            "https://../x",
            "/a b",
            "/a\r\nHost: x",
            "gopher://b.example/",
        ] {
            assert!(here.redirected(location).is_err(), "{location}");
        }
    }

    #[test]
    fn the_query_is_not_shown() {
        let url = Url::parse("https://a.example/p?signature=1").unwrap();
        assert_eq!(url.to_string(), "https://a.example/p");
        assert_eq!(url.with_parameter("a", "b:c/d").target, "/p?signature=1&a=b%3Ac%2Fd");
    }
}
