//! Splitting a line into words as a shell does, to find the `<<NAME` among them; nothing is expanded or unquoted.
//!
//! It follows BuildKit's lexer in what it refuses: then a line has no heredocs at all, and what looks like one is left
//! to the shell.

/// How deep `${a:-${b:-…}}` may be nested; a bound for hostile input.
const DEEPEST_NESTING: usize = 64;

/// The words of `line`; `None` if a quote or a brace is open, or a `${…}` has a form that does not exist.
pub(super) fn words(line: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let after = skip_word(rest)?;
        words.push(&rest[..rest.len() - after.len()]);
        rest = after.trim_start();
    }
    Some(words)
}

/// What is behind the word that `input` starts with.
fn skip_word(input: &str) -> Option<&str> {
    let mut rest = input;
    while let Some(c) = rest.chars().next() {
        if c.is_whitespace() {
            break;
        }
        // The blanks between `<<` and the name are part of the word.
        if let Some(after) = rest.strip_prefix("<<") {
            rest = skip_heredoc_blanks(after);
            continue;
        }
        rest = skip_piece(rest, 0)?;
    }
    Some(rest)
}

fn skip_heredoc_blanks(after: &str) -> &str {
    let name = after.strip_prefix('-').unwrap_or(after).trim_start_matches([' ', '\t', '\r']);
    // In `<< -NAME` the dash is the name's.
    if after.starts_with('-') || name.len() < after.len() { name } else { after }
}

/// What is behind one quoted text, escaped character, variable or plain character.
fn skip_piece(input: &str, depth: usize) -> Option<&str> {
    let c = input.chars().next()?;
    let after = &input[c.len_utf8()..];
    match c {
        '\'' => after.split_once('\'').map(|(_, rest)| rest),
        '"' => skip_double_quoted(after, depth),
        '\\' => Some(skip_char(after)),
        '$' => skip_dollar_at(input, depth),
        _ => Some(after),
    }
}

fn skip_char(input: &str) -> &str {
    let mut chars = input.chars();
    chars.next();
    chars.as_str()
}

fn skip_double_quoted(input: &str, depth: usize) -> Option<&str> {
    let mut rest = input;
    loop {
        let c = rest.chars().next()?;
        let after = &rest[c.len_utf8()..];
        match c {
            '"' => return Some(after),
            '$' => rest = skip_dollar_at(rest, depth)?,
            '\\' if after.starts_with(['"', '$', '\\']) => rest = &after[1..],
            _ => rest = after,
        }
    }
}

/// What is behind the `$name` or `${…}` that `input` starts with.
pub(super) fn skip_dollar(input: &str) -> Option<&str> {
    skip_dollar_at(input, 0)
}

fn skip_dollar_at(input: &str, depth: usize) -> Option<&str> {
    if depth > DEEPEST_NESTING {
        return None;
    }
    let after = input.strip_prefix('$')?;
    let Some(braced) = after.strip_prefix('{') else {
        return Some(skip_name(after));
    };
    if braced.is_empty() || braced.starts_with(['{', '}', ':']) {
        return None;
    }
    let modifier = skip_name(braced);
    match modifier.chars().next()? {
        '}' => Some(&modifier[1..]),
        ':' => skip_until(skip_char(&modifier[1..]), '}', depth + 1),
        '+' | '-' | '?' | '#' | '%' => skip_until(&modifier[1..], '}', depth + 1),
        '/' => {
            let pattern = &modifier[1..];
            let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
            skip_until(skip_until(pattern, '/', depth + 1)?, '}', depth + 1)
        }
        _ => None,
    }
}

fn skip_until(input: &str, stop: char, depth: usize) -> Option<&str> {
    let mut rest = input;
    loop {
        if let Some(after) = rest.strip_prefix(stop) {
            return Some(after);
        }
        rest = skip_piece(rest, depth)?;
    }
}

/// A name, a number, or one of the special parameters; may be none of them.
fn skip_name(input: &str) -> &str {
    let Some(first) = input.chars().next() else { return input };
    if first.is_numeric() {
        return input.trim_start_matches(char::is_numeric);
    }
    if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
        return &input[1..];
    }
    input.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
}
