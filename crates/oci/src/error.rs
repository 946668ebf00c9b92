//! What can be wrong with a name, a digest or a document.

use thiserror::Error;

/// A value that does not follow the specification. Nothing is touched when one is returned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Not `algorithm:hex` with a known algorithm and the right number of lower-case digits.
    #[error("invalid digest `{value}`: {reason}")]
    Digest {
        /// The text as given.
        value: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// Not a reference to an image.
    #[error("invalid reference `{value}`")]
    Reference {
        /// The text as given.
        value: String,
        /// Which rule it breaks.
        #[source]
        source: ReferenceError,
    },
    /// Not `os[/architecture[/variant]]`.
    #[error("invalid platform `{value}`: {reason}")]
    Platform {
        /// The text as given.
        value: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A document that is not the JSON which its place calls for.
    #[error("cannot read the {document}")]
    Document {
        /// Which document: "manifest", "image config", …
        document: &'static str,
        /// What the JSON reader found.
        #[source]
        source: serde_json::Error,
    },
}

/// The rule of the reference grammar that a name breaks.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReferenceError {
    /// An empty name.
    #[error("the name is empty")]
    Empty,
    /// Upper-case letters in the repository's path.
    #[error("invalid reference format: repository name must be lowercase")]
    Uppercase,
    /// A character or a separator that the grammar has no place for.
    #[error(
        "invalid reference format: between slashes stand lower-case letters and digits, joined by `.`, `_`, `__` or `-`"
    )]
    Format,
    /// What stands before the first slash is no host.
    #[error("invalid reference format: before the first slash stands a host, `name[:port]`")]
    Host,
    /// More than 255 characters in the repository's name.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// A tag that is not up to 128 letters, digits, `_`, `.` and `-`.
    #[error(
        "invalid tag: up to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`"
    )]
    Tag,
    /// A digest behind `@` that is none.
    #[error("invalid digest behind `@`")]
    Digest,
    /// 64 hexadecimal digits, which would be taken for an image id.
    #[error("a name of 64 hexadecimal digits would be taken for an image id")]
    LooksLikeId,
}
