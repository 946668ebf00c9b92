//! The client: what it is made from, and where registries are.

use std::sync::Arc;

use hyper::header::HeaderValue;

use oci::Reference;

use crate::{
    Authorities, Credentials, Error, Limits, Proxies,
    access::Access,
    auth::Auth,
    connect::Connector,
    exchange::Exchanges,
    proxy::Routes,
    send::{Ask, Sender},
    tls::Trust,
    url::{Origin, Scheme, Url},
};

/// Where Docker Hub answers; its references say `docker.io`.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// What a client needs to know of the user and the machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who one is to which registry.
    pub credentials: Credentials,
    /// Hosts that are spoken to over plain http: `host`, for all its ports, or `host:port`. This machine is in any
    /// case, unless [`Authorities::by_host`] has certificates for it.
    pub insecure_hosts: Vec<String>,
    /// Which requests go through a proxy.
    pub proxies: Proxies,
    /// Whose certificates are believed.
    pub authorities: Authorities,
    /// How long to wait, how often to try, how much to accept.
    pub limits: Limits,
    /// What this program calls itself: `kiln/1.0`. Characters that a header cannot carry are left out.
    pub user_agent: String,
}

/// Talks to registries, on the tokio runtime on which it is used.
///
/// Cheap to clone; all clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    insecure_hosts: Vec<String>,
    sender: Sender,
}

impl Client {
    /// Makes a client. Nothing is connected to, and certificates are read when the first host needs them.
    pub fn new(options: Options) -> Result<Self, Error> {
        let Options { credentials, insecure_hosts, proxies, authorities, limits, user_agent } =
            options;
        let sendable: String =
            user_agent.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
        // What is left is always a legal header.
        let user_agent =
            HeaderValue::try_from(sendable).unwrap_or_else(|_| HeaderValue::from_static("kiln"));
        let connector =
            Connector { limits, routes: Routes::parse(&proxies)?, trust: Trust::new(authorities) };
        let sender = Sender {
            exchanges: Exchanges::new(connector, user_agent),
            auth: Auth::new(credentials),
        };
        let insecure_hosts =
            insecure_hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self { shared: Arc::new(Shared { insecure_hosts, sender }) })
    }

    pub(crate) fn sender(&self) -> &Sender {
        &self.shared.sender
    }

    /// Starts a request for something in a reference's repository, to be read.
    pub(crate) fn ask(&self, reference: &Reference, path: String) -> Ask {
        self.ask_for(Access::pull(reference), reference, path)
    }

    /// Starts a request with some access to something in a reference's repository.
    pub(crate) fn ask_for(&self, access: Access, reference: &Reference, path: String) -> Ask {
        let registry = self.origin(reference.host());
        let url = Url::new(registry.clone(), path);
        Ask { access, wanted: reference.tagged().familiar(), registry, url }
    }

    /// Returns how and where a registry is spoken to.
    pub(crate) fn origin(&self, host: &str) -> Origin {
        let (hub, at) = DOCKER_HUB;
        let host = if host == hub { at } else { host };
        // Reference has checked the host by the same grammar, but for ports beyond 65535: then the look-up fails.
        let origin = |scheme| {
            Origin::parse(scheme, host).unwrap_or_else(|_| Origin {
                scheme,
                host: host.to_ascii_lowercase(),
                port: 0,
            })
        };
        let secure = origin(Scheme::Https);
        let listed = |entry: &String| *entry == secure.host || *entry == host.to_ascii_lowercase();
        let has_certificates = || self.sender().exchanges.knows(&secure.authority());
        let plain = self.shared.insecure_hosts.iter().any(listed)
            || (secure.is_loopback() && !has_certificates());
        if plain { origin(Scheme::Http) } else { secure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client::new(Options {
            credentials: Credentials::none(),
            insecure_hosts: vec!["Plain.example".to_owned(), "ported.example:5000".to_owned()],
            proxies: Proxies::default(),
            authorities: Authorities::default(),
            limits: Limits::standard(),
            user_agent: "test".to_owned(),
        })
        .unwrap()
    }

    #[test]
    fn registries_are_where_their_names_say() {
        for (reference, url) in [
            ("busybox", "https://registry-1.docker.io/"),
            ("quay.example/a", "https://quay.example/"),
            ("quay.example:443/a", "https://quay.example/"),
            ("quay.example:5000/a", "https://quay.example:5000/"),
            ("localhost/a", "http://localhost/"),
            ("localhost:5000/a", "http://localhost:5000/"),
            ("127.1.2.3:5000/a", "http://127.1.2.3:5000/"),
            ("[::1]:5000/a", "http://[::1]:5000/"),
            ("plain.example/a", "http://plain.example/"),
            ("plain.example:5000/a", "http://plain.example:5000/"),
            ("ported.example:5000/a", "http://ported.example:5000/"),
            ("ported.example/a", "https://ported.example/"),
            ("10.0.0.1:5000/a", "https://10.0.0.1:5000/"),
        ] {
            let reference = Reference::parse(reference).unwrap();
            let ask = client().ask(&reference, "/".to_owned()).url.to_string();
            assert_eq!(ask, url, "{reference}");
        }
    }
}
