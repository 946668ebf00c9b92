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
fn times_out_of_the_ordinary_are_kept_and_do_not_count() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY f /f\n");
    context.write("f", "one");
    let file = std::fs::File::open(context.path().join("f")).unwrap();
    env.build(&context, &[]);
    // Before 1970, long after today, and a part of a second.
    for (seconds, nanoseconds) in
        [(-1_000_000_000, 0), (8_000_000_000, 0), (0, 1), (-1, 999_999_999)]
    {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&file, &times).unwrap();
        env.build(&context, &[]).has_cached(1);
        env.build(&context, &["--no-cache"]);
        assert_eq!(env.sh("stat -c%Y /f"), seconds.to_string());
    }
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

/// What a command can tell the difference of; and what it cannot is in the image all the same.
#[test]
fn whatever_a_run_can_see_counts_for_it() {
    let env = TestEnv::new();
    let drawn = |lines: &str, args: &[&str]| {
        env.build(&env.context(&format!("FROM busybox\n{lines}\n")), args);
        env.sh("cat /drawn")
    };
    let run = &DRAW[4..];
    for (what, one, other) in [
        ("the shell", "SHELL [\"/bin/sh\", \"-c\"]", "SHELL [\"/bin/sh\", \"-ec\"]"),
        ("the order of variables", "ENV A=1 B=2", "ENV B=2 A=1"),
        ("an argument", "ARG V=1", "ARG V=2"),
        ("the user", "USER 0:0", "USER 0:1"),
        ("the directory", "WORKDIR /tmp", "WORKDIR /etc"),
        ("the network", "RUN --network=default true", "RUN --network=none true"),
    ] {
        let with = |line: &str| match line.strip_suffix(" true") {
            Some(line) => drawn(&format!("ENV OF=\"{what}\"\n{line} {run}"), &[]),
            None => drawn(&format!("ENV OF=\"{what}\"\n{line}\n{DRAW}"), &[]),
        };
        let (first, second) = (with(one), with(other));
        assert_ne!(first, second, "{what}");
        assert_eq!((with(one), with(other)), (first, second), "{what}");
    }
    for (what, one, other) in [
        ("a mount", "type=tmpfs,target=/t", "type=tmpfs,target=/u"),
        ("which secret", "type=secret,id=a", "type=secret,id=b"),
        ("where a cache is", "type=cache,target=/c", "type=cache,target=/d"),
        ("a mount of files", "type=bind,source=.,target=/t", "type=bind,source=.,target=/t,rw"),
    ] {
        let with =
            |mount: &str| drawn(&format!("ENV OF=\"{what}\"\nRUN --mount={mount} {run}"), &[]);
        let (first, second) = (with(one), with(other));
        assert_ne!(first, second, "{what}");
    }
    for (what, one, other) in [
        ("a limit", "--ulimit=nofile=1000:1000", "--ulimit=nofile=1001:1001"),
        ("memory to share", "--shm-size=1m", "--shm-size=2m"),
        ("the network of all", "--network=none", "--network=default"),
    ] {
        let with = |arg: &str| drawn(&format!("ENV OF=\"{what}\"\n{DRAW}"), &[arg]);
        let (first, second) = (with(one), with(other));
        assert_ne!(first, second, "{what}");
        assert_eq!(with(one), first, "{what}");
    }
    let without = drawn(&format!("ENV A=9\n{DRAW}"), &[]);
    let config = env.config();
    for line in ["HEALTHCHECK CMD x", "ONBUILD RUN x", "STOPSIGNAL SIGQUIT", "VOLUME /v", "CMD x"] {
        assert_eq!(drawn(&format!("{line}\nENV A=9\n{DRAW}"), &[]), without, "{line}");
        assert_ne!(env.config(), config, "{line}");
    }
}

/// CVE-2024-24557: an image whose history reads like the Dockerfile stands for none of its steps.
#[test]
fn the_history_of_an_image_is_no_proof() {
    use crate::support::archive::Tarball;
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo mine > /made\n");
    env.build(&context, &[]);
    let history = env.ok(&["history", "--no-trunc", "-q", "test"]).text();
    let (archive, base) = (env.str("real.tar"), env.str("base.tar"));
    env.ok(&["save", "-o", &archive, "test"]);
    env.ok(&["save", "-o", &base, "busybox"]);
    // The same image, but for what its last layer contains.
    let layout = crate::support::archive::Layout::of_tar(&std::fs::read(&archive).unwrap());
    let crafted = crate::support::crafted::Crafted::create(env.path("crafted"));
    let mut layers = layout.layers();
    *layers.last_mut().unwrap() = Tarball::new().file("made", "theirs\n").finish();
    let config = layout.config();
    let mut image = crafted.image(&layers, |made| {
        let diff_ids = made["rootfs"].clone();
        *made = config.clone();
        made["rootfs"] = diff_ids;
    });
    image["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "test:latest"});
    crafted.list(&[image]);
    let other = TestEnv::empty();
    other.ok(&["load", "-i", &base]);
    assert_eq!(other.id("busybox"), env.id("busybox"));
    other.ok(&["load", "-i", crafted.path().to_str().unwrap()]);
    assert_eq!(other.sh("cat /made"), "theirs");
    let lines = |text: &str| text.lines().count();
    assert_eq!(lines(&other.ok(&["history", "--no-trunc", "-q", "test"]).text()), lines(&history));
    let context = other.context("FROM busybox\nRUN echo mine > /made\n");
    other.build(&context, &[]).has_cached(0);
    assert_eq!(other.sh("cat /made"), "mine");
}
