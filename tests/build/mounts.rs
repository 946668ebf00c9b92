//! RUN --mount: what is there during a step and not in its layer.

use crate::support::env::TestEnv;

#[test]
fn a_bind_mount_of_the_context_and_of_a_stage() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS make\nRUN mkdir /made && echo made > /made/f\nFROM busybox\n\
         RUN --mount=target=/ctx --mount=from=make,source=/made,target=/made cat /ctx/a /made/f > /got\n",
    );
    context.files(&["a"]);
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.text("got"), "a\nmade\n");
    assert!(!tree.has("ctx") && !tree.has("made"), "mount points go with the mounts");
}

#[test]
fn a_bind_mount_cannot_be_written_unless_asked_and_then_in_vain() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN --mount=target=/ctx (echo x > /ctx/new) 2>/dev/null || echo refused > /got\n\
         RUN --mount=target=/ctx,rw echo x > /ctx/new && cat /ctx/new >> /got\n",
    );
    env.build(&context, &[]);
    assert_eq!(env.sh("cat /got"), "refused\nx");
    assert!(!context.path().join("new").exists());
}

#[test]
fn a_cache_mount_stays_between_builds_and_out_of_the_layer() {
    let env = TestEnv::new();
    let build = |n: u32| {
        let line = format!("RUN --mount=type=cache,target=/c echo {n} >> /c/log; cp /c/log /got\n");
        env.build_text(&format!("FROM busybox\n{line}"));
        env.sh("cat /got; ls /c 2>/dev/null; true")
    };
    assert_eq!(build(1), "1");
    assert_eq!(build(2), "1\n2");
}

#[test]
fn a_locked_cache_is_for_one_at_a_time() {
    let env = TestEnv::new();
    let stage = |name: &str| {
        format!(
            "FROM busybox AS {name}\nRUN --mount=type=cache,target=/c,sharing=locked \
             for i in 1 2 3; do test ! -e /c/busy && touch /c/busy && sleep 0.2 && rm /c/busy || exit 1; done; echo {name} > /f\n"
        )
    };
    env.build_text(&format!(
        "{}{}FROM busybox\nCOPY --from=a /f /a\nCOPY --from=b /f /b\n",
        stage("a"),
        stage("b")
    ));
    assert_eq!(env.sh("cat /a /b"), "a\nb");
}

#[test]
fn a_tmpfs_is_empty_and_forgotten() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/t ls /t > /got && echo x > /t/f\n",
    );
    assert_eq!(env.sh("cat /got; ls /t 2>/dev/null; true"), "");
}

#[test]
fn a_secret_is_seen_by_its_step_alone() {
    let env = TestEnv::new();
    let secret = env.path("secret");
    std::fs::write(&secret, "hush-hush-1").unwrap();
    let context = env.context(
        "FROM busybox\nRUN --mount=type=secret,id=key test $(wc -c < /run/secrets/key) = 11 && stat -c %a /run/secrets/key > /mode\n\
         RUN --mount=type=secret,id=key,env=KEY test ${#KEY} = 11\n",
    );
    let given = format!("id=key,src={}", secret.display());
    let dest = env.str("out.tar");
    let output = env.build(&context, &["--secret", &given, "-o", &format!("type=oci,dest={dest}")]);
    assert_eq!(env.sh("cat /mode; ls /run/secrets 2>/dev/null; true"), "400");
    assert!(!output.stderr.contains("hush-hush-1"), "{output}");
    let archive = std::fs::read(dest).unwrap();
    assert!(!archive.windows(11).any(|window| window == b"hush-hush-1"));

    // Another value is no reason to run the step again.
    std::fs::write(&secret, "hush-hush-2").unwrap();
    env.build(&context, &["--secret", &given]).has_cached(2);
}

#[test]
fn a_required_secret_that_nobody_gives() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN --mount=type=secret,id=key,required true\n");
    env.build_fails(&context, &[]).says(&["Dockerfile:2", "key"]);
}

#[test]
fn a_misspelt_mount_option() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN --mount=type=cahce,target=/c true\n");
    env.build_fails(&context, &[]).says(&["Dockerfile:2", "cahce", "cache"]);
}
