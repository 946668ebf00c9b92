//! Which sources are addresses, and of what: only `ADD` takes them.

use plan::{GitMistake, GitSource};

/// What a source is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A path in the origin.
    Path,
    /// A file on an http or https server.
    Url,
    /// A git repository.
    Git,
}

impl Kind {
    /// `github.com/…` without a scheme cannot be told from a path, and is one.
    pub(crate) fn of(source: &str) -> Result<Self, GitMistake> {
        let web = source.starts_with("http://") || source.starts_with("https://");
        Ok(match GitSource::parse(source)? {
            Some(git) if !git.is_like_path() => Self::Git,
            None if web => Self::Url,
            Some(_) | None => Self::Path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn kinds() {
        for (source, expected) in [
            ("a/b", Kind::Path),
            ("github.com/o/r", Kind::Path),
            ("./x.git", Kind::Path),
            ("http:/x", Kind::Path),
            ("user@host/x:y", Kind::Path),
            ("http://h/x", Kind::Url),
            ("https://h/x.git.txt?y=z.git", Kind::Url),
            ("https://h/x.git/", Kind::Url),
            ("https://h/x.git", Kind::Git),
            ("https://h/x.git?ref=v1#:d", Kind::Git),
            ("git@h:o/r", Kind::Git),
            ("ssh://git@h/o/r", Kind::Git),
            ("git://h/r", Kind::Git),
        ] {
            assert_eq!(Kind::of(source), Ok(expected), "{source}");
        }
        assert!(Kind::of("https://h/x.git?unknown=1").is_err());
    }
}
