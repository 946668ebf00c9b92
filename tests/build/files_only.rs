//! As an ordinary user on the last rung, without any namespace: nothing runs, no file can be given to anybody, modes bind this
//! user, too; and the images are those that root builds.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::ladder::layer_archives;
use crate::support::account::Account;
use crate::support::archive::Tree;
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};

/// A store of such a user; `None` where there can be none.
fn files_only() -> Option<TestEnv> {
    Account::without_ids().map(|account| TestEnv::of_on(account, "none"))
}

/// Lets the rest be in a user namespace with all ids in which nobody makes another one. A shell without `-p` sets the user that
/// it takes itself for, who is another one by then if the maps are written meanwhile.
const NO_NAMESPACES: &str = r#"unshare --user --keep-caps sh -p -c '
until grep -q . /proc/self/gid_map; do sleep 0.02; done; echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"' sh "$@" &
for map in uid_map gid_map; do until echo "0 0 4294967295" 2>/dev/null >/proc/$!/$map; do sleep 0.02; done 2>/dev/null; done; wait $!"#;

/// What a file can be that an ordinary user cannot make, or not read once it is made.
const ODD: &str = "FROM busybox
RUN mkdir -p /o/closed /o/set /o/sticky && touch /o/f /o/closed/f && ln -s f /o/l && ln /o/l /o/l2 && mkfifo /o/p && ln /o/f /o/f2
RUN chown -h 7:8 /o/l && chown 9:10 /o/p && chown 5:6 /o /o/f && chmod 000 /o/f && chmod 6711 /o/set && chmod 1777 /o/sticky
RUN mknod /o/n c 1 7 && chown 1:2 /o/n && chmod 640 /o/n && cp /bin/busybox /o/s && chown 3 /o/s && chmod 4111 /o/s
RUN echo x >/o/closed/g && ln -s x /o/closed/k && chown -h 3:4 /o/closed/k && chmod 0400 /o/closed/g && chmod 0 /o/closed
RUN rm /etc/group && mkdir /gone && touch /gone/f
RUN rm -r /gone && rm -r /home && mkdir -m 555 /home && touch /home/new
";

const DOCKERFILE: &str = "FROM odd AS one
COPY --chown=5:6 a d /a/
COPY --chmod=0400 a /secret
COPY --chmod=0555 d /shut/
COPY --chmod=4711 --chown=app a /set
WORKDIR /home/app/w
COPY a /o/closed/new
COPY a /o/f
FROM busybox
COPY --from=one /o /copied/
COPY --from=one --chown=20:21 /o /owned
COPY --from=one --chmod=700 /o/closed /opened
COPY --from=one /secret /shut /set /o/l2 /
";

fn context(env: &TestEnv) -> Context {
    let context = env.context(DOCKERFILE);
    context.files(&["a", "d/b"]).symlink("d/l", "b");
    context
}

#[test]
fn the_images_are_those_of_root() {
    let Some(env) = files_only() else { return };
    let root = TestEnv::new();
    root.build_text(ODD);
    root.ok(&["tag", IMAGE, "odd"]);
    root.ok(&["save", "-o", &root.str("odd.tar"), "odd"]);
    fs::copy(root.path("odd.tar"), env.path("odd.tar")).unwrap();
    env.ok(&["load", "-i", &env.str("odd.tar")]);
    let contexts = (context(&env), context(&root));
    for args in [&["--target=one"][..], &[]] {
        let found = layer_archives(&env, &contexts.0, args);
        let expected = layer_archives(&root, &contexts.1, args);
        assert_eq!(found.len(), expected.len());
        for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let entries = crate::build::ladder::entries;
            assert_eq!(entries(found), entries(expected), "layer {number}");
            assert!(found == expected, "layer {number}");
        }
    }
    // From the cache the same, and what other commands read of it.
    env.building(&contexts.0, &["--build-arg=SOURCE_DATE_EPOCH=1000"]).run().ok().has_cached(11);
    env.ok(&["fsck"]);
    env.ok(&["save", "-o", &env.str("saved.tar"), IMAGE]);
    root.ok(&["load", "-i", &env.str("saved.tar")]);
    assert_eq!(root.sh("stat -c '%a %u:%g' /copied/closed /copied/s"), "0 0:0\n4111 3:0");
    env.ok(&["rmi", "-f", IMAGE, "odd"]);
    env.ok(&["prune", "-af"]);
    let left = env.store().join("snapshots");
    assert_eq!(fs::read_dir(left).unwrap().count(), 0, "what is closed to its owner goes, too");
}

#[test]
fn no_file_of_the_store_is_more_than_the_user_may_have() {
    let Some(env) = files_only() else { return };
    let context =
        env.context("FROM busybox\nCOPY --chmod=6755 --chown=9:9 a /a\nCOPY --chmod=0 a /b\n");
    context.files(&["a"]);
    env.build(&context, &[]);
    for file in env.files_of_store() {
        let mode = fs::symlink_metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o6000, 0, "{}", file.display());
    }
    let tree = env.tree(&context, &[]);
    assert_eq!((tree.owner("a"), tree.owner("b")), ("6755 9:9".to_owned(), "0 0:0".to_owned()));
}

#[test]
fn what_has_to_be_run_is_refused() {
    let Some(env) = files_only() else { return };
    let context = env.context("FROM busybox\nCOPY a /a\nRUN true\n");
    context.files(&["a"]);
    let output = env.build_fails(&context, &[]);
    output.says(&["cannot run commands here", "`none`, which was asked for", "Dockerfile:3"]);
    // Nothing else is said, such as about the network that it would have, and nothing is left.
    for run in [["run", "busybox", "true"].as_slice(), &["run", "-d", "busybox", "true"]] {
        let run = env.kiln(run).env("PATH", "/nonexistent").run().fails(125);
        let run = run.says(&["error: a container needs namespaces", "kiln doctor"]);
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
    }
    assert_eq!(env.ok(&["ps", "-aq"]).text(), "");
    // Its files are of no use where they could belong to somebody, and the other way round.
    let other = env.kiln(["images"]).env("KILN_ISOLATION", "oneid").run().fails(1);
    other.says(&["files cannot belong to their owners", "--isolation"]);
}

#[test]
fn it_is_taken_where_nothing_else_works() {
    let Some(env) = files_only().map(|env| env.on("auto").after(NO_NAMESPACES)) else { return };
    let chosen = env.ok(&["doctor", "--format", "{{.Chosen}}{{.Name}}"]).text();
    assert!(chosen.contains("*none"), "{chosen}");
    let context = env.context("FROM busybox\nCOPY --chown=5:6 --chmod=400 a /a\n");
    context.files(&["a"]);
    env.build(&context, &[]).says(&["isolation: `none`"]);
    assert_eq!(env.tree(&context, &[]).owner("a"), "400 5:6");
    context.dockerfile("FROM busybox\nRUN true\n");
    let reasons = "userns, fuse, oneid: cannot make a user namespace";
    let refused = env.building(&context, &[]).run().fails(1);
    refused.says(&["cannot run commands here", reasons]);
    // Why a store of another day is of no use, too.
    fs::write(env.store().join("marks"), "deeds\n").unwrap();
    let refused = env.kiln(["images"]).run().fails(1);
    refused.says(&["note: not", reasons, "files cannot belong to their owners"]);
}

#[test]
fn attributes_that_look_like_deeds_mean_nothing_in_a_context() {
    let accounts = [Account::without_ids(), Account::without_ids()];
    for (account, rung) in accounts.into_iter().zip(["none", "oneid"]) {
        let Some(account) = account else { return };
        let env = TestEnv::of_on(account, rung);
        let context =
            env.context("FROM busybox\nCOPY one two three four /c/\nCOPY d /d/\nCOPY . /all/\n");
        context.files(&["one", "two", "three", "four", "d/one"]);
        let capability = [1, 0, 0, 2, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (name, attribute, value) in [
            ("one", "user.kiln.deed", &b"0:0:b:8:0"[..]),
            ("two", "user.kiln.deed", b"0:0:c:0:0"),
            ("three", "user.kiln.mode", b"4755"),
            ("four", "user.kiln.capability", &capability),
            ("d/one", "user.kiln.deed", b"7:7:c:1:1"),
            ("d", "user.kiln.mode", b"7777"),
        ] {
            let path = context.path().join(name);
            rustix::fs::setxattr(&path, attribute, value, rustix::fs::XattrFlags::empty()).unwrap();
        }
        let dest = env.path("image.tar");
        let output = format!("--output=type=tar,dest={}", dest.display());
        env.kiln(["build", "--progress=plain", &output]).args([context.path()]).run().ok();
        let tree = Tree::of_tar(&fs::read(&dest).unwrap());
        for name in ["c/one", "c/two", "c/three", "c/four", "d/one", "all/two", "all/d/one"] {
            let entry = tree.entry(name);
            assert!(entry.kind.is_file(), "{rung}: {name}: {entry:?}");
            assert_eq!(entry.mode & 0o7000, 0, "{rung}: {name}: {entry:?}");
            assert_eq!((entry.uid, entry.gid), (0, 0), "{rung}: {name}: {entry:?}");
        }
        assert_eq!(tree.entry("d").mode & 0o7000, 0, "{rung}");
        let bytes = fs::read(&dest).unwrap();
        let says = |text: &[u8]| bytes.windows(text.len()).any(|it| it == text);
        assert!(!says(b"security.capability") && !says(b"user.kiln."), "{rung}");
    }
}
