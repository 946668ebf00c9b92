//! From a request to the answer that was meant: retries around redirects around exchanges, and a second try with
//! authentication.
//!
//! Each of these is bounded: [`Limits::retries`], [`MOST_REDIRECTS`], one second try.

use std::time::Duration;

use hyper::{
    Method, StatusCode,
    header::{self, HeaderValue},
};
use serde::Deserialize;

use oci::Reference;

use crate::{
    Denial, Error, Limits,
    auth::Auth,
    connect::Reach,
    error::harmless,
    exchange::{Answer, Exchanges, Message},
    url::{Origin, Url},
};

/// As many as browsers and Go follow; real registries need one or two.
const MOST_REDIRECTS: u32 = 10;

/// What is wanted, from whom.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) reference: &'a Reference,
    /// How errors name what is wanted.
    pub(crate) wanted: String,
    /// The registry, which decides how far others may send.
    pub(crate) registry: Origin,
    pub(crate) url: Url,
}

impl Ask<'_> {
    /// The same wish, at another resource.
    pub(crate) fn elsewhere(&self, url: Url) -> Self {
        Self { url, ..self.clone() }
    }

    pub(crate) fn protocol(&self, reason: &'static str) -> Error {
        Error::Protocol { url: self.url.to_string(), reason }
    }

    pub(crate) fn denied(&self, reason: Denial) -> Error {
        Error::Denied { wanted: self.wanted.clone(), reason }
    }
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

/// Counts tries, and waits between them.
#[derive(Debug)]
pub(crate) struct Tries {
    limits: Limits,
    retries: u32,
}

impl Tries {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, retries: 0 }
    }

    /// Waits as long as the server asks or, if it does not, longer each time; false if there is no further try.
    pub(crate) async fn again(&mut self, asked: Option<Duration>) -> bool {
        let pause = asked.unwrap_or(self.limits.backoff.saturating_mul(1 << self.retries.min(16)));
        if self.retries >= self.limits.retries || pause > self.limits.longest_pause {
            return false;
        }
        self.retries += 1;
        tokio::time::sleep(pause).await;
        true
    }
}

impl Sender {
    pub(crate) fn limits(&self) -> &Limits {
        self.exchanges.limits()
    }

    /// Sends a request, authenticated if the registry wants that, and returns an answer that means success.
    pub(crate) async fn send(&self, ask: &Ask<'_>, message: &Message) -> Result<Answer, Error> {
        let known = self.auth.known(ask.reference);
        let answer = self.fetch(ask, &authorized(message, known.as_ref())).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        if answer.status != StatusCode::UNAUTHORIZED || answer.url.origin != ask.url.origin {
            return Err(self.refused(ask, answer).await);
        }

        let headers = answer.headers.clone();
        // The body is of no interest, but read it: then the connection can be used again.
        drop(answer.bytes(self.limits().token).await);
        let authorization = self.auth.answer(self, ask, &headers, known).await?;
        let answer = self.fetch(ask, &authorized(message, Some(&authorization))).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refused(ask, answer).await) }
    }

    /// Sends a request as it is, again if what goes wrong may pass, and returns an answer of any status.
    pub(crate) async fn fetch(&self, ask: &Ask<'_>, message: &Message) -> Result<Answer, Error> {
        self.fetch_from(&ask.url, &ask.registry, message).await
    }

    /// The same for any resource; `home` is the host that the user has named.
    pub(crate) async fn fetch_from(
        &self,
        url: &Url,
        home: &Origin,
        message: &Message,
    ) -> Result<Answer, Error> {
        let mut tries = Tries::new(self.limits());
        loop {
            match self.follow(url, home, message).await {
                Ok(answer) if is_passing(answer.status) => {
                    if !tries.again(retry_after(&answer)).await {
                        return Ok(answer);
                    }
                }
                Err(Error::Unreachable { source, .. })
                    if source.is_passing() && tries.again(None).await => {}
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
    pub(crate) async fn refused(&self, ask: &Ask<'_>, answer: Answer) -> Error {
        let status = answer.status;
        match status {
            StatusCode::NOT_FOUND => Error::NotFound { wanted: ask.wanted.clone() },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
                if answer.url.origin == ask.url.origin =>
            {
                self.auth.denied(ask)
            }
            StatusCode::UNAUTHORIZED => {
                ask.denied(Denial::Redirected { host: answer.url.origin.authority() })
            }
            StatusCode::TOO_MANY_REQUESTS => Error::RateLimited {
                host: answer.url.origin.authority(),
                retry_after: retry_after(&answer),
            },
            _ => {
                let url = answer.url.to_string();
                Error::Status { url, status: status.as_u16(), detail: detail(answer).await }
            }
        }
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

/// The pause a server asks for, if it is given in seconds. The other form, a date, would need both clocks to agree.
fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.header(header::RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}

/// The error document of the distribution specification ("Error Codes").
#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Returns what a registry says about its refusal, empty if it is not of the specification's form.
async fn detail(answer: Answer) -> String {
    // Any error document fits; a page for people is of no interest.
    const LONGEST: u64 = 64 * 1024;
    let Ok(Some(bytes)) = answer.bytes(LONGEST).await else { return String::new() };
    let Ok(Errors { errors }) = serde_json::from_slice(&bytes) else { return String::new() };
    let said =
        errors.iter().map(|OneError { code, message }| match (code.as_str(), message.as_str()) {
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}, {message}"),
        });
    harmless(&said.collect::<Vec<_>>().join("; "))
}
