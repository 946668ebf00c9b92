//! `kiln rmi`.

use crate::support::env::{IMAGE, TestEnv};

#[test]
fn one_of_several_names_is_only_untagged() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "other:1"]);
    assert_eq!(env.ok(&["rmi", "other:1"]).text(), "Untagged: other:1");
    env.ok(&["run", "--rm", "busybox", "true"]);
}

#[test]
fn the_last_name_deletes_the_image() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f\n");
    let id = env.id(IMAGE);
    let text = env.ok(&["rmi", IMAGE]).text();
    assert!(text.starts_with(&format!("Untagged: {IMAGE}\n")), "{text}");
    assert!(text.contains(&format!("Deleted: {id}")), "{text}");
    env.kiln(["inspect", &id]).run().fails(1);
    env.ok(&["run", "--rm", "busybox", "true"]);
}

#[test]
fn an_id_with_several_names_must_be_forced() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "other:1"]);
    let id = env.id("busybox");
    env.kiln(["rmi", &id]).run().fails(1).says(&["2 names", "-f"]);
    env.ok(&["rmi", "-f", &id]);
    assert_eq!(env.ok(&["images", "-q"]).text(), "");
}

#[test]
fn what_is_missing_is_named_and_the_rest_is_removed() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "other:1"]);
    env.kiln(["rmi", "none", "other:1"]).run().fails(1).says(&["none"]);
    assert_eq!(env.ok(&["images", "other"]).text().lines().count(), 1);
}

#[test]
fn a_removed_image_is_built_again() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo x > /f\n");
    env.build(&context, &[]);
    env.ok(&["rmi", IMAGE]);
    env.build(&context, &[]);
    assert_eq!(env.sh("cat /f"), "x");
}

#[test]
fn the_base_of_an_image_may_go() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f\n");
    env.ok(&["rmi", "busybox"]);
    assert_eq!(env.sh("cat /f"), "x");
}
