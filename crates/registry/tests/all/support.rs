//! What the tests share: a scripted server, images, clients with little patience.

pub(crate) mod image;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod warehouse;

use std::time::Duration;

use oci::{Platform, Reference};
use registry::{Authorities, Client, Credentials, Limits, Options, Proxies, Settings};

/// Bounds that end a test soon; answers that do come have seconds, as the machine may be busy.
pub(crate) fn impatient() -> Limits {
    Limits {
        connect: Duration::from_secs(10),
        headers: Duration::from_secs(10),
        read: Duration::from_secs(10),
        backoff: Duration::from_millis(1),
        longest_pause: Duration::from_millis(100),
        ..Limits::standard()
    }
}

pub(crate) fn options() -> Options {
    Options {
        credentials: Credentials::none(),
        settings: Settings::default(),
        proxies: Proxies::default(),
        authorities: Authorities::default(),
        offline: false,
        limits: impatient(),
        user_agent: "kiln-test/1".to_owned(),
    }
}

pub(crate) fn client() -> Client {
    Client::new(options()).unwrap()
}

pub(crate) fn client_with(limits: Limits) -> Client {
    Client::new(Options { limits, ..options() }).unwrap()
}

/// A client that has logged in.
pub(crate) fn client_as(auths: &str) -> Client {
    let text = format!(r#"{{"auths": {auths}}}"#);
    let credentials = Credentials::parse("config.json".as_ref(), text.as_bytes()).unwrap();
    Client::new(Options { credentials, ..options() }).unwrap()
}

pub(crate) fn amd64() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

pub(crate) fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// The causes of an error, in one text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
