//! Text in double quotes as Go's `%q` writes it: in messages, and in the history of `CMD` and `ENTRYPOINT`, where it
//! ends up in images.

use std::fmt::Write as _;

/// Returns `text` in double quotes, with escapes for what cannot be printed.
pub(crate) fn quoted(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 2);
    result.push('"');
    for c in text.chars() {
        push(&mut result, c);
    }
    result.push('"');
    result
}

/// Returns `text` as it is, with escapes for what cannot be printed.
pub(crate) fn visible(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => result.push(c),
            _ => push(&mut result, c),
        }
    }
    result
}

/// Returns the quoted texts between brackets, separated by blanks.
pub(crate) fn quoted_list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(" "))
}

fn push(result: &mut String, c: char) {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        _ => "",
    };
    if !short.is_empty() {
        result.push_str(short);
        return;
    }
    let code = u32::from(c);
    // Writing to a string cannot fail.
    let _ = match code {
        _ if is_printable(c) => result.write_char(c),
        0..0x80 => write!(result, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(result, "\\u{code:04x}"),
        _ => write!(result, "\\U{code:08x}"),
    };
}

/// What Rust escapes for debugging is what Go calls not printable, but for combining characters at the start of a
/// text: so there is a letter in front.
fn is_printable(c: char) -> bool {
    let mut text = String::from("a");
    text.push(c);
    matches!(c, '\'') || !text.escape_debug().to_string().contains('\\')
}

#[cfg(test)]
mod tests {
    use super::{quoted, quoted_list};

    #[test]
    fn as_go_quotes() {
        for (text, expected) in [
            ("", r#""""#),
            ("it's", r#""it's""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\n\r\t\u{7}\u{8}\u{b}\u{c}", r#""\n\r\t\a\b\v\f""#),
            ("\u{1}\u{7f}\0", r#""\x01\x7f\x00""#),
            ("é한🦀", r#""é한🦀""#),
            ("e\u{301}", "\"e\u{301}\""),
            ("a\u{a0}b\u{200b}", r#""a\u00a0b\u200b""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
        assert_eq!(quoted_list(&["a".into(), "b c".into()]), r#"["a" "b c"]"#);
        assert_eq!(quoted_list(&[]), "[]");
    }
}
