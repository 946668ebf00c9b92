//! The client: what it is made from, and where registries are.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::header::HeaderValue;

use oci::Reference;

use crate::{
    Authorities, Credentials, Error, Limits, Proxies, Settings,
    access::Access,
    auth::Auth,
    connect::Connector,
    exchange::Exchanges,
    proxy::Routes,
    send::{Ask, Sender},
    settings::Security,
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
    /// What files say about registries. This machine is spoken to over plain http, unless there are certificates for it
    /// or it is among the insecure ones.
    pub settings: Settings,
    /// Which requests go through a proxy.
    pub proxies: Proxies,
    /// Whose certificates are believed.
    pub authorities: Authorities,
    /// Whether every connection is refused.
    pub offline: bool,
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
    settings: Settings,
    /// Mirrors that cannot be reached or have sent other bytes than they should: not asked again.
    distrusted: Mutex<BTreeSet<String>>,
    /// Registries that take no blob before its length is known: not tried again.
    wants_lengths: Mutex<BTreeSet<String>>,
    /// How hosts are spoken to that need not prove anything.
    probed: Mutex<HashMap<Origin, Scheme>>,
    sender: Sender,
}

impl Client {
    /// Makes a client. Nothing is connected to, and certificates are read when the first host needs them.
    pub fn new(options: Options) -> Result<Self, Error> {
        let Options { credentials, settings, proxies, authorities, offline, limits, user_agent } =
            options;
        let sendable: String =
            user_agent.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
        // What is left is always a legal header.
        let user_agent =
            HeaderValue::try_from(sendable).unwrap_or_else(|_| HeaderValue::from_static("kiln"));
        let trust = Trust::new(authorities, settings.clone());
        let routes = Routes::parse(&proxies)?;
        let connector = Connector { offline, limits, routes, trust };
        let sender = Sender {
            exchanges: Exchanges::new(connector, user_agent),
            auth: Auth::new(credentials),
        };
        let (distrusted, wants_lengths, probed) = <(_, _, Mutex<_>)>::default();
        let shared = Shared { settings, distrusted, wants_lengths, probed, sender };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(crate) fn sender(&self) -> &Sender {
        &self.shared.sender
    }

    /// Whether it refuses every connection.
    pub fn is_offline(&self) -> bool {
        self.sender().exchanges.is_offline()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Returns under which names an image can be had, the registry itself last.
    pub(crate) fn places(&self, reference: &Reference) -> Result<VecDeque<Reference>, Error> {
        let distrusted = self.shared.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places: VecDeque<_> = self.settings().places(reference)?.into();
        let own = places.pop_back();
        places.retain(|place| !distrusted.contains(place.host()));
        places.extend(own);
        Ok(places)
    }

    /// Goes on without a mirror: for ever, if it cannot be reached. It was tried often enough for all that is to follow.
    pub(crate) fn give_up(&self, mirror: &Reference, error: &Error) {
        if matches!(error, Error::Unreachable { .. }) {
            self.distrust(mirror);
        }
    }

    /// Asks a mirror no more.
    pub(crate) fn distrust(&self, mirror: &Reference) {
        let mut distrusted = self.shared.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        distrusted.insert(mirror.host().to_owned());
    }

    /// The registries that take no blob before its length is known.
    pub(crate) fn wants_lengths(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.shared.wants_lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a request for something in a reference's repository, to be read.
    pub(crate) async fn ask(&self, reference: &Reference, path: String) -> Result<Ask, Error> {
        self.ask_for(Access::pull(reference), reference, path).await
    }

    /// Starts a request with some access to something in a reference's repository.
    pub(crate) async fn ask_for(
        &self,
        access: Access,
        reference: &Reference,
        path: String,
    ) -> Result<Ask, Error> {
        self.settings().check(reference)?;
        let registry = self.origin(reference.host()).await;
        let url = Url::new(registry.clone(), path);
        Ok(Ask { access, wanted: reference.tagged().familiar(), registry, url })
    }

    /// Returns how and where a registry is spoken to.
    pub(crate) async fn origin(&self, host: &str) -> Origin {
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
        let has_certificates = || self.sender().exchanges.knows(&secure.authority());
        let scheme = match self.settings().security(&secure.host, secure.port) {
            Some(Security::Plain) => Scheme::Http,
            Some(Security::Insecure) => self.probe(&secure).await,
            None if secure.is_loopback() && !has_certificates() => Scheme::Http,
            None => Scheme::Https,
        };
        origin(scheme)
    }

    /// Sees whether a host that need not prove anything speaks TLS at all, once.
    async fn probe(&self, secure: &Origin) -> Scheme {
        let probed = || self.shared.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = probed().get(secure) {
            return *known;
        }
        let scheme = match self.sender().exchanges.reaches(secure).await {
            true => Scheme::Https,
            false => Scheme::Http,
        };
        probed().insert(secure.clone(), scheme);
        scheme
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client::new(Options {
            credentials: Credentials::none(),
            settings: Settings::default(),
            proxies: Proxies::default(),
            authorities: Authorities::default(),
            offline: false,
            limits: Limits::standard(),
            user_agent: "test".to_owned(),
        })
        .unwrap()
    }

    #[tokio::test]
    async fn registries_are_where_their_names_say() {
        for (reference, url) in [
            ("busybox", "https://registry-1.docker.io/"),
            ("quay.example/a", "https://quay.example/"),
            ("quay.example:443/a", "https://quay.example/"),
            ("quay.example:5000/a", "https://quay.example:5000/"),
            ("localhost/a", "http://localhost/"),
            ("localhost:5000/a", "http://localhost:5000/"),
            ("127.1.2.3:5000/a", "http://127.1.2.3:5000/"),
            ("[::1]:5000/a", "http://[::1]:5000/"),
            ("10.0.0.1:5000/a", "https://10.0.0.1:5000/"),
        ] {
            let reference = Reference::parse(reference).unwrap();
            let ask = client().ask(&reference, "/".to_owned()).await.unwrap().url.to_string();
            assert_eq!(ask, url, "{reference}");
        }
    }
}
