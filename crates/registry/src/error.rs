//! What can go wrong between here and a registry, by what the caller can do about it.

use std::{error::Error as StdError, io, path::PathBuf, time::Duration};

use thiserror::Error;

use oci::Digest;

/// A request that did not end well. Nothing is written to disk by this crate, so nothing is left there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry does not have it: check the name.
    #[error("`{wanted}` does not exist{}", after_colon(.said))]
    NotFound {
        /// Reference of the image or blob.
        wanted: String,
        /// What the registry says about it, made harmless; empty where it says nothing.
        said: String,
    },
    /// The index has no image for the platform: choose another.
    #[error("`{wanted}` has no image for {platform}, only for {}", listed(.available))]
    NoPlatform {
        /// Reference of the index.
        wanted: String,
        /// The platform asked for.
        platform: String,
        /// The platforms there are.
        available: Vec<String>,
    },
    /// The registry wants other credentials or none will do: log in, or check the name.
    #[error("access to `{wanted}` is denied, or it does not exist: {reason}{}", in_brackets(.said))]
    Denied {
        /// Reference of the image or blob.
        wanted: String,
        /// Why.
        reason: Denial,
        /// What the registry says about it, made harmless; empty where it says nothing.
        said: String,
    },
    /// The registry does not let somebody in who wants to log in: check name and password.
    #[error("Get \"{url}\": {}", or_unauthorized(.said))]
    NotLetIn {
        /// Where the request went.
        url: String,
        /// What the registry says about it, made harmless; empty where it says nothing.
        said: String,
    },
    /// Too many requests, for longer than may be waited: come back later, or log in.
    #[error("`{host}` limits the rate of requests{}{}", until(*.retry_after), after_colon(.said))]
    RateLimited {
        /// The registry.
        host: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// What the registry says about it, made harmless; empty where it says nothing.
        said: String,
    },
    /// The host cannot be reached, or the exchange kept breaking: check the network, the proxy, the certificates.
    #[error("cannot reach `{url}`")]
    Unreachable {
        /// Where the request went, without its query.
        url: String,
        /// What happened last.
        #[source]
        source: Fault,
    },
    /// An answer with a status that this request has no use for.
    #[error("`{url}` answers {status}{}{}", until(*.retry_after), after_colon(.detail))]
    Status {
        /// Where the request went, without its query.
        url: String,
        /// The HTTP status code.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// What the registry says about it, made harmless; empty where it says nothing.
        detail: String,
    },
    /// The registry sends elsewhere in a way that is not followed.
    #[error("`{url}` redirects, which is not followed: {reason}")]
    Redirect {
        /// Who redirects.
        url: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// An answer that breaks the distribution specification: not a registry, or a broken one.
    #[error("`{url}` does not answer like a registry: {reason}")]
    Protocol {
        /// Where the request went, without its query.
        url: String,
        /// What is wrong with the answer.
        reason: &'static str,
    },
    /// An answer larger than a document of its kind can be.
    #[error("`{url}` sends more than {limit} bytes for a {document}")]
    TooLarge {
        /// Where the request went, without its query.
        url: String,
        /// What was asked for.
        document: &'static str,
        /// How many bytes are accepted.
        limit: u64,
    },
    /// Bytes that are not the ones that were asked for: a corrupt or dishonest registry or proxy.
    #[error("`{wanted}` arrives with the digest `{actual}` instead of `{expected}`")]
    Digest {
        /// Reference of the image or blob.
        wanted: String,
        /// The digest in the reference, the descriptor or the answer's header.
        expected: Box<Digest>,
        /// The digest of the bytes.
        actual: Box<Digest>,
    },
    /// A body that is longer or shorter than its descriptor says.
    #[error("`{wanted}` has {actual} bytes instead of {expected}")]
    Size {
        /// Reference of the image or blob.
        wanted: String,
        /// The descriptor's size.
        expected: u64,
        /// What the answer has, as far as it was read.
        actual: u64,
    },
    /// A document that is not what its place calls for.
    #[error("`{wanted}` is not an image")]
    Document {
        /// Reference of the image or blob.
        wanted: String,
        /// What is wrong with the document.
        #[source]
        source: DocumentError,
    },
    /// A file with credentials that cannot be used: correct or remove it.
    #[error("cannot use the credentials in `{}`", .path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CredentialsError,
    },
    /// A file of settings that cannot be used: correct or remove it.
    #[error("cannot use the settings in `{}`", .path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: SettingsError,
    },
    /// The settings forbid it.
    #[error("`{wanted}` is blocked: the settings of this machine say so of `{prefix}`")]
    Blocked {
        /// Reference of the image.
        wanted: String,
        /// What is blocked.
        prefix: String,
    },
    /// A program that keeps credentials does not do what it is asked for: correct it, or the file that names it.
    #[error("cannot {verb} the credentials of the helper `{helper}`: {reason}")]
    Helper {
        /// Its name, without `docker-credential-`.
        helper: String,
        /// What was asked of it.
        verb: &'static str,
        /// What it says, or what is wrong with it, made harmless.
        reason: String,
    },
    /// A proxy that cannot be used: correct the variable.
    #[error("cannot use the proxy `{proxy}`: {reason}")]
    Proxy {
        /// The value, without user and password.
        proxy: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What is not the address of a file of the web, or cannot be asked for: correct it.
    #[error("cannot use the address `{address}`: {reason}")]
    Address {
        /// The address, without user, password and query.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The download ended because the program is ending.
    #[error("the download was abandoned")]
    Abandoned,
}

impl Error {
    /// How long the registry asks to wait before the next try.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Status { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

/// Why a registry lets nobody in.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// Nothing is stored for the host.
    #[error("no credentials for `{host}` are stored")]
    NoCredentials {
        /// The host as references name it.
        host: String,
    },
    /// What is stored is wrong, or does not suffice.
    #[error("the stored credentials for `{host}` are not accepted")]
    Rejected {
        /// The host as references name it.
        host: String,
    },
    /// The token server is another host, and could be listened to: it gets no credentials.
    #[error(
        "no credentials are sent to the token server `{realm}`, another host without encryption"
    )]
    ForeignRealm {
        /// The token server's host.
        realm: String,
    },
    /// A host that the registry redirects to wants credentials, and gets none.
    #[error("`{host}`, to which the registry redirects, wants credentials")]
    Redirected {
        /// The host redirected to.
        host: String,
    },
}

/// What is wrong with a manifest, an index or an image config.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not the JSON that the specification describes.
    #[error(transparent)]
    Oci(#[from] oci::Error),
    /// JSON, but none of the documents that name an image.
    #[error("{0}")]
    Kind(&'static str),
    /// The config names another number of layers than the manifest.
    #[error("the config lists {diff_ids} layers and the manifest {layers}")]
    LayerCount {
        /// In the config.
        diff_ids: usize,
        /// In the manifest.
        layers: usize,
    },
    /// It lists more images than anybody has.
    #[error("it lists more than {allowed} images")]
    Manifests {
        /// How many there may be.
        allowed: u64,
    },
}

/// What is wrong with a file of settings.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It cannot be read.
    #[error("cannot read the file")]
    Read(#[source] io::Error),
    /// It is not the JSON that it should be.
    #[error("the file is not what it should be")]
    Json(#[source] serde_json::Error),
    /// It is not the TOML that it should be.
    #[error("line {line}: {reason}")]
    Toml {
        /// Where, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A value makes no sense.
    #[error("`{value}` in `{key}`: {reason}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What is wrong with a file of credentials.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("cannot read the file")]
    Read(#[source] io::Error),
    /// It is not JSON of Docker's form.
    #[error("the file does not have the form of Docker's `config.json`")]
    Json(#[source] serde_json::Error),
    /// A field of it is not what Docker writes there.
    #[error("`auths` of the file is not a list of hosts")]
    Form,
    /// It cannot be written.
    #[error("cannot write the file")]
    Write(#[source] io::Error),
    /// An entry's `auth` is not base64 of `user:password`.
    #[error("`auth` of `{host}` is not `user:password` in base64")]
    Auth {
        /// The entry's key.
        host: String,
    },
}

/// What broke an exchange with a host.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The client keeps off the network.
    #[error("kiln is to keep off the network (--offline, KILN_OFFLINE)")]
    Offline,
    /// The name has no address.
    #[error("cannot find the address of `{host}`")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver says.
        #[source]
        source: io::Error,
    },
    /// A registry sends to this machine or to the local network's own services.
    #[error("`{host}` is an address of this machine or link, where the registry has no business")]
    Forbidden {
        /// The name or address.
        host: String,
    },
    /// No TCP connection.
    #[error("cannot connect to `{host}`")]
    Connect {
        /// The name or address.
        host: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The proxy does not make a tunnel.
    #[error("the proxy `{proxy}` refuses: {answer}")]
    Tunnel {
        /// The proxy.
        proxy: String,
        /// The status line it answers with, made harmless.
        answer: String,
    },
    /// No TLS: a certificate that nobody vouches for, or no TLS at all.
    #[error("cannot agree on encryption with `{host}`")]
    Tls {
        /// The name or address.
        host: String,
        /// What the TLS library says.
        #[source]
        source: io::Error,
    },
    /// A file of certificates or keys is missing or broken.
    #[error("cannot use the certificates in `{}`: {reason}", .path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing came in time.
    #[error("no {of} within {} seconds", .after.as_secs_f32())]
    Timeout {
        /// What did not come: a connection, an answer, data.
        of: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// Data drips.
    #[error("the data comes at less than {least} bytes in {} seconds", .window.as_secs_f32())]
    Slow {
        /// How many bytes are the least.
        least: u64,
        /// In which time.
        window: Duration,
    },
    /// The body ended before its time.
    #[error("the data ends after {received} of {expected} bytes")]
    Truncated {
        /// What came.
        received: u64,
        /// What should have come.
        expected: u64,
    },
    /// What is to be sent cannot be read.
    #[error("cannot read what is to be sent")]
    Source(#[source] io::Error),
    /// What came is not HTTP.
    #[error("the answer is not HTTP")]
    Malformed(#[source] Box<dyn StdError + Send + Sync>),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn StdError + Send + Sync>),
}

impl Fault {
    /// Whether the same may go well the next time.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Lookup { source, .. } => is_passing_lookup(source),
            // Certificates are reported as invalid data; what else breaks a handshake is the connection.
            Self::Tls { source, .. } => source.kind() != io::ErrorKind::InvalidData,
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Slow { .. }
            | Self::Truncated { .. }
            | Self::Broken(_) => true,
            Self::Offline
            | Self::Forbidden { .. }
            | Self::Tunnel { .. }
            | Self::Certificates { .. }
            | Self::Source(_)
            | Self::Malformed(_) => false,
        }
    }
}

/// The resolver's codes do not reach here, only its words: glibc's, then musl's, for EAI_AGAIN.
fn is_passing_lookup(error: &io::Error) -> bool {
    let words = error.to_string();
    ["Temporary failure", "Try again"].iter().any(|passing| words.contains(passing))
}

/// Makes text from elsewhere fit to be shown: no control characters, no more than a line.
pub(crate) fn harmless(text: &str) -> String {
    // Long enough for what registries say, short enough for a line or two.
    const LONGEST: usize = 300;
    let line = text.trim().chars().take(LONGEST);
    line.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn listed(platforms: &[String]) -> String {
    // An index may list thousands.
    const MOST: usize = 12;
    if platforms.is_empty() {
        return "no platform at all".to_owned();
    }
    let shown = platforms.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if platforms.len() > MOST { format!("{shown}, …") } else { shown }
}

/// In Docker's words.
fn or_unauthorized(said: &str) -> &str {
    if said.is_empty() { "unauthorized: incorrect username or password" } else { said }
}

fn in_brackets(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" (the registry says: {said})") }
}

fn until(retry_after: Option<Duration>) -> String {
    let seconds = |after: Duration| format!(", and asks to wait {} seconds", after.as_secs());
    retry_after.filter(|after| !after.is_zero()).map(seconds).unwrap_or_default()
}

fn after_colon(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}
