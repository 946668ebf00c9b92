//! Blobs to a registry: found there, mounted from another repository, or sent (distribution-spec, "Pushing blobs").
//!
//! How it is sent is in [`fill`], and while it is being made in [`growing`]. Manifests are in [`crate::publish`].

mod fill;
mod growing;

use std::{fmt, sync::Arc};

use hyper::{
    Method, StatusCode,
    header::{self, HeaderName},
};

use oci::{Descriptor, Reference};

use self::fill::{Filling, Place};
use crate::{
    Client, Error,
    access::Access,
    content::{OnProgress, Source},
    exchange::{Answer, Message},
    send::Ask,
    tries::Tries,
    url::{Origin, Scheme, Url},
};

pub use self::growing::{Growing, Grown};

/// From how many repositories a blob is tried to be mounted. Each costs a request.
const MOST_MOUNTS: usize = 3;

/// A blob that a registry is to have.
#[derive(Clone)]
pub struct Upload<'a> {
    /// The repository.
    pub to: &'a Reference,
    /// The blob.
    pub blob: &'a Descriptor,
    /// Its bytes, read if it has to be sent, and again where the connection breaks.
    pub source: Arc<dyn Source>,
    /// Repositories of the same registry that may have it; where a guess is wrong, the blob is sent.
    pub mounts: &'a [Reference],
    /// Hears how many bytes have left.
    pub on_progress: OnProgress,
}

impl fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("to", &self.to)
            .field("blob", &self.blob)
            .finish_non_exhaustive()
    }
}

/// How a registry came to have a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uploaded {
    /// It had it in this repository.
    Present,
    /// It had it in this other one, of which it takes it.
    Mounted(Reference),
    /// It was sent.
    Sent,
}

impl Client {
    /// Whether a repository has a blob.
    async fn has_blob(
        &self,
        tries: &mut Tries,
        to: &Reference,
        blob: &Descriptor,
    ) -> Result<bool, Error> {
        let path = crate::fetch::blob_path(to, &blob.digest);
        let mut ask = self.ask_for(Access::push(to), to, path).await?;
        ask.wanted = to.familiar_name();
        match self.sender().send_within(tries, &ask, &Message::new(Method::HEAD)).await {
            // One of another size is none: the registry then says what it thinks of the right one.
            Ok(answer) => Ok(content_length(&answer).is_none_or(|length| length == blob.size)),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that a repository has a blob, at the least cost.
    ///
    /// # Errors
    /// The registry may have kept a part of the blob, which nobody sees and which it removes in its own time.
    pub async fn upload(&self, upload: &Upload<'_>) -> Result<Uploaded, Error> {
        let mut tries = Tries::new(self.sender().limits());
        let at = match self.find(&mut tries, upload).await? {
            Search::Found(found) => return Ok(found),
            Search::Nothing(Some(session)) => session,
            Search::Nothing(None) => self.start(&mut tries, upload.to).await?,
        };
        Filling::new(self, upload).await?.run(Place { at, has: Some(0) }).await?;
        Ok(Uploaded::Sent)
    }

    /// Sees to it that a repository has a blob, if nothing has to be sent for that; `None` if something has.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn find_blob(&self, upload: &Upload<'_>) -> Result<Option<Uploaded>, Error> {
        let mut tries = Tries::new(self.sender().limits());
        Ok(match self.find(&mut tries, upload).await? {
            Search::Found(found) => Some(found),
            // An upload that was begun is forgotten by the registry in its own time.
            Search::Nothing(_) => None,
        })
    }

    async fn find(&self, tries: &mut Tries, upload: &Upload<'_>) -> Result<Search, Error> {
        match self.has_blob(tries, upload.to, upload.blob).await {
            Ok(true) => return Ok(Search::Found(Uploaded::Present)),
            // The answer to a HEAD cannot say why; that to the next request does.
            Ok(false) | Err(Error::Denied { .. } | Error::Status { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut session = None;
        for from in upload.mounts.iter().filter(|from| is_other(upload.to, from)).take(MOST_MOUNTS)
        {
            match self.mount(tries, upload, from).await? {
                Mounting::Done => return Ok(Search::Found(Uploaded::Mounted(from.clone()))),
                // The first one is kept for the upload; the registry forgets the others in its own time.
                Mounting::Session(at) => session = session.or(Some(at)),
                Mounting::Refused => {}
            }
        }
        Ok(Search::Nothing(session))
    }

    async fn ask_to_push(&self, to: &Reference) -> Result<Ask, Error> {
        let path = format!("/v2/{}/blobs/uploads/", to.path());
        let mut ask = self.ask_for(Access::push(to), to, path).await?;
        ask.wanted = to.familiar_name();
        Ok(ask)
    }

    /// Asks the registry to take a blob from another repository. A refusal is no error: it may have no right to tell.
    async fn mount(
        &self,
        tries: &mut Tries,
        upload: &Upload<'_>,
        from: &Reference,
    ) -> Result<Mounting, Error> {
        let mut ask = self.ask_to_push(upload.to).await?;
        ask.access = Access::mount(upload.to, from);
        ask.url = ask.url.with_parameter("mount", &upload.blob.digest.to_string());
        ask.url = ask.url.with_parameter("from", from.path());
        match self.sender().send_within(tries, &ask, &Message::new(Method::POST)).await {
            Ok(answer) if answer.status == StatusCode::CREATED => Ok(Mounting::Done),
            Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                Ok(Mounting::Session(session(&ask, &answer)?))
            }
            Ok(_) | Err(Error::Status { .. } | Error::Denied { .. } | Error::NotFound { .. }) => {
                Ok(Mounting::Refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Begins an upload; returns where it goes on.
    async fn start(&self, tries: &mut Tries, to: &Reference) -> Result<Url, Error> {
        let ask = self.ask_to_push(to).await?;
        let answer = self.sender().send_within(tries, &ask, &Message::new(Method::POST)).await?;
        session(&ask, &answer)
    }
}

/// What came of looking for a blob.
enum Search {
    Found(Uploaded),
    /// An attempt to mount may have begun an upload.
    Nothing(Option<Url>),
}

/// What came of an attempt to mount.
enum Mounting {
    Done,
    Session(Url),
    Refused,
}

fn is_other(to: &Reference, from: &Reference) -> bool {
    from.host() == to.host() && from.path() != to.path()
}

/// Returns where an upload goes on. It may be on another host, which then gets no credentials.
fn session(ask: &Ask, answer: &Answer) -> Result<Url, Error> {
    let location = answer.header(header::LOCATION).unwrap_or_default();
    if location.is_empty() {
        return Err(ask.protocol("it does not say where to upload to"));
    }
    let refused = |reason| Error::Redirect { url: answer.url.to_string(), reason };
    goes_on(&ask.registry, &answer.url, location).map_err(refused)
}

fn goes_on(registry: &Origin, here: &Url, location: &str) -> Result<Url, &'static str> {
    // Behind a proxy that adds the encryption, a registry may not know of it.
    let is_itself = |there: &Url| {
        registry.scheme == Scheme::Https
            && there.origin.scheme == Scheme::Http
            && there.origin.host == registry.host
    };
    match Url::parse(location).ok().filter(is_itself) {
        Some(there) => Ok(Url::new(registry.clone(), there.target)),
        None => here.redirected(location),
    }
}

/// The length that the answer to a HEAD announces.
fn content_length(answer: &Answer) -> Option<u64> {
    let name: HeaderName = header::CONTENT_LENGTH;
    answer.header(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_stays_encrypted() {
        let here = Url::parse("https://a.example:5000/v2/x/blobs/uploads/").unwrap();
        for (location, there) in [
            ("/u?s=1", Some("https://a.example:5000/u?s=1")),
            ("https://b.example/u", Some("https://b.example/u")),
            ("http://a.example:5000/u", Some("https://a.example:5000/u")),
            ("http://a.example/u?s=1", Some("https://a.example:5000/u?s=1")),
            ("http://b.example/u", None),
        ] {
            let url = goes_on(&here.origin, &here, location).ok();
            assert_eq!(url, there.map(|there| Url::parse(there).unwrap()), "{location}");
        }
    }
}
