//! Why a step is not in the cache: what a build says of it.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::support::{env::TestEnv, process::Output};

/// What a build says of the steps that were not in the cache, in the order of the steps.
fn reasons(output: &Output) -> Vec<String> {
    let lines = output.stderr.lines();
    lines.filter_map(|line| Some(line.split_once(" not cached: ")?.1.to_owned())).collect()
}

#[test]
fn a_first_build_and_an_equal_one_have_nothing_to_explain() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY a /a\nRUN true\n");
    context.files(&["a"]);
    assert_eq!(reasons(&env.build(&context, &[])), [""; 0]);
    assert_eq!(reasons(&env.build(&context, &[]).has_cached(2)), [""; 0]);
    // Who asks for it knows why.
    assert_eq!(reasons(&env.build(&context, &["--no-cache"])), [""; 0]);
}

#[test]
fn files_of_the_context_are_named() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY src /src\nCOPY other /\nRUN true\n");
    context.files(&["src/a", "src/b", "src/deep/c", "other"]);
    env.build(&context, &[]);
    let follows = "a step before it changed";

    let cases: [(&str, &dyn Fn()); 5] = [
        ("src/deep/c changed", &|| {
            context.write("src/deep/c", "new");
        }),
        ("src/d is new", &|| {
            context.write("src/d", "new");
        }),
        ("src/b is gone", &|| {
            context.remove("src/b");
        }),
        ("2 files changed, the first is src/a", &|| {
            context.write("src/a", "newer").remove("src/d");
        }),
        // The same bytes.
        ("`src` has another content", &|| {
            context.chmod("src/a", 0o755);
        }),
    ];
    for (reason, change) in cases {
        change();
        let output = env.build(&context, &[]).has_cached(0);
        assert_eq!(reasons(&output), [reason, follows, follows]);
        assert_eq!(reasons(&env.build(&context, &[]).has_cached(3)), [""; 0], "{reason}");
    }
    context.write("other", "changed");
    let output = env.build(&context, &[]).has_cached(1);
    assert_eq!(reasons(&output), ["other changed", follows]);
}

#[test]
fn variables_commands_and_flags_are_named() {
    let env = TestEnv::new();
    let context = env.context("");
    context.files(&["a"]);
    let build = |dockerfile: &str, args: &[&str]| {
        context.dockerfile(dockerfile);
        reasons(&env.build(&context, args))
    };
    let flags = "FROM busybox\nARG FLAGS=-O2\nARG API_TOKEN\nRUN echo $FLAGS\n";
    build(flags, &[]);
    assert_eq!(
        build(flags, &["--build-arg", "FLAGS=-O3"]),
        ["the variable FLAGS changed from \"-O2\" to \"-O3\""]
    );
    let token = ["--build-arg", "FLAGS=-O3", "--build-arg", "API_TOKEN=hunter2"];
    assert_eq!(build(flags, &token), ["the variable API_TOKEN changed"]);
    assert_eq!(build(&flags.replace("echo $FLAGS", "echo"), &token), ["the command changed"],);
    assert_eq!(
        build(&flags.replace("RUN", "WORKDIR /w\nRUN"), &[])[0],
        "the last build had no such step",
    );
    build("FROM busybox\nCOPY a /\nRUN true\n", &[]);
    assert_eq!(
        build("FROM busybox\nCOPY --chmod=0600 a /\nRUN true\n", &[]),
        ["--chmod is new: \"0600\"", "a step before it changed"],
    );
    assert_eq!(
        build("FROM scratch\nCOPY --chmod=0600 a /\n", &[]),
        ["what it starts with changed"],
    );
}

#[test]
fn a_failure_forgets_nothing() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo 1\nRUN echo 2\n");
    env.build(&context, &[]);
    context.dockerfile("FROM busybox\nRUN false\nRUN echo 2\n");
    let failed = env.building(&context, &[]).run().fails(1);
    assert_eq!(reasons(&failed), ["the command changed"]);
    context.dockerfile("FROM busybox\nRUN echo 1\nRUN echo 3\n");
    assert_eq!(reasons(&env.build(&context, &[]).has_cached(1)), ["the command changed"]);
}

#[test]
fn what_was_removed_is_said_to_be() {
    let env = TestEnv::new();
    let context =
        env.context("FROM busybox AS base\nRUN echo > /f\nFROM scratch\nCOPY --from=base /f /g\n");
    let snapshots = || -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(env.store().join("snapshots")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let before = snapshots();
    env.build(&context, &[]);
    for made in snapshots().difference(&before) {
        fs::remove_dir_all(made).unwrap();
    }
    let gone = "what it made is not in the store any more";
    assert_eq!(reasons(&env.build(&context, &[])), [gone, gone]);
}
