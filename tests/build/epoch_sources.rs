//! SOURCE_DATE_EPOCH that is no number: the time of a context, or of what a stage adds.

use crate::support::archive::Tarball;
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::repository::{GitServer, Repository};
use crate::support::web::{Page, Site};

/// When entries of archives were modified, and commits made, in these tests.
const TIME: &str = "1700000000";
const CREATED: &str = "2023-11-14T22:13:20Z";

/// What a RUN sees of it, and of what the image says of itself.
const LINES: &str =
    "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo \"${SOURCE_DATE_EPOCH-unset}\" > /epoch\n";

/// A server with a file that says when it was modified, an archive that does not, and a file of which nothing is known.
fn site() -> Site {
    let site = Site::start();
    let archive = || {
        let tar = Tarball::new().dir("d", 0o755).file("d/f", "x").file("Dockerfile", LINES);
        Page::new(tar.finish())
    };
    let modified = "Tue, 14 Nov 2023 22:13:19 GMT";
    site.page("/archive.tar", archive().header("ETag", "\"a\""));
    site.page("/dated.tar", archive().header("Last-Modified", modified));
    site.page("/plain", Page::new("plain"));
    site
}

#[track_caller]
fn is_built_with(env: &TestEnv, epoch: &str) {
    assert_eq!(env.sh("cat /epoch"), epoch);
    let created = env.inspect(IMAGE)["Created"].as_str().unwrap().to_owned();
    match epoch {
        "unset" => assert_ne!(created[..4], CREATED[..4]),
        TIME => assert_eq!(created, CREATED),
        _ => assert_eq!(created, "2023-11-14T22:13:19Z"),
    }
}

#[test]
fn the_build_context() {
    let env = TestEnv::new();
    let site = site();
    let given = ["--build-arg", "SOURCE_DATE_EPOCH=context"];
    let build = |context: &str| {
        env.kiln(["build", "-t", IMAGE]).args(given).args([context]).run().ok();
    };
    build(&format!("http://{}/archive.tar", site.host()));
    is_built_with(&env, TIME);
    build(&format!("http://{}/dated.tar", site.host()));
    is_built_with(&env, "1699999999");
    build(env.context(LINES).str());
    is_built_with(&env, "unset");
    let tar = Tarball::new().file("Dockerfile", LINES).finish();
    env.kiln(["build", "-t", IMAGE]).args(given).args(["-"]).stdin(tar).run().ok();
    is_built_with(&env, TIME);
    env.kiln(["build", "-t", IMAGE]).args(given).args(["-"]).stdin(LINES).run().ok();
    is_built_with(&env, "unset");
}

#[test]
fn a_repository() {
    let env = TestEnv::new();
    let Some(server) = GitServer::start(&env.path("git")) else { return };
    let repository = Repository::create(env.path("git/r.git"));
    repository.write("Dockerfile", LINES).write("f", "x");
    repository.commit("first");
    let address = format!("{}/r.git", server.url);
    for _ in 0..2 {
        let context = ["--build-arg", "SOURCE_DATE_EPOCH=context", &address];
        env.kiln(["build", "-t", IMAGE]).args(context).run().ok();
        is_built_with(&env, TIME);
    }
    let here = env.context(&format!("ARG SOURCE_DATE_EPOCH=there\n{LINES}"));
    env.build(&here, &["--build-context", &format!("there={address}")]);
    is_built_with(&env, TIME);
    let here = env.context(&format!(
        "ARG SOURCE_DATE_EPOCH=there\nFROM scratch AS there\nADD {address} /\n{LINES}"
    ));
    env.build(&here, &[]);
    is_built_with(&env, TIME);
}

#[test]
fn named_contexts() {
    let env = TestEnv::new();
    let site = site();
    let context = env.context(&format!("ARG SOURCE_DATE_EPOCH=there\n{LINES}"));
    let with = |value: &str| env.build(&context, &["--build-context", &format!("there={value}")]);
    with(&format!("http://{}/archive.tar", site.host()));
    is_built_with(&env, TIME);
    with(&format!("http://{}/dated.tar", site.host()));
    is_built_with(&env, "1699999999");
    with(&format!("http://{}/plain", site.host()));
    is_built_with(&env, "unset");
    with(env.context("").str());
    is_built_with(&env, "unset");
    with("docker-image://busybox");
    is_built_with(&env, "unset");
}

#[test]
fn what_a_stage_adds() {
    let env = TestEnv::new();
    let site = site();
    let context = |source: &str| -> Context {
        let host = site.host();
        env.context(&format!(
            "ARG SOURCE_DATE_EPOCH=Source\nARG HOST={host}\nFROM scratch AS source\nARG NAME=archive\nADD {source} /\n{LINES}"
        ))
    };
    env.build(&context("http://$HOST/$NAME.tar"), &[]);
    is_built_with(&env, TIME);
    env.build(&context("http://$HOST/$NAME.tar"), &["--build-arg", "NAME=dated"]);
    is_built_with(&env, "1699999999");
    env.build(&context("http://$HOST/plain"), &[]);
    is_built_with(&env, "unset");
    // A number that is given goes before it; nobody asks the server then.
    site.requests();
    env.build(&context("http://$HOST/$NAME.tar"), &["--build-arg", "SOURCE_DATE_EPOCH=1699999999"]);
    is_built_with(&env, "1699999999");
    assert_eq!(site.requests().len(), 0);
    let wrong = context("--checksum=sha256:00 http://$HOST/plain");
    env.building(&wrong, &[]).run().fails(1).says(&["invalid checksum", "sha256:00"]);
    let missing = context("http://$HOST/missing");
    env.building(&missing, &[]).run().fails(1).says(&["/missing", "404"]);
}

#[test]
fn what_stands_for_no_time_is_refused() {
    let env = TestEnv::new();
    for (dockerfile, says) in [
        ("ARG SOURCE_DATE_EPOCH=tomorrow\nFROM busybox\n", "invalid SOURCE_DATE_EPOCH: tomorrow"),
        (
            "ARG SOURCE_DATE_EPOCH=s\nFROM busybox AS s\nFROM busybox\n",
            "SOURCE_DATE_EPOCH stage must use FROM scratch",
        ),
        (
            "ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\nCOPY Dockerfile /\nFROM busybox\n",
            "SOURCE_DATE_EPOCH stage does not meet source-only requirements",
        ),
    ] {
        let place = if says.contains("source-only") { "Dockerfile:3" } else { "Dockerfile:" };
        env.build_fails(&env.context(dockerfile), &[]).says(&[says, place]);
    }
    let context = env.context("FROM busybox\n");
    env.building(&context, &[])
        .env("SOURCE_DATE_EPOCH", "today")
        .run()
        .fails(1)
        .says(&["invalid SOURCE_DATE_EPOCH: today", "seconds since 1970"]);
    // An empty one is none, also over a default.
    let context = env.context(&format!("ARG SOURCE_DATE_EPOCH=7\n{LINES}"));
    env.building(&context, &[]).env("SOURCE_DATE_EPOCH", "").run().ok();
    is_built_with(&env, "unset");
}
