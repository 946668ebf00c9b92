//! Named stages, targets, pruning, other images as sources.

use crate::support::archive::Tree;
use crate::support::env::{IMAGE, TestEnv};

#[test]
fn a_stage_is_found_by_name_in_any_case_and_by_number() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox AS First\nRUN echo 1 > /f\nFROM busybox\nCOPY --from=FIRST /f /by-name\nCOPY --from=0 /f /by-number\n",
    );
    assert_eq!(env.sh("cat /by-name /by-number"), "1\n1");
}

#[test]
fn a_stage_continues_another() {
    let env = TestEnv::new();
    env.build_text("FROM busybox AS a\nENV X=1\nRUN echo a > /log\nFROM a AS b\nRUN echo $X >> /log\nFROM b\nCMD [\"cat\", \"/log\"]\n");
    assert_eq!(env.ok(&["run", "--rm", IMAGE]).text(), "a\n1");
}

#[test]
fn an_unneeded_stage_never_runs() {
    let env = TestEnv::new();
    let dockerfile = "FROM busybox AS broken\nRUN echo never; exit 1\nFROM 127.0.0.1:1/nowhere AS unreachable\nRUN true\nFROM busybox AS last\nLABEL a=b\n";
    env.build_text(dockerfile).says_not(&["never"]);
}

#[test]
fn a_target_ends_the_build_there() {
    let env = TestEnv::new();
    let context =
        env.context("FROM busybox AS one\nRUN echo 1 > /f\nFROM busybox AS two\nRUN exit 1\n");
    env.build(&context, &["--target", "ONE"]);
    assert_eq!(env.sh("cat /f"), "1");
}

#[test]
fn a_later_stage_cannot_be_copied_from() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox AS one\nCOPY --from=two /f /\nFROM busybox AS two\n");
    env.build_fails(&context, &["--target", "one"]).says(&["two"]);
}

#[test]
fn an_image_of_the_store_is_a_source() {
    let env = TestEnv::new();
    env.build_text("FROM scratch\nCOPY --from=busybox /etc/passwd /passwd\n");
    let tag = env.ok(&["images", "-q", IMAGE]).text();
    assert!(!tag.is_empty());
    env.build_text("FROM busybox\nCOPY --from=busybox:latest /etc/group /copy\n");
    assert!(env.sh("cat /copy").contains("root"));
}

#[test]
fn a_build_context_replaces_an_image() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo mine > /mine\n");
    env.ok(&["tag", IMAGE, "mine"]);
    let context = env.context("FROM golang:1.99\nRUN cat /mine > /got\n");
    env.build(&context, &["--build-context", "golang:1.99=docker-image://mine"]);
    assert_eq!(env.sh("cat /got"), "mine");
}

#[test]
fn a_context_can_be_nothing() {
    let env = TestEnv::new();
    let nothing = |name: &str| format!("--build-context={name}=docker-image://scratch");
    let paths = |tree: &Tree| tree.0.keys().cloned().collect::<Vec<_>>();
    let of_image = env.context("FROM golang:1.99\nCOPY <<E /out\nhello\nE\n");
    assert_eq!(paths(&env.tree(&of_image, &[&nothing("golang:1.99")])), ["out"]);
    let of_stage = env.context(
        "FROM golang:1.99 AS gone\nRUN false\nFROM gone AS there\nCOPY <<E /f\nE\nFROM there\nCOPY --from=gone / /g/\n",
    );
    assert_eq!(paths(&env.tree(&of_stage, &[&nothing("gone")])), ["f", "g"]);
}

#[test]
fn an_oci_layout_is_a_base() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV FROM_LAYOUT=yes\nRUN echo laid > /laid\n");
    let layout = env.path("layout");
    std::fs::create_dir(&layout).unwrap();
    let tar = env.str("oci.tar");
    env.ok(&[
        "build",
        "-q",
        "--output",
        &format!("type=oci,dest={tar}"),
        env.context(&format!("FROM {IMAGE}\n")).str(),
    ]);
    let unpack = std::process::Command::new("tar").args(["-xf", &tar, "-C"]).arg(&layout).status();
    assert!(unpack.unwrap().success());

    let other = TestEnv::empty();
    let context = other.context("FROM base\nRUN cat /laid > /got; echo $FROM_LAYOUT >> /got\n");
    other.build(&context, &["--build-context", &format!("base=oci-layout://{}", layout.display())]);
    assert_eq!(other.sh("cat /got"), "laid\nyes");
}

#[test]
fn equal_steps_of_two_stages_run_once() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox AS a\nRUN cat /proc/sys/kernel/random/uuid > /id\nFROM busybox AS b\nRUN cat /proc/sys/kernel/random/uuid > /id\n\
         FROM busybox\nCOPY --from=a /id /a\nCOPY --from=b /id /b\n",
    );
    assert_eq!(env.sh("cat /a"), env.sh("cat /b"));
}

#[test]
fn independent_stages_run_at_the_same_time() {
    let env = TestEnv::new();
    // One after the other they would take four seconds.
    let started = std::time::Instant::now();
    env.build_text(
        "FROM busybox AS a\nRUN sleep 2; echo a > /f\nFROM busybox AS b\nRUN sleep 2; echo b > /f\n\
         FROM busybox\nCOPY --from=a /f /a\nCOPY --from=b /f /b\n",
    );
    assert!(started.elapsed().as_secs_f32() < 3.8, "{:?}", started.elapsed());
}

#[test]
fn an_id_is_as_good_as_a_name() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo one > /one\nRUN echo two > /two\n");
    let id = env.id(IMAGE);
    let step = env.inspect(IMAGE)["Parent"].as_str().unwrap().to_owned();
    let short = &step["sha256:".len()..][..12];
    env.build_text(&format!("FROM {short}\nRUN test ! -e /two\nCOPY --from={id} /two /three\n"));
    assert_eq!(env.sh("cat /one /three"), "one\ntwo");
}
