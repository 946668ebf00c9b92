//! The recorded tables are replayed when the reference data is there; the cases here cover the same ground.

use super::*;

#[track_caller]
fn check(patterns: &[&str], path: &str, expected: bool) {
    let patterns = Patterns::from_lines(patterns).unwrap();
    assert_eq!(patterns.excludes(path), expected, "{patterns:?} against `{path}`");
    // A walk from the root decides alike, wherever no pattern is skipped for a parent.
    if patterns.patterns.len() == 1 && !path.ends_with('/') {
        assert_eq!(walk(&patterns, path), expected, "{patterns:?} on the way to `{path}`");
    }
}

/// Decides as a walk of the tree does: directory by directory.
fn walk(patterns: &Patterns, path: &str) -> bool {
    let mut matched = Matched::default();
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    let mut excluded = false;
    for end in ends {
        (excluded, matched) = patterns.descend(&path.as_bytes()[..end], &matched);
    }
    excluded
}

#[test]
fn single_patterns() {
    for (pattern, path, expected) in [
        ("**", "dir/file", true),
        ("**/", "file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("dir/**", "dir", false),
        ("**/dir", "dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**file", "dir/file", true),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/**/*.txt", "file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a/*.txt**", "a/file.txt", true),
        ("a[^b-d]e", "aze", true),
        (".*", ".foo", true),
        (".*", "foo", false),
        ("abc.def", "abcZdef", false),
        ("**/.foo", "bar.foo", false),
        ("a(b)c/def", "a(b)c/def", true),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        ("a\\*b", "a*b", true),
        ("a*", "ab/c", true),
        ("foo", "sub/foo", false),
        ("docs/", "docs/a", true),
        ("./a/../b/", "b", true),
        ("FOO", "foo", false),
        ("**/*.md", "näme/ü.md", true),
    ] {
        check(&[pattern], path, expected);
    }
}

#[test]
fn the_last_match_decides() {
    check(&["**", "!util/docker/web"], "util/docker/web/foo", false);
    check(&["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", true);
    check(&["docs", "!docs/README.md"], "docs/README.md", false);
    check(&["docs", "!docs/README.md"], "docs/other.md", true);
    check(&["!fileutils.go", "*.go"], "fileutils.go", true);
    check(&["*.go", "!fileutils.go"], "fileutils.go", false);
    check(&[], "any/path", false);
    check(&["subdir", "!*/sub1*", "!subdir/sub3*"], "subdir/sub3.txt", false);
    check(&["subdir", "!*/sub1*", "!subdir/sub3*"], "subdir/sub2.txt", true);
}

#[test]
fn reads_files() {
    let read = |text: &[u8]| Patterns::parse(text).unwrap().texts().collect::<Vec<_>>();
    assert_eq!(
        read(b"\xef\xbb\xbftest1\r\n  spaced  \r\n #no comment\n./a/../b/\n/\n#comment\n\n/abs\n"),
        ["test1", "spaced", "#no comment", "b", "/", "abs"]
    );
    assert_eq!(read(b"! /inverted/abs/path\n!x"), ["!inverted/abs/path", "!x"]);
    assert!(Patterns::parse(b"# only\n\n").unwrap().is_empty());
}

#[test]
fn names_the_line_that_hides() {
    let patterns = Patterns::parse(b"# comment\n*.log\n!keep.log\n\ntarget/\n").unwrap();
    let explain = |path: &str| patterns.explain(path).map(|rule| (rule.line, rule.pattern));
    assert_eq!(explain("a.log"), Some((2, "*.log".to_owned())));
    assert_eq!(explain("keep.log"), None);
    assert_eq!(explain("target/debug/x"), Some((5, "target".to_owned())));
    assert_eq!(explain("src/main.rs"), None);
}

#[test]
fn names_the_line_that_is_wrong() {
    let lone = Patterns::parse(b"a\n! \n").unwrap_err();
    assert_eq!((lone.line(), lone.to_string().as_str()), (2, "illegal exclusion pattern: \"!\""));
    let bad = Patterns::parse(b"\n\na[").unwrap_err();
    assert_eq!((bad.line(), bad.to_string().as_str()), (3, "syntax error in pattern: `a[`"));
    assert!(Patterns::from_lines(&["[Local-Only]/"]).is_err());
}

#[test]
fn knows_where_exceptions_reach() {
    let below = |patterns: &[&str], dir: &str| {
        Patterns::from_lines(patterns).unwrap().can_except_below(dir.as_bytes())
    };
    assert!(!below(&["node_modules"], "node_modules"));
    assert!(below(&["*", "!dir/sub/a.txt"], "dir"));
    assert!(!below(&["*", "!dir/sub/a.txt"], "other"));
    assert!(below(&["*", "!**/*.md"], "any/where"));
    assert!(below(&["*", "!dir/**"], "dir/x/y"));
    assert!(!below(&["*", "!dir/**"], "dirt"));
}

#[test]
fn replays_the_tables() {
    for file in ["ignore_single_pattern.tsv", "ignore_glob_table.tsv"] {
        for row in crate::test_data::table(file) {
            let parsed = Patterns::from_lines(&[&row[0]]);
            if row.get(3).is_some_and(|bad| bad == "true") {
                assert!(parsed.is_err(), "{row:?}");
            } else {
                assert_eq!(parsed.unwrap().excludes(&row[1]), row[2] == "true", "{row:?}");
            }
        }
    }
    for row in crate::test_data::table("ignore_pattern_list.tsv") {
        let patterns = Patterns::from_lines(&crate::test_data::strings(&row[0])).unwrap();
        assert_eq!(patterns.excludes(&row[1]), row[2] == "true", "{row:?}");
    }
    for row in crate::test_data::table("ignore_bad_pattern.tsv") {
        assert!(Patterns::from_lines(&crate::test_data::strings(&row[0])).is_err(), "{row:?}");
    }
}

#[test]
fn replays_the_classification() {
    for row in crate::test_data::table("ignore_compile.tsv") {
        let patterns = Patterns::from_lines(&[&row[0]]).unwrap();
        let kind = match &patterns.patterns[0].matcher {
            Matcher::Exact => "exact",
            Matcher::Prefix(_) => "prefix",
            Matcher::Suffix(_) => "suffix",
            Matcher::Glob(_) => "regexp",
        };
        assert_eq!(kind, row[1], "{row:?}");
    }
}

#[test]
fn replays_the_ignore_files() {
    let Some(cases) = crate::test_data::json("ignorefile_read.json") else { return };
    for case in cases.as_array().unwrap() {
        let expected: Vec<&str> = case["patterns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap())
            .collect();
        let content = case["content"].as_str().unwrap();
        let lines: Vec<String> =
            content.trim_start_matches('\u{feff}').split('\n').filter_map(file_line).collect();
        assert_eq!(lines, expected, "{content:?}");
    }
}

#[test]
fn what_nothing_can_be_copied_of() {
    for (file, path, line) in [
        ("a\n*.log\n", "a", Some(1)),
        ("a\n*.log\n", "a/b", Some(1)),
        ("a\n*.log\n", "x.log", Some(2)),
        ("a\n", ".", None),
        ("a\n*\n", ".", Some(2)),
        ("**\n!keep\n", ".", None),
        ("a\n!a/b\n", "a", None),
        ("a\n!a/b\n", "a/c", Some(1)),
        ("a\n!c\n", "a", Some(1)),
    ] {
        let patterns = Patterns::parse(file.as_bytes()).unwrap();
        let found = patterns.hides_all(path).map(|exclusion| exclusion.line);
        assert_eq!(found, line, "{file:?} {path}");
        assert_eq!(patterns.has_exceptions(), file.contains('!'));
    }
}
