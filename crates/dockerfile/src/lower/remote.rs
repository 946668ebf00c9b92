//! Which sources are addresses, and of what: only `ADD` takes them.

/// What a source is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A path in the origin.
    Path,
    /// A file on an http or https server.
    Url,
    /// A git repository.
    Git,
}

impl Kind {
    /// An http address whose path ends in `.git` is a repository, and so is everything of the schemes `git` and `ssh`,
    /// and `user@host:path`. `github.com/…` without a scheme cannot be told from a path, and is one.
    pub(super) fn of(source: &str) -> Self {
        let path = source.split(['?', '#']).next().unwrap_or(source);
        if source.starts_with("git://") || source.starts_with("ssh://") || is_scp_like(path) {
            return Self::Git;
        }
        let web = source.starts_with("http://") || source.starts_with("https://");
        match web {
            true if path.ends_with(".git") => Self::Git,
            true => Self::Url,
            false => Self::Path,
        }
    }
}

/// `user@host:path`, as for scp.
fn is_scp_like(source: &str) -> bool {
    let Some((user, rest)) = source.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let word = |text: &str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(inside)
    };
    word(user) && word(host)
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
            ("https://h/x.git?ref=v1#main", Kind::Git),
            ("git@h:o/r", Kind::Git),
            ("ssh://git@h/o/r", Kind::Git),
            ("git://h/r", Kind::Git),
        ] {
            assert_eq!(Kind::of(source), expected, "{source}");
        }
    }
}
