//! Expansion: lines `NAME=value` set variables, the rest behind an empty line is the word.
//!
//! Short patterns are also tried against a matcher that simply tries everything.

use std::collections::BTreeMap;

use dockerfile::word::{MAX_RESULT, expand, expand_fully, expand_heredoc, expand_known};

/// Tries one input.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (head, word) = text.split_once("\n\n").unwrap_or(("", &text));
    let env: BTreeMap<&str, &str> = head.lines().filter_map(|line| line.split_once('=')).collect();
    for escape in ['\\', '`'] {
        check_word(word, escape, &env);
    }
    if let Some((value, pattern)) = env.values().next().zip(env.values().nth(1)) {
        check_pattern(value, pattern);
    }
}

fn check_word(word: &str, escape: char, env: &BTreeMap<&str, &str>) {
    let look = |name: &str| env.get(name).map(|value| (*value).to_owned());
    // What it says is of no interest, but that it ends is.
    drop(expand_known(word, escape, &look));
    if let Ok(text) = expand_heredoc(word, &look) {
        assert!(text.len() <= MAX_RESULT);
        assert!(word.contains(['$', '\\']) || text == word, "{text:?} is not {word:?}");
    }
    let expansion = match expand_fully(word, escape, &look) {
        Ok(expansion) => expansion,
        Err(error) => return drop(error.to_string()),
    };
    let plain = !word.contains(['$', '\'', '"', escape]);
    assert!(!plain || expansion.text == word, "{:?} is not {word:?}", expansion.text);
    assert!(expansion.text.len() <= MAX_RESULT);
    assert!(expansion.words.iter().all(|word| !word.is_empty()), "{:?}", expansion.words);
    let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    assert_eq!(solid(&expansion.words.concat()), solid(&expansion.text), "of {word:?}");
    assert!(expansion.used.iter().all(|name| env.contains_key(name.as_str())));
    assert!(expansion.unset.iter().all(|name| !env.contains_key(name.as_str())));

    if !word.contains('\'') {
        let quoted = expand(&format!("'{word}'"), escape, &look);
        assert_eq!(quoted.as_deref(), Ok(word));
    }
}

/// `#`, `##`, `%`, `%%`, `/` and `//` against the matcher below.
fn check_pattern(value: &str, pattern: &str) {
    let fits = |text: &str| text.chars().count() <= 8;
    // Escapes and a second sign in the variable have a meaning of their own.
    if !fits(value) || !fits(pattern) || pattern.contains(['\\', '#', '%']) {
        return;
    }
    let look = |name: &str| match name {
        "V" => Some(value.to_owned()),
        "P" => Some(pattern.to_owned()),
        _ => None,
    };
    let tokens: Vec<char> = pattern.chars().collect();
    let ends: Vec<usize> =
        value.char_indices().map(|(at, _)| at).chain(std::iter::once(value.len())).collect();
    let starts_at = |at: usize| -> Vec<usize> {
        let after = ends.iter().copied().filter(|end| *end >= at);
        after.filter(|end| matches(&tokens, &value[at..*end])).collect()
    };

    let from_start = starts_at(0);
    let to_end = ends.iter().copied().filter(|at| matches(&tokens, &value[*at..]));
    let to_end: Vec<usize> = to_end.collect();
    let first = starts_at(0).first().copied().map_or(value, |end| &value[end..]);
    let longest = from_start.last().map_or(value, |end| &value[*end..]);
    let short_tail = to_end.last().map_or(value, |at| &value[..*at]);
    let long_tail = to_end.first().map_or(value, |at| &value[..*at]);
    let replaced = ends.iter().find_map(|at| Some((*at, *starts_at(*at).last()?)));
    let replaced = match replaced {
        Some((at, end)) => format!("{}-{}", &value[..at], &value[end..]),
        None => value.to_owned(),
    };
    for (word, expected) in [
        ("${V#$P}", first),
        ("${V##$P}", longest),
        ("${V%$P}", short_tail),
        ("${V%%$P}", long_tail),
        ("${V/$P/-}", &replaced),
    ] {
        let found = expand(word, '\\', &look);
        assert_eq!(found.as_deref(), Ok(expected), "{word} of {value:?} with {pattern:?}");
    }
}

/// Whether all of `text` matches.
fn matches(pattern: &[char], text: &str) -> bool {
    let first = text.chars().next();
    let rest = first.map(|c| &text[c.len_utf8()..]);
    match (pattern.split_first(), first, rest) {
        (None, None, _) => true,
        (None, Some(_), _) => false,
        (Some(('*', behind)), c, rest) => {
            matches(behind, text)
                || rest.is_some_and(|rest| c != Some('\n') && matches(pattern, rest))
        }
        (Some(_), None, _) | (Some(_), _, None) => false,
        (Some(('?', behind)), Some(c), Some(rest)) => c != '\n' && matches(behind, rest),
        (Some((wanted, behind)), Some(c), Some(rest)) => *wanted == c && matches(behind, rest),
    }
}
