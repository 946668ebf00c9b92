//! Digests: what names bytes. One type for each meaning, so that they cannot be mixed up.
//!
//! OCI digests are SHA-256 (or SHA-512 in documents made elsewhere); [`ContentDigest`] is BLAKE3 and
//! never leaves this machine's cache keys.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha512};

use crate::{Error, sha256::Sha256};

/// A digest as the image specification writes it: `sha256:<64 hex>` or `sha512:<128 hex>`.
///
/// Made only by parsing or by finishing a [`Hasher`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-256, which everything made here uses.
    Sha256([u8; 32]),
    /// SHA-512, accepted from elsewhere.
    Sha512([u8; 64]),
}

impl Digest {
    /// Parses `algorithm:hex`; only lower-case digits of the exact length are accepted
    /// (image-spec, descriptor.md, "Digests").
    pub fn parse(value: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::Digest { value: value.to_owned(), reason };
        let (algorithm, hex) = value.split_once(':').ok_or_else(|| wrong("no `:`"))?;
        match algorithm {
            "sha256" => decode(hex).map(Self::Sha256),
            "sha512" => decode(hex).map(Self::Sha512),
            _ => return Err(wrong("the algorithm is neither sha256 nor sha512")),
        }
        .ok_or_else(|| wrong("not the right number of lower-case hexadecimal digits"))
    }

    /// Returns the SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::sha256();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the name of the algorithm: `sha256` or `sha512`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// Returns the digits without the algorithm.
    pub fn to_hex(&self) -> String {
        match self {
            Self::Sha256(bytes) => encode(bytes),
            Self::Sha512(bytes) => encode(bytes),
        }
    }

    /// Returns a hasher that computes a digest of the same algorithm.
    pub fn hasher(&self) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::sha256(),
            Self::Sha512(_) => Hasher(State::Sha512(Sha512::new())),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a [`Digest`] while bytes go by.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Returns a hasher for the algorithm of everything made here.
    pub fn sha256() -> Self {
        Self(State::Sha256(Sha256::new()))
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns the digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => Digest::Sha256(state.finish()),
            State::Sha512(state) => Digest::Sha512(state.finalize().into()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

macro_rules! digest_of_one_meaning {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Digest);

        impl $name {
            /// Parses `algorithm:hex`.
            pub fn parse(value: &str) -> Result<Self, Error> {
                Digest::parse(value).map(Self)
            }

            /// Gives a digest this meaning: the caller has computed it over the right bytes.
            pub fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// Returns the digest without its meaning.
            pub fn as_digest(&self) -> &Digest {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(value: &str) -> Result<Self, Error> {
                Self::parse(value)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = String::deserialize(deserializer)?;
                Self::parse(&value).map_err(de::Error::custom)
            }
        }
    )*};
}

digest_of_one_meaning! {
    /// Digest of a layer's uncompressed tar: what an image config lists (image-spec, config.md, "Layer DiffID").
    DiffId
    /// Digest of bytes as they are stored or sent: what a descriptor names.
    BlobDigest
    /// Digest of an image config: what Docker calls the image id (image-spec, config.md, "ImageID").
    ImageId
    /// Digest of a manifest or an index: what stands behind `@` in a reference.
    ManifestDigest
}

/// BLAKE3 digest of selected file contents, for keys of the build cache only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// Gives 32 bytes of BLAKE3 this meaning.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses 64 hexadecimal digits.
    pub fn parse(value: &str) -> Result<Self, Error> {
        decode(value).map(Self).ok_or_else(|| Error::Digest {
            value: value.to_owned(),
            reason: "a content digest has 64 lower-case hexadecimal digits",
        })
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentDigest({self})")
    }
}

fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

fn decode<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let hex = hex.as_bytes();
    if hex.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn of_nothing_is_the_known_digest() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Hasher::sha256().finish().to_string(), EMPTY);
    }

    #[test]
    fn parse_accepts_what_display_writes() {
        let digest = Digest::parse(EMPTY).unwrap();
        assert_eq!(digest.to_string(), EMPTY);
        let long = format!("sha512:{}", "0f".repeat(64));
        assert_eq!(Digest::parse(&long).unwrap().to_string(), long);
    }

    #[test]
    fn parse_refuses_what_could_name_a_path_or_another_file() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for wrong in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../x",
            "md5:00",
            &EMPTY[..70],
            &upper,
            &format!("{EMPTY}\n"),
        ] {
            assert!(Digest::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_hasher_of_the_same_algorithm_verifies() {
        let long = Digest::parse(&format!("sha512:{}", "00".repeat(64))).unwrap();
        assert_eq!(long.hasher().finish().algorithm(), "sha512");
    }
}
