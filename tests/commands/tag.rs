//! `kiln tag`.

use crate::support::env::TestEnv;

#[test]
fn a_name_more_for_the_same_image() {
    let env = TestEnv::new();
    for name in ["other", "other:v1", "example.com:8080/a/b/c:v1.0"] {
        let output = env.ok(&["tag", "busybox", name]);
        assert_eq!(output.text(), "");
        assert_eq!(env.id(name), env.id("busybox"));
    }
    let tags = env.inspect("busybox")["RepoTags"].to_string();
    for name in ["busybox:latest", "other:latest", "other:v1", "example.com:8080/a/b/c:v1.0"] {
        assert!(tags.contains(name), "{tags}");
    }
}

#[test]
fn by_id_and_over_an_older_name() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nLABEL a=b\n");
    let short = &env.id("busybox")["sha256:".len()..][..12];
    env.ok(&["tag", short, "test"]);
    assert_eq!(env.id("test"), env.id("busybox"));
}

#[test]
fn names_that_are_wrong() {
    let env = TestEnv::new();
    env.kiln(["tag", "none:1", "x:1"]).run().fails(1).says(&["none:1"]);
    for wrong in ["Bad:1", "a//b", "x:", "a b"] {
        let output = env.kiln(["tag", "busybox", wrong]).run();
        assert!(!output.status.success(), "{wrong}");
    }
}
