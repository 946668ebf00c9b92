//! ARG and ENV: scopes, precedence, expansion.

use serde_json::Value;

use crate::support::env::TestEnv;

/// Builds and returns the words that the Dockerfile has put into `/out`.
#[track_caller]
fn out(dockerfile: &str, args: &[&str]) -> String {
    let env = TestEnv::new();
    env.build(&env.context(dockerfile), args);
    env.sh("cat /out")
}

#[test]
fn the_command_line_goes_before_the_default() {
    let dockerfile = "FROM busybox\nARG A=default\nARG B=default\nRUN echo $A $B > /out\n";
    assert_eq!(out(dockerfile, &["--build-arg", "B=given"]), "default given");
}

#[test]
fn a_bare_build_arg_takes_the_callers_environment() {
    let env = TestEnv::new();
    let context =
        env.context("FROM busybox\nARG A=default\nARG B=default\nRUN echo $A $B > /out\n");
    let build = env.building(&context, &["--build-arg", "A", "--build-arg", "KILN_TEST_UNSET"]);
    build.env("A", "from-outside").run().ok();
    assert_eq!(env.sh("cat /out"), "from-outside default");
}

#[test]
fn a_global_arg_is_seen_by_from_and_only_asked_for_by_stages() {
    let dockerfile = "ARG BASE=busybox\nARG V=1\nFROM $BASE\nRUN echo \"[$V]\" > /out\nARG V\nRUN echo \"[$V]\" >> /out\n";
    assert_eq!(out(dockerfile, &[]), "[]\n[1]");
    assert_eq!(out(dockerfile, &["--build-arg", "V=2"]), "[]\n[2]");
}

#[test]
fn a_stage_inherits_the_args_of_its_base_stage_only() {
    let dockerfile = "FROM busybox AS one\nARG A=1\nENV E=2\nFROM busybox AS two\nRUN echo \"[$A$E]\" > /out\n\
                      FROM one\nCOPY --from=two /out /out\nRUN echo \"[$A$E]\" >> /out\n";
    assert_eq!(out(dockerfile, &[]), "[]\n[12]");
}

#[test]
fn an_arg_never_reaches_the_image() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nARG SECRET=x\nENV KEPT=$SECRET\n");
    let env_list = env.config()["Env"].to_string();
    assert!(env_list.contains("KEPT=x") && !env_list.contains("SECRET"), "{env_list}");
}

#[test]
fn the_later_of_arg_and_env_wins() {
    assert_eq!(out("FROM busybox\nENV A=env\nARG A=arg\nRUN echo $A > /out\n", &[]), "arg");
    assert_eq!(
        out("FROM busybox\nARG A=arg\nENV A=env\nRUN echo $A > /out\n", &["--build-arg", "A=x"]),
        "env"
    );
}

#[test]
fn variables_are_those_from_before_the_instruction() {
    assert_eq!(out("FROM busybox\nENV A=1\nENV A=2 B=$A\nRUN echo $A $B > /out\n", &[]), "2 1");
}

#[test]
fn forms_of_expansion() {
    // Each becomes the value of a label; A is set, E is empty, U is not set.
    let cases = [
        ("$A.${A}", "a/b/c.tar.a/b/c.tar"),
        ("[$U][${E}]", "[][]"),
        ("${U:-x}${E:-y}${A:-z}", "xya/b/c.tar"),
        ("${U-x}${E-y}", "x"),
        ("${A:+x}${E:+y}${U:+z}", "x"),
        ("${E+y}${U+z}", "y"),
        ("${A#*/}", "b/c.tar"),
        ("${A##*/}", "c.tar"),
        ("${A%.*}", "a/b/c"),
        ("${A%%/*}", "a"),
        ("${A/\\//-}", "a-b/c.tar"),
        ("${A//\\//-}", "a-b-c.tar"),
        ("${U:-${A##*/}}", "c.tar"),
        ("\\$A", "$A"),
        ("'$A'", "$A"),
        ("\"$A\"", "a/b/c.tar"),
    ];
    let mut dockerfile = "FROM busybox\nENV A=a/b/c.tar E=\n".to_owned();
    for (number, (word, _)) in cases.iter().enumerate() {
        dockerfile.push_str(&format!("LABEL l{number}={word}\n"));
    }
    let env = TestEnv::new();
    env.build_text(&dockerfile);
    let labels = &env.config()["Labels"];
    for (number, (word, expect)) in cases.iter().enumerate() {
        assert_eq!(labels[format!("l{number}")], *expect, "{word}");
    }
}

#[test]
fn a_variable_that_must_be_set() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nARG V\nENV A=\"${V:?give a version}\"\n");
    env.build_fails(&context, &[]).says(&["Dockerfile:3", "V", "give a version"]);
    env.build(&context, &["--build-arg", "V=1"]);
}

#[test]
fn platform_args_have_to_be_asked_for() {
    let dockerfile = "FROM busybox\nRUN echo \"[$TARGETOS]\" > /out\nARG TARGETOS TARGETPLATFORM\nRUN echo \"$TARGETOS $TARGETPLATFORM\" >> /out\n";
    let out = out(dockerfile, &[]);
    let (before, after) = out.split_once('\n').unwrap();
    assert_eq!(before, "[]");
    assert!(after.starts_with("linux linux/"), "{after}");
}

#[test]
fn proxies_reach_run_but_neither_image_nor_key() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo $HTTP_PROXY $http_proxy > /out\n");
    env.build(&context, &["--build-arg", "HTTP_PROXY=http://proxy:1"]);
    assert_eq!(env.sh("cat /out"), "http://proxy:1 http://proxy:1");
    let env_list = env.config()["Env"].to_string();
    assert!(!env_list.contains("proxy"), "{env_list}");
    env.build(&context, &["--build-arg", "HTTP_PROXY=http://proxy:2"]).has_cached(1);
}

#[test]
fn an_arg_used_nowhere_is_silently_ignored() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nLABEL a=b\n");
    env.build(&context, &["--build-arg", "NOBODY=asks"]);
    assert_ne!(env.config()["Labels"], Value::Null);
}

#[test]
fn values_come_from_files_too() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nARG A\nARG B\nRUN echo $A $B > /out\n");
    context.write("one", "# values\n\nA=one of file\n  B=file  \n").write("two", "A=two\n");
    let file = |name: &str| format!("--build-arg-file={}/{name}", context.str());
    env.build(&context, &[&file("one"), &file("two"), "--build-arg", "B=given"]);
    assert_eq!(env.sh("cat /out"), "two given");
    let missing = ["build", &file("nope"), context.str()];
    env.kiln(missing).run().fails(1).says(&["nope"]);
}
