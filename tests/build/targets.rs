//! Several `--target`s in one run.

use serde_json::Value;

use crate::support::env::{IMAGE, TestEnv};

/// Two stages that stand on a third one.
const TWO: &str = "FROM busybox AS common\nRUN cat /proc/sys/kernel/random/uuid > /id\n\
    FROM common AS app\nARG TARGETSTAGE\nRUN echo $TARGETSTAGE > /name\n\
    FROM scratch AS tool\nCOPY --from=common /id /id\nLABEL is=tool\n\
    FROM busybox AS never\nRUN echo never; exit 1\n";

#[test]
fn each_target_has_its_image_and_what_they_share_is_done_once() {
    let env = TestEnv::new();
    let context = env.context(TWO);
    let output = env
        .kiln(["build", "--progress=plain", "--target=app=app:1,app:2", "--target", "Tool=tool"])
        .args([context.path()])
        .run()
        .ok()
        .says(&[
            "[app 1/1] RUN echo",
            "[tool 1/1] COPY",
            "(app)",
            "(Tool)",
            "tagged app:2",
            "tagged tool:latest",
        ])
        .says_not(&["never"]);
    let shared = output.stderr.lines().filter(|line| line.contains("[common 2/2] RUN"));
    assert_eq!(shared.count(), 1, "{output}");
    let run = |args: &[&str]| env.ok(&[&["run", "--rm", "app:1"], args].concat()).text();
    assert_eq!(run(&["cat", "/name"]), "app");
    assert_eq!(env.id("app:1"), env.id("app:2"));
    assert_eq!(env.inspect("tool")["Config"]["Labels"]["is"], "tool");
    assert_eq!(env.inspect("app:1")["Config"]["Labels"]["is"], Value::Null);

    // The same as each alone.
    let (app, tool) = (env.id("app:1"), env.id("tool"));
    env.build(&context, &["--target", "tool"]).has_cached(2);
    assert_eq!(env.id(IMAGE), tool);
    env.build(&context, &["--target", "app"]);
    assert_eq!(env.id(IMAGE), app);
}

#[test]
fn several_targets_for_several_platforms() {
    let env = TestEnv::new();
    let context = env
        .context("FROM scratch AS a\nCOPY Dockerfile /a\nFROM scratch AS b\nCOPY Dockerfile /b\n");
    let platforms = "--platform=linux/s390x,linux/arm64";
    let output = env.ok(&["build", "-q", platforms, "--target=a=a", "--target=b=b", context.str()]);
    let ids: Vec<String> = output.text().lines().map(str::to_owned).collect();
    let listed = |name: &str| -> Vec<String> {
        let text = env.ok(&["images", "-q", "--no-trunc", name]).text();
        text.lines().map(str::to_owned).collect()
    };
    let mut a = listed("a");
    a.sort();
    let mut first = ids[..2].to_vec();
    first.sort();
    assert_eq!(a, first, "a target's platforms stand together");
    assert_eq!(listed("b").len(), 2);
}

#[test]
fn an_output_says_which_target_it_is_of() {
    let env = TestEnv::new();
    let context = env.context(TWO);
    let (one, two) = (env.str("one"), env.str("two.tar"));
    env.ok(&[
        "build",
        "-q",
        "--target=app",
        "--target=tool",
        "-o",
        &format!("type=local,target=app,dest={one}"),
        "-o",
        &format!("type=oci,target=TOOL,dest={two},name=written"),
        "-o",
        "type=image,target=tool,name=named",
        context.str(),
    ]);
    assert_eq!(std::fs::read_to_string(env.path("one/name")).unwrap(), "app\n");
    assert_eq!(env.inspect("named")["Config"]["Labels"]["is"], "tool");
    let other = TestEnv::empty();
    other.ok(&["load", "-i", &two]);
    assert_eq!(other.id("written"), env.id("named"));
}

#[test]
fn what_could_be_of_either_target_is_refused() {
    let env = TestEnv::new();
    let context = env.context(TWO);
    let refused = |args: &[&str], texts: &[&str]| {
        env.kiln(["build"]).args(args).args([context.path()]).run().fails(2).says(texts);
    };
    let both = ["--target=app", "--target=tool"];
    refused(&[&both[..], &["-t", "x"]].concat(), &["--tag/-t names one image", "`--target app=x`"]);
    refused(&[&both[..], &["-o", "x"]].concat(), &["does not say which", "target=app"]);
    refused(&[&both[..], &["-o", "type=image,name=x"]].concat(), &["does not say which"]);
    refused(
        &[&both[..], &["-o", "type=image,target=x"]].concat(),
        &["`x`, which is not built", "app, tool"],
    );
    refused(&[&both[..], &["--push"]].concat(), &["needs a name"]);
    refused(&["--target=app="], &["app="]);
}

#[test]
fn of_several_targets_all_are_built_or_none() {
    let env = TestEnv::new();
    let context = env.context(TWO);
    env.kiln(["build", "--target=app=one", "--target=never=two"])
        .args([context.path()])
        .run()
        .fails(1)
        .says(&["exit code: 1"]);
    assert_eq!(env.ok(&["images", "-q", "one"]).text(), "");
    env.kiln(["build", "--target=app=one", "--target=tolo=two"])
        .args([context.path()])
        .run()
        .fails(1)
        .says(&["target stage \"tolo\" could not be found", "did you mean tool?"]);
}

#[test]
fn questions_about_several_targets() {
    let env = TestEnv::new();
    let context = env.context(&format!("{TWO}FROM common as odd\n"));
    let ask = |args: &[&str]| env.kiln(["build"]).args(args).args([context.path()]).run();
    let targets = ask(&["--call=targets", "--target=app", "--target=tool"]).ok().text();
    assert!(targets.contains("tool") && targets.contains("odd (default)"), "{targets}");
    let outline = ask(&["--call=outline", "--target=app"]).ok().text();
    assert!(outline.contains("TARGETSTAGE"), "{outline}");
    ask(&["--call=outline", "--target=app", "--target=tool"]).fails(2).says(&["one target"]);
    let found =
        ask(&["--check", "--target=app", "--target=odd", "--platform=linux/arm64,linux/s390x"]);
    let text = found.fails(1).text();
    assert_eq!(text.matches("FromAsCasing").count(), 1, "{text}");
}
