//! A store that is mounted read-only, as after a mistake of the disk's: what is in it can be had, and everything else says in one
//! error which store it is about.

use std::fs;

use super::corruption::{Harm, files, harm};
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::{Kiln, Output, eventually};
use crate::support::requires;

/// kiln, its `--root` and the store are the first three words. Only this process sees the mount, so that it ends with it.
const MOUNTED: &str = r#"exec unshare --mount sh -c '
mount --bind "$3" "$3" && mount -o remount,bind,ro "$3" && exec "$@"' sh "$@""#;

fn read_only(kiln: Kiln) -> Output {
    kiln.through_root(MOUNTED).run()
}

fn sorted(output: &Output) -> Vec<String> {
    let mut lines: Vec<String> = output.text().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A store with an image, two containers and a volume, all of it on the disk.
fn full() -> TestEnv {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo made > /made\n");
    env.ok(&["create", "--name", "created", IMAGE, "true"]);
    env.ok(&["run", "--name", "ran", IMAGE, "sh", "-c", "echo said; echo written > /written"]);
    env.ok(&["volume", "create", "volume"]);
    calm(&env);
    env
}

/// Waits until everything is on the disk, and no process in the background opens the store for that.
fn calm(env: &TestEnv) {
    env.ok(&["sync"]);
    eventually("nobody waits for the disk", || env.processes("sync").is_empty());
}

#[test]
fn what_is_there_can_be_had() {
    if !requires::root() {
        return;
    }
    let env = full();
    let says = |args: &[&str], words: &str| {
        let output = read_only(env.kiln(args)).ok();
        assert!(output.text().contains(words), "{args:?}: {output}");
        assert!(!output.stderr.contains("warning"), "{args:?}: {output}");
    };
    says(&["images"], "test ");
    says(&["history", IMAGE], "echo made");
    says(&["inspect", IMAGE], "sha256:");
    says(&["inspect", "ran"], "\"ExitCode\": 0");
    says(&["ps", "-a"], "created");
    says(&["logs", "ran"], "said");
    says(&["diff", "ran"], "A /written");
    says(&["df"], "Images");
    says(&["info"], "Containers: 2");
    says(&["volume", "ls"], "volume");
    says(&["fsck"], "nothing is wrong");
    says(&["fsck", "--repair"], "nothing is wrong");
    says(&["wait", "ran"], "0");

    let (copied, exported, saved) = (env.str("copied"), env.str("exported"), env.str("saved"));
    read_only(env.kiln(["cp", "ran:/written", &copied])).ok();
    assert_eq!(fs::read_to_string(copied).unwrap(), "written\n");
    read_only(env.kiln(["export", "-o", &exported, "ran"])).ok();
    let archive = fs::read(exported).unwrap();
    assert!(archive.windows(8).any(|bytes| bytes == b"written\n"));
    // A limit is of no importance to what cannot grow.
    let saving = env.kiln(["save", "-o", &saved, IMAGE]).env("KILN_STORAGE_LIMIT", "1");
    read_only(saving).ok();
    let other = TestEnv::empty();
    other.ok(&["load", "-i", &saved]);
    assert_eq!(other.id(IMAGE), env.id(IMAGE));
}

#[test]
fn what_would_change_it_is_refused() {
    if !requires::root() {
        return;
    }
    let env = full();
    let context = env.context("FROM busybox\nRUN echo other > /other\n");
    let archive = env.str("archive.tar");
    env.ok(&["save", "-o", &archive, IMAGE]);
    let file = context.str();
    let commands: [&[&str]; 19] = [
        &["build", context.str()],
        &["build", "--no-cache", "-t", "other", context.str()],
        &["load", "-i", &archive],
        &["import", &archive, "other"],
        &["tag", IMAGE, "other"],
        &["rmi", "busybox"],
        &["rmi", "-f", IMAGE],
        &["prune", "-f"],
        &["prune", "-a", "-f"],
        &["create", IMAGE, "true"],
        &["run", "--rm", IMAGE, "true"],
        &["start", "created"],
        &["rm", "created"],
        &["rm", "-f", "ran"],
        &["rename", "ran", "other"],
        &["commit", "ran", "other"],
        &["cp", file, "ran:/"],
        &["volume", "create", "other"],
        &["volume", "rm", "volume"],
    ];
    for args in commands {
        let refused = read_only(env.kiln(args));
        let code = if args[0] == "run" { 125 } else { 1 };
        assert_eq!(refused.status.code(), Some(code), "{args:?}: {refused}");
        let errors = refused.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{args:?}: {refused}");
        assert!(refused.stderr.contains("mounted read-only"), "{args:?}: {refused}");
        let names_store = refused.stderr.contains(&env.store().display().to_string());
        assert!(names_store || args[0] == "cp", "{args:?}: {refused}");
    }
    // All of it is as it was.
    assert_eq!(env.ownerless(), Vec::<std::path::PathBuf>::new());
    assert_eq!(env.ok(&["ps", "-aq"]).text().lines().count(), 2);
    assert_eq!(env.ok(&["images", "-q"]).text().lines().count(), 2);
    env.ok(&["fsck"]);
    env.ok(&["start", "created"]);
}

/// The machine was started again, and something had not reached the disk: it is passed over, for it cannot be removed.
#[test]
fn after_another_start_of_the_machine() {
    if !requires::root() {
        return;
    }
    let env = full();
    env.ok(&["tag", IMAGE, "lost"]);
    calm(&env);
    let earlier = env.store().join("boot-earlier/records/tag");
    fs::create_dir_all(&earlier).unwrap();
    for record in files(&env.store(), "*/records/tag/*") {
        if fs::read_to_string(&record).unwrap().contains("lost") {
            fs::rename(&record, earlier.join(record.file_name().unwrap())).unwrap();
        }
    }
    let left = env.store().join("tmp/0123-0");
    fs::create_dir_all(left.join("of/somebody/killed")).unwrap();
    let names = ["images", "--format", "{{.Repository}}"];
    let images = read_only(env.kiln(names)).ok().says(&["passed over 1 records"]);
    assert_eq!(sorted(&images), ["busybox", "test"], "{images}");
    read_only(env.kiln(["fsck"])).ok();
    read_only(env.kiln(["history", IMAGE])).ok();
    read_only(env.kiln(["tag", IMAGE, "other"])).fails(1).says(&["mounted read-only"]);
    assert!(left.exists() && earlier.exists());
    // Where it can be written again, it is dropped.
    let images = env.ok(&names).says(&["dropped 1 records"]);
    assert_eq!(sorted(&images), ["busybox", "test"], "{images}");
    assert!(!left.exists() && !earlier.exists());
}

/// A broken record is as good as absent; it cannot be put aside.
#[test]
fn a_broken_record_is_passed_over() {
    if !requires::root() {
        return;
    }
    let env = full();
    env.ok(&["tag", IMAGE, "broken"]);
    calm(&env);
    for record in files(&env.store(), "*/records/tag/*") {
        if fs::read_to_string(&record).unwrap().contains("broken") {
            harm(&record, Harm::Flip);
        }
    }
    let names = ["images", "--format", "{{.Repository}}"];
    let images = read_only(env.kiln(names)).ok().says(&["ignored a broken record"]);
    assert_eq!(sorted(&images), ["busybox", "test"], "{images}");
    read_only(env.kiln(["fsck"])).fails(1);
    let repaired = read_only(env.kiln(["fsck", "--repair"])).fails(1);
    assert!(repaired.stderr.contains("mounted read-only"), "{repaired}");
    env.ok(&["fsck", "--repair"]);
}
