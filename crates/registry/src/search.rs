//! What a registry has to a term: Docker Hub's search, which is that of the first Docker registry (`/v1/search`) and was never
//! specified since; elsewhere the same if there is one, else the names of its repositories.

use hyper::{
    Method,
    header::{self, HeaderValue},
};
use serde::Deserialize;

use oci::Reference;

use crate::{Client, Error, access::Access, exchange::Message, send::Ask, tries::Tries, url::Url};

/// The Hub, and where its search answers.
const DOCKER_HUB: (&str, &str) = ("docker.io", "index.docker.io");

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The registry, as references name it.
    pub host: String,
    /// What names or descriptions are to contain; nothing for everything.
    pub text: String,
}

impl Term {
    /// Takes what people write apart: a word for Docker Hub, or `host/word`. `host/` is all that a registry has.
    pub fn parse(text: &str) -> Self {
        let (hub, at) = DOCKER_HUB;
        let is_host = |first: &str| first == "localhost" || first.contains(['.', ':']);
        let (host, text) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            None if is_address(text) => (text, ""),
            _ => (hub, text),
        };
        let host = if host == at { hub } else { host };
        let text = match host == hub {
            true => text.strip_prefix("library/").unwrap_or(text),
            false => text,
        };
        Self { host: host.to_ascii_lowercase(), text: text.trim().to_owned() }
    }

    /// Whether it is searched for at Docker Hub.
    pub fn is_for_hub(&self) -> bool {
        self.host == DOCKER_HUB.0
    }
}

/// Whether this can only be a host with its port.
fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A repository that was found. Only the name is known of one that a registry merely lists.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Its name, which can be pulled.
    pub name: String,
    /// What its owner says about it, as it came.
    pub description: String,
    /// How many like it.
    pub stars: u64,
    /// Whether the registry vouches for it.
    pub is_official: bool,
    /// Whether the registry builds it.
    pub is_automated: bool,
}

/// The answer of `/v1/search`.
#[derive(Deserialize)]
struct Answer {
    results: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    description: Option<String>,
    /// Some count from the other side of nothing.
    #[serde(default)]
    star_count: i64,
    #[serde(default)]
    is_official: bool,
    #[serde(default)]
    is_automated: bool,
}

impl Client {
    /// Searches a registry, for so many results at most. Those that most people like come first.
    ///
    /// # Errors
    /// Besides those of every request [`Error::NotFound`], [`Error::Denied`] or [`Error::Status`] if the registry neither
    /// searches nor lists what it has.
    pub async fn search(&self, term: &Term, most: usize) -> Result<Vec<Found>, Error> {
        let any = Reference::parse(&format!("{}/x", term.host));
        let any = any.map_err(|_| Error::Address {
            address: crate::error::harmless(&term.host),
            reason: "it is no host of a registry",
        })?;
        let host = self.places(&any)?.pop_back().map_or(term.host.clone(), |own| own.host().into());
        let mut found = match self.by_term(&host, term, most).await {
            // Few have it: the others say so in many ways.
            Err(
                Error::NotFound { .. }
                | Error::Status { status: 400..=499, .. }
                | Error::Redirect { .. }
                | Error::Protocol { .. },
            ) if !term.is_for_hub() => self.by_name(&host, term, most).await?,
            found => found?,
        };
        found.retain(|found| Reference::parse(&found.name).is_ok());
        found.sort_by_key(|found| std::cmp::Reverse(found.stars));
        found.truncate(most);
        Ok(found)
    }

    async fn by_term(&self, host: &str, term: &Term, most: usize) -> Result<Vec<Found>, Error> {
        let (hub, at) = DOCKER_HUB;
        let registry = self.origin(if host == hub { at } else { host }).await;
        let url = Url::new(registry.clone(), "/v1/search".to_owned());
        let url = url.with_parameter("q", &term.text).with_parameter("n", &most.to_string());
        let ask =
            Ask { access: Access::registry(&term.host), wanted: term.host.clone(), registry, url };
        if term.text.is_empty() {
            return Err(ask.protocol("nothing is searched for"));
        }
        let accept = HeaderValue::from_static("application/json");
        let message = Message::new(Method::GET).with(header::ACCEPT, accept);
        let mut tries = Tries::new(self.sender().limits());
        let answer = self.sender().read(&mut tries, &ask, &message, "list").await?;
        let Answer { results } = serde_json::from_slice(&answer.bytes)
            .map_err(|_| ask.protocol("what it has found is not a list of repositories"))?;
        let found = results.unwrap_or_default().into_iter().map(|entry| Found {
            name: named(term, &entry.name),
            description: entry.description.unwrap_or_default(),
            stars: entry.star_count.max(0).unsigned_abs(),
            is_official: entry.is_official,
            is_automated: entry.is_automated,
        });
        Ok(found.collect())
    }

    async fn by_name(&self, host: &str, term: &Term, most: usize) -> Result<Vec<Found>, Error> {
        let registry = self.origin(host).await;
        let url = Url::new(registry.clone(), "/v2/_catalog".to_owned());
        let wanted = format!("{}/v2/_catalog", term.host);
        let ask = Ask { access: Access::catalog(&term.host), wanted, registry, url };
        let names = self.repositories(ask, &term.text, most).await?;
        let found = names.iter().map(|name| Found {
            name: named(term, name),
            description: String::new(),
            stars: 0,
            is_official: false,
            is_automated: false,
        });
        Ok(found.collect())
    }
}

/// Returns the name under which a repository can be pulled.
fn named(term: &Term, name: &str) -> String {
    let name = name.strip_prefix(&format!("{}/", term.host)).unwrap_or(name);
    if term.is_for_hub() { name.to_owned() } else { format!("{}/{name}", term.host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms() {
        for (given, host, text) in [
            ("nginx", "docker.io", "nginx"),
            ("team/app", "docker.io", "team/app"),
            ("node.js", "docker.io", "node.js"),
            ("library/nginx", "docker.io", "nginx"),
            ("docker.io/nginx", "docker.io", "nginx"),
            ("index.docker.io/library/nginx", "docker.io", "nginx"),
            ("localhost/a", "localhost", "a"),
            ("Reg.example/team/a b", "reg.example", "team/a b"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000", "app"),
            ("127.0.0.1:5000/", "127.0.0.1:5000", ""),
            ("127.0.0.1:5000", "127.0.0.1:5000", ""),
        ] {
            let (host, text) = (host.to_owned(), text.to_owned());
            assert_eq!(Term::parse(given), Term { host, text }, "{given}");
        }
    }

    #[test]
    fn names_can_be_pulled() {
        for (term, name, expected) in [
            ("x", "nginx", "nginx"),
            ("x", "team/app", "team/app"),
            ("h:1/x", "team/app", "h:1/team/app"),
            ("h:1/x", "h:1/team/app", "h:1/team/app"),
        ] {
            assert_eq!(named(&Term::parse(term), name), expected);
        }
    }
}
