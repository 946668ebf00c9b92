//! As an ordinary user with subordinate ids: the same images, with the same owners, as root would have built.

use crate::support::account::Account;
use crate::support::env::{IMAGE, TestEnv};

/// A store of an ordinary user; `None` where no such user can be made.
fn ordinary() -> Option<TestEnv> {
    Account::create().map(TestEnv::of)
}

#[test]
fn owners_in_the_image_are_right() {
    let Some(env) = ordinary() else { return };
    let context = env.context(
        "FROM busybox\nCOPY a /a\nCOPY --chown=5:6 a /b\nRUN echo x > /c && chown 1000:50 /c && mkdir -m 700 /d\n\
         USER app\nRUN touch /tmp/mine\nWORKDIR /home/app/w\n",
    );
    context.files(&["a"]);
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.owner("a"), "644 0:0");
    assert_eq!(tree.owner("b"), "644 5:6");
    assert_eq!(tree.owner("c"), "644 1000:50");
    assert_eq!(tree.owner("d"), "700 0:0");
    assert_eq!(tree.owner("tmp/mine"), "644 1000:1000");
    assert_eq!(tree.owner("home/app/w"), "755 1000:1000");
    assert_eq!(tree.owner("bin/sh"), TestEnv::new().tree(&context, &[]).owner("bin/sh"));
}

/// Ids that are no subordinate ones do not exist there: neither a command nor a COPY can give a file to them.
#[test]
fn owners_that_do_not_exist_are_told() {
    let Some(env) = ordinary() else { return };
    // Its own id and 65,536 subordinate ones.
    env.build_text("FROM busybox\nRUN touch /f && chown 65536:65536 /f\n");
    env.ok(&["rmi", IMAGE]);
    for id in ["65537", "2147483647"] {
        let by_command =
            env.context(&format!("FROM busybox\nRUN touch /f && chown {id}:{id} /f\n"));
        env.building(&by_command, &["--no-cache"]).run().fails(1).says(&["Dockerfile:2", "chown"]);
        let by_copy = env.context(&format!("FROM busybox\nCOPY --chown={id}:{id} a /\n"));
        by_copy.files(&["a"]);
        let output = env.building(&by_copy, &[]).run().fails(1);
        let output = output.says(&["Dockerfile:2", "`/a`"]);
        assert!(!output.stderr.contains("panicked"), "{output}");
    }
    assert!(env.ownerless().is_empty());
    env.ok(&["fsck"]);
}

/// What its owner may not read is in nobody's way unless it is wanted.
#[test]
fn what_cannot_be_read_is_named_where_it_is_copied() {
    let Some(env) = ordinary() else { return };
    let context = env.context("FROM busybox\nCOPY a /\n");
    context.files(&["a", "closed/f", "secret"]).write("open/list", "");
    for (name, mode) in [("closed", 0), ("secret", 0), ("open", 0o300)] {
        context.chmod(name, mode);
    }
    env.build(&context, &[]);
    env.ok(&["rmi", IMAGE]);
    for (sources, named) in [
        ("secret", "`/secret`"),
        ("closed/f", "closed"),
        ("closed", "closed"),
        ("open", "open"),
        (".", ""),
        ("s*", "`/secret`"),
    ] {
        context.dockerfile(&format!("FROM busybox\nCOPY {sources} /c/\n"));
        let output = env.build_fails(&context, &[]);
        output.says(&["Dockerfile:2", named, "Permission denied"]);
    }
    context
        .write(".dockerignore", "secret\nclosed\nopen\n")
        .dockerfile("FROM busybox\nCOPY . /c/\n");
    env.build(&context, &[]);
    for name in ["closed", "open"] {
        context.chmod(name, 0o755);
    }
}

#[test]
fn a_step_is_root_inside_and_nobody_outside() {
    let Some(env) = ordinary() else { return };
    env.build_text("FROM busybox\nRUN id -u > /id; cat /proc/self/uid_map > /map; grep CapBnd /proc/self/status > /cap\n");
    assert_eq!(env.sh("cat /id"), "0");
    assert!(env.sh("cat /cap").ends_with("00000000a80425fb"));
    let map = env.sh("cat /map");
    let outside: u32 = map.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_ne!(outside, 0, "{map}");
}

#[test]
fn the_cache_works_as_well() {
    let Some(env) = ordinary() else { return };
    let context = env.context("FROM busybox\nCOPY a /a\nRUN rm /a && mkdir /gone && rmdir /gone && rm -r /home\nWORKDIR /w\n");
    context.files(&["a"]);
    env.build(&context, &[]).has_cached(0);
    env.build(&context, &[]).has_cached(3);
    assert_eq!(env.sh("ls -d /a /home /w 2>/dev/null; true"), "/w");
}

#[test]
fn stages_and_archives() {
    let Some(env) = ordinary() else { return };
    let context = env.context("FROM busybox AS one\nRUN echo x > /f && chown 7:8 /f\nFROM busybox\nCOPY --from=one /f /f\nCMD [\"stat\", \"-c\", \"%u:%g\", \"/f\"]\n");
    env.build(&context, &[]);
    assert_eq!(env.ok(&["run", "--rm", IMAGE]).text(), "7:8");
    let tar = env.str("saved.tar");
    env.ok(&["save", "-o", &tar, IMAGE]);
    env.ok(&["rmi", IMAGE]);
    env.ok(&["load", "-i", &tar]);
    assert_eq!(env.ok(&["run", "--rm", IMAGE]).text(), "7:8");
}

#[test]
fn the_image_is_the_one_that_root_builds() {
    let Some(env) = ordinary() else { return };
    let root = TestEnv::new();
    let trees = [&env, &root].map(|env| {
        let context = env.context("FROM busybox\nCOPY --chown=app d /d\nRUN chmod 2750 /d && ln -s a /d/l && ln /d/a /d/h\n");
        context.files(&["d/a"]).touch("d/a", 1_000_000_000);
        let mut tree = env.tree(&context, &[]);
        tree.0.values_mut().for_each(|entry| entry.mtime = 0);
        tree
    });
    assert_eq!(trees[0], trees[1]);
}

#[test]
fn a_network_of_its_own() {
    let Some(env) = ordinary() else { return };
    env.build_text(
        "FROM busybox\nRUN --network=none cut -d: -f1 -s /proc/net/dev | tr -d ' ' > /none\n",
    );
    assert_eq!(env.sh("cat /none"), "lo");
}
