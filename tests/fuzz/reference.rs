//! References, digests and platforms: what is accepted is a name in addresses and of files, and is written as it was read.

use oci::{Digest, Platform, Reference};

/// Tries one input as each of them.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = Platform::parse(text) {
        let again = Platform::parse(&platform.to_string());
        assert_eq!(again.ok().as_ref(), Some(&platform), "{text:?}");
    }
    match Reference::parse(text) {
        Ok(reference) => check_reference(&reference),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_reference(reference: &Reference) {
    for written in [reference.to_string(), reference.familiar()] {
        assert_eq!(Reference::parse(&written).ok().as_ref(), Some(reference), "{written:?}");
    }
    let tagged = reference.tagged();
    assert_eq!(tagged.tagged(), tagged);
    assert!(reference.host().len() + reference.path().len() < 256);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    assert!(!reference.host().is_empty() && reference.host().chars().all(plain), "{reference}");
    for part in reference.path().split('/') {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        let is_plain = !part.is_empty() && !part.starts_with('.') && part.chars().all(known);
        assert!(is_plain, "{reference}");
    }
    let tag = reference.tag_or_latest();
    assert!(!tag.is_empty() && !tag.starts_with(['.', '-']) && !tag.contains('/'), "{reference}");
}
