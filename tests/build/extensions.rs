//! `# syntax=kiln`: INCLUDE and COPY --if-exists, and what happens to them without it.

use serde_json::Value;

use crate::support::archive::Tarball;
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::Output;

const SYNTAX: &str = "# syntax=kiln\n";

fn context(env: &TestEnv, text: &str) -> Context {
    env.context(&format!("{SYNTAX}{text}"))
}

#[test]
fn an_included_file_has_the_keys_of_its_text() {
    let env = TestEnv::new();
    let whole = "FROM busybox AS one\nARG A=1\nRUN echo $A > /a\nCOPY <<b /b\nbody\nb\nFROM one\nRUN echo two > /c\n";
    env.build(&env.context(whole), &[]).has_cached(0);

    let parts = context(&env, "INCLUDE parts/one.df\nFROM one\nINCLUDE parts/last\n");
    parts.write("parts/one.df", "FROM busybox AS one\nINCLUDE ../args\nCOPY <<b /b\nbody\nb\n");
    parts.write("args", "ARG A=1\nRUN echo $A > /a\n").write("parts/last", "RUN echo two > /c");
    env.build(&parts, &[]).has_cached(3);
    assert_eq!(env.sh("cat /a /b /c"), "1\nbody\ntwo");

    // What is changed there is run again.
    parts.write("args", "ARG A=1\nRUN echo $A > /a; true\n");
    env.build(&parts, &[]).has_cached(0);
    env.build(&parts, &["--build-arg=A=5"]);
    assert_eq!(env.sh("cat /a"), "5");
}

#[test]
fn what_is_wrong_in_an_included_file_is_shown_there() {
    let env = TestEnv::new();
    let context = context(&env, "FROM busybox\nINCLUDE a.df\n");
    context.write("a.df", "\nINCLUDE b.df\n");
    let says = |b: &str, texts: &[&str]| {
        context.write("b.df", b);
        let output = env.build_fails(&context, &[]);
        output.says(texts).says(&["= included by a.df:2", "= included by Dockerfile:3"]);
    };
    // While it is parsed, while it is lowered, while it is run.
    says(
        "RUN true\nRUM true\n",
        &["on line 2 of b.df: unknown", "b.df:2:1", "2 | RUM true", "RUN?"],
    );
    says("ENV A=${B?gone}\n", &["on line 1 of b.df", "gone", "1 | ENV A=${B?gone}"]);
    says("\nRUN exit 7\n", &["exit code: 7", "--> b.df:2\n", "2 | RUN exit 7"]);
    says("FROM 127.0.0.1:1/none:1\n", &["--> b.df:1:6", "1 | FROM 127.0.0.1:1/none:1"]);
}

#[test]
fn what_cannot_be_included_is_told() {
    let env = TestEnv::empty();
    let context = context(&env, "FROM scratch\n\nINCLUDE part.df\n");
    let says = |texts: &[&str]| {
        let output = env.kiln(["build", context.str()]).run().fails(1);
        output.says(texts).says(&["Dockerfile:4:9", "4 | INCLUDE part.df"]);
    };
    context.write("parts.df", "");
    says(&["cannot include `part.df`: not found", "did you mean `parts.df`?"]);
    context.symlink("part.df", "/etc/passwd");
    says(&["cannot include `part.df`: not found"]);
    context.remove("part.df").write("part.df/", "");
    says(&["cannot include `part.df`", "not a regular file"]);

    context.dockerfile(&format!("{SYNTAX}FROM scratch\nINCLUDE ../x\n"));
    let output = env.kiln(["build", context.str()]).run().fails(1);
    output.says(&["Dockerfile:3", "cannot include `../x`: it is outside of the build context"]);
    context.dockerfile(&format!("{SYNTAX}FROM scratch\nINCLUDE Dockerfile\n"));
    let output = env.kiln(["build", context.str()]).run().fails(1);
    output.says(&["Dockerfile:3", "goes in a circle", "Dockerfile -> Dockerfile"]);
}

#[test]
fn extensions_have_to_be_asked_for() {
    let env = TestEnv::new();
    for (text, message) in [
        ("INCLUDE a\n", "unknown instruction: INCLUDE"),
        ("COPY --if-exists a /\n", "unknown flag: --if-exists"),
    ] {
        let context = env.context(&format!("FROM busybox\n{text}"));
        context.write("a", "RUN true");
        let output = env.build_fails(&context, &[]);
        output.says(&["Dockerfile:2", message, "write `# syntax=kiln` as the very first line"]);
    }
}

#[test]
fn files_are_included_from_where_the_dockerfile_is() {
    let env = TestEnv::empty();
    let text = format!("{SYNTAX}FROM scratch\nINCLUDE ../part\n");
    let context = env.context("");
    context.write("sub/File", &text).write("part", "LABEL from=context");
    context.write("sub/part", "LABEL from=sub").write("sub/Inside", text.replace("../", ""));
    // The rules of an ignore file are about what is copied.
    context.write(".dockerignore", "part\nsub\n");
    let label = |output: Output| {
        output.ok();
        env.config()["Labels"]["from"].as_str().unwrap().to_owned()
    };
    let build = |args: &[&str]| env.kiln(["build", "-t", IMAGE]).args(args);
    let file = context.path().join("sub/File");
    assert_eq!(label(build(&["-f", file.to_str().unwrap(), context.str()]).run()), "context");
    // Outside of the context it is the directory of the Dockerfile.
    let elsewhere = env.context("");
    let output = build(&["-f", file.to_str().unwrap(), elsewhere.str()]).run().fails(1);
    output.says(&["cannot include `../part`: it is outside of the directory of the Dockerfile"]);
    let inside = context.path().join("sub/Inside");
    assert_eq!(label(build(&["-f", inside.to_str().unwrap(), elsewhere.str()]).run()), "sub");
    // From standard input it is as if it were at the root of the context.
    let stdin = || format!("{SYNTAX}FROM scratch\nINCLUDE sub/part\n");
    assert_eq!(label(build(&["-f-", context.str()]).stdin(stdin()).run()), "sub");
    let output = build(&["-"]).stdin(stdin()).run().fails(1);
    output.says(&["cannot include `sub/part`: a Dockerfile without a build context"]);
    // In an archive, as in a directory.
    let archive = Tarball::new().file("sub/File", &text).file("part", "LABEL from=archive");
    assert_eq!(label(build(&["-f=sub/File", "-"]).stdin(archive.finish()).run()), "archive");
}

#[test]
fn missing_sources_are_left_out_until_they_appear() {
    let env = TestEnv::new();
    let context = context(
        &env,
        "FROM busybox\nWORKDIR /w\nCOPY --if-exists a.lock b /w/\nCOPY --if-exists gone/ /gone/\n",
    );
    context.write("b", "b\n");
    env.build(&context, &[]).has_cached(0);
    assert_eq!(env.sh("ls /w"), "b");
    env.build(&context, &[]).has_cached(3);

    context.write("a.lock", "a\n");
    env.build(&context, &[]).has_cached(1);
    assert_eq!(env.sh("cat /w/a.lock /w/b"), "a\nb");
    context.write("gone/x", "x\n");
    env.build(&context, &[]).has_cached(2);
    assert_eq!(env.sh("cat /gone/x"), "x");

    // As it was before: everything was seen.
    context.remove("a.lock").remove("gone/x");
    std::fs::remove_dir(context.path().join("gone")).unwrap();
    env.build(&context, &[]).has_cached(3);
    assert_eq!(env.sh("ls /w"), "b");
}

#[test]
fn a_source_in_a_stage_may_be_missing_for_one_copy_and_not_for_another() {
    let env = TestEnv::new();
    let stages = "FROM busybox AS made\nRUN echo x > /x\nFROM busybox\n";
    let text = format!("{stages}COPY --from=made --if-exists /x /none /to/\n");
    env.build(&context(&env, &text), &[]);
    assert_eq!(env.sh("ls /to"), "x");
    let text = format!("{stages}COPY --from=made --if-exists /none /to/\n");
    env.build(&context(&env, &text), &[]);
    // The same without the flag is no hit of that.
    let context = env.context(&text.replace("--if-exists ", ""));
    env.building(&context, &[]).run().fails(1).says(&["\"/none\": not found"]);
}

#[test]
fn findings_in_included_files_are_shown_there() {
    let env = TestEnv::empty();
    let context = context(&env, "FROM scratch\nINCLUDE parts/a.df\nCMD [\"x\"]\n");
    context.write("parts/a.df", "ENV A=1\n\nENV b c\n");
    let output = env.kiln(["build", "--check", "."]).in_dir(context.path()).run().fails(1);
    let expected = "\
WARNING: LegacyKeyValueFormat - https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/
\"ENV key=value\" should be used instead of legacy \"ENV key value\" format
parts/a.df:3
--------------------
   1 |     ENV A=1
   2 |
   3 | >>> ENV b c
--------------------";
    assert!(output.text().ends_with(expected), "{output}");
    let document = |args: &[&str]| -> Value {
        let output = env.kiln(args).args(["."]).in_dir(context.path()).run();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
    };
    let json = document(&["check", "--format=json"]);
    let place = &json["warnings"][0]["location"];
    assert_eq!(
        (&place["sourceIndex"], &place["ranges"][0]["start"]["line"]),
        (&1.into(), &3.into())
    );
    assert_eq!(json["sources"][1]["filename"], "parts/a.df");
    let sarif = document(&["check", "--format=sarif"]);
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "parts/a.df");
    assert_eq!(place["region"]["startLine"], 3);
    // In a build, too.
    let output = env.kiln(["build", "--progress=plain", context.str()]).run().ok();
    output.says(&["warning: LegacyKeyValueFormat", "(line 3 of parts/a.df)"]);
}

#[test]
fn a_file_with_extensions_is_said_to_be_for_kiln_only() {
    let env = TestEnv::empty();
    let context = context(&env, "FROM scratch\nINCLUDE a\nCOPY --if-exists b /\n");
    context.write("a", "ENV A=1\n");
    let output = env.kiln(["check", "--portability", context.str()]).run().ok().text();
    for text in [
        "Only kiln builds this file.",
        "BuildKit does not build: it takes `# syntax=kiln` for the name of an image",
        "buildah does not build: it does not know INCLUDE (line 3)",
        "kaniko does not build: it does not know COPY --if-exists (line 4)",
    ] {
        assert!(output.contains(text), "{text}: {output}");
    }
    context.dockerfile("FROM scratch\nENV A=1\n");
    let output = env.kiln(["check", "--portability", context.str()]).run().ok().text();
    assert!(!output.contains("Only kiln"), "{output}");
}
