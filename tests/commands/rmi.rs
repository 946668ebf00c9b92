//! `kiln rmi`.

use crate::support::archive::Tarball;
use crate::support::env::{IMAGE, TestEnv};

#[test]
fn one_of_several_names_is_only_untagged() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "other:1"]);
    assert_eq!(env.ok(&["rmi", "other:1"]).text(), "Untagged: other:1");
    env.ok(&["run", "--rm", "busybox", "true"]);
}

#[test]
fn the_last_name_deletes_the_image() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f\n");
    let id = env.id(IMAGE);
    let text = env.ok(&["rmi", IMAGE]).text();
    assert!(text.starts_with(&format!("Untagged: {IMAGE}\n")), "{text}");
    assert!(text.contains(&format!("Deleted: {id}")), "{text}");
    env.kiln(["inspect", &id]).run().fails(1);
    env.ok(&["run", "--rm", "busybox", "true"]);
}

/// The ids in lines of this kind.
fn ids<'t>(text: &'t str, kind: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.strip_prefix(kind)).collect()
}

#[test]
fn an_id_with_several_names_must_be_forced() {
    let env = TestEnv::new();
    let id = env.id("busybox");
    let short = &id["sha256:".len()..][..12];
    for other in ["busybox:2", "other:1"] {
        env.ok(&["tag", "busybox", other]);
        let message = format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        );
        env.kiln(["rmi", &id]).run().fails(1).says(&[&message]);
        env.ok(&["rmi", other]);
    }
    // The only name goes with it.
    env.ok(&["tag", "busybox", "other:1"]);
    env.ok(&["tag", "busybox", "busybox:2"]);
    let text = env.ok(&["rmi", "-f", short]).text();
    assert_eq!(ids(&text, "Untagged: "), ["busybox:2", "busybox:latest", "other:1"]);
    assert_eq!(ids(&text, "Deleted: ")[0], id);
    assert_eq!(env.ok(&["images", "-aq"]).text(), "");
}

#[test]
fn what_it_was_before_goes_too() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo 1\nENV A=1\nRUN echo 2\n");
    let all = env.ok(&["images", "-aq", "--no-trunc"]).text();
    let all: Vec<&str> = all.lines().collect();
    let text = env.ok(&["rmi", all[0]]).text();
    assert_eq!(ids(&text, "Untagged: "), [IMAGE]);
    assert_eq!(ids(&text, "Deleted: "), &all[..3], "all but the base");
    assert_eq!(env.ok(&["images", "-aq", "--no-trunc"]).text(), all[3]);
}

#[test]
fn without_pruning_what_it_was_before_stays() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo 1\nRUN echo 2\n");
    let all = env.ok(&["images", "-aq"]).text();
    let all: Vec<&str> = all.lines().collect();
    env.ok(&["rmi", "--no-prune", IMAGE]);
    assert_eq!(env.ok(&["images", "-aq"]).text(), all[1..].join("\n"));
    // Nothing was made on it any more.
    assert_eq!(env.ok(&["images", "-q", "-f", "dangling=true"]).text(), all[1]);
}

#[test]
fn what_another_image_was_made_on_is_only_untagged() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo 1\n");
    let parent = env.id(IMAGE);
    let child = env.context(&format!("FROM {IMAGE}\nRUN echo 2\nRUN echo 3\n"));
    env.ok(&["build", "-q", "-t", "child", child.str()]);
    assert_eq!(env.ok(&["rmi", IMAGE]).text(), format!("Untagged: {IMAGE}"));
    let all = env.ok(&["images", "-aq", "--no-trunc"]).text();
    let all: Vec<&str> = all.lines().collect();
    assert!(all.contains(&parent.as_str()));
    // Neither it nor a step of the child can be removed, whatever one does.
    for id in &all[1..3] {
        let message = "(cannot be forced) - image has dependent child images";
        env.kiln(["rmi", id]).run().fails(1).says(&[message]);
        env.kiln(["rmi", "-f", id]).run().fails(1).says(&[message]);
    }
    // With the child everything goes that has no name.
    let text = env.ok(&["rmi", "child"]).text();
    assert_eq!(ids(&text, "Deleted: "), &all[..3]);
    assert_eq!(env.ok(&["images", "-q"]).text().lines().count(), 1);
}

#[test]
fn layers_that_nobody_needs_go_from_the_disk() {
    let env = TestEnv::empty();
    let tar = Tarball::new().file("f", "x".repeat(300_000)).finish();
    env.kiln(["import", "-", "base"]).stdin(tar).run().ok();
    let layer = env.inspect("base")["RootFS"]["Layers"][0].as_str().unwrap().to_owned();
    let directory =
        env.inspect("base")["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap().to_owned();
    let text = env.ok(&["rmi", "base"]).text();
    assert_eq!(ids(&text, "Deleted: ")[1..], [layer]);
    assert!(!std::path::Path::new(&directory).exists());
}

#[test]
fn scripts_that_people_write() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo 1\n");
    for step in ["1", "2", "3"] {
        context.write("Dockerfile", format!("FROM busybox\nRUN echo {step}\n"));
        env.build(&context, &[]);
    }
    let words = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let dangling = words(env.ok(&["images", "-qf", "dangling=true"]).text());
    assert_eq!(dangling.len(), 2);
    env.kiln(["rmi".to_owned()].into_iter().chain(dangling)).run().ok();
    assert_eq!(env.ok(&["images", "-qf", "dangling=true"]).text(), "");
    env.ok(&["tag", IMAGE, "test:2"]);
    // An image of two names is there once, so the list can be removed as it is.
    let all = words(env.ok(&["images", "-q"]).text());
    assert_eq!(all.len(), 2);
    env.kiln(["rmi".to_owned(), "-f".to_owned()].into_iter().chain(all)).run().ok();
    assert_eq!(env.ok(&["images", "-aq"]).text(), "");
}

#[test]
fn in_force_what_is_missing_is_no_failure() {
    let env = TestEnv::new();
    env.kiln(["rmi", "-f", "none"]).run().ok().says(&["no such image: `none`"]);
    env.kiln(["rmi", "none", "none:2"]).run().fails(1).says(&["`none`", "`none:2`"]);
}

#[test]
fn an_id_that_is_the_beginning_of_several_is_refused() {
    let env = TestEnv::new();
    // Among seventeen ids two begin with the same digit.
    for number in 0..16 {
        let context = env.context(&format!("FROM busybox\nLABEL n={number}\n"));
        env.ok(&["build", "-q", "-t", &format!("i{number}"), context.str()]);
    }
    let ids = env.ok(&["images", "-q"]).text();
    let first = |id: &str| id[..1].to_owned();
    let digit =
        ids.lines().map(first).find(|d| ids.lines().filter(|id| first(id) == *d).count() > 1);
    let digit = digit.unwrap();
    env.kiln(["rmi", "-f", &digit]).run().fails(1).says(&["is the beginning of", "image ids"]);
    assert_eq!(env.ok(&["images", "-q"]).text(), ids);
}

#[test]
fn what_is_missing_is_named_and_the_rest_is_removed() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "other:1"]);
    env.kiln(["rmi", "none", "other:1"]).run().fails(1).says(&["none"]);
    assert_eq!(env.ok(&["images", "other"]).text().lines().count(), 1);
}

#[test]
fn a_removed_image_is_built_again() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo x > /f\n");
    env.build(&context, &[]);
    env.ok(&["rmi", IMAGE]);
    env.build(&context, &[]);
    assert_eq!(env.sh("cat /f"), "x");
}

#[test]
fn the_base_of_an_image_may_go() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo x > /f\n");
    env.ok(&["rmi", "busybox"]);
    assert_eq!(env.sh("cat /f"), "x");
}

#[test]
fn an_image_of_containers_is_kept_unless_forced() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo 1\n");
    let id = env.id(IMAGE);
    let short = &id["sha256:".len()..][..12];
    let container =
        env.ok(&["create", "--name", "box", IMAGE, "sh", "-c", "echo still here"]).text();
    let container = &container[..12];
    let message = format!(
        "conflict: unable to remove repository reference \"{IMAGE}\" (must force) - container {container} is using its referenced image {short}"
    );
    env.kiln(["rmi", IMAGE]).run().fails(1).says(&[&message]);
    let message = format!(
        "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {container}"
    );
    env.kiln(["rmi", short]).run().fails(1).says(&[&message]);
    // One of two names may go.
    env.ok(&["tag", IMAGE, "other:1"]);
    assert_eq!(env.ok(&["rmi", IMAGE]).text(), format!("Untagged: {IMAGE}"));
    let text = env.ok(&["rmi", "-f", "other:1"]).text();
    assert_eq!(
        (ids(&text, "Untagged: "), ids(&text, "Deleted: ")[0]),
        (vec!["other:1"], id.as_str())
    );
    // What a container stands on stays.
    env.ok(&["prune", "-f", "--filter", "until=1h"]);
    assert_eq!(env.ok(&["start", "-a", "box"]).text(), "still here");
}

#[test]
fn an_image_of_a_container_that_runs_only_loses_its_name() {
    let env = TestEnv::new();
    let id = env.id("busybox");
    let short = &id["sha256:".len()..][..12];
    let container =
        env.ok(&["run", "-d", "--network=none", "--name", "box", "busybox", "sleep", "60"]).text();
    let container = &container[..12];
    assert_eq!(env.ok(&["rmi", "-f", "busybox"]).text(), "Untagged: busybox:latest");
    let message = format!(
        "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {container}"
    );
    env.kiln(["rmi", "-f", short]).run().fails(1).says(&[&message]);
    env.ok(&["rm", "-f", "box"]);
    env.ok(&["rmi", short]);
    assert_eq!(env.ok(&["images", "-aq"]).text(), "");
}

#[test]
fn a_step_that_a_container_was_made_of_stays() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo 1\nRUN echo 2\n");
    let step = env.inspect(IMAGE)["Parent"].as_str().unwrap().to_owned();
    env.ok(&["create", "--name", "box", &step, "true"]);
    env.ok(&["rmi", IMAGE]);
    assert_eq!(env.id(&step), step);
    env.ok(&["start", "-a", "box"]);
    env.ok(&["rm", "box"]);
    env.ok(&["rmi", &step]);
    assert_eq!(env.ok(&["images", "-aq"]).text().lines().count(), 1);
}
