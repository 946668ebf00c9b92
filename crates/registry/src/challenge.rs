//! Reads `WWW-Authenticate`: what a registry wants before it answers (RFC 9110, section 11.6.1).
//!
//! What is done about it is in the room `auth`.

/// One way to authenticate that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The scheme in lower case: `bearer`, `basic`, …
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the first value of a parameter; its name is in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads all challenges of a header; reading stops at what is not one.
///
/// `Bearer realm="…",service="…", Basic realm="x"`: commas separate parameters and challenges alike, and a word that
/// no `=` follows begins the next challenge.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((word, after)) = token(rest) else { return challenges };
        let equals = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (equals, challenges.last_mut()) {
            (Some(after), Some(challenge)) => {
                let Some((value, after)) = value(after.trim_start_matches([' ', '\t'])) else {
                    return challenges;
                };
                challenge.parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            (Some(_), None) => return challenges,
            (None, _) => {
                let scheme = word.to_ascii_lowercase();
                challenges.push(Challenge { scheme, parameters: Vec::new() });
                rest = after;
            }
        }
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    let end = text.find(|c| !inner(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Some servers leave the quotes away around URLs, which are no tokens.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: &[(&str, &[(&str, &str)])]) {
        let found = parse(header);
        assert_eq!(found.len(), expected.len(), "{header}");
        for (challenge, (scheme, parameters)) in found.iter().zip(expected) {
            assert_eq!(challenge.scheme, *scheme, "{header}");
            assert_eq!(challenge.parameters.len(), parameters.len(), "{header}");
            for (name, value) in *parameters {
                assert_eq!(challenge.parameter(name), Some(*value), "{header}");
            }
        }
    }

    #[test]
    fn registries_challenges_are_understood() {
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            &[(
                "bearer",
                &[
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:a/b:pull,push"),
                ],
            )],
        );
        check(
            r#"Basic realm="a \"b\", c" , BEARER Realm = https://x/t,service=y"#,
            &[
                ("basic", &[("realm", r#"a "b", c"#)]),
                ("bearer", &[("realm", "https://x/t"), ("service", "y")]),
            ],
        );
        check("Negotiate, Basic realm=x", &[("negotiate", &[]), ("basic", &[("realm", "x")])]);
    }

    #[test]
    fn nonsense_ends_the_reading() {
        check("", &[]);
        check("=x", &[]);
        check("realm=\"x\"", &[]);
        check(r#"Bearer realm="never ends"#, &[("bearer", &[])]);
        check("Bearer \u{e4}", &[("bearer", &[])]);
        check(&"Bearer ,".repeat(3), &[("bearer", &[]), ("bearer", &[]), ("bearer", &[])]);
    }
}
