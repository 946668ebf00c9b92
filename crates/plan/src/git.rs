//! Addresses of git repositories: which texts are such, and what they ask for.
//!
//! A text is an address of a repository if it is
//!
//! | form | |
//! |---|---|
//! | `https://host/path.git`, `http://…` | the path has to end in `.git`, or it is a file of the web |
//! | `ssh://host/path`, `git://host/path` | any path |
//! | `user@host:path` | as for scp |
//! | `github.com/owner/name` | only where it cannot be a directory: [`GitSource::is_like_path`] |
//!
//! What of it is wanted follows as a fragment, `#ref:directory`, or as a query, `?ref=…&subdir=…`. How it is fetched is the
//! engine's business.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::redact;

/// The address of a repository, and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    /// The repository as written, without fragment and query; it may hold a user and a password.
    pub remote: String,
    /// The last component of the repository's path, without `.git`.
    pub short_name: String,
    /// The branch, tag or commit; `None` for what the repository's HEAD is.
    pub reference: Option<String>,
    /// The directory of the repository that is wanted, as written.
    pub subdir: Option<String>,
    /// What the commit's id has to begin with.
    pub checksum: Option<String>,
    /// Whether `.git` is wanted too, if that is said.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are wanted, if that is said.
    pub submodules: Option<bool>,
    /// Which time files get, if that is said.
    pub mtime: Option<GitTime>,
    /// Whether the commit that `checksum` names is fetched, whatever the reference is by now.
    pub fetch_by_commit: bool,
}

/// Which time the files of a checkout get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitTime {
    /// That of the checkout.
    Checkout,
    /// That of the commit.
    Commit,
}

/// Why an address of a repository cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GitMistake {
    /// Two parts of the address name different things.
    Conflict {
        /// Of what.
        what: &'static str,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Both `tag` and `branch`.
    BranchAndTag,
    /// A key of the query that is not known.
    UnknownKey(String),
    /// A key of the query that needs a value.
    NoValue(String),
    /// A key of the query that is given twice.
    Repeated(String),
    /// A key of the query with a value that it cannot have.
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// A reference that git does not allow, or would take for an option.
    Reference(String),
    /// A user or host that ssh would take for an option.
    Host(String),
    /// A directory outside the repository.
    Outside(String),
    /// What is no id of a commit, nor the beginning of one.
    Checksum(String),
}

impl fmt::Display for GitMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { what, first, second } => {
                write!(f, "{what} conflicts: {first:?} vs {second:?}")
            }
            Self::BranchAndTag => f.write_str("branch conflicts with tag"),
            Self::UnknownKey(key) => write!(f, "unexpected query {key:?}"),
            Self::NoValue(key) => write!(f, "query {key:?} has no value"),
            Self::Repeated(key) => write!(f, "query {key:?} has multiple values"),
            Self::Value { key, value } => write!(f, "invalid {key} value: {value:?}"),
            Self::Reference(reference) => write!(f, "invalid git reference {reference:?}"),
            Self::Host(host) => write!(f, "invalid host of a git repository: {host:?}"),
            Self::Outside(subdir) => {
                write!(f, "invalid subdir {subdir:?}: it is outside the git repository")
            }
            Self::Checksum(checksum) => {
                write!(
                    f,
                    "invalid checksum {checksum:?} for a git source, expected hex commit hash"
                )
            }
        }
    }
}

impl std::error::Error for GitMistake {}

impl GitSource {
    /// Reads an address; `None` if it is not one of a repository.
    pub fn parse(text: &str) -> Result<Option<Self>, GitMistake> {
        let Some(split) = Split::of(text) else { return Ok(None) };
        let last = split.remote.rsplit('/').next().unwrap_or_default();
        let short_name = last.rsplit(':').next().unwrap_or_default();
        let mut source = Self {
            remote: split.remote.to_owned(),
            short_name: short_name.strip_suffix(".git").unwrap_or(short_name).to_owned(),
            reference: None,
            subdir: None,
            checksum: None,
            keep_git_dir: None,
            submodules: None,
            mtime: None,
            fetch_by_commit: false,
        };
        if let Some(fragment) = split.fragment {
            let fragment = decoded(fragment);
            let (reference, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
            source.reference = filled(reference);
            source.subdir = filled(subdir);
        }
        source.load_query(split.query.unwrap_or_default())?;
        source.check_host()?;
        if let Some(reference) = source.reference.as_ref().filter(|name| !is_reference(name)) {
            return Err(GitMistake::Reference(reference.clone()));
        }
        Ok(Some(source))
    }

    /// Whether the address has no scheme, and so would be a path where there is such a directory.
    pub fn is_like_path(&self) -> bool {
        self.remote.starts_with(GITHUB)
    }

    /// Returns what git is given as the repository.
    pub fn url(&self) -> String {
        if self.is_like_path() { format!("https://{}", self.remote) } else { self.remote.clone() }
    }

    /// Returns the scheme of [`GitSource::url`].
    pub fn scheme(&self) -> &str {
        match self.remote.split_once("://") {
            Some((scheme, _)) => scheme,
            None if self.is_like_path() => "https",
            None => "ssh",
        }
    }

    /// Returns the host, with its port, without the user.
    pub fn host(&self) -> &str {
        let rest = self.remote.split_once("://").map_or(self.remote.as_str(), |(_, rest)| rest);
        let end = if self.remote.contains("://") || self.is_like_path() { '/' } else { ':' };
        let authority = rest.split(end).next().unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    /// Whether everybody on the way can read and change what comes.
    pub fn is_unencrypted(&self) -> bool {
        matches!(self.scheme(), "http" | "git")
    }

    /// Returns the wanted directory without `.`, `..` and slashes at either end; empty for the whole repository.
    pub fn directory(&self) -> Result<String, GitMistake> {
        let subdir = self.subdir.as_deref().unwrap_or_default();
        let mut names: Vec<&str> = Vec::new();
        for name in subdir.split('/') {
            match name {
                "" | "." => {}
                ".." if names.pop().is_none() => {
                    return Err(GitMistake::Outside(subdir.to_owned()));
                }
                ".." => {}
                name => names.push(name),
            }
        }
        Ok(names.join("/"))
    }

    /// Returns the address as `repository#reference`.
    pub fn to_fragment_form(&self) -> String {
        match &self.reference {
            Some(reference) => format!("{}#{reference}", self.remote),
            None => self.remote.clone(),
        }
    }

    /// Returns the address as `repository#reference:directory`.
    pub fn to_fragment_form_with_directory(&self) -> String {
        let text = self.to_fragment_form();
        let mark = if self.reference.is_some() { "" } else { "#" };
        match self.subdir.as_deref().map(|subdir| subdir.trim_matches('/')) {
            None | Some("" | ".") => text,
            Some(subdir) => format!("{text}{mark}:{subdir}"),
        }
    }

    fn load_query(&mut self, query: &str) -> Result<(), GitMistake> {
        let (mut tag, mut branch) = (None, None);
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded_query(key), decoded_query(value));
            if seen.contains(&key) {
                return Err(GitMistake::Repeated(key));
            }
            match key.as_str() {
                "keep-git-dir" => self.keep_git_dir = Some(switch("keep-git-dir", &value)?),
                "submodules" => self.submodules = Some(switch("submodules", &value)?),
                "fetch-by-commit" => self.fetch_by_commit = switch("fetch-by-commit", &value)?,
                _ if value.is_empty() => return Err(GitMistake::NoValue(key)),
                "ref" => join(&mut self.reference, "ref", value)?,
                "subdir" => join(&mut self.subdir, "subdir", value)?,
                "checksum" | "commit" => join(&mut self.checksum, "checksum", value)?,
                "tag" => tag = Some(below("refs/tags/", &value)),
                "branch" => branch = Some(below("refs/heads/", &value)),
                "mtime" => {
                    self.mtime = Some(match value.as_str() {
                        "checkout" => GitTime::Checkout,
                        "commit" => GitTime::Commit,
                        _ => return Err(GitMistake::Value { key: "mtime", value }),
                    });
                }
                _ => return Err(GitMistake::UnknownKey(key)),
            }
            seen.push(key);
        }
        if tag.is_some() && branch.is_some() {
            return Err(GitMistake::BranchAndTag);
        }
        match tag.or(branch) {
            Some(reference) => join(&mut self.reference, "ref", reference),
            None => Ok(()),
        }
    }

    /// What begins with `-` would be an option of ssh.
    fn check_host(&self) -> Result<(), GitMistake> {
        let rest = self.remote.split_once("://").map_or(self.remote.as_str(), |(_, rest)| rest);
        let host = self.host();
        if rest.starts_with('-') || host.starts_with('-') || host.is_empty() {
            return Err(GitMistake::Host(host.to_owned()));
        }
        Ok(())
    }
}

/// The address with its password masked; of http all that stands before the `@`, which may be a token.
impl fmt::Display for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.to_fragment_form_with_directory()))
    }
}

/// Checks what a commit's id shall begin with.
pub fn check_commit_prefix(text: &str) -> Result<(), GitMistake> {
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && text.len() <= SHA256_DIGITS {
        return Ok(());
    }
    Err(GitMistake::Checksum(text.to_owned()))
}

/// Whether a text is the whole id of a commit: 40 digits, or 64 in repositories that use SHA-256.
pub fn is_commit_id(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    matches!(text.len(), SHA1_DIGITS | SHA256_DIGITS) && text.bytes().all(is_digit)
}

const SHA1_DIGITS: usize = 40;
const SHA256_DIGITS: usize = 64;

/// The one host whose repositories need no scheme.
const GITHUB: &str = "github.com/";

/// An address in its three parts.
struct Split<'a> {
    remote: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Split<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (before, fragment) = match text.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (text, None),
        };
        let (remote, query) = match before.split_once('?') {
            Some((remote, query)) => (remote, Some(query)),
            None => (before, None),
        };
        is_repository(remote).then_some(Self { remote, query, fragment })
    }
}

fn is_repository(remote: &str) -> bool {
    // Neither git nor the header of a request can carry them.
    if remote.chars().any(char::is_control) {
        return false;
    }
    match remote.split_once("://") {
        Some(("ssh" | "git", rest)) => !rest.is_empty(),
        Some(("http" | "https", rest)) => {
            rest.split_once('/').is_some_and(|(_, path)| path.ends_with(".git"))
        }
        Some(_) => false,
        None => remote.starts_with(GITHUB) || is_scp_like(remote),
    }
}

/// `user@host:path`.
fn is_scp_like(remote: &str) -> bool {
    let Some((user, rest)) = remote.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let is_user = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    !user.is_empty() && user.chars().all(is_user) && !host.is_empty() && host.chars().all(is_host)
}

/// Whether git could have a reference of this name (git-check-ref-format), or a commit; none of them is an option or a
/// pattern.
fn is_reference(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    !(name.starts_with(['-', '/', '.'])
        || name.ends_with(['/', '.'])
        || name.contains("..")
        || name.contains("//")
        || name.contains("@{")
        || name.contains(forbidden))
}

fn filled(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Sets what may be said in two places, if both say the same.
fn join(place: &mut Option<String>, what: &'static str, value: String) -> Result<(), GitMistake> {
    match place.take() {
        Some(first) if first != value => Err(GitMistake::Conflict { what, first, second: value }),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

fn below(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

/// A key without a value is on; values are those that Go reads.
fn switch(key: &'static str, value: &str) -> Result<bool, GitMistake> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(GitMistake::Value { key, value: value.to_owned() }),
    }
}

/// What is not UTF-8 then becomes what no reference can have.
fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&percent_decoded(text)).into_owned()
}

/// In a query `+` is a blank, too.
fn decoded_query(text: &str) -> String {
    decoded(&text.replace('+', " "))
}

/// Replaces `%41` by `A`; what only looks like such a code stays.
pub fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let coded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, coded) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}
