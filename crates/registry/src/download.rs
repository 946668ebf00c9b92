//! Files of the web: a bounded GET that follows redirects, goes through the proxy, and asks only for what has changed.
//!
//! The connections, time limits and redirect rules are those of registries: whoever is redirected to is not on this
//! machine or its link unless the address itself is, `https` never leads to `http`, and credentials stay with the first
//! host. What is different: nobody answers with a challenge, and any body will do.

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
    url::Url,
};

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
    answer: Answer,
    received: u64,
    limit: u64,
}

impl Client {
    /// Starts a download; `None` if the version that is known is still the current one.
    ///
    /// # Errors
    /// [`Error::Status`] for any answer but success, [`Error::Address`] for what is no address, [`Error::Redirect`],
    /// [`Error::TooLarge`] if that is known beforehand, [`Error::Unreachable`] after the usual number of tries.
    pub async fn file(&self, request: &FileRequest<'_>) -> Result<Option<Download>, Error> {
        let (url, user) = parse(request.address)?;
        let message = message(request, user)?;
        let answer = self.sender().fetch_from(&url, &url.origin, &message).await?;
        let shown = url.to_string();
        match answer.status {
            StatusCode::NOT_MODIFIED if is_conditional(request) => return Ok(None),
            // Some servers know what they send and send it all the same.
            StatusCode::OK if is_known(request, &answer) => return Ok(None),
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {}
            status => {
                let detail = status.canonical_reason().unwrap_or_default().to_owned();
                return Err(Error::Status { url: shown, status: status.as_u16(), detail });
            }
        }
        let download = Download { answer, received: 0, limit: request.limit };
        if download.answer.length().is_some_and(|length| length > request.limit) {
            return Err(download.too_large());
        }
        Ok(Some(download))
    }
}

impl Download {
    /// Returns the next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.answer.chunk().await;
        let chunk = chunk.map_err(|source| self.broken(source))?;
        self.received += chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if self.received > self.limit {
            return Err(self.too_large());
        }
        Ok(chunk)
    }

    /// Returns the `ETag` of this version.
    pub fn etag(&self) -> Option<&str> {
        self.answer.header(header::ETAG)
    }

    /// Returns when the server says that the file was modified, as HTTP writes it.
    pub fn last_modified(&self) -> Option<&str> {
        self.answer.header(header::LAST_MODIFIED)
    }

    /// Returns when the server says that it answered, as HTTP writes it.
    pub fn date(&self) -> Option<&str> {
        self.answer.header(header::DATE)
    }

    fn broken(&self, source: Fault) -> Error {
        Error::Unreachable { url: self.answer.url.to_string(), source }
    }

    fn too_large(&self) -> Error {
        let (url, limit) = (self.answer.url.to_string(), self.limit);
        Error::TooLarge { url, document: "file", limit }
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

fn message(request: &FileRequest<'_>, user: Option<String>) -> Result<Message, Error> {
    let mut headers = Vec::new();
    let authorization = request.authorization.map(str::to_owned).or(user);
    let conditions = [
        (header::AUTHORIZATION, authorization.as_deref()),
        (header::IF_NONE_MATCH, request.etag),
        (header::IF_MODIFIED_SINCE, request.last_modified),
    ];
    for (name, value) in conditions {
        let Some(value) = value else { continue };
        headers.push((name.clone(), header_value(&name, value)?));
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
