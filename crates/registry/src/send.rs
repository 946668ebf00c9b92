//! From a request to the answer that was meant: retries around redirects around exchanges, and a second try with
//! authentication.
//!
//! Each of these is bounded: [`crate::tries`], [`MOST_REDIRECTS`], one second try.

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use serde::Deserialize;

use crate::{
    Denial, Error, Limits,
    access::Access,
    auth::Auth,
    connect::Reach,
    error::harmless,
    exchange::{Answer, Exchanges, Message},
    tries::{Tries, retry_after},
    url::{Origin, Url},
};

/// As many as browsers and Go follow; real registries need one or two.
const MOST_REDIRECTS: u32 = 10;

/// What is wanted, from whom.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) access: Access,
    /// How errors name what is wanted.
    pub(crate) wanted: String,
    /// The registry, which decides how far others may send.
    pub(crate) registry: Origin,
    pub(crate) url: Url,
}

impl Ask {
    /// The same wish, at another resource.
    pub(crate) fn elsewhere(&self, url: Url) -> Self {
        Self { url, ..self.clone() }
    }

    pub(crate) fn protocol(&self, reason: &'static str) -> Error {
        Error::Protocol { url: self.url.to_string(), reason }
    }

    pub(crate) fn denied(&self, reason: Denial, said: String) -> Error {
        Error::Denied { wanted: self.wanted.clone(), reason, said }
    }
}

/// How a registry has refused a request for the first time.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Its challenges are among them.
    pub(crate) headers: HeaderMap,
    /// What it says about it.
    pub(crate) said: String,
    /// The header that came with the request.
    pub(crate) authorization: Option<HeaderValue>,
}

/// How far a host that `home` has sent to may be.
fn reach(home: &Origin, url: &Url) -> Reach {
    if home.is_loopback() || url.origin.host == home.host { Reach::Named } else { Reach::Foreign }
}

/// Sends requests to registries.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) exchanges: Exchanges,
    pub(crate) auth: Auth,
}

impl Sender {
    pub(crate) fn limits(&self) -> &Limits {
        self.exchanges.limits()
    }

    /// Sends a request, authenticated if the registry wants that, and returns an answer that means success.
    ///
    /// A host that is not the registry itself, as where it lets uploads go, hears nothing about who is asking.
    pub(crate) async fn send(&self, ask: &Ask, message: &Message) -> Result<Answer, Error> {
        self.send_within(&mut Tries::new(self.limits()), ask, message).await
    }

    /// The same as a part of something that takes several requests.
    pub(crate) async fn send_within(
        &self,
        tries: &mut Tries,
        ask: &Ask,
        message: &Message,
    ) -> Result<Answer, Error> {
        let is_registry = ask.url.origin == ask.registry;
        let known = self.auth.known(&ask.access).filter(|_| is_registry);
        let answer = self.fetch(tries, ask, &authorized(message, known.as_ref())).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let asks_who = answer.status == StatusCode::UNAUTHORIZED && is_registry;
        if !asks_who || answer.url.origin != ask.url.origin {
            return Err(self.refused(ask, answer).await);
        }

        let headers = answer.headers.clone();
        // Read, so that the connection can be used again.
        let refusal = Refusal { headers, said: detail(answer).await, authorization: known };
        let authorization = self.auth.answer(self, tries, ask, refusal).await?;
        let answer = self.fetch(tries, ask, &authorized(message, Some(&authorization))).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refused(ask, answer).await) }
    }

    /// Sends a request as it is, again if what goes wrong may pass, and returns an answer of any status.
    pub(crate) async fn fetch(
        &self,
        tries: &mut Tries,
        ask: &Ask,
        message: &Message,
    ) -> Result<Answer, Error> {
        self.fetch_from(tries, &ask.url, &ask.registry, message).await
    }

    /// The same for any resource; `home` is the host that the user has named.
    pub(crate) async fn fetch_from(
        &self,
        tries: &mut Tries,
        url: &Url,
        home: &Origin,
        message: &Message,
    ) -> Result<Answer, Error> {
        if message.is_stream() {
            return self.follow(url, home, message).await;
        }
        loop {
            match self.follow(url, home, message).await {
                Ok(answer) if is_passing(answer.status) => {
                    if !tries.again(retry_after(&answer)).await {
                        return Ok(answer);
                    }
                }
                Err(Error::Unreachable { source, .. }) if tries.again_after(&source).await => {}
                result => return result,
            }
        }
    }

    /// Sends a request, and sends it on to where it is redirected; who is asking stays behind at the first host.
    async fn follow(&self, url: &Url, home: &Origin, message: &Message) -> Result<Answer, Error> {
        let mut url = url.clone();
        let mut message = message.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self
                .exchanges
                .exchange(&url, reach(home, &url), &message)
                .await
                .map_err(|source| Error::Unreachable { url: url.to_string(), source })?;
            if !is_redirect(answer.status) {
                return Ok(answer);
            }
            let refused = |reason| Error::Redirect { url: url.to_string(), reason };
            if message.method != Method::GET && message.method != Method::HEAD {
                return Err(refused("what was sent is meant for this host only"));
            }
            let location = answer.header(header::LOCATION).unwrap_or_default();
            let there = url.redirected(location).map_err(refused)?;
            if there.origin != url.origin {
                message.headers.retain(|(name, _)| *name != header::AUTHORIZATION);
            }
            url = there;
        }
        Err(Error::Redirect { url: url.to_string(), reason: "there are more than 10 in a row" })
    }

    /// Sends a request and reads the answer to its end; again, if it breaks off in between.
    pub(crate) async fn read(
        &self,
        tries: &mut Tries,
        ask: &Ask,
        message: &Message,
        document: &'static str,
    ) -> Result<Whole, Error> {
        loop {
            let answer = self.send_within(tries, ask, message).await?;
            if answer.is_page() {
                return Err(ask.protocol("it sends a web page"));
            }
            let headers = answer.headers.clone();
            match self.bytes(answer, document, self.limits().document).await {
                Err(Error::Unreachable { source, .. }) if tries.again_after(&source).await => {}
                bytes => return Ok(Whole { headers, bytes: bytes? }),
            }
        }
    }

    /// Reads an answer's body to its end.
    pub(crate) async fn bytes(
        &self,
        answer: Answer,
        document: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let url = answer.url.to_string();
        match answer.bytes(limit).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Error::TooLarge { url, document, limit }),
            Err(source) => Err(Error::Unreachable { url, source }),
        }
    }

    /// Returns the error that an answer without success means.
    pub(crate) async fn refused(&self, ask: &Ask, answer: Answer) -> Error {
        let (status, url, retry_after) = (answer.status, answer.url.clone(), retry_after(&answer));
        let said = detail(answer).await;
        match status {
            StatusCode::NOT_FOUND => Error::NotFound { wanted: ask.wanted.clone(), said },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if url.origin == ask.registry => {
                self.auth.denied(ask, said).await
            }
            StatusCode::UNAUTHORIZED => {
                ask.denied(Denial::Redirected { host: url.origin.authority() }, said)
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Error::RateLimited { host: url.origin.authority(), retry_after, said }
            }
            _ => {
                let (url, status) = (url.to_string(), status.as_u16());
                Error::Status { url, status, retry_after, detail: said }
            }
        }
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Whole {
    /// Returns a header, if it is text.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn authorized(message: &Message, authorization: Option<&HeaderValue>) -> Message {
    let mut message = message.clone();
    message.headers.extend(authorization.map(|value| (header::AUTHORIZATION, value.clone())));
    message
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn is_passing(status: StatusCode) -> bool {
    // 501 and 505 are about the request.
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// The error document of the distribution specification ("Error Codes").
#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<OneError>,
    /// What Docker Hub's token server sends instead.
    #[serde(default)]
    details: String,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Returns what a registry says about its refusal: as Docker writes it if it is of the specification's form, the first
/// line if it is text, else nothing.
pub(crate) async fn detail(answer: Answer) -> String {
    // Any error document fits; a page for people is of no interest.
    const LONGEST: u64 = 64 * 1024;
    let kind = answer.header(header::CONTENT_TYPE);
    let is_text = kind.is_none_or(|kind| kind.starts_with("text/plain"));
    let Ok(Some(bytes)) = answer.bytes(LONGEST).await else { return String::new() };
    let Ok(Errors { errors, details }) = serde_json::from_slice(&bytes) else {
        let text = String::from_utf8_lossy(&bytes);
        return text.lines().next().filter(|_| is_text).map(harmless).unwrap_or_default();
    };
    let said = errors.iter().map(|OneError { code, message }| {
        let code = code.to_lowercase().replace('_', " ");
        match (code.as_str(), message.as_str()) {
            (_, "") => code,
            ("", message) => message.to_owned(),
            (code, message) if code == message => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    });
    let said = said.collect::<Vec<_>>().join("; ");
    harmless(if said.is_empty() { &details } else { &said })
}
