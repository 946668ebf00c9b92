//! What the author of a wrong Dockerfile reads: where, what, and what was probably meant.

use crate::support::archive::Tarball;
use crate::support::env::TestEnv;

/// Builds this Dockerfile, which must fail, and looks for these texts.
#[track_caller]
fn check(dockerfile: &str, texts: &[&str]) {
    let env = TestEnv::new();
    let output = env.build_fails(&env.context(dockerfile), &[]).says(texts);
    assert!(!output.stderr.contains("panicked"), "{output}");
}

#[track_caller]
fn check_in(env: &TestEnv, dockerfile: &str, texts: &[&str]) {
    env.build_fails(&env.context(dockerfile), &[]).says(texts);
}

#[test]
fn a_misspelt_instruction() {
    check(
        "FROM busybox\nRUM echo\n",
        &["Dockerfile:2", "unknown instruction: RUM", "RUM echo", "^", "RUN"],
    );
}

#[test]
fn a_misspelt_flag() {
    check("FROM busybox\nCOPY --chwon=1 a /\n", &["Dockerfile:2", "unknown flag", "--chown"]);
}

#[test]
fn a_misspelt_stage() {
    check(
        "FROM busybox AS builder\nFROM busybox\nCOPY --from=bulider /a /\n",
        &["Dockerfile:3", "bulider", "builder"],
    );
}

#[test]
fn a_misspelt_target() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox AS release\n");
    let output = env.build_fails(&context, &["--target", "relaese"]);
    output.says(&["relaese", "did you mean release?"]);
    let context = env.context("FROM busybox AS one\nFROM one AS two\n");
    env.build_fails(&context, &["--target", "final"]).says(&["hint: there are one, two"]);
}

#[test]
fn a_misspelt_source() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY requirments.txt /\n");
    context.files(&["requirements.txt"]);
    let texts =
        ["Dockerfile:2", "requirments.txt", "not found", "did you mean `requirements.txt`?"];
    env.build_fails(&context, &[]).says(&texts);
    // In a directory, in another one, and in a stage.
    context.write("src/main.py", "").dockerfile("FROM busybox\nCOPY scr/main.py /\n");
    env.build_fails(&context, &[]).says(&["did you mean `src/main.py`?"]);
    context.dockerfile("FROM busybox\nCOPY main.py /\n");
    env.build_fails(&context, &[]).says(&["did you mean `src/main.py`?"]);
    context.dockerfile("FROM busybox AS a\nRUN echo > /app.jar\nFROM a\nCOPY --from=a /ap.jar /\n");
    env.build_fails(&context, &[]).says(&["did you mean `app.jar`?"]);
    // What nobody can have meant is not offered.
    context.dockerfile("FROM busybox\nCOPY something-else /\n");
    env.build_fails(&context, &[]).says_not(&["did you mean"]);
}

#[test]
fn a_source_that_is_nowhere() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY quite-another/thing /\n");
    let output = env.build_fails(&context, &[]);
    output.says(&[
        "\"/quite-another/thing\": not found",
        "Dockerfile:2",
        "within the build context",
    ]);
}

#[test]
fn a_shell_that_is_not_there() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nRUN true\n");
    let output = env.build_fails(&context, &[]);
    output.says(&[
        "exec: `/bin/sh`",
        "Dockerfile:2",
        "the image has no `/bin/sh`",
        "RUN [\"/program\"",
    ]);
}

#[test]
fn an_ignored_source() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY requirements.txt /\n");
    context.files(&["requirements.txt"]).write(".dockerignore", "# all\n*.txt\n");
    let output = env.build_fails(&context, &[]);
    output.says(&["hint: it is there, but line 2 of .dockerignore excludes it: `*.txt`"]);
    context.write("Dockerfile.dockerignore", "*");
    let output = env.build_fails(&context, &[]);
    output.says(&["line 1 of Dockerfile.dockerignore excludes it: `*`"]);
    // That of another context has the name of that.
    let other = env.context("FROM busybox\nCOPY --from=other requirements.txt /\n");
    context.remove("Dockerfile.dockerignore");
    let argument = format!("--build-context=other={}", context.str());
    let named = format!("line 2 of {}/.dockerignore excludes it: `*.txt`", context.str());
    env.build_fails(&other, &[&argument]).says(&[&named]);
}

#[test]
fn a_broken_ignore_file() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY a /\n");
    context.files(&["a"]).write(".dockerignore", "b\n[a\n");
    let output = env.build_fails(&context, &[]);
    output.says(&["cannot use line 2 of `", "/.dockerignore`", "syntax error in pattern: `[a`"]);
}

#[test]
fn a_misspelt_secret() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN --mount=type=secret,id=npmrc,required true\n");
    let output = env.building(&context, &["--secret=id=npmcr,env=X"]).env("X", "x").run().fails(1);
    output.says(&["Dockerfile:2", "`--secret id=npmcr` was given; did you mean npmrc?"]);
    let output = env.build_fails(&context, &[]);
    output.says(&["give it by `--secret id=npmrc,src=FILE`"]);
}

#[test]
fn a_misspelt_image() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "127.0.0.1:1/team/tool:1"]);
    check_in(
        &env,
        "FROM 127.0.0.1:1/team/tol:1\n",
        &["Dockerfile:1:6", "127.0.0.1:1/team/tool:1?"],
    );
}

#[test]
fn a_stage_that_is_not_there() {
    check(
        "FROM busybox AS one\nFROM busybox\nCOPY --from=7 a /\n",
        &["Dockerfile:3:13", "invalid stage index 7", "the last one is 1"],
    );
}

#[test]
fn a_misspelt_build_argument() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nARG VERSION=1\n");
    let output = env.build(&context, &["--build-arg=VERSOIN=2", "--build-arg=UNRELATED=3"]);
    output.says(&[
        "warning: MisspeltBuildArg: --build-arg VERSOIN is used by no ARG (did you mean VERSION?) (line 2)",
    ]).says_not(&["UNRELATED"]);
    env.build(&context, &["--build-arg=VERSION=2"]).says_not(&["warning"]);
}

#[test]
fn a_missing_operand() {
    check("FROM busybox\nCOPY a\n", &["Dockerfile:2", "COPY requires at least two arguments"]);
    check("FROM busybox\nENV A\n", &["Dockerfile:2", "ENV must have two arguments"]);
    check("FROM a b\n", &["Dockerfile:1", "FROM requires either one or three arguments"]);
}

#[test]
fn an_instruction_before_from() {
    check("RUN true\nFROM busybox\n", &["Dockerfile:1", "no build stage in current context"]);
}

#[test]
fn nothing_to_build() {
    check("# Only a comment.\n", &["file with no instructions"]);
    check("ARG A=1\n", &["no stages"]);
}

#[test]
fn a_heredoc_without_its_end() {
    check("FROM busybox\nRUN <<EOF\necho\n", &["unterminated heredoc"]);
}

#[test]
fn a_later_line_is_counted_through_continuations() {
    check(
        "FROM busybox\n\n# Comment.\nRUN true \\\n  && true\n\nBAD\n",
        &["Dockerfile:7", "unknown instruction: BAD"],
    );
}

#[test]
fn the_name_of_the_dockerfile_is_the_one_given() {
    let env = TestEnv::new();
    let context = env.context("");
    context.write("sub/My.file", "FROM busybox\nNOPE\n");
    let file = context.path().join("sub/My.file");
    env.build_fails(&context, &["-f", file.to_str().unwrap()]).says(&["My.file:2"]);
}

#[test]
fn a_failed_run_says_its_code_its_place_and_its_last_words() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo to-out; echo to-err >&2; exit 37\n");
    env.build_fails(&context, &[]).says(&["Dockerfile:2", "exit code: 37", "to-out", "to-err"]);
}

#[test]
fn a_run_killed_by_a_signal() {
    check("FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n", &["Dockerfile:2", "137"]);
}

#[test]
fn a_program_that_is_not_there() {
    check(
        "FROM busybox\nRUN [\"/no/such/program\"]\n",
        &["Dockerfile:2", "/no/such/program", "no such file"],
    );
    check("FROM scratch\nRUN echo hi\n", &["Dockerfile:2", "/bin/sh"]);
}

#[test]
fn an_unknown_user() {
    check("FROM busybox\nUSER nobody-here\nRUN true\n", &["nobody-here"]);
}

#[test]
fn a_base_that_cannot_be_had() {
    // Nothing listens on this port, so no network is needed to fail.
    check("FROM 127.0.0.1:1/team/none:1\n", &["127.0.0.1:1/team/none:1"]);
}

#[test]
fn the_cause_comes_before_the_end_and_once() {
    let env = TestEnv::new();
    let output = env.build_fails(&env.context("FROM busybox\nRUN exit 3\n"), &[]);
    let mentions = output.stderr.lines().filter(|line| line.starts_with("error")).count();
    assert_eq!(mentions, 1, "one error, one message:\n{output}");
}

#[test]
fn a_failed_build_keeps_the_old_image_of_that_name() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nLABEL v=1\n");
    let id = env.id("test");
    env.building(&env.context("FROM busybox\nLABEL v=2\nRUN false\n"), &[]).run().fails(1);
    assert_eq!(env.id("test"), id);
}

#[test]
fn without_a_dockerfile() {
    let env = TestEnv::new();
    let context = env.context("");
    context.remove("Dockerfile");
    env.build_fails(&context, &[]).says(&["cannot read the Dockerfile"]).says_not(&["hint"]);
    let meant = |name: &str, args: &[&str]| {
        context.write(name, "FROM scratch\n");
        let path = context.path().join(name);
        let output = env.build_fails(&context, args);
        output.says(&[&format!("hint: did you mean `-f {}`?", path.display())]);
        context.remove(name);
    };
    meant("Containerfile", &[]);
    meant("Dockerfil", &[]);
    meant("docker/Dockerfile", &[]);
    // Paths are relative to the working directory.
    meant("Dockerfile.dev", &["-f", "Dockerfile.dev"]);
    let tar = Tarball::new().file("Dockerfile.prod", "FROM scratch\n").finish();
    let output = env.kiln(["build", "-f", "Dockerfile.prd", "-"]).stdin(tar).run().fails(1);
    output.says(&["did you mean `-f Dockerfile.prod`?"]);
}

#[test]
fn a_layer_that_cannot_be_packed_names_the_step_that_made_it() {
    let env = TestEnv::new();
    let lines = "FROM busybox\nRUN true\nRUN touch /.wh.x\nRUN sleep 0.2\n";
    let output = env.building(&env.context(lines), &[]).run().fails(1);
    output.says(&["`RUN touch /.wh.x`", "Dockerfile:3", "mark deletions"]);
}

#[test]
fn a_step_whose_layer_cannot_be_packed_is_run_again() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN echo a > /a\n\
         RUN --mount=type=cache,target=/c if [ -e /c/ran ]; then echo again > /b; else touch /c/ran /.wh.x; fi\n\
         RUN cat /b 2>/dev/null > /seen; sleep 0.5\nRUN cat /seen > /last\n",
    );
    let first = env.building(&context, &[]).run().fails(1);
    first.says(&["mark deletions"]);
    // Whether a later step had begun by then or not: what was made on it is done again as well.
    let second = env.building(&context, &[]).run().ok();
    let cached = second.stderr.lines().filter(|line| line.ends_with(" CACHED")).count();
    assert_eq!(cached, 1, "{second}");
    assert_eq!(env.sh("cat /b /seen /last"), "again\nagain\nagain");
    let third = env.building(&context, &[]).run().ok();
    assert_eq!(third.stderr.matches(" CACHED").count(), 4, "{third}");
}
