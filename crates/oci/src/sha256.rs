//! SHA-256 by the fastest code that there is for this processor.
//!
//! With instructions for it (x86: SHA-NI, ARM: SHA2), `sha2` is as fast as any other. Without them it has portable code only
//! on x86, and ring's, made for AVX2 or SSSE3, is twice as fast. ring is there anyway, for TLS.

use sha2::Digest as _;

/// A digest in the making.
#[derive(Clone)]
pub(crate) enum Sha256 {
    /// With the processor's own instructions, or where there is nothing better.
    Own(sha2::Sha256),
    /// With vector instructions.
    Vector(Box<ring::digest::Context>),
}

impl Sha256 {
    /// Begins with nothing.
    pub(crate) fn new() -> Self {
        if prefers_vectors() { Self::vector() } else { Self::own() }
    }

    fn own() -> Self {
        Self::Own(sha2::Sha256::new())
    }

    fn vector() -> Self {
        Self::Vector(Box::new(ring::digest::Context::new(&ring::digest::SHA256)))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Own(state) => state.update(bytes),
            Self::Vector(state) => state.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        match self {
            Self::Own(state) => state.finalize().into(),
            Self::Vector(state) => {
                let mut bytes = [0; 32];
                // ring's SHA-256 has 32 bytes as well.
                bytes.copy_from_slice(state.finish().as_ref());
                bytes
            }
        }
    }
}

/// Whether the processor has no instructions for SHA-256, but for the vectors that ring uses instead.
#[cfg(target_arch = "x86_64")]
fn prefers_vectors() -> bool {
    let has_own = is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse2")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1");
    !has_own && is_x86_feature_detected!("ssse3")
}

/// `sha2` uses the instructions of ARM processors, and elsewhere nothing has been measured.
#[cfg(not(target_arch = "x86_64"))]
fn prefers_vectors() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: [u8; 32]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// FIPS 180-2, appendix B, and NIST's message of a million times `a`.
    #[test]
    fn known_answers_of_both() {
        let million = "a".repeat(1_000_000);
        for (message, wanted) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ] {
            for (name, new) in [("own", Sha256::own as fn() -> Sha256), ("vector", Sha256::vector)]
            {
                for piece in [3, 55, 64, 1000, usize::MAX] {
                    let piece = piece.max(message.len() / 1000);
                    let mut state = new();
                    for bytes in message.as_bytes().chunks(piece) {
                        state.update(bytes);
                    }
                    assert_eq!(hex(state.clone().finish()), wanted, "{name}");
                    assert_eq!(hex(state.finish()), wanted, "{name}, the copy has changed it");
                }
            }
        }
    }
}
