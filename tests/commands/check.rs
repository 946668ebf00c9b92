//! `kiln check`, `kiln build --check` and `--call`, and what a build says of its Dockerfile by the way.

use serde_json::Value;

use crate::support::env::TestEnv;

/// A Dockerfile of which a rule of BuildKit and one of our own have something to say.
const DOCKERFILE: &str = "FROM busybox AS One\nRUN apt-get update\nCMD [\"true\"]\n";

#[test]
fn text_for_people() {
    let env = TestEnv::empty();
    let context = env.context(DOCKERFILE);
    let output = env.kiln(["check", "."]).in_dir(context.path()).run().fails(1);
    let expected = "\
Check complete, 2 warnings have been found!

WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/
Stage name 'One' should be lowercase
Dockerfile:1
--------------------
   1 | >>> FROM busybox AS One
   2 |     RUN apt-get update
   3 |     CMD [\"true\"]
--------------------

WARNING: AptUpdateAlone
RUN fetches package lists without installing anything: later steps use them as old as the cache is
(write apt-get update && apt-get install … in one RUN)
Dockerfile:2
--------------------
   1 |     FROM busybox AS One
   2 | >>> RUN apt-get update
   3 |     CMD [\"true\"]
--------------------";
    assert_eq!(output.text(), expected, "{output}");
    assert!(output.stderr.contains("note: base image `busybox:latest` is not in the store"));
    assert!(!env.store().exists(), "a check leaves no store behind");

    // In a build it is the same.
    let built = env.kiln(["build", "--check", "."]).in_dir(context.path()).run().fails(1);
    assert_eq!(built.text(), expected);
}

#[test]
fn nothing_to_say() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCMD [\"true\"]\n");
    let output = env.kiln(["check", context.str()]).run().ok();
    assert_eq!(output.text(), "Check complete, no warnings found.");
    assert_eq!(output.stderr, "", "the base is in the store");
    let output = env.kiln(["build", "--call=check", context.str()]).run().ok();
    assert_eq!(output.text(), "Check complete, no warnings found.");
    assert_eq!(env.ok(&["images", "-q"]).text().lines().count(), 1, "nothing was built");
}

#[test]
fn variables_of_the_base_are_known_if_it_is_in_the_store() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV FROM_BASE=1\n");
    let text = "FROM test\nLABEL a=$FROM_BASE b=$NOWHERE\n";
    let output = env.kiln(["check", env.context(text).str()]).run().fails(1);
    assert!(output.text().contains("'$NOWHERE'"), "{output}");
    assert!(!output.text().contains("'$FROM_BASE'"), "{output}");
}

#[test]
fn json_as_of_buildkit() {
    let env = TestEnv::empty();
    let context = env.context(DOCKERFILE);
    for args in [["check", "--format=json"], ["build", "--call=check,format=json"]] {
        let output = env.kiln(args).args([context.path()]).run().fails(1);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let warning = &document["warnings"][0];
        assert_eq!(warning["ruleName"], "StageNameCasing", "{output}");
        assert_eq!(warning["description"], "Stage names should be lowercase");
        assert_eq!(warning["detail"], "Stage name 'One' should be lowercase");
        assert_eq!(warning["url"], "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/");
        assert_eq!(warning["location"]["ranges"][0]["start"]["line"], 1);
        assert_eq!(document["warnings"][1]["ruleName"], "AptUpdateAlone");
        assert_eq!(document["sources"][0]["language"], "Dockerfile");
        assert!(document["sources"][0]["data"].as_str().unwrap().starts_with("RlJPTSBidXN5Ym94"));
        assert_eq!(document.get("buildError"), None);
    }
}

#[test]
fn sarif_for_code_hosts() {
    let env = TestEnv::empty();
    let context = env.context(DOCKERFILE);
    context.write("sub dir/Dockerfile", "FROM busybox\nCMD x\nRUM y\n");
    let sarif = |path: &str| -> Value {
        let output =
            env.kiln(["check", "--format=sarif", path]).in_dir(context.path()).run().fails(1);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let document = sarif(".");
    assert_eq!(document["version"], "2.1.0");
    let run = &document["runs"][0];
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], "StageNameCasing");
    let index = result["ruleIndex"].as_u64().unwrap() as usize;
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], "StageNameCasing");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "Dockerfile");
    assert_eq!(place["region"]["startLine"], 1);

    let document = sarif("sub dir");
    let result = &document["runs"][0]["results"][0];
    assert_eq!(
        (result["level"].as_str(), result["ruleId"].as_str()),
        (Some("error"), Some("DockerfileError"))
    );
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "sub%20dir/Dockerfile");
    assert_eq!(place["region"]["startLine"], 3);
}

#[test]
fn a_mistake_is_an_error_below_what_was_found_above_it() {
    let env = TestEnv::empty();
    let context = env.context("FROM busybox AS Upper\nRUM x\n");
    let output = env.kiln(["check", context.str()]).run().fails(1);
    assert!(output.text().contains("StageNameCasing"), "{output}");
    output.says(&["unknown instruction: RUM", "Dockerfile:2", "did you mean RUN?"]);
    let json = env.kiln(["check", "--format=json", context.str()]).run().fails(1);
    let document: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["buildError"]["message"], "unknown instruction: RUM");
    assert_eq!(document["buildError"]["location"]["ranges"][0]["start"]["line"], 2);
}

#[test]
fn other_stages_are_examined_unless_there_is_a_target() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS one\nENV a b\nFROM busybox AS two\nCOPY $MISSING /\nFROM busybox\n",
    );
    let names = |args: &[&str]| {
        let output = env.kiln(["check"]).args(args).args([context.path()]).run();
        let text = output.text();
        let rules = text.lines().filter_map(|line| line.strip_prefix("WARNING: "));
        let name = |line: &str| line.split(' ').next().unwrap().to_owned();
        rules.map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["LegacyKeyValueFormat", "UndefinedVar"]);
    assert_eq!(names(&["--target=one"]), ["LegacyKeyValueFormat"]);
    assert_eq!(
        names(&["--target=two", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all"]),
        [""; 0]
    );
}

#[test]
fn files_that_are_ignored_and_files_that_should_be() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY notes.md /\nCOPY . /src\nCOPY dist /dist\n");
    context
        .files(&["notes.md", "main.c", "target/app", "dist/app"])
        .write(".git/HEAD", "ref: refs/heads/main\n")
        .write(".gitignore", "/target\n/dist\n*.o\n")
        .write(".dockerignore", "# notes\n*.md\n");
    let output = env.kiln(["check", context.str()]).run().fails(1);
    for text in [
        "Attempting to Copy file \"notes.md\" that is excluded by .dockerignore",
        "(line 2 of .dockerignore is `*.md`)",
        "COPY \".\" takes what .gitignore excludes: dist/, target/",
    ] {
        assert!(output.text().contains(text), "{text}: {output}");
    }
    assert_eq!(output.text().matches("CopyGitIgnoredFiles").count(), 1, "{output}");

    context.write(".dockerignore", "*.md\ntarget\n!keep.md\ndist\n");
    context.dockerfile("FROM busybox\nCOPY notes.md /\nCOPY . /src\n");
    let output = env.kiln(["check", context.str()]).run().fails(1);
    let text = "Source \"notes.md\" of COPY is excluded by line 1 of .dockerignore: `*.md`";
    assert!(output.text().contains(text), "{output}");
    assert!(!output.text().contains("CopyGitIgnoredFiles"), "{output}");
}

#[test]
fn a_build_warns_at_its_end() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox AS One\nRUN true\nCMD true\nLABEL a b\n");
    let output = env.build(&context, &[]).says(&[
        "warning: StageNameCasing: Stage name 'One' should be lowercase (line 1)",
        "warning: JSONArgsRecommended: ",
        "warning: LegacyKeyValueFormat: \"LABEL key=value\" should be used",
    ]);
    let at = |text: &str| output.stderr.find(text).unwrap();
    assert!(at("DONE") < at("warning: StageNameCasing"), "{output}");

    let quiet = env.kiln(["build", "-q", context.str()]).run().ok();
    assert_eq!(quiet.stderr, "");
    let context = env.context("FROM busybox AS One\nRUN false\n");
    let output = env.building(&context, &[]).run().fails(1);
    output.says(&["warning: StageNameCasing", "exit code: 1"]);
}

#[test]
fn findings_are_errors_where_the_file_says_so() {
    let env = TestEnv::new();
    let context = env.context("# check=error=true\nFROM busybox\nRUN echo ran\nMAINTAINER me\n");
    env.build_fails(&context, &[])
        .says(&[
            "warning: MaintainerDeprecated",
            "error: lint violation found for rules: MaintainerDeprecated",
            "Dockerfile:4",
        ])
        .says_not(&["echo ran\n#"]);
    env.build(&context, &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=MaintainerDeprecated"]);
    // Our own rules fail no build that BuildKit does.
    let context = env.context("# check=error=true\nFROM busybox\nRUN true || apt-get update\n");
    env.build(&context, &[]);
    let context = env.context("# check=warn=true\nFROM busybox\n");
    let output = env.building(&context, &[]).run().fails(1);
    output.says(&["invalid check option \"warn\"", "Dockerfile:1", "# check=warn=true"]);
}

#[test]
fn the_outline_of_a_target() {
    let env = TestEnv::empty();
    let context = env.context(
        "# VERSION of the tool\nARG VERSION=1\n# build makes it\nFROM busybox:$VERSION AS build\nARG MODE=fast UNUSED=1\n\
         LABEL mode=$MODE\nRUN --mount=type=secret,id=key,required true\nFROM scratch AS other\nARG ELSE=1\nCOPY $ELSE /\n",
    );
    let args = ["build", "--call=outline", "--target=build", "--build-arg", "MODE=slow"];
    let output = env.kiln(args).args([context.path()]).run().ok();
    let expected = "\
TARGET:      build
DESCRIPTION: makes it

BUILD ARG   VALUE   DESCRIPTION
VERSION     1       of the tool
MODE        slow{}
UNUSED      1{}

SECRET   REQUIRED
key      true";
    // A cell without a description behind it is as wide as the others.
    let expected = expected.replacen("{}", "    ", 1).replacen("{}", "       ", 1);
    assert_eq!(output.text(), expected, "{output}");
    let args = ["build", "--call=outline,format=json", context.str()];
    let document: Value = serde_json::from_slice(&env.kiln(args).run().ok().stdout).unwrap();
    assert_eq!(document["name"], "other");
    assert_eq!(document["args"][0]["name"], "ELSE");
    assert_eq!(document["args"][0]["location"]["ranges"][0]["start"]["line"], 9);
}

#[test]
fn the_targets_of_a_file() {
    let env = TestEnv::empty();
    let context = env.context(
        "# a the first\nFROM scratch AS a\nFROM scratch\nFROM --platform=$BUILDPLATFORM a AS b\n",
    );
    let output = env.kiln(["build", "--call=targets", context.str()]).run().ok();
    assert_eq!(output.text(), "TARGET      DESCRIPTION\na           the first\nb (default)");
    let args = ["build", "--call=targets,format=json", context.str()];
    let document: Value = serde_json::from_slice(&env.kiln(args).run().ok().stdout).unwrap();
    let targets = document["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 3);
    assert_eq!(targets[0]["description"], "the first");
    assert_eq!(targets[2]["default"], true);
    assert_eq!(targets[2]["base"], "a");
    assert_eq!(targets[2]["platform"], "$BUILDPLATFORM");
}

#[test]
fn where_else_it_would_build() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN --mount=type=cache,target=/c true\n");
    let output = env.kiln(["check", "--portability", context.str()]).run().ok();
    for text in [
        "\nPortability\n",
        "kaniko builds something else: it ignores RUN --mount (line 2)",
        "classic builder does not build: it does not know RUN --mount (line 2)",
    ] {
        assert!(output.text().contains(text), "{output}");
    }
    let args = ["check", "--portability", "--format=json", context.str()];
    let document: Value = serde_json::from_slice(&env.kiln(args).run().ok().stdout).unwrap();
    assert_eq!(document["portability"][0]["builder"], "kaniko");
    assert_eq!(document["portability"][0]["builds"], true);
    assert!(!env.kiln(["check", context.str()]).run().ok().text().contains("kaniko"));
}

#[test]
fn from_standard_input_and_by_name() {
    let env = TestEnv::empty();
    let output = env.kiln(["check", "-"]).stdin("FROM scratch AS A\n").run().fails(1);
    assert!(output.text().contains("Dockerfile:1"), "{output}");
    let context = env.context("FROM scratch\n");
    context.write("other/File", "FROM scratch AS A\n");
    let args = ["check", "-f", "other/File", "."];
    let output = env.kiln(args).in_dir(context.path()).run().fails(1);
    assert!(output.text().contains("other/File:1"), "{output}");
}

#[test]
fn questions_that_make_no_sense() {
    let env = TestEnv::new();
    let context = env.context("FROM scratch\n");
    for call in ["--call=nonsense", "--call=check,format=xml", "--call=outline,format=sarif"] {
        env.kiln(["build", call, context.str()]).run().fails(2).says(&["--call"]);
    }
    env.kiln(["check", "--format=xml", context.str()]).run().fails(2).says(&["sarif"]);
    env.kiln(["build", "--call=build", "-t", "test", context.str()]).run().ok();
    env.kiln(["check", context.str(), "--target=nope"]).run().fails(1).says(&["nope"]);
}

#[test]
fn which_questions_there_are() {
    let env = TestEnv::empty();
    // No Dockerfile is asked.
    let context = env.context("WRONG");
    let ask = |call: &str| env.kiln(["build", call, context.str()]).run().ok();
    let text = ask("--call=subrequests.describe").text();
    let names: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["NAME", "outline", "targets", "lint", "subrequests.describe"]);
    let json: Value =
        serde_json::from_slice(&ask("--call=subrequests.describe,format=json").stdout).unwrap();
    assert_eq!(json[0]["name"], "frontend.outline");
    assert_eq!(json[0]["opts"][0]["name"], "target");
    assert_eq!(json[3]["version"], "1.0.0");
}
