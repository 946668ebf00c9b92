//! Lists that come page by page: the tags of a repository (distribution-spec, "Listing tags"), and the repositories of a
//! registry, which Docker's registry and many others list likewise (`/v2/_catalog`).

use hyper::{
    Method,
    header::{self, HeaderValue},
};
use serde::Deserialize;

use oci::Reference;

use crate::{
    Client, Error,
    exchange::Message,
    send::{Ask, Whole},
    tries::Tries,
};

/// How many names are accepted in all. A repository with a tag for each build of many years has fewer.
const MOST: usize = 1_000_000;

/// How many are asked for at once; a registry may send fewer.
const PAGE: &str = "1000";

/// How many pages are fetched. More would be a registry that always knows a next one.
const MOST_PAGES: usize = 20_000;

#[derive(Deserialize)]
struct Tags {
    /// Null in a repository whose tags were all removed.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

/// What is taken of a list.
struct Wanted<'a> {
    can_be: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// How many names are enough.
    most: usize,
}

impl Client {
    /// Returns the tags of a repository, in the registry's order; only those that can be tags.
    pub async fn tags(&self, repository: &Reference) -> Result<Vec<String>, Error> {
        self.first_tags(repository, usize::MAX).await
    }

    /// Returns the first tags of a repository, of which there may be many.
    pub async fn first_tags(
        &self,
        repository: &Reference,
        most: usize,
    ) -> Result<Vec<String>, Error> {
        let place = self.places(repository)?.pop_back();
        let place = place.as_ref().unwrap_or(repository);
        let path = format!("/v2/{}/tags/list", place.path());
        let mut ask = self.ask(place, path).await?;
        ask.wanted = repository.familiar_name();
        ask.url = ask.url.with_parameter("n", PAGE);
        let name = repository.familiar_name();
        let can_be = |tag: &str| Reference::parse(&format!("{name}:{tag}")).is_ok();
        let read = |bytes: &[u8]| {
            let Tags { tags } = serde_json::from_slice(bytes).ok()?;
            Some(tags.unwrap_or_default())
        };
        self.pages(ask, read, Wanted { can_be: &can_be, most }).await
    }

    /// Returns the repositories of a registry whose names contain a term, whatever its case.
    pub(crate) async fn repositories(
        &self,
        ask: Ask,
        term: &str,
        most: usize,
    ) -> Result<Vec<String>, Error> {
        let term = term.to_lowercase();
        let can_be = |name: &str| name.contains(&term);
        let read = |bytes: &[u8]| {
            let Catalog { repositories } = serde_json::from_slice(bytes).ok()?;
            Some(repositories.unwrap_or_default())
        };
        let ask = Ask { url: ask.url.with_parameter("n", PAGE), ..ask };
        self.pages(ask, read, Wanted { can_be: &can_be, most }).await
    }

    /// Fetches a list to its end, or until there is enough; `read` takes the names out of a page.
    async fn pages(
        &self,
        mut ask: Ask,
        read: impl Fn(&[u8]) -> Option<Vec<String>>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<String>, Error> {
        let (mut all, mut seen) = (Vec::new(), 0);
        let accept = HeaderValue::from_static("application/json");
        let message = Message::new(Method::GET).with(header::ACCEPT, accept);
        for _ in 0..MOST_PAGES {
            let mut tries = Tries::new(self.sender().limits());
            let answer = self.sender().read(&mut tries, &ask, &message, "list").await?;
            let next = next(&answer);
            let page = read(&answer.bytes).ok_or_else(|| ask.protocol("its list is not one"))?;
            let is_empty = page.is_empty();
            seen += page.len();
            all.extend(page.into_iter().filter(|name| (wanted.can_be)(name)));
            let is_enough = is_empty || all.len() >= wanted.most;
            let Some(next) = next.filter(|_| !is_enough) else {
                all.truncate(wanted.most);
                return Ok(all);
            };
            let refused = |reason| Error::Redirect { url: ask.url.to_string(), reason };
            let url = ask.url.redirected(&next).map_err(refused)?;
            if url.origin != ask.registry || url == ask.url {
                return Err(ask.protocol("its list goes on somewhere else, or in a circle"));
            }
            if seen > MOST {
                break;
            }
            ask.url = url;
        }
        Err(ask.protocol("its list never ends"))
    }
}

/// Returns where a list goes on (RFC 8288): `</v2/…>; rel="next"`.
fn next(answer: &Whole) -> Option<String> {
    let links = answer.header(header::LINK)?;
    let of_link = |link: &str| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.replace(' ', "").to_ascii_lowercase();
        (is_next.contains("rel=\"next\"") || is_next.contains("rel=next"))
            .then(|| target.to_owned())
    };
    links.split(',').find_map(of_link)
}
