//! The recorded tables of git addresses, and cases of our own.

use std::path::Path;

use super::*;

fn source(text: &str) -> GitSource {
    GitSource::parse(text).unwrap().unwrap_or_else(|| panic!("{text} is a repository"))
}

fn mistake(text: &str) -> String {
    GitSource::parse(text).unwrap_err().to_string()
}

/// A table beside the source tree; where there is none, its cases are not replayed.
fn table(name: &str) -> Option<String> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec/data/tables").join(name);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("skipped: there is no {name}");
    }
    text
}

/// What the table shows of a source, in its words.
fn shown(source: &GitSource) -> Vec<(&'static str, String)> {
    let text = |name, value: &Option<String>| value.clone().map(|value| (name, value));
    let flag = |name, on: bool| on.then(|| (name, "true".to_owned()));
    let mtime = source.mtime.map(|mtime| match mtime {
        GitTime::Checkout => ("MTime", "checkout".to_owned()),
        GitTime::Commit => ("MTime", "commit".to_owned()),
    });
    let mut fields: Vec<_> = [
        Some(("Remote", source.remote.clone())),
        Some(("ShortName", source.short_name.clone())),
        text("Ref", &source.reference),
        text("SubDir", &source.subdir),
        text("Checksum", &source.checksum),
        flag("IndistinguishableFromLocal", source.is_like_path()),
        flag("UnencryptedTCP", source.is_unencrypted()),
        flag("FetchByCommit", source.fetch_by_commit),
        mtime,
    ]
    .into_iter()
    .flatten()
    .collect();
    fields.sort();
    fields
}

/// Reads the string after `"name": ` in a line of the table, which has one pair a line.
fn pair(line: &str) -> Option<(&str, String)> {
    let (name, value) = line.trim().trim_end_matches(',').split_once(": ")?;
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let value = value.replace("\\\"", "\"");
    Some((name.trim_matches('"'), value))
}

#[test]
fn the_recorded_addresses_are_read_alike() {
    let Some(table) = table("git_ref.json") else { return };
    let mut cases = 0;
    for case in table.split("\n },").filter(|case| case.contains("\"ref\"")) {
        let mut fields: Vec<(&str, String)> = case.lines().filter_map(pair).collect();
        let text = fields.remove(0).1;
        let wrong = fields.iter().find(|(name, _)| *name == "error_contains").cloned();
        let is_git = case.contains("\"git\": {");
        fields.retain(|(name, _)| !matches!(*name, "git" | "error_contains"));
        fields.sort();
        match (GitSource::parse(&text), wrong) {
            (Err(error), Some((_, part))) => {
                assert!(error.to_string().contains(&part), "{text}: {error}");
            }
            (Ok(Some(source)), None) if is_git => assert_eq!(shown(&source), fields, "{text}"),
            (Ok(None), None) if !is_git => {}
            (found, _) => panic!("{text}: {found:?}"),
        }
        cases += 1;
    }
    assert_eq!(cases, 39);
}

#[test]
fn the_recorded_fragments_are_made_alike() {
    let Some(table) = table("git_fragment_format.tsv") else { return };
    let rows: Vec<Vec<String>> = table
        .lines()
        .skip(2)
        .map(|line| line.split('\t').map(|cell| cell.trim_matches('"').to_owned()).collect())
        .collect();
    assert_eq!(rows.len(), 37);
    for row in rows {
        let [text, form, ok, with_directory] = row.as_slice() else { panic!("{row:?}") };
        let Ok(Some(source)) = GitSource::parse(text) else {
            assert_eq!(ok, "false", "{text}");
            continue;
        };
        let found = match with_directory.as_str() {
            "true" => source.to_fragment_form_with_directory(),
            _ => source.to_fragment_form(),
        };
        assert_eq!((found, ok.as_str()), (form.clone(), "true"), "{text}");
    }
}

#[test]
fn what_is_no_repository() {
    for text in [
        "",
        ".",
        "dir",
        "./github.com/o/r",
        "https://h",
        "https://h/x",
        "https://h/x.git/",
        "file:///x.git",
        "ext::sh -c x",
        "ftp://h/x.git",
        "oci-layout://x.git",
        "@h:p",
        "u@:p",
        "u@h/p",
        "http://h/a\nb.git",
        "C:\\x.git",
    ] {
        assert_eq!(GitSource::parse(text), Ok(None), "{text}");
    }
}

#[test]
fn every_key_of_the_query() {
    let all = source(
        "https://h/x.git?ref=v1&subdir=a%20b/c&commit=AbC1&keep-git-dir&submodules=0&mtime=commit&fetch-by-commit=t",
    );
    assert_eq!(all.reference.as_deref(), Some("v1"));
    assert_eq!(all.subdir.as_deref(), Some("a b/c"));
    assert_eq!(all.checksum.as_deref(), Some("AbC1"));
    assert_eq!((all.keep_git_dir, all.submodules), (Some(true), Some(false)));
    assert_eq!((all.mtime, all.fetch_by_commit), (Some(GitTime::Commit), true));
    assert_eq!(
        source("https://h/x.git?tag=refs/tags/v1#refs/tags/v1").reference.as_deref(),
        Some("refs/tags/v1")
    );
    assert_eq!(source("https://h/x.git#a%2Fb").reference.as_deref(), Some("a/b"));
}

#[test]
fn wrong_queries_are_told() {
    for (query, part) in [
        ("ref=a&ref=b", "multiple values"),
        ("ref=", "query \"ref\" has no value"),
        ("tag", "has no value"),
        ("subdir=a#:b", "subdir conflicts"),
        ("commit=a&checksum=b", "checksum conflicts"),
        ("keep-git-dir=maybe", "invalid keep-git-dir value"),
        ("submodules=2", "invalid submodules value"),
        ("keepgitdir=1", "unexpected query \"keepgitdir\""),
    ] {
        let text = mistake(&format!("https://h/x.git?{query}"));
        assert!(text.contains(part), "{query}: {text}");
    }
}

#[test]
fn nothing_becomes_an_option_or_a_pattern() {
    for reference in [
        "--upload-pack=touch V",
        "-c=x",
        "a..b",
        "a b",
        "refs/*",
        "HEAD^",
        "x~1",
        "@{-1}",
        "/x",
        "x.",
        "a\\b",
        "a%0Ab",
        "[a]",
        "%2D-exec",
    ] {
        let text = mistake(&format!("https://h/x.git#{reference}"));
        assert!(text.contains("invalid git reference"), "{reference}: {text}");
    }
    for remote in
        ["git@-oProxyCommand:x", "-u@h:p", "ssh://-oProxyCommand=x/y", "git://u@-h/x", "ssh:///x"]
    {
        let text = mistake(remote);
        assert!(text.contains("invalid host"), "{remote}: {text}");
    }
}

#[test]
fn hosts_and_schemes() {
    for (text, scheme, host, url) in [
        ("https://u:p@h:8/x.git", "https", "h:8", "https://u:p@h:8/x.git"),
        ("github.com/o/r#x", "https", "github.com", "https://github.com/o/r"),
        ("git@h.example:o/r", "ssh", "h.example", "git@h.example:o/r"),
        ("ssh://git@h:22/o/r", "ssh", "h:22", "ssh://git@h:22/o/r"),
        ("git://h/r", "git", "h", "git://h/r"),
    ] {
        let source = source(text);
        assert_eq!((source.scheme(), source.host()), (scheme, host), "{text}");
        assert_eq!(source.url(), url, "{text}");
        assert_eq!(source.is_unencrypted(), scheme == "git", "{text}");
    }
}

#[test]
fn directories_stay_inside() {
    for (subdir, directory) in
        [("/", ""), ("a/./b/", "a/b"), ("/a/../b", "b"), ("--output=V", "--output=V")]
    {
        let source = source(&format!("https://h/x.git#main:{subdir}"));
        assert_eq!(source.directory().as_deref(), Ok(directory), "{subdir}");
    }
    for subdir in ["..", "proj/../../..", "/../x"] {
        let source = source(&format!("https://h/x.git#main:{subdir}"));
        assert_eq!(source.directory(), Err(GitMistake::Outside(subdir.to_owned())));
    }
}

#[test]
fn passwords_are_masked() {
    for (text, shown) in [
        ("https://user:token@h/x.git#v1", "https://xxxxx:xxxxx@h/x.git#v1"),
        ("https://token@h/x.git", "https://xxxxx@h/x.git"),
        ("ssh://git@h/x", "ssh://git@h/x"),
        ("ssh://git:secret@h/x", "ssh://git:xxxxx@h/x"),
        ("git@h:x", "git@h:x"),
    ] {
        assert_eq!(source(text).to_string(), shown);
    }
}

#[test]
fn ids_of_commits() {
    assert!(is_commit_id(&"a".repeat(40)) && is_commit_id(&"0".repeat(64)));
    assert!(
        !is_commit_id(&"A".repeat(40)) && !is_commit_id("abc") && !is_commit_id(&"g".repeat(40))
    );
    assert!(check_commit_prefix("aBc1").is_ok());
    let text = check_commit_prefix("foobar").unwrap_err().to_string();
    assert!(text.contains("invalid checksum") && text.contains("expected hex commit hash"));
    assert!(check_commit_prefix("").is_err());
}
