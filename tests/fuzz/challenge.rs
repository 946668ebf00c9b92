//! `WWW-Authenticate`: what is read is there, and what is written in the standard's way is read.

use registry::challenge;

/// Tries one input as the header, and as a value in one.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let challenges = challenge::parse(text);
    assert!(challenges.len() <= text.len());
    for challenge in &challenges {
        let scheme = challenge.scheme();
        assert!(!scheme.is_empty() && text.to_ascii_lowercase().contains(scheme));
        assert!(!scheme.contains(|c: char| c.is_control() || c.is_whitespace() || c == '"'));
        for name in ["realm", "service", "scope"] {
            let value = challenge.parameter(name);
            assert!(value.is_none_or(|value| value.len() <= text.len()));
        }
    }
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    let header = format!("Negotiate, Bearer realm=\"{quoted}\" , service=x,Basic realm=\"y\"");
    let parts: Vec<_> = challenge::parse(&header)
        .iter()
        .map(|it| (it.scheme().to_owned(), it.parameter("realm").map(str::to_owned)))
        .collect();
    let expected = [("negotiate", None), ("bearer", Some(text)), ("basic", Some("y"))];
    let expected = expected.map(|(scheme, realm)| (scheme.to_owned(), realm.map(str::to_owned)));
    assert_eq!(parts, expected, "{header:?}");
}
