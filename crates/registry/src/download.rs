//! Files of the web: a bounded GET that follows redirects, goes through the proxy, asks only for what has changed, and goes
//! on where its connection broke.
//!
//! The connections, time limits and redirect rules are those of registries: whoever is redirected to is not on this
//! machine or its link unless the address itself is, `https` never leads to `http`, and credentials stay with the first
//! host. What is different: nobody answers with a challenge, and any body will do.
//!
//! What is broken is resumed by `Range` with `If-Range` (RFC 9110, sections 13.1.5 and 14), which a server answers with the
//! rest only if the file is still the same; for that the first answer must have said which version it is. Everything else
//! starts again at the beginning, so the parts of two versions are never put together. How often is bounded, as for
//! all requests.

use bytes::Bytes;
use hyper::{
    Method, StatusCode,
    header::{self, HeaderName, HeaderValue},
};

use crate::{
    Client, Error, Fault, base64,
    error::harmless,
    exchange::{Answer, Message},
    proxy::decode_percent,
    tries::{Tries, retry_after},
    url::Url,
};

/// So much progress makes a broken connection forgiven: the tries are counted anew.
const FORGIVEN_AFTER: u64 = 1024 * 1024;

/// What is wanted of the web.
#[derive(Debug, Clone, Copy)]
pub struct FileRequest<'a> {
    /// An http or https address; a user and a password in it become an `Authorization`.
    pub address: &'a str,
    /// The value of `Authorization`, instead of that in the address.
    pub authorization: Option<&'a str>,
    /// The `ETag` of the version that is known already.
    pub etag: Option<&'a str>,
    /// The `Last-Modified` of the version that is known already; not looked at by servers that understand the `ETag`.
    pub last_modified: Option<&'a str>,
    /// How many bytes are accepted.
    pub limit: u64,
}

/// A file on its way. Dropping it closes the connection.
#[derive(Debug)]
#[must_use]
pub struct Download {
    client: Client,
    url: Url,
    /// Where it comes from, which may be elsewhere.
    source: Url,
    authorization: Option<String>,
    limit: u64,
    /// The answer that is being read; `None` after an error.
    answer: Option<Answer>,
    version: Version,
    /// Bytes handed out since the beginning of the file.
    received: u64,
    received_at_last_break: u64,
    tries: Tries,
    /// How often it was started again at the beginning.
    restarts: u32,
}

/// The next part of a file.
#[derive(Debug)]
pub enum Piece {
    /// What follows.
    Bytes(Bytes),
    /// What came so far is void: the file has changed meanwhile, or the server cannot go on in the middle of it. What
    /// follows is the file from its beginning.
    Anew,
}

/// What a server says about the version that it sends.
#[derive(Debug, Clone, Default)]
struct Version {
    etag: Option<String>,
    last_modified: Option<String>,
    date: Option<String>,
    /// Size of the whole file, if it is known.
    size: Option<u64>,
}

impl Client {
    /// Starts a download; `None` if the version that is known is still the current one.
    ///
    /// # Errors
    /// [`Error::Status`] for any answer but success, [`Error::Address`] for what is no address, [`Error::Redirect`],
    /// [`Error::TooLarge`] if that is known beforehand, [`Error::Unreachable`] after the usual number of tries.
    pub async fn file(&self, request: &FileRequest<'_>) -> Result<Option<Download>, Error> {
        let (url, user) = parse(request.address)?;
        let authorization = request.authorization.map(str::to_owned).or(user);
        let conditions = [
            (header::IF_NONE_MATCH, request.etag),
            (header::IF_MODIFIED_SINCE, request.last_modified),
        ];
        let message = message(authorization.as_deref(), &conditions)?;
        let mut tries = Tries::new(self.sender().limits());
        let answer = self.sender().fetch_from(&mut tries, &url, &url.origin, &message).await?;
        match answer.status {
            StatusCode::NOT_MODIFIED if is_conditional(request) => return Ok(None),
            // Some servers know what they send and send it all the same.
            StatusCode::OK if is_known(request, &answer) => return Ok(None),
            _ => check_status(&answer)?,
        }
        let mut download = Download {
            client: self.clone(),
            source: answer.url.clone(),
            url,
            authorization,
            limit: request.limit,
            answer: None,
            version: Version::default(),
            received: 0,
            received_at_last_break: 0,
            tries,
            restarts: 0,
        };
        download.begin(answer)?;
        Ok(Some(download))
    }
}

impl Download {
    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    /// Those of [`Client::file`], when a broken transfer could not be resumed; [`Error::TooLarge`]. No more follows then.
    pub async fn piece(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            let Some(answer) = &mut self.answer else { return Err(Error::Abandoned) };
            match answer.chunk().await {
                Ok(Some(bytes)) => {
                    self.received += bytes.len() as u64;
                    if self.received > self.limit {
                        self.answer = None;
                        return Err(self.too_large());
                    }
                    return Ok(Some(Piece::Bytes(bytes)));
                }
                Ok(None) => return Ok(None),
                Err(fault) => {
                    self.answer = None;
                    if self.resume(fault).await? == Resumed::Anew {
                        return Ok(Some(Piece::Anew));
                    }
                }
            }
        }
    }

    /// Returns the `ETag` of this version.
    pub fn etag(&self) -> Option<&str> {
        self.version.etag.as_deref()
    }

    /// Returns when the server says that the file was modified, as HTTP writes it.
    pub fn last_modified(&self) -> Option<&str> {
        self.version.last_modified.as_deref()
    }

    /// Returns when the server says that it answered, as HTTP writes it.
    pub fn date(&self) -> Option<&str> {
        self.version.date.as_deref()
    }

    /// Takes an answer with the whole file.
    fn begin(&mut self, answer: Answer) -> Result<(), Error> {
        self.source = answer.url.clone();
        self.version = Version::of(&answer);
        if self.version.size.is_some_and(|size| size > self.limit) {
            return Err(self.too_large());
        }
        (self.received, self.received_at_last_break) = (0, 0);
        self.answer = Some(answer);
        Ok(())
    }

    /// Goes on after a fault, if that may help: where it broke, or at the beginning.
    async fn resume(&mut self, fault: Fault) -> Result<Resumed, Error> {
        if self.received >= self.received_at_last_break + FORGIVEN_AFTER {
            self.tries = Tries::new(self.client.sender().limits());
        }
        if self.received > self.received_at_last_break {
            self.tries.has_moved();
        }
        self.received_at_last_break = self.received;
        if !self.tries.again_after(&fault).await {
            return Err(Error::Unreachable { url: self.source.to_string(), source: fault });
        }
        if let Some(validator) = self.version.validator().filter(|_| self.received > 0) {
            let range = format!("bytes={}-", self.received);
            let conditions =
                [(header::RANGE, Some(range.as_str())), (header::IF_RANGE, Some(validator))];
            let message = message(self.authorization.as_deref(), &conditions)?;
            let answer = self.send(&message).await?;
            if answer.status == StatusCode::PARTIAL_CONTENT && self.continues(&answer) {
                self.answer = Some(answer);
                return Ok(Resumed::Where);
            }
            if answer.status == StatusCode::OK {
                return self.restart(answer, fault);
            }
        }
        let message = message(self.authorization.as_deref(), &[])?;
        let answer = self.send(&message).await?;
        check_status(&answer)?;
        self.restart(answer, fault)
    }

    async fn send(&mut self, message: &Message) -> Result<Answer, Error> {
        let (sender, url) = (self.client.sender(), &self.url);
        sender.fetch_from(&mut self.tries, url, &url.origin, message).await
    }

    /// However much comes each time, a file that always breaks has no end.
    fn restart(&mut self, answer: Answer, fault: Fault) -> Result<Resumed, Error> {
        self.restarts += 1;
        if self.restarts > self.client.sender().limits().retries {
            return Err(Error::Unreachable { url: self.source.to_string(), source: fault });
        }
        self.begin(answer)?;
        Ok(Resumed::Anew)
    }

    /// Whether a part is the one that was asked for, of the same version.
    fn continues(&self, answer: &Answer) -> bool {
        let range =
            answer.header(header::CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes "));
        let Some((range, total)) = range.and_then(|range| range.split_once('/')) else {
            return false;
        };
        let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
        let total: Option<u64> = total.trim().parse().ok();
        let same_size =
            total.is_none() || self.version.size.is_none() || total == self.version.size;
        let etag = answer.header(header::ETAG);
        let same_etag = etag.is_none() || etag == self.version.etag.as_deref();
        start == Some(self.received) && same_size && same_etag
    }

    fn too_large(&self) -> Error {
        let (url, limit) = (self.source.to_string(), self.limit);
        Error::TooLarge { url, document: "file", limit }
    }
}

/// How a broken download goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resumed {
    /// Where it broke.
    Where,
    /// At the beginning.
    Anew,
}

impl Version {
    fn of(answer: &Answer) -> Self {
        let text = |name| answer.header(name).map(str::to_owned);
        Self {
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
            date: text(header::DATE),
            size: answer.length(),
        }
    }

    /// What tells this version from every other one, byte for byte: an `ETag` that is not weak. A time does not, since a
    /// file may be changed twice in a second.
    fn validator(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }
}

fn check_status(answer: &Answer) -> Result<(), Error> {
    match answer.status {
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => Ok(()),
        status => {
            let detail = status.canonical_reason().unwrap_or_default().to_owned();
            let (url, status) = (answer.url.to_string(), status.as_u16());
            Err(Error::Status { url, status, retry_after: retry_after(answer), detail })
        }
    }
}

fn is_conditional(request: &FileRequest<'_>) -> bool {
    request.etag.is_some() || request.last_modified.is_some()
}

fn is_known(request: &FileRequest<'_>, answer: &Answer) -> bool {
    request.etag.is_some_and(|etag| answer.header(header::ETAG) == Some(etag))
}

/// Takes the user out of an address, and encodes what a request cannot carry as it is.
fn parse(address: &str) -> Result<(Url, Option<String>), Error> {
    let wrong = |reason| {
        let without_query = address.split('?').next().unwrap_or_default();
        let shown = without_query.rsplit_once('@').map_or(without_query, |(_, rest)| rest);
        Error::Address { address: harmless(shown), reason }
    };
    let (scheme, rest) =
        address.split_once("://").ok_or_else(|| wrong("it is not an absolute URL"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let mut text = format!("{scheme}://{host}");
    for byte in target.bytes() {
        match byte {
            b' ' | 0x80.. => text.push_str(&format!("%{byte:02X}")),
            byte => text.push(char::from(byte)),
        }
    }
    let url = Url::parse(&text).map_err(wrong)?;
    let authorization = user.map(|user| {
        let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
        format!("Basic {}", base64::encode(&decode_percent(&user)))
    });
    Ok((url, authorization))
}

fn message(
    authorization: Option<&str>,
    conditions: &[(HeaderName, Option<&str>)],
) -> Result<Message, Error> {
    let mut headers = Vec::new();
    let authorization = [(header::AUTHORIZATION, authorization)];
    for (name, value) in authorization.iter().chain(conditions) {
        let Some(value) = value else { continue };
        headers.push((name.clone(), header_value(name, value)?));
    }
    Ok(Message { headers, ..Message::new(Method::GET) })
}

/// The value stays out of the error: it may be a credential.
fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, Error> {
    let mut header = HeaderValue::try_from(value.trim()).map_err(|_| Error::Address {
        address: name.to_string(),
        reason: "the value for this header has characters that no header can have",
    })?;
    header.set_sensitive(*name == header::AUTHORIZATION);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_in_the_address_becomes_a_header() {
        let (url, user) = parse("http://a%40b:p%3Aq@h.example/x y/ü?k=v@w#part").unwrap();
        assert_eq!(url, Url::parse("http://h.example/x%20y/%C3%BC?k=v@w").unwrap());
        assert_eq!(user.as_deref(), Some("Basic YUBiOnA6cQ=="));
        assert_eq!(parse("https://h.example").unwrap().1, None);
    }

    #[test]
    fn wrong_addresses_are_told_without_the_password() {
        for address in [
            "ftp://u:secret@h.example/x",
            "http://u:secret@h.example:x/",
            "https://u:secret@/x",
            "http://u:secret@h.example/x\r\nHost: y",
        ] {
            let error = parse(address).unwrap_err().to_string();
            assert!(
                error.contains("cannot use the address") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
