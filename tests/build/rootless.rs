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
