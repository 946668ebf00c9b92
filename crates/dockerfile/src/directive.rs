//! Parser directives: `# escape=`, `# syntax=` and `# check=` on the very first lines.
//!
//! `syntax` names an image that knows the language of the file. It is read in all the spellings that exist, and has no
//! effect, since no image is asked to parse; but for `# syntax=kiln`, see [`crate::extension`].

use nom::bytes::complete::{tag, take_while};
use nom::character::complete::satisfy;
use nom::combinator::{recognize, rest, verify};
use nom::sequence::{delimited, preceded, separated_pair};
use nom::{IResult, Parser};

use crate::ast::Directives;
use crate::diagnostic::Diagnostic;
use crate::source::Span;

const KEYS: [&str; 3] = ["syntax", "escape", "check"];

/// A directive with its key in lower case, and the number of its line.
struct Directive<'a> {
    key: String,
    value: &'a str,
    line: usize,
    span: Span,
}

/// Reads the directives of a file. A key that is used twice and an escape character other than `\` and `` ` `` are
/// errors.
pub(crate) fn parse(text: &str) -> Result<Directives, Diagnostic> {
    let mut directives = Directives { escape: '\\', syntax: None, check: None };
    let mut seen: Vec<String> = Vec::new();
    for directive in scan(text, "#") {
        let fail = |message: String| {
            let lines = (directive.line, directive.line);
            Err(Diagnostic::new(message).at(directive.span).on_lines(lines))
        };
        if seen.contains(&directive.key) {
            return fail(format!("only one {} parser directive can be used", directive.key));
        }
        match (directive.key.as_str(), directive.value) {
            ("escape", "\\") => directives.escape = '\\',
            ("escape", "`") => directives.escape = '`',
            ("escape", value) => {
                return fail(format!("invalid escape token '{value}' does not match ` or \\"));
            }
            (_, _) => {}
        }
        seen.push(directive.key);
    }
    directives.syntax = syntax(text);
    directives.check = first(text, "#", "check").map(|value| first_word(&value).to_owned());
    Ok(directives)
}

/// The value of an `escape` directive, and its line.
pub(crate) fn escape(text: &str) -> Option<(&str, usize)> {
    let found = scan(text, "#").into_iter().find(|directive| directive.key == "escape")?;
    Some((found.value, found.line))
}

/// The value of `syntax`, in a comment with `#` or `//`, or in a JSON object.
fn syntax(text: &str) -> Option<String> {
    let json = || {
        let object: serde_json::Value = serde_json::from_str(without_shebang(text)).ok()?;
        object.get("syntax")?.as_str().map(str::to_owned)
    };
    first(text, "#", "syntax").or_else(|| first(text, "//", "syntax")).or_else(json)
}

/// The value of the first directive called `key`, which may follow a `#!` line.
fn first(text: &str, comment: &str, key: &str) -> Option<String> {
    scan(without_shebang(text), comment)
        .into_iter()
        .find(|directive| directive.key == key)
        .map(|directive| directive.value.to_owned())
}

/// The first word of the value of `key` in a comment whose `#` was cut off: `check=skip=all` above an instruction.
pub(crate) fn value_in_comment<'a>(comment: &'a str, key: &str) -> Option<&'a str> {
    let (_, (found, value)) = directive("", comment).ok()?;
    found.eq_ignore_ascii_case(key).then(|| first_word(value))
}

fn without_shebang(text: &str) -> &str {
    if !text.starts_with("#!") {
        return text;
    }
    text.split_once('\n').map_or("", |(_, rest)| rest)
}

fn first_word(value: &str) -> &str {
    value.split(' ').next().unwrap_or(value)
}

/// All directives on top of `text`. The first line that is none, or has an unknown key, ends them.
fn scan<'a>(text: &'a str, comment: &str) -> Vec<Directive<'a>> {
    let mut directives = Vec::new();
    let mut offset = 0;
    for (index, raw) in text.split_inclusive('\n').enumerate() {
        let line = raw.trim_end_matches(['\r', '\n']);
        let span = Span::new(offset, offset + line.len());
        offset += raw.len();
        let Ok((_, (key, value))) = directive(comment, line.trim_start()) else { break };
        let key = key.to_ascii_lowercase();
        if !KEYS.contains(&key.as_str()) {
            break;
        }
        directives.push(Directive { key, value, line: index + 1, span });
    }
    directives
}

/// `# key = value`
fn directive<'a>(comment: &str, line: &'a str) -> IResult<&'a str, (&'a str, &'a str)> {
    let blanks = || take_while(char::is_whitespace);
    let key = recognize((
        satisfy(|c| c.is_ascii_alphabetic()),
        take_while(|c: char| c.is_ascii_alphanumeric()),
    ));
    let equals = delimited(blanks(), tag("="), blanks());
    let value = verify(rest.map(str::trim_end), |value: &str| !value.is_empty());
    preceded((tag(comment), blanks()), separated_pair(key, equals, value)).parse(line)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn escape() {
        assert_eq!(parse("# escape=`\nFROM a").unwrap().escape, '`');
        assert_eq!(parse("#  EsCape\t= `  \r\nFROM a").unwrap().escape, '`');
        assert_eq!(parse("# syntax=x\n# escape=`\n").unwrap().escape, '`');
        for none in [
            "\n# escape=`",
            "# a comment\n# escape=`",
            "# unknown=1\n# escape=`",
            "FROM a\n# escape=`",
            "#!/bin/sh\n# escape=`",
            "# escape=\n# escape=`",
        ] {
            assert_eq!(parse(none).unwrap().escape, '\\', "{none:?}");
        }
    }

    #[test]
    fn errors() {
        let error = parse("# escape=x\n").unwrap_err();
        assert_eq!(error.message, "invalid escape token 'x' does not match ` or \\");
        let error = parse("# syntax=a\n# escape=`\n# syntax=b\n").unwrap_err();
        assert_eq!(error.message, "only one syntax parser directive can be used");
        assert_eq!(error.lines, Some((3, 3)));
    }

    #[test]
    fn only_two_bytes_escape() {
        for byte in 0..=255_u8 {
            let text = [b"# escape=", &[byte][..], b"\nFROM a\n"].concat();
            let parsed = parse(&String::from_utf8_lossy(&text));
            match byte {
                b'`' | b'\\' => assert_eq!(parsed.unwrap().escape, char::from(byte)),
                // It says nothing.
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                    assert_eq!(parsed.unwrap().escape, '\\')
                }
                byte => assert!(parsed.unwrap_err().message.contains("escape token"), "{byte}"),
            }
        }
        for twice in ["# escape=`\n# escape=`\n", "# escape=`\n# ESCAPE=\\\n"] {
            let error = parse(twice).unwrap_err();
            assert_eq!(error.message, "only one escape parser directive can be used");
        }
    }

    #[test]
    fn check_is_the_first_word() {
        let directives = parse("# check=skip=A,B;error=true trailing\n").unwrap();
        assert_eq!(directives.check.as_deref(), Some("skip=A,B;error=true"));
    }
}
