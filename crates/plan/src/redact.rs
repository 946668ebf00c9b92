//! Texts without the passwords in their addresses: the only place that looks for them.
//!
//! An address may carry a user and a password, `https://user:password@host/`, and lines of a Dockerfile are shown, written to
//! logs, to the history of images and to records. There they appear as BuildKit shows them, `https://xxxxx:xxxxx@host/`.
//! Of ssh and git addresses the user is no secret. What is a variable there says nothing, and stays.
//!
//! Not here: secrets that are no part of an address. Nobody can find those.

use std::ops::Range;

/// What stands for a user and for a password.
const MASK: &str = "xxxxx";

/// A part of a text, and what to show instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redaction {
    /// Bytes of the text.
    pub range: Range<usize>,
    /// Instead of them.
    pub shown: String,
}

/// Returns a text with every password of an address masked.
pub fn redact(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut end = 0;
    for Redaction { range, shown } in redactions(text) {
        redacted.push_str(&text[end..range.start]);
        redacted.push_str(&shown);
        end = range.end;
    }
    redacted.push_str(&text[end..]);
    redacted
}

/// Returns the users and passwords of all addresses in a text that are not to be shown, in their order.
pub fn redactions(text: &str) -> Vec<Redaction> {
    text.match_indices("://")
        .filter_map(|(at, separator)| of_address(text, at, at + separator.len()))
        .collect()
}

/// What to hide of the address whose scheme ends at `scheme_end`, and whose rest begins at `start`.
fn of_address(text: &str, scheme_end: usize, start: usize) -> Option<Redaction> {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let scheme = &text[..scheme_end];
    let scheme = &scheme[scheme.trim_end_matches(is_scheme).len()..];
    if scheme.is_empty() {
        return None;
    }
    let rest = &text[start..];
    let is_end = |c: char| c.is_whitespace() || c.is_control() || "/?#\"'`<>\\".contains(c);
    let authority = &rest[..rest.find(is_end).unwrap_or(rest.len())];
    let (userinfo, host) = authority.rsplit_once('@')?;
    // `docker-image://name@digest` has no host.
    if host.starts_with("sha256:") || host.starts_with("sha512:") {
        return None;
    }
    let user_is_known = ["ssh", "git", "git+ssh", "ssh+git"].contains(&scheme);
    let hide = |part: &str| if is_variable(part) { part.to_owned() } else { MASK.to_owned() };
    let shown = match userinfo.split_once(':') {
        _ if userinfo.is_empty() => return None,
        None if user_is_known => return None,
        None => hide(userinfo),
        Some((user, password)) if user_is_known => format!("{user}:{}", hide(password)),
        Some((user, password)) => format!("{}:{}", hide(user), hide(password)),
    };
    let range = start..start + userinfo.len();
    (shown != userinfo).then_some(Redaction { range, shown })
}

/// Whether a part is nothing but the name of a value: `$TOKEN` or `${TOKEN}`.
fn is_variable(part: &str) -> bool {
    let Some(name) = part.strip_prefix('$') else { return part.is_empty() };
    let name = name.strip_prefix('{').map_or(Some(name), |name| name.strip_suffix('}'));
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    name.is_some_and(|name| !name.is_empty() && is_name(name))
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn passwords_are_masked() {
        for (text, expected) in [
            ("https://user:token@h/x.git#v1", "https://xxxxx:xxxxx@h/x.git#v1"),
            ("https://token@h/x.git", "https://xxxxx@h/x.git"),
            ("https://:token@h", "https://:xxxxx@h"),
            ("https://user:@h", "https://xxxxx:@h"),
            ("http://a:b@h?x@y", "http://xxxxx:xxxxx@h?x@y"),
            ("http://a:b@c@h/", "http://xxxxx:xxxxx@h/"),
            ("ssh://git:secret@h/x", "ssh://git:xxxxx@h/x"),
            ("git+ssh://git:secret@h/x", "git+ssh://git:xxxxx@h/x"),
            (
                "RUN git clone https://u:p@h/a 'ftp://v:q@h' && psql \"postgres://w:r@db/x\"",
                "RUN git clone https://xxxxx:xxxxx@h/a 'ftp://xxxxx:xxxxx@h' && psql \"postgres://xxxxx:xxxxx@db/x\"",
            ),
            ("https://oauth2:${TOKEN}@h/x", "https://xxxxx:${TOKEN}@h/x"),
            ("https://u:pa$$word@h", "https://xxxxx:xxxxx@h"),
            ("https://ü:é@h/ü", "https://xxxxx:xxxxx@h/ü"),
            (
                "x=https://u:p@h\ny=https://u:p@h",
                "x=https://xxxxx:xxxxx@h\ny=https://xxxxx:xxxxx@h",
            ),
        ] {
            assert_eq!(redact(text), expected);
            assert_eq!(redact(&redact(text)), expected, "{text} twice");
        }
    }

    #[test]
    fn what_holds_no_password_stays() {
        for text in [
            "",
            "https://h/x",
            "https://h/a@b",
            "https://@h/",
            "http://h?u:p@x",
            "ssh://git@h/x",
            "git@h:x",
            "mailto:u:p@h",
            "https://$USER:${PASSWORD}@h/x",
            "://u:p@h",
            "a://b c:d@e",
            "oci-layout://dir@sha256:0",
            "docker-image://alpine@sha256:0",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
