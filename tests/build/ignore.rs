//! `.dockerignore`.

use crate::support::env::TestEnv;

/// Copies everything under these rules and compares the files that arrive, the Dockerfile aside.
#[track_caller]
fn check(rules: &str, files: &[&str], expect: &[&str]) {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY . /c/\n");
    context.files(files).write(".dockerignore", rules);
    let tree = env.tree(&context, &[]);
    let mut found = tree.names("c");
    found.retain(|name| {
        !tree.entry(&format!("c/{name}")).kind.is_dir()
            && !["Dockerfile", ".dockerignore"].contains(name)
    });
    assert_eq!(found, expect, "{rules:?}");
}

#[test]
fn a_name_without_a_slash_is_meant_at_the_root() {
    check("foo\n", &["foo", "d/foo", "x"], &["d/foo", "x"]);
}

#[test]
fn a_directory_takes_all_below_it() {
    check("d\n", &["d/a", "d/e/b", "x"], &["x"]);
    check("/d/\n", &["d/a", "x"], &["x"]);
}

#[test]
fn stars_and_double_stars() {
    check("*.md\n", &["a.md", "d/b.md", "x"], &["d/b.md", "x"]);
    check("**/*.md\n", &["a.md", "d/b.md", "d/e/c.md", "x"], &["x"]);
    check("d/**/f\n", &["d/f", "d/e/f", "d/e/g", "f"], &["d/e/g", "f"]);
    check("?\n", &["a", "bc"], &["bc"]);
    check("[ab]x\n", &["ax", "bx", "cx"], &["cx"]);
}

#[test]
fn the_last_match_decides() {
    check("*.md\n!keep.md\n", &["a.md", "keep.md"], &["keep.md"]);
    check("!keep.md\n*.md\n", &["a.md", "keep.md"], &[]);
}

#[test]
fn a_file_comes_back_from_below_an_excluded_directory() {
    check("d\n!d/e/keep\n", &["d/a", "d/e/keep", "d/e/b"], &["d/e/keep"]);
}

#[test]
fn comments_blanks_and_a_byte_order_mark() {
    check(
        "\u{feff}# nothing\n\n  a  \n./b/../c\n",
        &["a", "b", "c", "# nothing"],
        &["# nothing", "b"],
    );
}

#[test]
fn an_ignored_dockerfile_still_builds_but_cannot_be_copied() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY . /c/\n");
    context.files(&["a"]).write(".dockerignore", "Dockerfile\n.dockerignore\n");
    assert_eq!(env.tree(&context, &[]).names("c"), ["a"]);
}

#[test]
fn an_ignored_source_is_not_there() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY a /a\n");
    context.files(&["a"]).write(".dockerignore", "a\n");
    env.build_fails(&context, &[]).says(&["Dockerfile:2", "/a", "excludes it"]);
}

#[test]
fn a_file_beside_the_dockerfile_replaces_the_general_one() {
    let env = TestEnv::empty();
    let context = env.context("");
    context.files(&["a", "b"]).write("special", "FROM scratch\nCOPY a* b* /c/\n");
    context.write(".dockerignore", "a\n").write("special.dockerignore", "b\n");
    let file = context.path().join("special");
    assert_eq!(env.tree(&context, &["-f", file.to_str().unwrap()]).names("c"), ["a"]);
}

#[test]
fn other_stages_are_not_filtered() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS one\nRUN echo x > /secret\nFROM scratch\nCOPY --from=one /secret /\n",
    );
    context.write(".dockerignore", "secret\n");
    assert!(env.tree(&context, &[]).has("secret"));
}

#[test]
fn a_lone_exclamation_mark_is_an_error() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY . /\n");
    context.write(".dockerignore", "!\n");
    env.build_fails(&context, &[]).says(&["illegal exclusion pattern"]);
}

#[test]
fn an_ignore_file_that_is_a_pipe_is_not_waited_for() {
    let env = TestEnv::new();
    let context = env.context("FROM scratch\nCOPY . /\n");
    let pipe = format!("{}/.dockerignore", context.str());
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, pipe.as_str(), rustix::fs::FileType::Fifo, mode, 0)
        .unwrap();
    env.kiln(["build", context.str()]).run().fails(1).says(&[".dockerignore"]);
}
