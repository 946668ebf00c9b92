//! Blobs to a registry: found there, mounted from another repository, or sent (distribution-spec, "Pushing blobs").
//!
//! A blob is sent in one PUT, as the specification lets every registry understand. Where that breaks, the registry is
//! asked how much it has, and the rest follows in a PATCH; a registry that cannot tell gets all of it again. One that, or
//! whose proxy, does not take so much at once gets pieces, each in a PATCH. Manifests are in [`crate::publish`].

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper::{
    Method, StatusCode,
    header::{self, HeaderName, HeaderValue},
};

use oci::{Descriptor, Reference};

use crate::{
    Client, Error,
    access::Access,
    content::{Content, Kept, OnProgress, Source, Stream},
    exchange::{Answer, Message},
    send::Ask,
    tries::Tries,
    url::{Origin, Scheme, Url},
};

/// So much progress makes a broken connection forgiven: the tries are counted anew.
const FORGIVEN_AFTER: u64 = 1024 * 1024;

/// The pieces in which a blob is sent that is too large for the registry as a whole, and what is tried where they are too
/// large as well, in bytes. Proxies let 1 MiB pass that nobody has told otherwise.
const PIECES: [u64; 4] = [16 << 20, 4 << 20, 1 << 20, 256 << 10];

/// So often may all of a blob be lost before it is sent in pieces: some do not say that it is too large.
const MOST_LOST: u32 = 2;

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
        match self.has_blob(&mut tries, upload.to, upload.blob).await {
            Ok(true) => return Ok(Uploaded::Present),
            // The answer to a HEAD cannot say why; that to the next request does.
            Ok(false) | Err(Error::Denied { .. } | Error::Status { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut session = None;
        for from in upload.mounts.iter().filter(|from| is_other(upload.to, from)).take(MOST_MOUNTS)
        {
            match self.mount(&mut tries, upload, from).await? {
                Mounting::Done => return Ok(Uploaded::Mounted(from.clone())),
                // The first one is kept for the upload; the registry forgets the others in its own time.
                Mounting::Session(at) => session = session.or(Some(at)),
                Mounting::Refused => {}
            }
        }
        let session = match session {
            Some(session) => session,
            None => self.start(&mut tries, upload).await?,
        };
        self.fill(upload, session).await?;
        Ok(Uploaded::Sent)
    }

    async fn ask_to_push(&self, upload: &Upload<'_>) -> Result<Ask, Error> {
        let path = format!("/v2/{}/blobs/uploads/", upload.to.path());
        let mut ask = self.ask_for(Access::push(upload.to), upload.to, path).await?;
        ask.wanted = upload.to.familiar_name();
        Ok(ask)
    }

    /// Asks the registry to take a blob from another repository. A refusal is no error: it may have no right to tell.
    async fn mount(
        &self,
        tries: &mut Tries,
        upload: &Upload<'_>,
        from: &Reference,
    ) -> Result<Mounting, Error> {
        let mut ask = self.ask_to_push(upload).await?;
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
    async fn start(&self, tries: &mut Tries, upload: &Upload<'_>) -> Result<Url, Error> {
        let ask = self.ask_to_push(upload).await?;
        let answer = self.sender().send_within(tries, &ask, &Message::new(Method::POST)).await?;
        session(&ask, &answer)
    }

    /// Sends the blob, again from where it broke as long as that may help.
    async fn fill(&self, upload: &Upload<'_>, mut session: Url) -> Result<(), Error> {
        let ask = self.ask_to_push(upload).await?;
        let mut tries = Tries::new(self.sender().limits());
        let mut way = Way::whole(upload);
        let (mut from, mut from_at_last_break, mut has_broken, mut lost) = (0, 0, false, 0);
        loop {
            let at = ask.elsewhere(session.clone());
            way.sent.store(from, Ordering::Relaxed);
            let error = match self.send_rest(&mut tries, &at, upload, from, &way).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let is_too_large = matches!(error, Error::Status { status: 413, .. });
            if !(is_too_large && way.shorten(upload.blob.size)) {
                if !may_pass(&error, has_broken) {
                    return Err(error);
                }
                // However long it took: what counts is then how often.
                if way.sent.load(Ordering::Relaxed) > from {
                    tries.has_moved();
                }
                let again = match &error {
                    Error::Unreachable { source, .. } => tries.again_after(source).await,
                    _ => tries.again(error.retry_after()).await,
                };
                if !again {
                    return Err(error);
                }
            }
            (session, from) = match self.state(&mut tries, &ask, &session, upload).await {
                Some(state) => state,
                None => (self.start(&mut tries, upload).await?, 0),
            };
            if from >= from_at_last_break + FORGIVEN_AFTER {
                tries = Tries::new(self.sender().limits());
            }
            let is_lost = from <= from_at_last_break && matches!(error, Error::Unreachable { .. });
            lost = if is_lost { lost + 1 } else { 0 };
            if lost == MOST_LOST && way.piece == u64::MAX {
                way.shorten(upload.blob.size);
            }
            (from_at_last_break, has_broken) = (from, true);
        }
    }

    /// Sends what the registry does not have yet, and ends the upload.
    async fn send_rest(
        &self,
        tries: &mut Tries,
        ask: &Ask,
        upload: &Upload<'_>,
        mut from: u64,
        way: &Way,
    ) -> Result<(), Error> {
        let size = upload.blob.size;
        let part = |from: u64| {
            Content::Stream(Stream {
                source: Arc::clone(&way.source),
                from,
                to: from.saturating_add(way.piece).min(size),
                size,
                on_progress: Arc::clone(&way.on_progress),
            })
        };
        let kind = HeaderValue::from_static("application/octet-stream");
        let message = |method| Message::new(method).with(header::CONTENT_TYPE, kind.clone());
        if from == 0 && size <= way.piece {
            let put = Message { content: part(0), ..message(Method::PUT) };
            return self.end(tries, &with_digest(ask, upload.blob), upload, &put).await;
        }
        let mut ask = ask.clone();
        while from < size {
            let to = from.saturating_add(way.piece).min(size);
            let range = HeaderValue::try_from(format!("{from}-{}", to - 1));
            let range = range.map_err(|_| ask.protocol("its blob is too long"))?;
            let patch = message(Method::PATCH).with(header::CONTENT_RANGE, range);
            let patch = Message { content: part(from), ..patch };
            let answer = self.sender().send_within(tries, &ask, &patch).await?;
            ask.url = session(&ask, &answer)?;
            from = to;
        }
        self.end(tries, &with_digest(&ask, upload.blob), upload, &message(Method::PUT)).await
    }

    async fn end(
        &self,
        tries: &mut Tries,
        ask: &Ask,
        upload: &Upload<'_>,
        put: &Message,
    ) -> Result<(), Error> {
        let answer = self.sender().send_within(tries, ask, put).await?;
        if answer.status != StatusCode::CREATED && answer.status != StatusCode::NO_CONTENT {
            return Err(ask.protocol("it does not say that it has stored the blob"));
        }
        crate::fetch::header_digest(ask, &answer.headers)?
            .filter(|said| said != upload.blob.digest.as_digest())
            .map_or(Ok(()), |_| Err(ask.protocol("it has stored the blob under another digest")))
    }

    /// Asks how much of an upload has arrived, and where it goes on; `None` if the registry cannot tell.
    async fn state(
        &self,
        tries: &mut Tries,
        ask: &Ask,
        at: &Url,
        upload: &Upload<'_>,
    ) -> Option<(Url, u64)> {
        let ask = ask.elsewhere(at.clone());
        let answer =
            self.sender().send_within(tries, &ask, &Message::new(Method::GET)).await.ok()?;
        let range = answer.header(header::RANGE)?;
        let last = range.strip_prefix("bytes=").unwrap_or(range).strip_prefix("0-")?.trim();
        let last: u64 = last.parse().ok()?;
        // `0-0` is said of one byte and of none. One that is sent twice is found out in the end, and all sent again.
        let has = if last == 0 { 0 } else { last.checked_add(1)? };
        let at = match answer.header(header::LOCATION) {
            Some(_) => session(&ask, &answer).ok()?,
            None => ask.url,
        };
        (has <= upload.blob.size).then_some((at, has))
    }
}

/// How a blob is sent.
struct Way {
    source: Arc<Kept>,
    /// At most so much at once.
    piece: u64,
    /// How far it was sent, whether it has arrived or not.
    sent: Arc<AtomicU64>,
    on_progress: OnProgress,
}

impl Way {
    /// All of it at once.
    fn whole(upload: &Upload<'_>) -> Self {
        let sent = Arc::<AtomicU64>::default();
        let (counter, listener) = (Arc::clone(&sent), Arc::clone(&upload.on_progress));
        let on_progress: OnProgress = Arc::new(move |done| {
            counter.store(done, Ordering::Relaxed);
            listener(done);
        });
        let source = Arc::new(Kept::new(Arc::clone(&upload.source)));
        Self { source, piece: u64::MAX, sent, on_progress }
    }

    /// Goes on in smaller pieces; false if there are none.
    fn shorten(&mut self, size: u64) -> bool {
        let smaller = PIECES.into_iter().find(|piece| *piece < self.piece.min(size));
        self.piece = smaller.unwrap_or(self.piece);
        smaller.is_some()
    }
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

fn with_digest(ask: &Ask, blob: &Descriptor) -> Ask {
    ask.elsewhere(ask.url.clone().with_parameter("digest", &blob.digest.to_string()))
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
