//! SOURCE_DATE_EPOCH: the times of an image, and the same bytes anywhere.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use serde_json::Value;

use crate::support::account::Account;
use crate::support::archive::{Layout, Tarball, Tree, gzip};
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::registry::Registry;

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

/// Gives a store the base image with the times and the bytes that `from` has saved.
fn load_base(from: &TestEnv, into: &TestEnv) {
    let saved = from.path("base-image.tar");
    if !saved.exists() {
        from.ok(&["save", "-o", &from.str("base-image.tar"), "busybox"]);
        from.ok(&["rmi", "busybox"]);
        load_base(from, from);
    }
    let archive = into.path("loaded.tar");
    fs::copy(saved, &archive).unwrap();
    into.ok(&["load", "-i", &into.str("loaded.tar")]);
}

/// Two stores with the same base image.
fn two_machines() -> [TestEnv; 2] {
    let machines = [TestEnv::new(), TestEnv::empty()];
    load_base(&machines[0], &machines[1]);
    machines
}

/// A Dockerfile whose layers have every kind of change in them, and files of many times.
fn example(env: &TestEnv) -> Context {
    let context = env.context(concat!(
        "FROM busybox AS tool\nRUN mkdir -p /made/by && date +%N > /dev/null && echo tool > /made/by/tool\n",
        "FROM busybox\n",
        "RUN mkdir /d /gone && echo x > /d/f && ln /d/f /d/hard && ln -s f /d/link && mkfifo /d/fifo && chmod 4755 /d/f\n",
        "RUN rm -r /home && touch -d @1000 /old && touch -d @4000000000 /new && echo y > /gone/y\n",
        "RUN rm -r /gone && mkdir /gone && chown 7:8 /d/f && mv /d/link /moved\n",
        "WORKDIR /w/x\n",
        "COPY --from=tool /made .\n",
        "COPY f sub /copied/\n",
        "COPY <<E /heredoc\ntext\nE\n",
        "ADD a.tgz /unpacked\n",
        "RUN chmod 700 / && true\n",
        "CMD [\"true\"]\n",
    ));
    context.files(&["f", "sub/g"]);
    context.write("a.tgz", gzip(&Tarball::new().file("in", "x").finish()));
    context
}

fn archive(env: &TestEnv, context: &Context, args: &[&str], keys: &str) -> Vec<u8> {
    let dest = env.str("out.tar");
    env.build(context, &[args, &["--output", &format!("type=oci,dest={dest},{keys}")]].concat());
    fs::read(&dest).unwrap()
}

const REWRITE: &str = "rewrite-timestamp=true";

#[test]
fn two_machines_make_the_same_archive_at_different_times() {
    let [one, two] = two_machines();
    let args = epoch(1_700_000_000);
    let first = archive(&one, &example(&one), &strs(&args), REWRITE);
    std::thread::sleep(Duration::from_millis(1100));
    let second = archive(&two, &example(&two), &strs(&args), REWRITE);
    assert!(first == second, "the archives differ");
    // The cache makes no difference either.
    assert!(archive(&two, &example(&two), &strs(&args), REWRITE) == second);
    // Without rewriting they cannot be the same.
    let plain = archive(&one, &example(&one), &strs(&args), "tar=true");
    assert!(plain != archive(&two, &example(&two), &strs(&args), "tar=true"));
}

#[test]
fn layers_of_an_older_build_make_the_same_archive() {
    let [one, two] = two_machines();
    let (before, now) = (one.context(""), two.context(""));
    for context in [&before, &now] {
        context.dockerfile(concat!(
            "FROM busybox\nRUN echo x > /x && touch -d @1000 /old && cp -p /x /y\n",
            "RUN mv /x /moved && chown 1:1 /y\n"
        ));
    }
    one.build(&before, &[]);
    // The layers of the first store are older than this epoch, as those of a build server are than the next commit.
    let late = epoch(4_000_000_000);
    let cached = archive(&one, &before, &strs(&late), REWRITE);
    assert!(cached == archive(&two, &now, &strs(&late), REWRITE));
    let last = Tree::of_tar(Layout::of_tar(&cached).layers().last().unwrap());
    assert_eq!([last.entry("moved").mtime, last.entry("y").mtime], [4_000_000_000; 2]);
}

#[test]
fn new_layers_are_rewritten_and_those_of_the_base_are_not() {
    let env = TestEnv::new();
    let context = example(&env);
    let args = epoch(1_700_000_000);
    let plain = Layout::of_tar(&archive(&env, &context, &strs(&args), "tar=true"));
    let rewritten = Layout::of_tar(&archive(&env, &context, &strs(&args), REWRITE));
    let diff_ids = |layout: &Layout| layout.config()["rootfs"]["diff_ids"].clone();
    assert_eq!(diff_ids(&plain)[0], diff_ids(&rewritten)[0]);
    let annotation = |layout: &Layout, layer: usize| {
        layout.manifest()["layers"][layer]["annotations"]["buildkit/rewritten-timestamp"].clone()
    };
    assert_eq!(annotation(&rewritten, 0), Value::Null);
    let layers = rewritten.layers();
    assert_eq!(layers.len(), 10);
    for (number, tar) in layers.iter().enumerate().skip(1) {
        assert_eq!(annotation(&rewritten, number), "1700000000", "layer {number}");
        assert_eq!(annotation(&plain, number), Value::Null);
        for (path, entry) in Tree::of_tar(tar).0 {
            assert!(entry.mtime <= 1_700_000_000, "{path} of layer {number}: {}", entry.mtime);
        }
    }
    let second = Tree::of_tar(&layers[2]);
    assert_eq!((second.entry("old").mtime, second.entry("new").mtime), (1000, 1_700_000_000));
    assert!(second.has(".wh.home"));
    let config = rewritten.config();
    assert_eq!((&config["created"], &config["history"][5]["created"]), {
        let time = &config["history"][1]["created"];
        assert_eq!(time, "2023-11-14T22:13:20Z");
        (time, time)
    });
    assert_eq!(config["history"][0], plain.config()["history"][0]);
}

#[test]
fn an_image_of_the_store_can_be_rewritten_too() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo x > /x && touch -d @5 /old\n");
    let args = epoch(1_700_000_000);
    let iid = env.str("iid");
    let output = format!("type=image,name=other,{REWRITE}");
    env.build(&context, &[&strs(&args)[..], &["-o", &output, "--iidfile", &iid]].concat());
    assert_eq!(env.id(IMAGE), fs::read_to_string(&iid).unwrap());
    assert_eq!(env.id(IMAGE), env.id("other"));
    assert_eq!(env.sh("stat -c %Y /x /old"), "1700000000\n5");

    // It is the image of the archive, and of what is saved, and can be built upon.
    let archive = Layout::of_tar(&archive(&env, &context, &strs(&args), REWRITE));
    assert_eq!(archive.manifest()["config"]["digest"], Value::from(env.id("other")));
    env.ok(&["save", "-o", &env.str("saved.tar"), "other"]);
    let saved = Layout::of_tar(&fs::read(env.path("saved.tar")).unwrap());
    assert_eq!(saved.layers(), archive.layers());
    env.build(&env.context("FROM other\nRUN echo z >> /x\n"), &[]);
    assert_eq!(env.sh("stat -c %Y /old; cat /x"), "5\nx\nz");
}

#[test]
fn what_two_machines_push_has_the_same_digest() {
    let [one, two] = two_machines();
    let Some(registry) = Registry::start(&one.path("")) else { return };
    let mut pushed = Vec::new();
    for (tag, env) in [("one", &one), ("two", &two)] {
        let name = registry.at(&format!("app:{tag}"));
        let output = format!("type=registry,name={name},oci-mediatypes=true,{REWRITE}");
        env.build(&example(env), &[&strs(&epoch(1_700_000_000))[..], &["-o", &output]].concat());
        pushed.push(registry.manifest("app", tag));
        assert_eq!(env.id(IMAGE), env.id(&name));
    }
    assert_eq!(pushed[0], pushed[1]);
    let layers = &pushed[0].1["layers"];
    assert_eq!(layers[0]["annotations"], Value::Null);
    assert_eq!(layers[1]["annotations"]["buildkit/rewritten-timestamp"], "1700000000");
}

#[test]
fn each_output_has_its_own_times() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo x > /x\n");
    let output = |name: &str, keys: &str| format!("type=oci,dest={}{keys}", env.str(name));
    let outputs = [
        output("plain", ""),
        output("rewritten", ",rewrite-timestamp=true"),
        output("earlier", ",rewrite-timestamp=true,source-date-epoch=5"),
        output("later", ",rewrite-timestamp=true,source-date-epoch=1800000000"),
        output("none", ",rewrite-timestamp=true,source-date-epoch="),
    ];
    let mut args: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output]).collect();
    let epoch = epoch(1_700_000_000);
    args.extend(epoch.iter().map(String::as_str));
    env.build(&context, &args).says(&["changes nothing without SOURCE_DATE_EPOCH"]);
    let times = |name: &str| {
        let layout = Layout::of_tar(&fs::read(env.path(name)).unwrap());
        let file = Tree::of_tar(&layout.layers()[1]).entry("x").mtime;
        (layout.config()["created"].as_str().unwrap().to_owned(), file)
    };
    let now = times("plain").1;
    assert!(now > 1_700_000_000);
    let created = "2023-11-14T22:13:20Z".to_owned();
    assert_eq!(times("plain"), (created.clone(), now));
    assert_eq!(times("rewritten"), (created.clone(), 1_700_000_000));
    assert_eq!(times("earlier"), ("1970-01-01T00:00:05Z".to_owned(), 5));
    assert_eq!(times("later"), (created.clone(), 1_800_000_000));
    assert_eq!(times("none"), (created.clone(), now));
    // The store has what no output has asked to be changed.
    assert_eq!(env.sh("stat -c %Y /x"), now.to_string());
}

#[test]
fn files_that_are_written_one_by_one_all_have_the_time_of_the_epoch() {
    let env = TestEnv::new();
    let context =
        env.context("FROM busybox\nRUN mkdir /d && touch -d @5 /d/old && ln -s old /d/link\n");
    let args = epoch(1_700_000_000);
    let tree = env.tree(&context, &strs(&args));
    assert!(tree.0.values().all(|entry| entry.mtime == 1_700_000_000));
    let directory = format!("type=local,dest={}", env.str("out"));
    env.build(&context, &[&strs(&args)[..], &["-o", &directory]].concat());
    for path in ["out/d", "out/d/old", "out/d/link", "out/bin/sh"] {
        assert_eq!(env.path(path).symlink_metadata().unwrap().mtime(), 1_700_000_000, "{path}");
    }
    // Unless the output says that there is none.
    let directory = format!("type=local,dest={},source-date-epoch=", env.str("own"));
    env.build(&context, &[&strs(&args)[..], &["-o", &directory]].concat());
    assert_eq!(env.path("own/d/old").metadata().unwrap().mtime(), 5);
}

#[test]
fn wrong_values_are_refused_before_anything_is_built() {
    let env = TestEnv::empty();
    let context = env.context("FROM nothing-of-this-name\n");
    for (keys, says) in [
        ("rewrite-timestamp=perhaps", "invalid value `perhaps` for `rewrite-timestamp`"),
        ("source-date-epoch=now", "invalid value `now` for `source-date-epoch`"),
    ] {
        let output = format!("type=oci,dest=-,{keys}");
        env.kiln(["build", "-o", &output, context.str()]).run().fails(2).says(&[says]);
    }
}

#[test]
fn an_ordinary_user_makes_the_same_archive() {
    let Some(account) = Account::create() else { return };
    let one = TestEnv::new();
    let two = TestEnv::of(account);
    load_base(&one, &two);
    let args = epoch(1_700_000_000);
    let first = archive(&one, &example(&one), &strs(&args), REWRITE);
    assert!(first == archive(&two, &example(&two), &strs(&args), REWRITE));
}
