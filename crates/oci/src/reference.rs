//! References: what names an image for people, `[host/]path[:tag][@digest]`.
//!
//! The grammar and the short forms are those of Docker's distribution project: `busybox` means
//! `docker.io/library/busybox:latest`.

use std::{fmt, str::FromStr};

use crate::{Error, ManifestDigest, ReferenceError};

const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

/// A parsed reference, in its long form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<ManifestDigest>,
}

impl Reference {
    /// Parses a reference in its short or long form. A missing tag stays missing: see [`Reference::tag_or_latest`].
    pub fn parse(value: &str) -> Result<Self, Error> {
        parse(value).map_err(|source| Error::Reference { value: value.to_owned(), source })
    }

    /// The registry's host, with its port: `docker.io` where none was written.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository's path below the host: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The tag that is meant: `latest` where neither a tag nor a digest was written.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or(DEFAULT_TAG)
    }

    /// The digest behind `@`, if one was written.
    pub fn digest(&self) -> Option<&ManifestDigest> {
        self.digest.as_ref()
    }

    /// Returns the reference with the tag that is meant, unless it is pinned by a digest.
    pub fn tagged(&self) -> Self {
        let mut reference = self.clone();
        if reference.digest.is_none() {
            reference.tag = Some(self.tag_or_latest().to_owned());
        }
        reference
    }

    /// Returns the repository alone, in the short form that people write: `busybox`, `host:5000/a/b`. What would mean something
    /// else without the words in front, as an image's id does, keeps them.
    pub fn familiar_name(&self) -> String {
        let whole = format!("{}/{}", self.host, self.path);
        if self.host != DEFAULT_HOST {
            return whole;
        }
        let single = self.path.strip_prefix("library/").filter(|name| !name.contains('/'));
        let short = single.filter(|name| !is_like_id(name)).unwrap_or(&self.path);
        let host = short.split_once('/').map(|(first, _)| first);
        if host.is_some_and(is_host_like) { whole } else { short.to_owned() }
    }

    /// Returns the reference in the short form that people write: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(format!("{}/{}", self.host, self.path)))
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        Self::parse(value)
    }
}

fn parse(value: &str) -> Result<Reference, ReferenceError> {
    if value.is_empty() {
        return Err(ReferenceError::Empty);
    }
    if is_like_id(value) {
        return Err(ReferenceError::LooksLikeId);
    }
    let (rest, digest) = match value.split_once('@') {
        Some((rest, digest)) => {
            (rest, Some(ManifestDigest::parse(digest).map_err(|_| ReferenceError::Digest)?))
        }
        None => (value, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(ReferenceError::Tag);
    }
    let (host, path) = match name.split_once('/') {
        Some((first, path)) if is_host_like(first) => (first, path.to_owned()),
        _ if name.contains('/') => (DEFAULT_HOST, name.to_owned()),
        _ => (DEFAULT_HOST, format!("library/{name}")),
    };
    let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
    let path =
        if host == DEFAULT_HOST && !path.contains('/') { format!("library/{path}") } else { path };
    if !is_host(host) {
        return Err(ReferenceError::Host);
    }
    check_path(&path)?;
    if host.len() + 1 + path.len() > 255 {
        return Err(ReferenceError::TooLong);
    }
    Ok(Reference { host: host.to_owned(), path, tag: tag.map(str::to_owned), digest })
}

/// The id of an image is no name.
fn is_like_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// What stands before the first `/` is a host if it has a dot, a port, upper case or is `localhost`.
fn is_host_like(first: &str) -> bool {
    first.contains(['.', ':'])
        || first == "localhost"
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_is_number =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    port_is_number && (is_ipv6(name) || name.split('.').all(is_host_label))
}

fn is_ipv6(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    inner.is_some_and(|inner| inner.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'))
}

fn is_host_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !label.is_empty()
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Components of lower-case letters and digits, joined inside by `.`, `_`, `__` or any number of `-`.
fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::Uppercase);
    }
    if path.split('/').all(is_path_component) { Ok(()) } else { Err(ReferenceError::Format) }
}

fn is_path_component(component: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let known = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    component.bytes().next().is_some_and(letter)
        && component.bytes().last().is_some_and(letter)
        && separators.into_iter().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_have_one_meaning() {
        for (given, long, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1", "docker.io/library/busybox:1", "busybox:1"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
            ("a/b", "docker.io/a/b", "a/b"),
            ("localhost/a", "localhost/a", "localhost/a"),
            (
                "127.0.0.1:5000/team/demo:1",
                "127.0.0.1:5000/team/demo:1",
                "127.0.0.1:5000/team/demo:1",
            ),
            ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
            (
                "host.example/a__b/c--d/e.f",
                "host.example/a__b/c--d/e.f",
                "host.example/a__b/c--d/e.f",
            ),
        ] {
            let reference = Reference::parse(given).unwrap();
            assert_eq!(
                (reference.to_string(), reference.familiar()),
                (long.into(), familiar.into()),
                "{given}"
            );
            assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
        }
    }

    #[test]
    fn what_would_mean_something_else_is_not_shortened() {
        let id = "a".repeat(64);
        for (given, short) in [
            (format!("library/{id}"), format!("library/{id}")),
            (format!("library/{id}:1"), format!("library/{id}:1")),
            ("docker.io/a.b/c".to_owned(), "docker.io/a.b/c".to_owned()),
            ("docker.io/localhost/c".to_owned(), "docker.io/localhost/c".to_owned()),
            ("docker.io/a/b.c".to_owned(), "a/b.c".to_owned()),
            ("docker.io/library/localhost".to_owned(), "localhost".to_owned()),
        ] {
            let reference = Reference::parse(&given).unwrap();
            assert_eq!(reference.familiar(), short, "{given}");
            assert_eq!(Reference::parse(&short).unwrap(), reference, "{given}");
        }
    }

    #[test]
    fn a_digest_stands_behind_an_at() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let pinned = Reference::parse(&format!("busybox:1@{digest}")).unwrap();
        assert_eq!(pinned.digest().unwrap().to_string(), digest);
        assert_eq!(pinned.tagged(), pinned);
        assert_eq!(Reference::parse("busybox").unwrap().tagged().familiar(), "busybox:latest");
    }

    #[test]
    fn what_breaks_the_grammar_is_named() {
        for (wrong, reason) in [
            ("", ReferenceError::Empty),
            ("Bad:1", ReferenceError::Uppercase),
            ("a/../b", ReferenceError::Format),
            ("a//b", ReferenceError::Format),
            ("-a", ReferenceError::Format),
            ("a b", ReferenceError::Format),
            ("a___b", ReferenceError::Format),
            ("http://a/b", ReferenceError::Host),
            ("a.b:x/c", ReferenceError::Host),
            ("a:", ReferenceError::Tag),
            ("a:-x", ReferenceError::Tag),
            ("a@sha256:12", ReferenceError::Digest),
        ] {
            let Err(Error::Reference { source, .. }) = Reference::parse(wrong) else {
                panic!("{wrong:?} was accepted")
            };
            assert_eq!(source, reason, "{wrong:?}");
        }
        for wrong in [
            "[fe80::1%25eth0]:5000/a",
            "[fe80::1%eth0]/a",
            "user@host.example/a",
            "user:password@host.example/a:1",
            "host.example/%2e%2e/a",
            "host.example/a%2fb",
            "host.example/a/./b",
            "host.example/..",
            "host.example/a:1:2",
            "host.example:1:2/a",
            "a@sha256:../../x",
            "a\n",
            "a\0b",
            "\u{1b}[2J",
            &format!("host.example/{}", "a/".repeat(2500)),
            &format!("host.example/a:{}", "t".repeat(5000)),
        ] {
            assert!(Reference::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Reference::parse(&"a".repeat(64)).is_err());
        assert!(Reference::parse(&"x".repeat(300)).is_err());
    }
}
