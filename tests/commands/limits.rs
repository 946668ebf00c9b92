//! How much is taken of what comes from elsewhere: what goes beyond a limit is refused by its name, and `--max` and
//! `KILN_MAX` raise it.

use serde_json::json;

use crate::support::archive::Tarball;
use crate::support::crafted::{Crafted, small_layer};
use crate::support::env::TestEnv;

/// Loads the layout, which goes beyond `name`, unless that is raised.
#[track_caller]
fn check(env: &TestEnv, layout: &Crafted, limit: &str, enough: u64, says: &str) {
    let path = layout.path().to_str().unwrap();
    let less = format!("{limit}={}", enough - 1);
    let output = env.kiln(["load", "-i", path, "--max", &less]).run().fails(1);
    output.says(&[says, &format!("--max {limit}="), "KILN_MAX"]);
    env.kiln(["load", "-i", path]).env("KILN_MAX", &less).run().fails(1).says(&[says]);
    assert_eq!(env.ok(&["images", "-q"]).text(), "", "nothing of it is there");
    // What comes later counts, and so does the command line.
    let raised = format!("{less},{limit}={enough}");
    env.kiln(["load", "-i", path]).env("KILN_MAX", &raised).run().ok();
    env.ok(&["image", "prune", "-af"]);
    env.kiln(["--max", &format!("{limit}={enough}"), "load", "-i", path])
        .env("KILN_MAX", &less)
        .run()
        .ok();
    env.ok(&["image", "prune", "-af"]);
    env.ok(&["load", "-i", path]);
    env.ok(&["image", "prune", "-af"]);
}

#[test]
fn each_limit_is_named_and_can_be_raised() {
    let env = TestEnv::empty();
    let layout = Crafted::create(env.path("layout"));
    let files = Tarball::new().file("a", "12345").file("b", "1234").dir("c/d/e", 0o755).finish();
    layout.list(&[layout.image(&[files, small_layer("x")], |_| {})]);
    check(&env, &layout, "layer-bytes", 9, "more than 8 bytes");
    check(&env, &layout, "layer-entries", 3, "more than 2 entries");
    check(&env, &layout, "path-depth", 3, "more than 2 levels of directories");
    check(&env, &layout, "layers", 2, "more than 1 layers");
    let other = layout.image(&[small_layer("y")], |_| {});
    let other = layout.index(&json!({"schemaVersion": 2, "manifests": [other, other]}).to_string());
    layout.list(&[other]);
    check(&env, &layout, "manifests", 2, "more than 1 manifests");
    let large = layout.image(&[small_layer("y")], |config| {
        config["config"]["Labels"] = json!({"l": "x".repeat(5000)});
    });
    layout.list(&[large]);
    let output = env.kiln(["load", "--max=document-bytes=4k", "-i"]).args([layout.path()]).run();
    output.fails(1).says(&["has more than 4096 bytes", "--max document-bytes=8192"]);
    env.kiln(["load", "--max=document-bytes=8k", "-i"]).args([layout.path()]).run().ok();
}

#[test]
fn archives_that_are_added_have_the_same_limits() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nADD a.tar /\n");
    let tar = Tarball::new().file("a", "12345").file("b", "").finish();
    std::fs::write(context.path().join("a.tar"), tar).unwrap();
    let output = env.build_fails(&context, &["--max=layer-entries=1"]);
    output.says(&["Dockerfile:2", "more than 1 entries", "--max layer-entries=2"]);
    env.build_fails(&context, &["--max=layer-bytes=4"]).says(&["more than 4 bytes"]);
    env.build(&context, &["--max=layer-entries=2,layer-bytes=5"]);
}

#[test]
fn a_limit_that_does_not_exist_lists_those_that_do() {
    let env = TestEnv::empty();
    for args in [["--max", "files=1", "images"], ["images", "--max", "files=1"]] {
        env.kiln(args).run().fails(2).says(&["no limit `files`", "layer-entries=4000000"]);
    }
    env.kiln(["images", "--max", "layers=some"]).run().fails(2).says(&["`some` is not a number"]);
    env.kiln(["images"]).env("KILN_MAX", "layers").run().fails(2).says(&["NAME=NUMBER"]);
}
