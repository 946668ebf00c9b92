//! Addresses of git repositories: what git and ssh are told is never an option, and never above the repository.

use plan::GitSource;
use plan::git::{check_commit_prefix, percent_decoded};

/// Tries one input.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    percent_decoded(text);
    let shown = plan::redact(text);
    assert_eq!(plan::redact(&shown), shown, "{text:?}");
    drop(check_commit_prefix(text));
    let source = match GitSource::parse(text) {
        Ok(Some(source)) => source,
        Ok(None) => return,
        Err(mistake) => return drop(mistake.to_string()),
    };
    assert!(!source.host().starts_with('-') && !source.host().is_empty(), "{source:?}");
    let url = source.url();
    assert!(!url.starts_with('-') && !url.contains(char::is_control), "{url:?}");
    assert!(matches!(source.scheme(), "http" | "https" | "ssh" | "git"), "{source:?}");
    if let Some(reference) = &source.reference {
        let is_safe = !reference.starts_with('-') && !reference.contains([':', ' ', '\n', '\0']);
        assert!(is_safe, "{reference:?}");
    }
    if let Ok(directory) = source.directory() {
        let mut names = directory.split('/');
        assert!(directory.is_empty() || names.all(|name| !matches!(name, "" | "." | "..")));
    }
    check_secrets(text, &shown);

    // Written in the other form it means the same.
    let written = source.to_fragment_form();
    let again = GitSource::parse(&written).ok().flatten();
    let same = again.is_some_and(|again| again.remote == source.remote);
    assert!(same, "{written:?} is not {text:?}");
    assert!(!source.to_string().is_empty());
}

/// What stands before the `@` in an address of http may be a token.
fn check_secrets(text: &str, shown: &str) {
    fn user(address: &str) -> Option<&str> {
        let ("http" | "https", rest) = address.split_once("://")? else { return None };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        authority.rsplit_once('@').map(|(user, _)| user)
    }
    // Where a text has one of these, an address ends: it may be a command for a shell.
    let Some(user) = user(shown).filter(|_| !text.contains(['"', '\'', '`', '<', '>', '\\', ' ']))
    else {
        return;
    };
    let is_hidden = |part: &str| matches!(part, "" | "xxxxx") || part.starts_with('$');
    let host_is_digest = text.contains("@sha256:") || text.contains("@sha512:");
    assert!(host_is_digest || user.splitn(2, ':').all(is_hidden), "{shown:?} is shown");
}
