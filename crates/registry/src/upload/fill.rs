//! The bytes of a blob to a registry that has a place for them.
//!
//! A blob is sent in one PUT, as the specification lets every registry understand. Where that breaks, the registry is
//! asked how much it has, and the rest follows in a PATCH; a registry that cannot tell gets all of it again. One that, or
//! whose proxy, does not take so much at once gets pieces, each in a PATCH.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hyper::{
    Method, StatusCode,
    header::{self, HeaderValue},
};

use super::{Upload, session};
use crate::{
    Client, Error,
    content::{Content, Extent, Kept, OnProgress, Stream},
    exchange::Message,
    fetch::header_digest,
    send::Ask,
    tries::Tries,
    url::Url,
};

/// So much progress makes a broken connection forgiven: the tries are counted anew.
const FORGIVEN_AFTER: u64 = 1024 * 1024;

/// The pieces in which a blob is sent that is too large for the registry as a whole, and what is tried where they are too
/// large as well, in bytes. Proxies let 1 MiB pass that nobody has told otherwise.
const PIECES: [u64; 4] = [16 << 20, 4 << 20, 1 << 20, 256 << 10];

/// So often may all of a blob be lost before it is sent in pieces: some do not say that it is too large.
const MOST_LOST: u32 = 2;

/// A blob that is being sent.
pub(super) struct Filling<'a> {
    client: &'a Client,
    upload: &'a Upload<'a>,
    ask: Ask,
    tries: Tries,
    source: Arc<Kept>,
    /// At most so much goes at once.
    piece: u64,
    /// How far it was sent, whether it has arrived or not.
    sent: Arc<AtomicU64>,
    on_progress: OnProgress,
}

/// Where an upload goes on.
pub(super) struct Place {
    pub(super) at: Url,
    /// How much the registry has; `None` if it is to be asked.
    pub(super) has: Option<u64>,
}

impl<'a> Filling<'a> {
    pub(super) async fn new(client: &'a Client, upload: &'a Upload<'a>) -> Result<Self, Error> {
        let sent = Arc::<AtomicU64>::default();
        let (counter, listener) = (Arc::clone(&sent), Arc::clone(&upload.on_progress));
        let on_progress: OnProgress = Arc::new(move |done| {
            counter.store(done, Ordering::Relaxed);
            listener(done);
        });
        Ok(Self {
            client,
            upload,
            ask: client.ask_to_push(upload.to).await?,
            tries: Tries::new(client.sender().limits()),
            source: Arc::new(Kept::new(Arc::clone(&upload.source))),
            piece: u64::MAX,
            sent,
            on_progress,
        })
    }

    /// Sends the blob, again from where it broke as long as that may help.
    pub(super) async fn run(mut self, place: Place) -> Result<(), Error> {
        let (mut at, mut from) = match place.has {
            Some(has) => (place.at, has),
            None => self.goes_on(&place.at).await?,
        };
        let (mut furthest, mut has_broken, mut lost) = (from, from > 0, 0);
        loop {
            self.sent.store(from, Ordering::Relaxed);
            let Err(error) = self.rest(&at, from).await else { return Ok(()) };
            let is_too_large = matches!(error, Error::Status { status: 413, .. });
            let is_wrong = matches!(error, Error::Status { status: 400, .. });
            if !(is_too_large && self.shorten()) {
                let is_broken = self.wait(error, from, has_broken).await?;
                lost = if is_broken { lost + 1 } else { 0 };
            }
            (at, from) = match is_wrong {
                true => (self.client.start(&mut self.tries, self.upload.to).await?, 0),
                false => self.goes_on(&at).await?,
            };
            if from > furthest {
                lost = 0;
            }
            // Never twice for the same bytes: a registry can say one thing now and another thing then.
            if from >= furthest + FORGIVEN_AFTER {
                self.tries = Tries::new(self.client.sender().limits());
            }
            if lost == MOST_LOST && self.piece == u64::MAX {
                self.shorten();
            }
            (furthest, has_broken) = (furthest.max(from), true);
        }
    }

    /// Finds out where the upload goes on, and how much has arrived; begins another if the registry cannot tell.
    async fn goes_on(&mut self, at: &Url) -> Result<(Url, u64), Error> {
        match self.state(at).await {
            Some(state) => Ok(state),
            None => Ok((self.client.start(&mut self.tries, self.upload.to).await?, 0)),
        }
    }

    /// Waits before the next try, if one may help; whether the connection has broken.
    async fn wait(&mut self, error: Error, from: u64, resumed: bool) -> Result<bool, Error> {
        if !may_pass(&error, resumed) {
            return Err(error);
        }
        // However long it took: what counts is then how often.
        if self.sent.load(Ordering::Relaxed) > from {
            self.tries.has_moved();
        }
        let (again, is_broken) = match &error {
            Error::Unreachable { source, .. } => (self.tries.again_after(source).await, true),
            _ => (self.tries.again(error.retry_after()).await, false),
        };
        if again { Ok(is_broken) } else { Err(error) }
    }

    /// Goes on in smaller pieces; false if there are none.
    fn shorten(&mut self) -> bool {
        let now = self.piece.min(self.upload.blob.size);
        let smaller = PIECES.into_iter().find(|piece| *piece < now);
        self.piece = smaller.unwrap_or(self.piece);
        smaller.is_some()
    }

    /// Sends what the registry does not have yet, and ends the upload.
    async fn rest(&mut self, at: &Url, mut from: u64) -> Result<(), Error> {
        let size = self.upload.blob.size;
        let kind = HeaderValue::from_static("application/octet-stream");
        let message = |method| Message::new(method).with(header::CONTENT_TYPE, kind.clone());
        let mut ask = self.ask.elsewhere(at.clone());
        if from == 0 && size <= self.piece {
            let put = Message { content: self.part(0), ..message(Method::PUT) };
            return self.end(&ask, &put).await;
        }
        while from < size {
            let to = from.saturating_add(self.piece).min(size);
            let range = HeaderValue::try_from(format!("{from}-{}", to - 1));
            let range = range.map_err(|_| ask.protocol("its blob is too long"))?;
            let patch = message(Method::PATCH).with(header::CONTENT_RANGE, range);
            let patch = Message { content: self.part(from), ..patch };
            let answer = self.client.sender().send_within(&mut self.tries, &ask, &patch).await?;
            ask.url = session(&ask, &answer)?;
            from = to;
        }
        self.end(&ask, &message(Method::PUT)).await
    }

    fn part(&self, from: u64) -> Content {
        let size = self.upload.blob.size;
        Content::Stream(Stream {
            source: Arc::clone(&self.source),
            from,
            extent: Some(Extent { to: from.saturating_add(self.piece).min(size), size }),
            on_progress: Arc::clone(&self.on_progress),
        })
    }

    async fn end(&mut self, ask: &Ask, put: &Message) -> Result<(), Error> {
        let blob = self.upload.blob;
        let url = ask.url.clone().with_parameter("digest", &blob.digest.to_string());
        let ask = ask.elsewhere(url);
        let answer = self.client.sender().send_within(&mut self.tries, &ask, put).await?;
        if answer.status != StatusCode::CREATED && answer.status != StatusCode::NO_CONTENT {
            return Err(ask.protocol("it does not say that it has stored the blob"));
        }
        header_digest(&ask, &answer.headers)?
            .filter(|said| said != blob.digest.as_digest())
            .map_or(Ok(()), |_| Err(ask.protocol("it has stored the blob under another digest")))
    }

    /// Asks how much has arrived, and where it goes on; `None` if the registry cannot tell.
    async fn state(&mut self, at: &Url) -> Option<(Url, u64)> {
        let ask = self.ask.elsewhere(at.clone());
        let get = Message::new(Method::GET);
        let answer = self.client.sender().send_within(&mut self.tries, &ask, &get).await.ok()?;
        let range = answer.header(header::RANGE)?;
        let last = range.strip_prefix("bytes=").unwrap_or(range).strip_prefix("0-")?.trim();
        let last: u64 = last.parse().ok()?;
        // `0-0` is said of one byte and of none. One that is sent twice is found out in the end, and all sent again.
        let has = if last == 0 { 0 } else { last.checked_add(1)? };
        let at = match answer.header(header::LOCATION) {
            Some(_) => session(&ask, &answer).ok()?,
            None => ask.url,
        };
        (has <= self.upload.blob.size).then_some((at, has))
    }
}

/// Whether an upload may go well the next time: the connection broke, the registry is in trouble, or has lost its place.
fn may_pass(error: &Error, resumed: bool) -> bool {
    match error {
        Error::Unreachable { source, .. } => source.is_passing(),
        Error::RateLimited { .. } | Error::NotFound { .. } => true,
        Error::Status { status: 408 | 409 | 416 | 500..=599, .. } => true,
        // What has arrived before does not go together with the rest: then all of it is sent again.
        Error::Status { status: 400, .. } => resumed,
        _ => false,
    }
}
