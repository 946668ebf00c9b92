//! Go's own table is replayed when the reference data is there; the cases here cover the same ground.

use super::*;

#[test]
fn matches_as_go_does() {
    for (pattern, name, expected) in [
        ("abc", "abc", true),
        ("*c", "abc", true),
        ("a*", "ab/c", false),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("a?b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("a?b", "a/b", false),
        ("[a-ζ]*", "α", true),
        ("ab[^b-d]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("[\\]a]", "]", true),
        ("[x\\-]", "-", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("[z-a]", "m", false),
        ("**", "ab", true),
        ("**/x", "a/b/x", false),
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
    ] {
        assert_eq!(go_match(pattern, name), Ok(expected), "`{pattern}` against `{name}`");
    }
}

#[test]
fn refuses_malformed_patterns() {
    for pattern in ["[", "a[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[^", "[^bc", "\\", "a/b["]
    {
        assert_eq!(go_match(pattern, "x"), Err(BadPattern), "`{pattern}`");
    }
}

#[test]
fn knows_what_can_match_below() {
    let below = |pattern: &str, dir: &str| {
        Glob::parse(pattern, Language::Ignore).unwrap().can_match_below(dir.as_bytes())
    };
    assert!(below("a/*/c", "a/b"));
    assert!(!below("a/*/c", "b"));
    assert!(!below("a/*", "a/b"));
    assert!(below("**/x*", "any/where"));
    assert!(below("a/**/b*", "a/z"));
    assert!(!below("ab*", "a"));
}

#[test]
fn takes_bytes_that_are_not_text() {
    let glob = Glob::parse("a?b", Language::Match).unwrap();
    assert!(glob.matches(b"a\xffb"));
    assert!(!glob.matches(b"a\xff\xfeb"));
}

/// A pattern that makes a backtracking matcher run for longer than the universe lasts.
#[test]
fn is_linear() {
    let name = "a".repeat(2000);
    let pattern = format!("{}b", "a*".repeat(500));
    assert_eq!(go_match(&pattern, &name), Ok(false));
    let glob = Glob::parse(&format!("{}x*y", "**/".repeat(500)), Language::Ignore).unwrap();
    assert!(!glob.matches("a/".repeat(1000).as_bytes()));
}

#[test]
fn replays_the_go_table() {
    for row in crate::test_data::table("go_filepath_match.tsv") {
        let [pattern, name, matches, bad] = row.as_slice() else { panic!("{row:?}") };
        let expected = if bad == "true" { Err(BadPattern) } else { Ok(matches == "true") };
        assert_eq!(go_match(pattern, name), expected, "`{pattern}` against `{name}`");
    }
}
