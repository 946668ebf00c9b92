//! `kiln prune`, and its parts by Docker's longer names.

use crate::support::env::{IMAGE, TestEnv};

/// The number of bytes that the last line says were reclaimed.
fn reclaimed(text: &str) -> &str {
    text.lines().last().unwrap().strip_prefix("Total reclaimed space: ").unwrap()
}

/// Builds an image with this step, and one with another that takes its name.
fn with_dangling(env: &TestEnv) -> String {
    env.build_text("FROM busybox\nRUN echo first > /f\n");
    let old = env.id(IMAGE);
    env.build_text("FROM busybox\nRUN echo second > /f\n");
    old
}

#[test]
fn images_without_a_name_go() {
    let env = TestEnv::new();
    let old = with_dangling(&env);
    let text = env.ok(&["image", "prune", "-f"]).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["Deleted Images:", &format!("deleted: {old}"), ""]);
    // The cache has the layer.
    assert_eq!(reclaimed(&text), "0B");
    assert_eq!(env.ok(&["images", "-aq"]).text().lines().count(), 2);
    assert_eq!(env.ok(&["image", "prune", "-f"]).text(), "Total reclaimed space: 0B");
    env.build_text("FROM busybox\nRUN echo first > /f\n");
    assert_eq!(env.id(IMAGE), old, "found in the cache");
}

#[test]
fn all_images_go_that_no_container_uses() {
    let env = TestEnv::new();
    with_dangling(&env);
    env.ok(&["tag", "busybox", "other:1"]);
    env.ok(&["create", "--name", "box", IMAGE, "true"]);
    let text = env.ok(&["image", "prune", "-a", "-f"]).text();
    for name in ["busybox:latest", "other:1"] {
        assert!(text.contains(&format!("untagged: {name}\n")), "{text}");
    }
    assert_eq!(env.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).text(), IMAGE);
    env.ok(&["rm", "box"]);
    env.ok(&["image", "prune", "-a", "-f"]);
    assert_eq!(env.ok(&["images", "-aq"]).text(), "");
}

#[test]
fn what_is_cached_goes_but_for_what_images_have() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox AS made\nRUN --mount=type=cache,target=/c echo 12345 > /made; echo 123 > /c/f\nFROM busybox\nCOPY --from=made /made /copy\n");
    env.build(&context, &[]);
    let text = env.ok(&["builder", "prune", "-f"]).text();
    // The result of the first stage, and the cache mount.
    assert_eq!(
        (text.lines().count(), text.lines().next()),
        (5, Some("Deleted build cache objects:"))
    );
    assert_eq!(reclaimed(&text), "10B");
    env.build(&context, &[]).has_cached(1);
    let text = env.ok(&["builder", "prune", "-a", "-f"]).text();
    assert!(text.lines().count() >= 5, "{text}");
    env.build(&context, &[]).has_cached(0);
    assert_eq!(env.sh("cat /copy"), "12345");
}

#[test]
fn what_was_used_last_may_stay() {
    let env = TestEnv::new();
    let build = |name: &str| {
        let dockerfile = format!(
            "FROM busybox AS made\nRUN echo {name} > /{name}; head -c 100000 /bin/busybox >> /{name}\nFROM scratch\nCOPY --from=made /bin/sh /\n"
        );
        env.build(&env.context(&dockerfile), &["-t", name])
    };
    build("old");
    // The time of the last use is known by the minute only, so what is older is made older.
    let aged = std::process::Command::new("find")
        .arg(env.store())
        .args(["-path", "*/records/step/*", "-exec", "touch", "-d", "1 hour ago", "{}", "+"])
        .status();
    assert!(aged.unwrap().success());
    build("new");
    let text = env.ok(&["builder", "prune", "-f", "--keep-storage", "150kB"]).text();
    assert_eq!(reclaimed(&text), "100kB");
    assert_eq!(
        env.ok(&["builder", "prune", "-f", "--keep-storage", "150kB"]).text(),
        "Total reclaimed space: 0B"
    );
    build("new").has_cached(2);
    // By age.
    let text = env.ok(&["builder", "prune", "-f", "--filter", "until=30m"]).text();
    assert_eq!(reclaimed(&text), "0B");
}

#[test]
fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let env = TestEnv::new();
    let old = with_dangling(&env);
    env.ok(&["create", "--name", "box", "busybox", "true"]);
    let text = env.ok(&["prune", "--dry-run"]).text();
    for expected in [
        "Would delete containers:",
        "(box)",
        "Would delete images:",
        &old,
        "Total reclaimable space: ",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    let text = env.ok(&["prune", "-a", "--dry-run"]).text();
    for expected in [IMAGE, "busybox:latest", "Would delete build cache objects:"] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    let said = text.lines().last().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(env.ok(&["images", "-q"]).text().lines().count(), 3);
    assert_eq!(env.ok(&["ps", "-aq"]).text().lines().count(), 1);
    // It is as much as then goes.
    assert_eq!(reclaimed(&env.ok(&["prune", "-a", "-f"]).text()), said);
    assert_eq!(env.ok(&["images", "-aq"]).text() + &env.ok(&["ps", "-aq"]).text(), "");
    let nothing = env.ok(&["df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}"]).text();
    assert!(nothing.lines().all(|line| line.ends_with(" 0 0B")), "{nothing}");
}

#[test]
fn one_is_asked_before() {
    let env = TestEnv::new();
    let old = with_dangling(&env);
    for answer in ["n\n", "", "\n", "yep\n"] {
        let output = env.kiln(["image", "prune"]).stdin(answer).run().ok();
        assert_eq!(output.text(), "Total reclaimed space: 0B");
        output.says(&["WARNING! This will remove all dangling images.", "[y/N]"]);
    }
    let output = env.kiln(["prune", "-a"]).stdin("no\n").run().ok();
    output.says(&["all stopped containers", "without at least one container", "all build cache"]);
    assert_eq!(env.ok(&["images", "-q"]).text().lines().count(), 3);
    let output = env.kiln(["system", "prune"]).stdin("y\n").run().ok();
    assert!(output.text().contains(&old), "{output}");
}

#[test]
fn filters() {
    let env = TestEnv::new();
    for label in ["keep", "go"] {
        let context = env.context(&format!("FROM busybox\nLABEL {label}=1\n"));
        env.ok(&["build", "-q", "-t", label, context.str()]);
        env.ok(&["create", "--name", label, "--label", &format!("{label}=1"), "busybox", "true"]);
    }
    env.ok(&["image", "prune", "-af", "--filter", "until=1h"]);
    assert_eq!(env.ok(&["images", "-q"]).text().lines().count(), 3);
    env.ok(&["image", "prune", "-af", "--filter", "label=go"]);
    env.ok(&["container", "prune", "-f", "--filter", "label!=keep"]);
    assert_eq!(env.ok(&["ps", "-a", "--format", "{{.Names}}"]).text(), "keep");
    let left = env.ok(&["images", "--format", "{{.Repository}}"]).text();
    assert_eq!(left.lines().collect::<Vec<_>>(), ["keep", "busybox"]);
    env.kiln(["prune", "-f", "--filter", "color=red"])
        .run()
        .fails(2)
        .says(&["invalid filter 'color'"]);
}

#[test]
fn what_a_running_build_uses_stays() {
    let env = TestEnv::new();
    let context = env
        .context("FROM busybox\nRUN echo 1 > /one\nRUN echo started; sleep 4; cat /one > /two\n");
    let mut build = env.building(&context, &[]).spawn();
    build.wait_for("started");
    env.ok(&["rmi", "-f", "busybox"]);
    env.ok(&["prune", "-a", "-f"]);
    build.wait().ok();
    assert_eq!(env.sh("cat /one /two"), "1\n1");
}

/// The base of a build that runs is only what the image was before that is removed, and has no name.
#[test]
fn what_a_running_build_stands_on_stays_when_its_sister_goes() {
    let env = TestEnv::new();
    let layout = env.str("layout");
    let output = format!("--output=type=oci,tar=false,dest={layout}");
    env.build(&env.context("FROM busybox\nLABEL a=b\n"), &[&output]);
    env.ok(&["prune", "-a", "-f"]);
    let base = format!("base=oci-layout://{layout}");
    let with_base = ["--build-context", &base];
    env.build(&env.context("FROM base\nRUN echo sister > /x\n"), &with_base);
    let parent = env.ok(&["inspect", "-f", "{{.Parent}}", IMAGE]).text();
    let slow = env.context("FROM base\nRUN echo started; sleep 3\n");
    let args = ["build", "--progress=plain", "-t", "slow", with_base[0], with_base[1], slow.str()];
    let mut build = env.kiln(args).spawn();
    build.wait_for("started");
    let pruned = env.ok(&["prune", "-a", "-f"]).text();
    assert!(pruned.contains(&format!("untagged: {IMAGE}")), "{pruned}");
    assert!(!pruned.contains(&parent), "{pruned}");
    env.ok(&["inspect", &parent]);
    build.wait().ok();
}

#[test]
fn containers_that_run_stay() {
    let env = TestEnv::new();
    env.ok(&["run", "-d", "--name", "runs", "--network=none", "busybox", "sleep", "60"]);
    env.ok(&["create", "--name", "waits", "busybox", "true"]);
    let id = env.ok(&["ps", "-aq", "--no-trunc", "-f", "name=waits"]).text();
    let text = env.ok(&["container", "prune", "-f"]).text();
    assert_eq!(text.lines().take(2).collect::<Vec<_>>(), ["Deleted Containers:", &id]);
    assert_eq!(env.ok(&["ps", "--format", "{{.Names}}"]).text(), "runs");
    env.ok(&["rm", "-f", "runs"]);
}
