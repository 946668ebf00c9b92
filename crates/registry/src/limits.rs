//! How long to wait, how often to try again, how much to accept. What a limit means where it is hit is in the room
//! that asks for it.

use std::time::Duration;

/// The bounds of every exchange with a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For one connection: name look-up, TCP, proxy and TLS together.
    pub connect: Duration,
    /// From a request to the last header of its answer.
    pub headers: Duration,
    /// Between two pieces of a body, in either direction.
    pub read: Duration,
    /// From the last byte of a blob that was sent to the answer: meanwhile the registry verifies and stores it.
    pub stored: Duration,
    /// Bytes that must come in each [`Limits::read`] spent waiting, so that a body cannot drip for ever.
    pub least_per_read: u64,
    /// How often a request is made again after a broken connection, a 429 or a 5xx.
    pub retries: u32,
    /// The pause before the first retry; each further one is twice as long.
    pub backoff: Duration,
    /// From the first failure of something to the last try of it.
    pub patience: Duration,
    /// The same where nobody is there: the connection is refused, or the name has no address.
    pub refused: Duration,
    /// The longest pause that a registry may ask for (`Retry-After`); where it asks for more, the request fails.
    pub longest_pause: Duration,
    /// Bytes of a manifest, an index or an image config.
    pub document: u64,
    /// Images that an index lists, with those of the indexes in it.
    pub manifests: u64,
    /// Bytes of a token server's answer.
    pub token: u64,
}

impl Limits {
    /// Returns the bounds for registries on the Internet.
    pub const fn standard() -> Self {
        Self {
            connect: Duration::from_secs(15),
            headers: Duration::from_secs(30),
            read: Duration::from_secs(30),
            // Some copy the blob to another service before they answer.
            stored: Duration::from_secs(300),
            // 1 KiB a second.
            least_per_read: 30 * 1024,
            // With the back-off, somewhat less than 4 seconds of patience for a registry in trouble.
            retries: 4,
            backoff: Duration::from_millis(250),
            // A registry behind which nothing answers is left after about a minute.
            patience: Duration::from_secs(45),
            // Long enough for a process that is just being replaced.
            refused: Duration::from_millis(2500),
            longest_pause: Duration::from_secs(30),
            // What Docker's registry accepts in a push.
            document: 4 * 1024 * 1024,
            // Those of real images list some dozens, attestations included.
            manifests: 1000,
            // Real tokens have up to 10 KiB.
            token: 256 * 1024,
        }
    }
}
