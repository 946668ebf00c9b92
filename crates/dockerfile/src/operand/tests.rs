//! Tests of the shapes of operands.

use super::{List, command_line, json_array, list, pairs, quoted_words, words};
use crate::fragment::Joined;
use crate::instruction::CommandLine;

fn joined(text: &str) -> Joined {
    let mut joined = Joined::new(None);
    joined.push(text, 0);
    joined
}

#[test]
fn plain_words() {
    for (text, expect) in [
        ("", vec![]),
        ("a", vec!["a"]),
        ("a  b\tc", vec!["a", "b", "c"]),
        ("'a b' \"c", vec!["'a", "b'", "\"c"]),
        ("a\u{a0}b", vec!["a\u{a0}b"]),
    ] {
        let joined = joined(text);
        let found: Vec<_> = words(joined.whole()).iter().map(|word| word.text()).collect();
        assert_eq!(found, expect, "{text:?}");
    }
}

#[test]
fn words_with_quotes() {
    for (text, expect) in [
        ("", vec![]),
        ("foo bar", vec!["foo", "bar"]),
        ("foo\\ bar", vec!["foo\\ bar"]),
        ("a='b c'd \"e f\"", vec!["a='b c'd", "\"e f\""]),
        ("a=\"b \\\" c\" d", vec!["a=\"b \\\" c\"", "d"]),
        ("'a\\' b", vec!["'a\\'", "b"]),
        ("'open to the end", vec!["'open to the end"]),
        ("\"open \\", vec!["\"open "]),
        ("a \\", vec!["a"]),
        ("\\", vec![]),
        ("a\u{2003}b", vec!["a", "b"]),
        ("föo \"âbc xÿz\"", vec!["föo", "\"âbc xÿz\""]),
    ] {
        let joined = joined(text);
        let found: Vec<_> =
            quoted_words(joined.whole(), '\\').iter().map(|word| word.text()).collect();
        assert_eq!(found, expect, "{text:?}");
    }
    let joined = joined("a` b \\ c");
    let found: Vec<_> = quoted_words(joined.whole(), '`').iter().map(|word| word.text()).collect();
    assert_eq!(found, ["a` b", "\\", "c"]);
}

#[test]
fn new_and_old_pairs() {
    let found = |text: &str| {
        let joined = joined(text);
        pairs(joined.whole(), '\\', "ENV").map(|pairs| {
            pairs.into_iter().map(|p| (p.key.text, p.value.text, p.legacy)).collect::<Vec<_>>()
        })
    };
    let pair = |key: &str, value: &str, legacy| (key.to_owned(), value.to_owned(), legacy);
    assert_eq!(
        found("a=1 b= c=\"x y\"=z").unwrap(),
        [pair("a", "1", false), pair("b", "", false), pair("c", "\"x y\"=z", false)]
    );
    assert_eq!(found("a  b  c=d ").unwrap(), [pair("a", "b  c=d ", true)]);
    assert_eq!(found("").unwrap(), []);
    assert_eq!(found("a").unwrap_err().message, "ENV must have two arguments");
    assert_eq!(found("=a").unwrap_err().message, "ENV names can not be blank");
    assert_eq!(
        found("a=b c").unwrap_err().message,
        "Syntax error - can't find = in \"c\". Must be of the form: name=value"
    );
}

#[test]
fn json_arrays() {
    let found = |text: &str| {
        let joined = joined(text);
        json_array(joined.whole()).map(|array| {
            array.map(|words| words.into_iter().map(|w| (w.text, w.span)).collect::<Vec<_>>())
        })
    };
    let words = found("[\"a\", \"b\\\"\\u00e9\"]").unwrap().unwrap();
    assert_eq!(words[0].0, "a");
    assert_eq!((words[0].1.start, words[0].1.end), (1, 4));
    assert_eq!(words[1].0, "b\"é");
    assert_eq!((words[1].1.start, words[1].1.end), (6, 17));
    assert_eq!(found("[]").unwrap(), Some(vec![]));
    for none in ["a", "", "[a]", "['a']", "[\"a\"] b", "[\"a\"", "[\"c:\\w\"]", "[ -f x ] && y"] {
        assert_eq!(found(none).unwrap(), None, "{none}");
    }
    for bad in ["[1]", "[\"a\", null]", "[[\"a\"]]", "[{}]", "[true]"] {
        let message = "when using JSON array syntax, arrays must be comprised of strings only";
        assert_eq!(found(bad).unwrap_err().message, message, "{bad}");
    }
}

#[test]
fn json_or_not() {
    let text = joined("[\"a\"] b");
    assert_eq!(command_line(text.whole()).unwrap(), CommandLine::Shell("[\"a\"] b".to_owned()));
    assert!(matches!(list(text.whole()).unwrap(), List::Words(words) if words.len() == 2));
    let text = joined("[\"a\"]");
    assert_eq!(command_line(text.whole()).unwrap(), CommandLine::Exec(vec!["a".to_owned()]));
    assert!(matches!(list(text.whole()).unwrap(), List::Json(words) if words.len() == 1));
}
