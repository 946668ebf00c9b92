//! How documents become bytes: the same value always gives the same bytes. And back: a document is an object.

use serde::{Serialize, de::DeserializeOwned};

/// Returns the JSON bytes of a document of this crate.
///
/// Fields come in the order of their type, maps in the order of their keys, nothing is indented, so the digest of the
/// result names the value.
pub fn to_bytes(document: &impl Serialize) -> Vec<u8> {
    // Writing to memory cannot fail, and no type of this crate has a key that is not text or a number that is
    // not finite: what remains is an empty document, which no reader accepts.
    serde_json::to_vec(document).unwrap_or_default()
}

/// Reads a document. The reader of a struct would also accept an array of its fields, which no specification knows.
pub(crate) fn from_object<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    match bytes.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(bytes),
        _ => Err(serde::de::Error::custom("it is not a JSON object")),
    }
}
