//! Blobs: a body that is resumed where its connection breaks, and checked against its descriptor.
//!
//! For code that wants [`std::io::Read`], see [`crate::reader`].

use std::collections::VecDeque;

use bytes::Bytes;
use hyper::{
    Method, StatusCode,
    header::{self, HeaderValue},
};

use oci::{BlobDigest, Descriptor, Hasher, Reference};

use crate::{
    Client, Error, Fault,
    exchange::{Answer, Message},
    fetch::blob_path,
    send::Ask,
    tries::Tries,
};

/// So much progress makes a broken connection forgiven: the tries are counted anew.
const FORGIVEN_AFTER: u64 = 1024 * 1024;

/// A blob on its way. Its bytes are handed out as they come, before they can be known to be right: only the end
/// without an error, `Ok(None)`, says that size and digest are those of the descriptor.
///
/// A broken connection is resumed, by Range where the registry can, else from the start, of which what is known is
/// skipped. Dropping it closes the connection.
#[derive(Debug)]
#[must_use]
pub struct Blob {
    client: Client,
    reference: Reference,
    /// Where it can be had; the first one is asked as long as it does what it should.
    places: VecDeque<Reference>,
    digest: BlobDigest,
    size: u64,
    /// The answer that is being read; `None` after the end or an error.
    answer: Option<Answer>,
    /// Bytes of that answer which have been handed out already.
    skip: u64,
    /// Bytes handed out, or there before.
    received: u64,
    /// `None` when the blob has been found right.
    hasher: Option<Hasher>,
    tries: Tries,
    received_at_last_break: u64,
    /// Whether anything has come with this answer, known or not.
    has_moved: bool,
}

/// The beginning of a blob that is here already.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// What has taken in all of it; of the algorithm of the blob's digest.
    pub hasher: Hasher,
    /// How many bytes there are.
    pub length: u64,
}

impl Client {
    /// Starts the download of a blob of the reference's repository; the first bytes are on their way when it returns.
    pub async fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Blob, Error> {
        let hasher = descriptor.digest.as_digest().hasher();
        self.rest_of_blob(reference, descriptor, Beginning { hasher, length: 0 }).await
    }

    /// Goes on with the download of a blob. Handed out is the rest; found right or wrong is all of it. Where all of it is
    /// there, nobody is asked.
    ///
    /// # Errors
    /// [`Error::Size`] if there is more than there should be.
    pub async fn rest_of_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        beginning: Beginning,
    ) -> Result<Blob, Error> {
        let Beginning { hasher, length } = beginning;
        let mut blob = Blob {
            client: self.clone(),
            reference: reference.clone(),
            places: self.places(reference)?,
            digest: descriptor.digest,
            size: descriptor.size,
            answer: None,
            skip: 0,
            received: length,
            hasher: Some(hasher),
            tries: Tries::new(self.sender().limits()),
            received_at_last_break: length,
            has_moved: false,
        };
        if length > blob.size {
            return Err(blob.wrong_size(length));
        }
        if length < blob.size || length == 0 {
            blob.open().await?;
        }
        Ok(blob)
    }
}

impl Blob {
    /// Returns the size that the descriptor gives, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the next bytes; `None` when all have been handed out and found right.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.hasher.is_none() {
            return Ok(None);
        }
        if self.answer.is_none() && self.received == self.size {
            return self.finish().map(|()| None);
        }
        loop {
            let Some(answer) = &mut self.answer else { return Err(Error::Abandoned) };
            let fault = match answer.chunk().await {
                Ok(Some(bytes)) => match self.take(bytes)? {
                    Some(bytes) => return Ok(Some(bytes)),
                    None => continue,
                },
                // All is there: what else the connection does is of no interest.
                Ok(None) | Err(_) if self.received == self.size => {
                    return self.finish().map(|()| None);
                }
                Ok(None) => Fault::Truncated { received: self.received, expected: self.size },
                Err(fault) => fault,
            };
            self.resume(fault).await?;
        }
    }

    /// Takes the part of a chunk that is new.
    fn take(&mut self, mut bytes: Bytes) -> Result<Option<Bytes>, Error> {
        self.has_moved = true;
        let known = self.skip.min(bytes.len() as u64);
        self.skip -= known;
        // Not above the length of the chunk, so it fits.
        let bytes = bytes.split_off(known as usize);
        if bytes.is_empty() {
            return Ok(None);
        }
        let received = self.received + bytes.len() as u64;
        self.received = received;
        if received > self.size {
            self.answer = None;
            return Err(self.wrong_size(received));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        Ok(Some(bytes))
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.answer = None;
        let Some(actual) = self.hasher.as_ref().map(|hasher| hasher.clone().finish()) else {
            return Ok(());
        };
        let expected = *self.digest.as_digest();
        if actual != expected {
            if let [mirror, _, ..] = self.places.make_contiguous() {
                self.client.distrust(mirror);
            }
            let (expected, actual) = (Box::new(expected), Box::new(actual));
            return Err(Error::Digest { wanted: self.wanted(), expected, actual });
        }
        self.hasher = None;
        Ok(())
    }

    /// Goes on where the connection broke, if that may help.
    async fn resume(&mut self, fault: Fault) -> Result<(), Error> {
        let url = self.answer.take().map(|answer| answer.url.to_string()).unwrap_or_default();
        if self.received >= self.received_at_last_break + FORGIVEN_AFTER {
            self.tries = Tries::new(self.client.sender().limits());
        }
        if std::mem::take(&mut self.has_moved) {
            self.tries.has_moved();
        }
        self.received_at_last_break = self.received;
        if !self.tries.again_after(&fault).await {
            if self.places.len() < 2 {
                return Err(Error::Unreachable { url, source: fault });
            }
            self.places.pop_front();
            self.tries = Tries::new(self.client.sender().limits());
        }
        self.open().await
    }

    /// Asks for what is missing, at the first place that has it.
    async fn open(&mut self) -> Result<(), Error> {
        loop {
            let place = self.places.front().ok_or(Error::Abandoned)?.clone();
            match self.open_at(&place).await {
                Err(error) if self.places.len() > 1 => {
                    self.client.give_up(&place, &error);
                    self.places.pop_front();
                    self.tries = Tries::new(self.client.sender().limits());
                }
                result => return result,
            }
        }
    }

    /// Asks for what is missing, at a registry: where it redirected to may have forgotten.
    async fn open_at(&mut self, place: &Reference) -> Result<(), Error> {
        let path = blob_path(place, &self.digest);
        let mut ask = self.client.ask(place, path).await?;
        ask.wanted = self.wanted();
        let mut message = Message::new(Method::GET);
        if self.received > 0 {
            let range = HeaderValue::try_from(format!("bytes={}-", self.received));
            let range = range.map_err(|_| ask.protocol("its blob is too long"))?;
            message.headers.push((header::RANGE, range));
        }
        let answer = self.client.sender().send_within(&mut self.tries, &ask, &message).await?;
        self.skip = if answer.status == StatusCode::PARTIAL_CONTENT {
            check_range(&ask, &answer, self.received, self.size)?;
            0
        } else {
            self.received
        };
        let handed_out = self.received - self.skip;
        let length = answer.length().map(|length| length.saturating_add(handed_out));
        if let Some(length) = length.filter(|length| *length != self.size) {
            if answer.is_page() {
                return Err(ask.protocol("it sends a web page"));
            }
            return Err(self.wrong_size(length));
        }
        self.answer = Some(answer);
        Ok(())
    }

    fn wrong_size(&self, actual: u64) -> Error {
        Error::Size { wanted: self.wanted(), expected: self.size, actual }
    }

    fn wanted(&self) -> String {
        format!("{}@{}", self.reference.familiar_name(), self.digest)
    }
}

/// A part must be the one that was asked for, or the blob would be put together wrongly.
fn check_range(ask: &Ask, answer: &Answer, from: u64, size: u64) -> Result<(), Error> {
    let range = answer.header(header::CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes "));
    let parts = range.and_then(|range| range.split_once('/'));
    let start = parts.and_then(|(range, _)| range.split_once('-')?.0.trim().parse::<u64>().ok());
    let total = parts.map(|(_, total)| total.trim());
    if start != Some(from) {
        return Err(ask.protocol("it sends another part of a blob than the one asked for"));
    }
    match total.and_then(|total| total.parse::<u64>().ok()) {
        Some(total) if total != size => {
            Err(Error::Size { wanted: ask.wanted.clone(), expected: size, actual: total })
        }
        _ => Ok(()),
    }
}
