//! Secrets: in names and values of `ARG` and `ENV`, which end up in the image or its history.

use super::{Findings, Place, table::Rule};
use crate::instruction::{Declaration, Instruction, Pair};
use crate::lower::Seen;
use crate::quoted::quoted;
use crate::source::Word;

pub(super) static SECRETS_USED_IN_ARG_OR_ENV: Rule = Rule::of_buildkit(
    "SecretsUsedInArgOrEnv",
    "secrets-used-in-arg-or-env",
    "Sensitive data should not be used in the ARG or ENV commands",
);

pub(super) static SECRET_VALUE_IN_ARG_OR_ENV: Rule = Rule::of_kiln(
    "SecretValueInArgOrEnv",
    "A value that looks like a secret can be read by whoever has the image or the Dockerfile",
);

/// A part of a name that makes it that of a secret.
const SECRET: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// A part of a name that makes it harmless nevertheless.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// How issuers mark their secrets: what they start with, how many characters follow at least, and whose they are.
const MARKS: [(&str, usize, &str); 19] = [
    ("AKIA", 16, "an AWS access key"),
    ("ASIA", 16, "an AWS access key"),
    ("AIza", 35, "a Google API key"),
    ("ghp_", 36, "a GitHub token"),
    ("gho_", 36, "a GitHub token"),
    ("ghu_", 36, "a GitHub token"),
    ("ghs_", 36, "a GitHub token"),
    ("ghr_", 36, "a GitHub token"),
    ("github_pat_", 22, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("dckr_pat_", 20, "a Docker Hub token"),
    ("npm_", 36, "an npm token"),
    ("pypi-AgE", 40, "a PyPI token"),
    ("hf_", 30, "a Hugging Face token"),
    ("xoxb-", 20, "a Slack token"),
    ("xoxp-", 20, "a Slack token"),
    ("sk_live_", 16, "a Stripe key"),
    ("rk_live_", 16, "a Stripe key"),
    ("sk-ant-", 20, "an API key"),
];

/// Passwords that everybody knows are none.
const PLACEHOLDERS: [&str; 9] =
    ["password", "passwd", "pass", "secret", "changeme", "example", "xxx", "user", "test"];

/// The names and values of `ARG` and `ENV`.
pub(super) fn check<'a>(seen: &'a Seen<'a>, findings: &mut Findings) {
    let (keyword, pairs): (_, Vec<(&str, Option<&Word>)>) = match seen.instruction {
        Instruction::Arg(arg) => {
            let declarations = arg.declarations.iter();
            let pair = |it: &'a Declaration| (it.name.text.as_str(), it.value.as_ref());
            ("ARG", declarations.map(pair).collect())
        }
        Instruction::Env(env) => {
            let pair = |it: &'a Pair| (seen.expansions.text(&it.key.text), Some(&it.value));
            ("ENV", env.pairs.iter().map(pair).collect())
        }
        _ => return,
    };
    let place = Place { lines: seen.lines, comments: seen.comments };
    for (name, value) in pairs {
        if is_name_of_secret(name) {
            let name = quoted(name);
            let message =
                format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name})");
            findings.add(&SECRETS_USED_IN_ARG_OR_ENV, place, message);
        }
        let value = value.map(|value| seen.expansions.text(&value.text));
        if let Some(what) = value.and_then(secret_in) {
            let message = format!("The value of {keyword} {} looks like {what}", quoted(name));
            let detail = "give it to the RUN that needs it by --mount=type=secret".to_owned();
            findings.add_with(&SECRET_VALUE_IN_ARG_OR_ENV, place, message, Some(detail));
        }
    }
}

/// Says whether a variable of this name holds what should be in no log.
pub fn is_name_of_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let has = |words: &[&str]| name.split('_').any(|part| words.contains(&part));
    has(&SECRET) && !has(&HARMLESS)
}

/// What kind of secret is somewhere in a value.
fn secret_in(value: &str) -> Option<&'static str> {
    if value.contains("-----BEGIN") && value.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let marked = value.split(|c| !plain(c)).find_map(|piece| {
        let mark = MARKS.iter().find(|(start, length, _)| {
            piece.strip_prefix(start).is_some_and(|rest| rest.len() >= *length)
        });
        mark.map(|(_, _, what)| *what).or_else(|| is_jwt(piece).then_some("a signed token (JWT)"))
    });
    marked.or_else(|| has_password(value).then_some("an address with a password"))
}

/// Three parts in base64, of which the first two are JSON objects.
fn is_jwt(piece: &str) -> bool {
    let parts: Vec<&str> = piece.split('.').collect();
    matches!(parts.as_slice(), [header, claims, signature]
        if header.starts_with("eyJ") && claims.starts_with("eyJ") && signature.len() >= 20)
}

/// `scheme://user:password@host`, with a password that could be one.
fn has_password(value: &str) -> bool {
    value.match_indices("://").any(|(at, _)| {
        let rest = &value[at + 3..];
        let end = rest.find(|c: char| "/?#'\"".contains(c) || c.is_whitespace());
        let authority = &rest[..end.unwrap_or(rest.len())];
        let Some((login, _)) = authority.rsplit_once('@') else { return false };
        let Some((user, password)) = login.split_once(':') else { return false };
        let stands_for_one = password.starts_with(['$', '<', '{', '*', '%']);
        !password.is_empty()
            && !stands_for_one
            && password != user
            && !PLACEHOLDERS.contains(&password.to_lowercase().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::{is_name_of_secret, secret_in};

    #[test]
    fn names() {
        for name in ["TOKEN", "npm_token", "My_ApiKey", "AUTH", "X_PASSWD_Y"] {
            assert!(is_name_of_secret(name), "{name}");
        }
        for name in ["TOKENS", "KEYBOARD", "PUBLIC_KEY", "KEY_FILE", "AUTH_VERSION", ""] {
            assert!(!is_name_of_secret(name), "{name}");
        }
    }

    #[test]
    fn values() {
        let token = |start: &str, length: usize| format!("{start}{}", "a1B2".repeat(length / 4));
        for value in [
            token("ghp_", 36),
            token("x=glpat-", 20),
            format!("AKIA{}", "ABCD".repeat(4)),
            format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{}", "x".repeat(43)),
            "postgres://app:hunter2@db:5432/app".to_owned(),
            "-----BEGIN RSA PRIVATE KEY-----".to_owned(),
        ] {
            assert!(secret_in(&value).is_some(), "{value}");
        }
        for value in [
            "ghp_short",
            "https://example.org/a@b:c",
            "postgres://db:5432/app",
            "postgres://app:$PASSWORD@db/app",
            "postgres://postgres:postgres@db/app",
            "redis://:changeme@cache",
            "npm_config_cache",
            "eyJ.eyJ.x",
            "",
        ] {
            assert_eq!(secret_in(value), None, "{value}");
        }
    }
}
