//! `kiln diff`.

use crate::support::env::{IMAGE, TestEnv};

#[test]
fn added_changed_and_deleted() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN mkdir -p /a/b && echo 1 > /a/b/c && echo 2 > /a/gone && echo 3 > /same\n");
    let script = "echo new > /a/b/new; echo more >> /a/b/c; rm /a/gone; mkdir -p /x/y; rm -r /home; echo 3 > /tmp/z; rm /tmp/z";
    env.ok(&["run", "--name", "work", IMAGE, "sh", "-c", script]);
    let expected = "C /a\nC /a/b\nC /a/b/c\nA /a/b/new\nD /a/gone\nD /home\nA /x\nA /x/y";
    assert_eq!(env.ok(&["diff", "work"]).text(), expected);
}

#[test]
fn nothing_of_one_that_was_never_started_or_only_looked() {
    let env = TestEnv::new();
    env.ok(&["create", "--name", "made", "busybox", "true"]);
    assert_eq!(env.ok(&["diff", "made"]).text(), "");
    env.ok(&["run", "--name", "ran", "-v", "/vol/ume", "--tmpfs", "/mem", "busybox", "ls", "/"]);
    assert_eq!(env.ok(&["diff", "ran"]).text(), "");
    env.kiln(["diff", "nosuch"]).run().fails(1).says(&["no such container", "nosuch"]);
}

#[test]
fn names_that_are_no_text() {
    let env = TestEnv::new();
    env.ok(&["run", "--name", "work", "busybox", "sh", "-c", "touch \"$(printf '/\\377x')\""]);
    let output = env.ok(&["diff", "work"]);
    assert_eq!(output.stdout, b"A /\xffx\n");
}
