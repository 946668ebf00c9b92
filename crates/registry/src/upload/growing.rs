//! A blob that is sent while it is being made: its bytes go in a PATCH without a length, which HTTP sends in chunks, and
//! when its digest is known a PUT ends the upload. Docker's engine sends all blobs like that.
//!
//! Where that breaks, the blob is sent like any other when all of it is made ([`super::fill`]), from where the registry has
//! it. One that takes nothing without a length is not asked again.

use std::{
    fmt,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper::{
    Method,
    header::{self, HeaderValue},
};
use oci::{Descriptor, Reference};

use super::{
    Search, Upload, Uploaded,
    fill::{Filling, Place},
    session,
};
use crate::{
    Client, Error,
    content::{Content, Kept, OnProgress, Source, Stream},
    exchange::Message,
    tries::Tries,
};

/// If less than that is left to send when the digest is known, sending it takes no longer than asking for the blob.
const WORTH_ASKING: u64 = 1024 * 1024;

/// A blob that a registry is to have and that is still being made.
#[derive(Clone)]
pub struct Growing<'a> {
    /// The repository.
    pub to: &'a Reference,
    /// Its bytes, read once. The end comes when all of them are made.
    pub source: Arc<dyn Source>,
    /// Repositories of the same registry that may have it.
    pub mounts: &'a [Reference],
    /// Hears how many bytes have left.
    pub on_progress: OnProgress,
}

impl fmt::Debug for Growing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growing").field("to", &self.to).finish_non_exhaustive()
    }
}

/// What such a blob has become.
#[derive(Clone)]
pub struct Grown {
    /// Its digest and size.
    pub blob: Descriptor,
    /// Its bytes, verified: read if they have to be sent again.
    pub source: Arc<dyn Source>,
}

impl fmt::Debug for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grown").field("blob", &self.blob).finish_non_exhaustive()
    }
}

impl Client {
    /// Whether a registry is known to take no blob before its length is known.
    pub fn takes_growing(&self, to: &Reference) -> bool {
        !self.wants_lengths().contains(to.host())
    }

    /// Sends a blob while it is being made; `grown` ends when all of it is. The registry compares it with the digest.
    ///
    /// If there is much left to send by then, and the registry has the blob after all, the rest is not sent.
    ///
    /// # Errors
    /// That of `grown`, or what is wrong with the registry. It may have kept a part of the blob, which nobody sees and which
    /// it removes in its own time.
    pub async fn upload_growing<E: From<Error>>(
        &self,
        growing: &Growing<'_>,
        grown: impl Future<Output = Result<Grown, E>>,
    ) -> Result<(Descriptor, Uploaded), E> {
        let sent = Arc::<AtomicU64>::default();
        let mut ahead = pin!(self.ahead(growing, &sent));
        let mut grown = pin!(grown);
        let (place, grown) = tokio::select! {
            biased;
            place = &mut ahead => (Some(place?), grown.await?),
            grown = &mut grown => (None, grown?),
        };
        let upload = Upload {
            to: growing.to,
            blob: &grown.blob,
            source: Arc::clone(&grown.source),
            mounts: growing.mounts,
            on_progress: Arc::clone(&growing.on_progress),
        };
        let place = match place {
            Some(place) => place,
            None => match self.overtake(&upload, ahead, &sent).await? {
                Overtaking::Sent(place) => place,
                Overtaking::Found(found) => return Ok((grown.blob, found)),
            },
        };
        Filling::new(self, &upload).await?.run(place).await?;
        Ok((grown.blob, Uploaded::Sent))
    }

    /// Begins an upload, and sends all that comes. Says where it goes on, and how far it has come if nothing broke.
    async fn ahead(&self, growing: &Growing<'_>, sent: &Arc<AtomicU64>) -> Result<Place, Error> {
        let mut tries = Tries::new(self.sender().limits());
        let at = self.start(&mut tries, growing.to).await?;
        let (counter, listener) = (Arc::clone(sent), Arc::clone(&growing.on_progress));
        let on_progress: OnProgress = Arc::new(move |done| {
            counter.store(done, Ordering::Relaxed);
            listener(done);
        });
        let source = Arc::new(Kept::new(Arc::clone(&growing.source)));
        let content = Content::Stream(Stream { source, from: 0, extent: None, on_progress });
        let kind = HeaderValue::from_static("application/octet-stream");
        let patch = Message::new(Method::PATCH).with(header::CONTENT_TYPE, kind);
        let ask = self.ask_to_push(growing.to).await?.elsewhere(at.clone());
        match self.sender().send_within(&mut tries, &ask, &Message { content, ..patch }).await {
            Ok(answer) => {
                let has = Some(sent.load(Ordering::Relaxed));
                Ok(Place { at: session(&ask, &answer)?, has })
            }
            // Whatever it is, if it lasts the upload that follows says so.
            Err(error) => {
                if wants_lengths(&error) {
                    self.wants_lengths().insert(growing.to.host().to_owned());
                }
                Ok(Place { at, has: None })
            }
        }
    }

    /// Looks, while much of a blob is still to be sent, whether the registry has it after all.
    async fn overtake(
        &self,
        upload: &Upload<'_>,
        mut ahead: Pin<&mut impl Future<Output = Result<Place, Error>>>,
        sent: &AtomicU64,
    ) -> Result<Overtaking, Error> {
        if sent.load(Ordering::Relaxed) + WORTH_ASKING >= upload.blob.size {
            return Ok(Overtaking::Sent(ahead.await?));
        }
        let mut tries = Tries::new(self.sender().limits());
        let search = tokio::select! {
            place = &mut ahead => return Ok(Overtaking::Sent(place?)),
            search = self.find(&mut tries, upload) => search?,
        };
        match search {
            Search::Found(found) => Ok(Overtaking::Found(found)),
            Search::Nothing(_) => Ok(Overtaking::Sent(ahead.await?)),
        }
    }
}

/// What came first: the end of the sending, or that there is no need for it.
enum Overtaking {
    Sent(Place),
    Found(Uploaded),
}

/// Whether a registry, or what stands before it, does not take what it does not know the length of; or no pieces at all.
fn wants_lengths(error: &Error) -> bool {
    matches!(error, Error::Status { status: 400 | 405 | 411 | 413 | 415 | 416 | 501, .. })
        || matches!(error, Error::NotFound { .. })
}
