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
fn the_source_in_every_form() {
    let env = TestEnv::new();
    let id = env.id("busybox");
    let hex = &id["sha256:".len()..];
    for (number, source) in [
        &id,
        hex,
        &hex[..12],
        &format!("sha256:{}", &hex[..12]),
        "busybox",
        "busybox:latest",
        "library/busybox",
        "docker.io/library/busybox:latest",
        "index.docker.io/busybox",
    ]
    .iter()
    .enumerate()
    {
        let target = format!("copy:{number}");
        env.ok(&["tag", source, &target]);
        assert_eq!(env.id(&target), id, "{source}");
    }
}

#[test]
fn a_wrong_name_is_refused_with_the_rule_that_it_breaks() {
    let env = TestEnv::new();
    env.kiln(["tag", "none:1", "x:1"]).run().fails(1).says(&["no such image", "none:1"]);
    let long = "a/".repeat(130) + "a";
    let digest = format!("x@{}", env.id("busybox"));
    for (wrong, code, says) in [
        ("Bad:1", 1, "repository name must be lowercase"),
        ("a//b", 1, "invalid reference format: between slashes"),
        ("a b", 1, "invalid reference format"),
        ("a..b", 1, "joined by"),
        ("http://a/b", 1, "a host"),
        ("x:", 1, "invalid tag"),
        ("x:-y", 1, "not starting with"),
        ("", 1, "the name is empty"),
        (&"a".repeat(64), 1, "taken for an image id"),
        (&long, 1, "255 characters"),
        (&digest, 2, "with a digest reference"),
    ] {
        env.kiln(["tag", "busybox", wrong]).run().fails(code).says(&[says]);
    }
    assert_eq!(env.ok(&["images", "-q"]).text().lines().count(), 1);
}
