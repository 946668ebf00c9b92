//! Addresses of the web: what their files are called, who may have them, and what people may see of them.

use crate::remote::Asker;

/// What a file without a name in its address is called.
const UNNAMED: &str = "__unnamed__";

/// The secret for a host, as BuildKit names them; that for the host with its port goes before that for the host.
pub(super) fn authorization(asker: Asker<'_>, address: &str) -> Option<String> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let secret = |id: String| {
        let secret = asker.request.secrets.get(&id)?;
        Some(String::from_utf8_lossy(&secret.0).trim().to_owned())
    };
    [authority, host].into_iter().find_map(|host| {
        let header = secret(format!("HTTP_AUTH_HEADER_{host}"));
        let token = || secret(format!("HTTP_AUTH_TOKEN_{host}"));
        header.or_else(|| token().map(|token| format!("Bearer {token}")))
    })
}

/// The last component of the address's path.
pub(super) fn file_name(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let path = String::from_utf8(plan::git::percent_decoded(path)).unwrap_or(path.to_owned());
    match path.trim_end_matches('/').rsplit('/').next().unwrap_or_default() {
        "" | "." | ".." => UNNAMED.to_owned(),
        name if name.contains('\0') => UNNAMED.to_owned(),
        name => name.to_owned(),
    }
}

/// A name as a source that matches nothing else. What holds no wildcard is taken as it is, backslashes too.
pub(super) fn literal(name: &str) -> String {
    if !name.contains(['*', '?', '[']) {
        return name.to_owned();
    }
    let mut literal = String::with_capacity(name.len() + 8);
    for char in name.chars() {
        match char {
            '*' | '?' | '[' => literal.push_str(&format!("[{char}]")),
            '\\' => literal.push_str("\\\\"),
            char => literal.push(char),
        }
    }
    literal
}

/// An address as people may see it: without a user and a query, either of which may be a key.
pub(super) fn shown(address: &str) -> String {
    plan::redact(address.split(['?', '#']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_address() {
        for (address, name) in [
            ("http://h/a/f.txt", "f.txt"),
            ("http://h/a/f.txt?x=/y#/z", "f.txt"),
            ("http://h/dir/", "dir"),
            ("http://h/a%20b%2Fc", "c"),
            ("http://h/%C3%BC", "ü"),
            ("http://h/%FF", "%FF"),
            ("http://h", UNNAMED),
            ("http://h/", UNNAMED),
            ("http://h?x", UNNAMED),
            ("http://h/%2e%2e%2f", UNNAMED),
            ("http://h/x/..", UNNAMED),
            ("http://h/a%00b", UNNAMED),
        ] {
            assert_eq!(file_name(address), name, "{address}");
        }
    }

    #[test]
    fn names_match_only_themselves() {
        assert_eq!(literal("a[b]*?\\ü"), "a[[]b][*][?]\\\\ü");
        assert_eq!(literal("a\\b"), "a\\b");
    }

    #[test]
    fn addresses_are_shown_without_keys() {
        assert_eq!(shown("https://u:p@h/x?signature=s"), "https://xxxxx:xxxxx@h/x");
    }
}
