//! SOURCE_DATE_EPOCH: the times of an image, and the same bytes anywhere.

use std::fs;

use crate::support::archive::{Layout, Tarball, gzip};
use crate::support::env::{IMAGE, TestEnv};

/// A build argument for the epoch.
fn epoch(seconds: i64) -> [String; 2] {
    ["--build-arg".to_owned(), format!("SOURCE_DATE_EPOCH={seconds}")]
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// When each entry of the history was made, the oldest first.
fn history(env: &TestEnv) -> Vec<String> {
    let tar = env.str("saved.tar");
    env.ok(&["save", "-o", &tar, IMAGE]);
    let config = Layout::of_tar(&fs::read(&tar).unwrap()).config();
    let entries = config["history"].as_array().unwrap();
    entries.iter().map(|entry| entry["created"].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn an_image_and_its_files_have_the_time_of_the_epoch() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nWORKDIR /w/x\nRUN true\nCOPY f /new/\nLABEL a=b\n");
    context.write("f", "f").touch("f", 1_000_000_000);
    env.build(&context, &strs(&epoch(1_700_000_000)));
    assert_eq!(env.inspect(IMAGE)["Created"], "2023-11-14T22:13:20Z");
    assert_eq!(env.sh("stat -c %Y /w/x /new /new/f"), ["1700000000"; 3].join("\n"));

    // An image that is built again, elsewhere and later, is the same one.
    let id = env.id(IMAGE);
    env.build(&context, &[&strs(&epoch(1_700_000_000))[..], &["--no-cache"]].concat());
    assert_eq!(env.id(IMAGE), id);
}

#[test]
fn what_is_copied_in_any_way_has_the_time_of_the_epoch() {
    let env = TestEnv::new();
    let context = env.context(concat!(
        "FROM busybox AS from\nRUN mkdir -p /s/d && echo x > /s/d/f && ln -s f /s/d/l && ln /s/d/f /s/d/h && mkfifo /s/p\n",
        "FROM busybox\nRUN mkdir /there && touch -d @5 /there\n",
        "COPY --from=from /s /to\nCOPY d /there\nCOPY --link d /linked\nCOPY <<E /heredoc\nE\nADD a.tgz /unpacked\n",
    ));
    context.files(&["d/one", "d/sub/two"]).touch("d/one", 1).touch("d", 2);
    context.write("a.tgz", gzip(&Tarball::new().file("in", "x").finish()));
    env.build(&context, &strs(&epoch(1_600_000_000)));
    let same =
        env.sh("find /to /there /linked /heredoc /unpacked -exec stat -c %Y {} + | sort | uniq -c");
    let same: Vec<_> = same.split_whitespace().collect();
    // What was in the archive keeps its time.
    assert_eq!(same, ["16", "1600000000", "1", "1700000000"]);
}

#[test]
fn steps_of_another_epoch_are_no_hits() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nWORKDIR /w\nCOPY f /n/\n");
    context.write("f", "f").touch("f", 1);
    env.build(&context, &[]).has_cached(0);
    env.build(&context, &strs(&epoch(7))).has_cached(0);
    assert_eq!(env.sh("stat -c %Y /w /n /n/f"), "7\n7\n7");
    env.build(&context, &strs(&epoch(8))).has_cached(0);
    assert_eq!(env.sh("stat -c %Y /w /n /n/f"), "8\n8\n8");
    env.build(&context, &strs(&epoch(7))).has_cached(2);
    assert_eq!(env.sh("stat -c %Y /w /n /n/f"), "7\n7\n7");
    env.build(&context, &[]).has_cached(2);
    assert_eq!(env.sh("stat -c %Y /n/f"), "1");
}

#[test]
fn a_command_is_a_hit_whatever_the_epoch_and_counts_as_new() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo x > /x\nENV A=b\n");
    env.build(&context, &[]);
    let base = history(&env)[0].clone();
    // The layer is older than this epoch, and so would the image be that is built here.
    env.build(&context, &strs(&epoch(4_000_000_000))).has_cached(1);
    let late = "2096-10-02T07:06:40Z";
    assert_eq!(env.inspect(IMAGE)["Created"], late);
    assert_eq!(history(&env), [&base, late, late]);
}

#[test]
fn a_base_keeps_its_times() {
    let env = TestEnv::new();
    env.build(&env.context("FROM busybox\nENV A=b\n"), &strs(&epoch(7)));
    let before = history(&env);
    env.ok(&["tag", IMAGE, "before"]);
    env.build(&env.context("FROM before\n"), &strs(&epoch(5)));
    assert_eq!((env.id(IMAGE), history(&env)), (env.id("before"), before.clone()));
    env.build(&env.context("FROM before\nENV C=d\n"), &strs(&epoch(9)));
    assert_eq!(history(&env), [&before[..], &["1970-01-01T00:00:09Z".to_owned()]].concat());
}
