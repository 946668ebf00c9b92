//! What is run again and what is not, across processes on one store.

use crate::support::env::TestEnv;

/// A step that comes out different whenever it really runs.
const DRAW: &str = "RUN cat /proc/sys/kernel/random/uuid > /drawn\n";

#[test]
fn an_unchanged_build_runs_nothing() {
    let env = TestEnv::new();
    let context = env.context(&format!("FROM busybox\nCOPY a /a\n{DRAW}WORKDIR /w\n"));
    context.files(&["a"]);
    env.build(&context, &[]).has_cached(0);
    let (drawn, id) = (env.sh("cat /drawn"), env.id("test"));
    env.build(&context, &[]).has_cached(3);
    assert_eq!(env.sh("cat /drawn"), drawn);
    assert_eq!(env.id("test"), id, "the image is the same, too");
}

#[test]
fn no_cache_runs_everything() {
    let env = TestEnv::new();
    let context = env.context(&format!("FROM busybox\n{DRAW}"));
    env.build(&context, &[]);
    let drawn = env.sh("cat /drawn");
    env.build(&context, &["--no-cache"]).has_cached(0);
    let again = env.sh("cat /drawn");
    assert_ne!(again, drawn);
    // And the newer result is the one that later builds find.
    env.build(&context, &[]).has_cached(1);
    assert_eq!(env.sh("cat /drawn"), again);
}

#[test]
fn steps_before_the_change_stay() {
    let env = TestEnv::new();
    let context = env.context(&format!("FROM busybox\n{DRAW}RUN echo 1 > /n\nRUN cat /n > /m\n"));
    env.build(&context, &[]);
    let drawn = env.sh("cat /drawn");
    context.dockerfile(&format!("FROM busybox\n{DRAW}RUN echo 2 > /n\nRUN cat /n > /m\n"));
    env.build(&context, &[]).has_cached(1);
    assert_eq!(env.sh("cat /drawn /m"), format!("{drawn}\n2"));
}

#[test]
fn content_decides_and_not_the_time() {
    let env = TestEnv::new();
    let context = env.context(&format!("FROM busybox\nCOPY f /f\n{DRAW}"));
    context.write("f", "one").touch("f", 1_000_000_000);
    env.build(&context, &[]);
    let drawn = env.sh("cat /drawn");

    context.write("f", "one").touch("f", 1_234_567_890);
    env.build(&context, &[]).has_cached(2);

    // The same size and the same time, but other bytes.
    context.write("f", "two").touch("f", 1_234_567_890);
    env.build(&context, &[]).has_cached(0);
    assert_eq!(env.sh("cat /f"), "two");
    assert_ne!(env.sh("cat /drawn"), drawn);
}

#[test]
fn a_changed_mode_counts() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY f /f\n");
    context.write("f", "x").chmod("f", 0o644);
    env.build(&context, &[]);
    context.chmod("f", 0o755);
    env.build(&context, &[]).has_cached(0);
    assert_eq!(env.sh("stat -c %a /f"), "755");
}

#[test]
fn a_file_that_appears_in_a_copied_directory_counts() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY d /d\n");
    context.files(&["d/a"]);
    env.build(&context, &[]);
    context.files(&["d/b"]);
    env.build(&context, &[]).has_cached(0);
    context.remove("d/a");
    env.build(&context, &[]).has_cached(0);
    assert_eq!(env.sh("ls /d"), "b");
}

#[test]
fn files_that_no_copy_names_do_not_count() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY a /a\n");
    context.files(&["a"]);
    env.build(&context, &[]);
    context.files(&["b"]);
    env.build(&context, &[]).has_cached(1);
}

#[test]
fn the_place_of_the_context_does_not_count() {
    let env = TestEnv::new();
    let dockerfile = format!("FROM busybox\nCOPY . /src\n{DRAW}");
    let contexts = [env.context(&dockerfile), env.context(&dockerfile)];
    for context in &contexts {
        context.files(&["a", "d/b"]);
    }
    env.build(&contexts[0], &[]);
    env.build(&contexts[1], &[]).has_cached(2);
}

#[test]
fn an_arg_counts_for_the_runs_after_it() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo early > /e\nARG V\nRUN echo late > /l\n");
    env.build(&context, &["--build-arg", "V=1"]);
    env.build(&context, &["--build-arg", "V=1"]).has_cached(2);
    env.build(&context, &["--build-arg", "V=2"]).has_cached(1);
}

#[test]
fn metadata_alone_does_not_run_anything_again() {
    let env = TestEnv::new();
    let context = env.context(&format!("FROM busybox\nLABEL v=1\nEXPOSE 80\n{DRAW}"));
    env.build(&context, &[]);
    context.dockerfile(&format!("FROM busybox\nLABEL v=2\nEXPOSE 81\n{DRAW}"));
    env.build(&context, &[]).has_cached(1);
    assert_eq!(env.config()["Labels"]["v"], "2");
}

#[test]
fn env_user_and_workdir_count_for_run() {
    let env = TestEnv::new();
    let with = |line: &str| env.context(&format!("FROM busybox\n{line}\n{DRAW}"));
    env.build(&with("ENV A=1"), &[]).has_cached(0);
    env.build(&with("ENV A=2"), &[]).has_cached(0);
    env.build(&with("ENV A=1"), &[]).has_cached(1);
    env.build(&with("USER 0"), &[]).has_cached(0);
    env.build(&with("WORKDIR /tmp"), &[]).has_cached(0);
}

#[test]
fn equal_content_from_another_stage_joins_again() {
    let env = TestEnv::new();
    let dockerfile = |comment: &str| {
        format!(
            "FROM busybox AS make\nRUN echo {comment}; echo same > /made\nFROM busybox\nCOPY --from=make /made /made\n{DRAW}"
        )
    };
    env.build(&env.context(&dockerfile("one")), &[]);
    let drawn = env.sh("cat /drawn");
    // The first stage runs again and makes the same file: everything after it is found.
    env.build(&env.context(&dockerfile("two")), &[]).has_cached(2);
    assert_eq!(env.sh("cat /drawn"), drawn);
}

#[test]
fn other_content_from_another_stage_does_not() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox AS make\nARG V\nRUN echo $V > /made\nFROM busybox\nCOPY --from=make /made /made\n");
    env.build(&context, &["--build-arg", "V=1"]);
    env.build(&context, &["--build-arg", "V=2"]).has_cached(0);
    assert_eq!(env.sh("cat /made"), "2");
}

#[test]
fn a_failed_step_is_not_remembered_but_those_before_it_are() {
    let env = TestEnv::new();
    let context = env.context(&format!("FROM busybox\n{DRAW}RUN exit 1\n"));
    env.build_fails(&context, &[]);
    let again = env.build_fails(&context, &[]).has_cached(1);
    assert!(again.stderr.contains("exit code: 1"), "{again}");
}

#[test]
fn a_new_base_of_the_same_name_counts() {
    let env = TestEnv::new();
    let base = env.context("FROM busybox\nRUN echo 1 > /base\n");
    let context = env.context("FROM base\nRUN cat /base > /copy\n");
    env.ok(&["build", "-t", "base", base.str()]);
    env.build(&context, &[]);
    base.dockerfile("FROM busybox\nRUN echo 2 > /base\n");
    env.ok(&["build", "-t", "base", base.str()]);
    env.build(&context, &[]).has_cached(0);
    assert_eq!(env.sh("cat /copy"), "2");
}

#[test]
fn a_linked_copy_is_taken_to_another_base_and_what_follows_is_not() {
    let env = TestEnv::new();
    let dockerfile =
        |base: &str| format!("FROM busybox\nRUN echo {base} > /base\nCOPY --link f /f\n{DRAW}");
    let context = env.context(&dockerfile("one"));
    context.write("f", "f");
    env.build(&context, &[]);
    let drawn = env.sh("cat /drawn");
    context.dockerfile(&dockerfile("two"));
    env.build(&context, &[]).has_cached(1);
    assert_eq!(env.sh("cat /base /f"), "two\nf");
    assert_ne!(env.sh("cat /drawn"), drawn);
}

#[test]
fn a_cache_mount_outlives_builds_and_no_cache_empties_it() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nARG N\nRUN --mount=type=cache,target=/c echo $N >> /c/log; cat /c/log > /log\n",
    );
    env.build(&context, &["--build-arg", "N=1"]);
    env.build(&context, &["--build-arg", "N=2"]);
    assert_eq!(env.sh("cat /log"), "1\n2");
    env.build(&context, &["--build-arg", "N=3", "--no-cache"]);
    assert_eq!(env.sh("cat /log"), "3");
}
