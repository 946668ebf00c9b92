//! Where what BuildKit does is not what its reference says, or not what one would expect.

use serde_json::{Value, json};

use crate::support::env::{IMAGE, TestEnv};

/// The reference wants a `/` at the end; the classic builder refuses it, and buildah makes a directory.
#[test]
fn several_sources_and_a_destination_without_a_slash_are_one_file() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY a b /dst\n");
    context.files(&["a", "b"]);
    let tree = env.tree(&context, &[]);
    assert_eq!((tree.0.len(), tree.text("dst").as_str()), (1, "b\n"));
}

/// The reference says that it fails; it does where there are no names at all.
#[test]
fn an_owner_that_nobody_knows_is_root() {
    let env = TestEnv::new();
    for flag in ["--chown=nosuch", "--chown=nosuch:nosuch"] {
        let context = env.context(&format!("FROM busybox\nCOPY {flag} f /f\n"));
        context.files(&["f"]);
        assert_eq!(env.tree(&context, &[]).owner("f"), "644 0:0", "{flag}");
        context.dockerfile(&format!("FROM scratch\nCOPY {flag} f /f\n"));
        env.build_fails(&context, &[]).says(&["Dockerfile:2", "nosuch"]);
    }
}

#[test]
fn from_tells_letters_apart_and_copy_and_target_do_not() {
    let env = TestEnv::empty();
    let stages = "FROM scratch AS Base\nCOPY f /f\n";
    let context = env.context(&format!("{stages}FROM scratch\nCOPY --from=BASE f /g\n"));
    context.files(&["f"]);
    assert_eq!(env.tree(&context, &[]).text("g"), "f\n");
    assert_eq!(env.tree(&context, &["--target=bASE"]).text("f"), "f\n");
    context.dockerfile(&format!("{stages}FROM Base\n"));
    env.build_fails(&context, &[]).says(&["Dockerfile:3", "\"Base\"", "did you mean base?"]);
}

#[test]
fn a_number_is_a_stage_for_copy_and_not_for_a_mount() {
    let env = TestEnv::new();
    let stages = "FROM busybox\nRUN echo x > /x\nFROM busybox\n";
    env.build_text(&format!("{stages}COPY --from=0 /x /y\n"));
    assert_eq!(env.sh("cat /y"), "x");
    let context = env.context(&format!("{stages}RUN --mount=from=0,target=/m cat /m/x\n"));
    let output = env.kiln(["--offline", "build", "-t", IMAGE, context.str()]).run().fails(1);
    output.says(&["cannot pull `0:latest`", "Dockerfile:4"]);
}

#[test]
fn a_wildcard_without_a_match_copies_nothing_and_makes_a_layer() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY none* /\nCOPY f none? none[a] /d/\n");
    context.files(&["f"]);
    env.build(&context, &[]);
    assert_eq!(env.tree(&context, &[]).names("d"), ["f"]);
    assert_eq!(env.inspect(IMAGE)["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_run_that_changes_nothing_is_a_layer_and_so_is_every_workdir_but_the_root() {
    let env = TestEnv::new();
    let before = env.inspect("busybox")["RootFS"]["Layers"].as_array().map_or(0, Vec::len);
    env.build_text("FROM busybox\nRUN true\nWORKDIR /tmp\nWORKDIR /\nWORKDIR /tmp\n");
    let layers = env.inspect(IMAGE)["RootFS"]["Layers"].as_array().map(Vec::len);
    assert_eq!(layers, Some(before + 3));
}

/// An independent layer cannot have the modes of directories that are in layers below.
#[test]
fn a_linked_copy_with_a_mode_is_no_independent_one() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN ln -s /tmp /l\nCOPY --link --chmod=600 f /l/f\n");
    context.files(&["f"]);
    env.build(&context, &[]);
    assert_eq!(env.sh("test -L /l && stat -c %a /tmp/f"), "600");
    context.dockerfile("FROM busybox\nRUN ln -s /tmp /l\nCOPY --link f /l/f\n");
    env.build(&context, &[]);
    assert_eq!(env.sh("test -d /l && ! test -L /l && cat /l/f"), "f");
}

#[test]
fn an_optional_secret_that_nobody_gives_hides_a_variable() {
    let env = TestEnv::new();
    let run = "RUN --mount=type=secret,id=s,env=A test";
    let context = env.context(&format!("FROM busybox\nENV A=env\n{run} -z \"$A\"\n"));
    env.build(&context, &[]);
    context.dockerfile(&format!("FROM busybox\nENV A=env\n{run} \"$A\" = given\n"));
    context.write("../given", "given");
    let secret = format!("--secret=id=s,src={}/../given", context.str());
    env.build(&context, &[&secret]);
    assert_eq!(env.sh("echo $A"), "env");
}

#[test]
fn ports_are_sorted_as_they_are_written_and_shown_as_they_are_meant() {
    let env = TestEnv::empty();
    env.build_text("FROM scratch\nENV P=\"9 7\"\nEXPOSE 80/UDP 443 $P 5-6\n");
    let history = &env.ok(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE]).text();
    assert!(history.contains("EXPOSE [9/tcp 7/tcp 443/tcp 5/tcp 6/tcp 80/udp]"), "{history}");
    let ports = env.config()["ExposedPorts"].as_object().map(|ports| ports.len());
    assert_eq!(ports, Some(6));
}

#[test]
fn triggers_run_where_a_stage_stands_on_a_stage() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox AS one\nONBUILD RUN echo triggered >> /log\nFROM one AS two\nFROM two\nRUN echo end >> /log\n",
    );
    assert_eq!(env.sh("cat /log"), "triggered\nend");
    assert_eq!(env.config()["OnBuild"], Value::Null);
}

/// The instruction is in the shell's form, and the shell does not find `[a]trailing`.
#[test]
fn an_array_with_something_behind_it_is_for_the_shell() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nCMD [\"echo\"]trailing\nRUN [\"echo\", \"a\"] || echo shell > /f\n",
    );
    assert_eq!(env.config()["Cmd"], json!(["/bin/sh", "-c", "[\"echo\"]trailing"]));
    assert_eq!(env.sh("cat /f"), "shell");
}

#[test]
fn a_directive_below_a_blank_line_is_a_comment() {
    let env = TestEnv::empty();
    let text = "# escape=`\nFROM scratch\nLABEL a=1 `\n b=2\n";
    env.build_text(text);
    assert_eq!(env.config()["Labels"], json!({ "a": "1", "b": "2" }));
    let context = env.context(&format!("\n{text}"));
    env.building(&context, &[]).run().fails(1).says(&["Dockerfile:4"]);
}
