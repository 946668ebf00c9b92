//! Ignore files: the patterns stand above a line `--`, the paths that are asked for below it.
//!
//! Short ones are also decided by a matcher that simply tries everything.

use filetree::{Patterns, glob::go_match};

/// Tries one input.
pub(crate) fn check(data: &[u8]) {
    let (file, paths) = match data.windows(4).position(|bytes| bytes == b"\n--\n") {
        Some(at) => (&data[..at], &data[at + 4..]),
        None => (data, &b"a\na/b\n"[..]),
    };
    let paths = String::from_utf8_lossy(paths);
    let paths: Vec<&str> = paths.lines().filter(|path| is_clean(path)).collect();
    let patterns = match Patterns::parse(file) {
        Ok(patterns) => patterns,
        Err(error) => {
            assert!(error.line() >= 1);
            return;
        }
    };
    let texts: Vec<String> = patterns.texts().collect();
    // A blank that was behind a slash is at the end once that is gone, as in BuildKit; read again, it would go, too.
    let is_trimmed = texts.iter().all(|text| text.trim() == text);
    let again = match is_trimmed {
        true => Patterns::from_lines(&texts),
        false => Ok(patterns.clone()),
    };
    let again = again.unwrap_or_else(|error| panic!("{texts:?} are no patterns: {error}"));
    // A long list is gone through in another way.
    let many: Vec<String> = texts.iter().cloned().cycle().take(texts.len() * 33).collect();
    let many = if is_trimmed { Patterns::from_lines(&many) } else { Ok(patterns.clone()) };
    let many = many.unwrap_or_else(|error| panic!("{texts:?} are no patterns: {error}"));
    for path in paths {
        let excluded = patterns.excludes(path);
        assert_eq!(many.excludes(path), excluded, "`{path}` by many of {texts:?}");
        if is_trimmed {
            assert_eq!(last_match(&texts, path), excluded, "`{path}` by each of {texts:?}");
        }
        assert_eq!(patterns.explain(path).is_some(), excluded, "`{path}`");
        assert_eq!(again.excludes(path), excluded, "`{path}` by {texts:?}");
        if patterns.hides_all(path).is_some() {
            assert!(excluded && patterns.excludes(&format!("{path}/x/y")), "`{path}`");
        }
        if let [text] = &texts[..] {
            check_single(text, path, excluded);
        }
        for text in &texts {
            check_match(text, path);
        }
    }
}

/// What the last pattern says that matches, each asked alone.
fn last_match(texts: &[String], path: &str) -> bool {
    let mut excluded = false;
    for text in texts {
        let pattern = text.strip_prefix('!').unwrap_or(text);
        // A second `!` would be an exception once more; behind `./` it is a name.
        let pattern =
            if pattern.starts_with('!') { format!("\\{pattern}") } else { pattern.into() };
        if Patterns::from_lines(&[pattern]).is_ok_and(|pattern| pattern.excludes(path)) {
            excluded = !text.starts_with('!');
        }
    }
    excluded
}

/// As a walk of a tree makes them.
fn is_clean(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// An ignore file of one pattern.
fn check_single(pattern: &str, path: &str, excluded: bool) {
    let Some(tokens) = tokens(pattern, true).filter(|_| path.len() <= 16) else { return };
    // The walk of BuildKit, which sees only part of an exception, has a test of its own.
    if pattern.starts_with('!') {
        assert!(!excluded);
        return;
    }
    let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path]);
    let expected = parents.any(|path| matches(&tokens, path));
    assert_eq!(excluded, expected, "`{path}` by `{pattern}`");
}

/// The same pattern as the source of a COPY.
fn check_match(pattern: &str, path: &str) {
    let Some(tokens) = tokens(pattern, false).filter(|_| path.len() <= 16) else { return };
    assert_eq!(go_match(pattern, path), Ok(matches(&tokens, path)), "`{path}` by `{pattern}`");
}

/// A step of a pattern.
#[derive(Clone, Copy)]
enum Token {
    Char(char),
    One,
    Some,
    Dirs,
    All,
}

/// The steps of a pattern without classes and escapes, which the tables of Go cover; none of a long one.
fn tokens(pattern: &str, is_ignore: bool) -> Option<Vec<Token>> {
    if pattern.contains(['[', '\\']) || pattern.len() > 12 {
        return None;
    }
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if is_ignore && let Some(behind) = rest.strip_prefix("**") {
            rest = behind.strip_prefix('/').unwrap_or(behind);
            let is_first = tokens.is_empty();
            // A text behind `**` at the start may begin anywhere.
            let anywhere = is_first && !behind.starts_with('/') && !behind.contains(['*', '?']);
            tokens.push(if rest.is_empty() || anywhere { Token::All } else { Token::Dirs });
            continue;
        }
        tokens.push(match c {
            '*' => Token::Some,
            '?' => Token::One,
            c => Token::Char(c),
        });
        rest = after;
    }
    // Whoever tries everything tries for very long with many of them.
    let is_wild = |token: &&Token| !matches!(token, Token::Char(_));
    (tokens.iter().filter(is_wild).count() <= 5).then_some(tokens)
}

fn matches(tokens: &[Token], text: &str) -> bool {
    let Some((token, behind)) = tokens.split_first() else { return text.is_empty() };
    let first = text.chars().next();
    let rest = first.map_or("", |c| &text[c.len_utf8()..]);
    match token {
        Token::Char(c) => first == Some(*c) && matches(behind, rest),
        Token::One => first.is_some_and(|c| c != '/') && matches(behind, rest),
        Token::Some => {
            matches(behind, text) || (first.is_some_and(|c| c != '/') && matches(tokens, rest))
        }
        Token::Dirs => {
            let ends = text.match_indices('/').map(|(at, _)| &text[at + 1..]);
            std::iter::once(text).chain(ends).any(|text| matches(behind, text))
        }
        Token::All => {
            let starts = text.char_indices().map(|(at, _)| &text[at..]).chain([""]);
            starts.into_iter().any(|text| matches(behind, text))
        }
    }
}
