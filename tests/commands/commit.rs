//! `kiln commit`.

use std::time::Duration;

use serde_json::json;

use crate::support::account::Account;
use crate::support::archive::Tree;
use crate::support::env::{IMAGE, TestEnv};

/// A container that has run to its end; removed with the store.
fn ran(env: &TestEnv, options: &[&str], script: &str) {
    let args = ["run", "--name", "work"].iter().chain(options);
    env.kiln(args.chain(&["busybox", "sh", "-c", script])).run().ok();
}

/// Runs a script in a container of an image.
fn sh(env: &TestEnv, image: &str, script: &str) -> String {
    env.ok(&["run", "--rm", "--entrypoint", "/bin/sh", image, "-c", script]).text()
}

/// The last entry of an image's history, as its config has it.
fn last_entry(env: &TestEnv, image: &str) -> String {
    env.ok(&["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}|{{.Size}}", image])
        .text()
        .lines()
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn what_was_written_is_a_layer_on_the_image() {
    let env = TestEnv::new();
    let script = "echo data > /data.txt; mkdir -p /d/e; chown 5:6 /d; chmod 2750 /d; ln /data.txt /d/hard; \
                  ln -s ../data.txt /d/e/soft; rm /etc/passwd; rm -r /home; mkdir /home; echo x > /home/new; \
                  mkfifo /pipe; echo more >> /etc/group";
    ran(&env, &[], script);
    let before = env.ok(&["diff", "work"]).text();
    let id = env
        .ok(&["commit", "-m", "add data", "-a", "A U Thor <a@example.com>", "work", "demo:1"])
        .text();
    assert_eq!(id, env.id("demo:1"));
    let image = env.inspect("demo:1");
    assert_eq!(image["Author"], "A U Thor <a@example.com>");
    assert_eq!(image["Comment"], "add data");
    assert_eq!(image["Parent"], env.id("busybox"));
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    assert_eq!(image["Config"]["Cmd"], json!(["sh", "-c", script]));
    assert!(last_entry(&env, "demo:1").starts_with(&format!("sh -c {script}|add data|")));

    let tree = env.tree(&env.context("FROM demo:1\n"), &[]);
    assert_eq!(sh(&env, "demo:1", "cat /data.txt /d/hard"), "data\ndata");
    assert_eq!(tree.owner("d"), "2750 5:6");
    assert_eq!(tree.entry("d/e/soft").link.as_deref(), Some("../data.txt"));
    assert!(!tree.has("etc/passwd") && tree.text("etc/group").ends_with("more\n"));
    assert_eq!(tree.names("home"), ["new"]);
    assert!(tree.has("pipe"));
    assert_eq!(sh(&env, "demo:1", "stat -c %h /data.txt"), "2");
    // The container is as before, and the image goes on working without it.
    assert_eq!(env.ok(&["diff", "work"]).text(), before);
    env.ok(&["rm", "work"]);
    assert_eq!(sh(&env, "demo:1", "cat /data.txt"), "data");
}

#[test]
fn nothing_of_the_mounts_is_in_the_image() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("host")).unwrap();
    let bind = format!("{}:/bound/deep", env.str("host"));
    let options = ["-d", "-v", &bind, "-v", "named:/vol", "--tmpfs", "/mem", "-w", "/wd"];
    ran(
        &env,
        &options,
        "for d in /bound/deep /vol /mem; do echo x > $d/f; done; echo y > /wd/f; echo y > /etc/new; sleep 60",
    );
    let wait = std::time::Instant::now();
    while !env.ok(&["diff", "work"]).text().contains("/etc/new") {
        assert!(wait.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(env.ok(&["diff", "work"]).text(), "C /etc\nA /etc/new\nA /wd\nA /wd/f");
    env.ok(&["commit", "work", "running"]);
    env.ok(&["stop", "-t", "0", "work"]);
    env.ok(&["commit", "work", "stopped"]);
    let trees = ["running", "stopped"].map(|image| {
        let context = env.context(&format!("FROM {image}\n"));
        let mut tree: Tree = env.tree(&context, &[]);
        // Mounting there and unmounting changes it.
        tree.0.retain(|path, _| path != "etc");
        tree
    });
    assert!(!trees[0].has("bound") && !trees[0].has("vol") && !trees[0].has("mem"));
    assert!(
        !trees[0].has("etc/hosts")
            || TestEnv::new().tree(&env.context("FROM busybox\n"), &[]).has("etc/hosts")
    );
    assert_eq!(trees[0], trees[1]);
}

#[test]
fn the_config_is_what_the_container_was_started_with() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nENV A=image B=image\nLABEL old=1\nEXPOSE 80\nUSER root\nENTRYPOINT [\"/bin/sh\"]\nCMD [\"-c\", \"true\"]\n\
         WORKDIR /tmp\nVOLUME /v\nONBUILD RUN nothing\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/ash\", \"-c\"]\n",
    );
    let options = [
        "create",
        "--name",
        "work",
        "-e",
        "A=given",
        "-e",
        "B",
        "-l",
        "new=2",
        "--expose",
        "53/udp",
        "-u",
        "1000:5",
        "-w",
        "/etc",
        "-v",
        "/own",
        "-v",
        "named:/named",
        "--stop-signal",
        "SIGTERM",
    ];
    env.kiln(options.iter().chain(&[IMAGE, "-c", "exit"])).run().ok();
    env.ok(&["commit", "work", "made"]);
    let config = env.inspect("made")["Config"].clone();
    let env_list = config["Env"].as_array().unwrap();
    assert!(
        env_list.contains(&json!("A=given")) && !env_list.iter().any(|it| it == "B=image"),
        "{config}"
    );
    assert_eq!(config["Labels"], json!({"old": "1", "new": "2"}));
    assert_eq!(config["ExposedPorts"], json!({"53/udp": {}, "80/tcp": {}}));
    assert_eq!(config["Volumes"], json!({"/own": {}, "/v": {}}));
    assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("1000:5"), &json!("/etc")));
    assert_eq!(config["Entrypoint"], json!(["/bin/sh"]));
    assert_eq!(config["Cmd"], json!(["-c", "exit"]));
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["OnBuild"], json!(null));
    assert_eq!(config["Shell"], json!(["/bin/ash", "-c"]));
    // A container that wrote nothing adds no layer, but an entry that says what was committed.
    assert_eq!(env.inspect("made")["RootFS"], env.inspect(IMAGE)["RootFS"]);
    assert_eq!(last_entry(&env, "made"), "-c exit||0B");
}

#[test]
fn instructions_change_the_config() {
    let env = TestEnv::new();
    ran(&env, &[], "true");
    let changes = [
        "-c",
        "ENV X=1",
        "-c",
        "CMD [\"cat\",\"/data.txt\"]",
        "-c",
        "EXPOSE 80",
        "-c",
        "LABEL k=v",
        "--change",
        "USER 5",
        "-c",
        "WORKDIR /w\nENV Y=${X}2",
        "-c",
        "VOLUME /v",
        "-c",
        "ENTRYPOINT env",
        "-c",
        "ONBUILD RUN true",
    ];
    let args = ["commit"].iter().chain(&changes).chain(&["work", "c2"]);
    env.kiln(args).run().ok();
    let config = env.inspect("c2")["Config"].clone();
    let has = |entry: &str| config["Env"].as_array().unwrap().contains(&json!(entry));
    assert!(has("X=1") && has("Y=12"), "{config}");
    assert_eq!(config["Cmd"], json!(["cat", "/data.txt"]));
    assert_eq!(config["Entrypoint"], json!(["/bin/sh", "-c", "env"]));
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!(config["Labels"], json!({"k": "v"}));
    assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("5"), &json!("/w")));
    assert_eq!(config["Volumes"], json!({"/v": {}}));
    assert_eq!(config["OnBuild"], json!(["RUN true"]));
    // What the container ran is in the history, not what the image runs.
    assert!(last_entry(&env, "c2").starts_with("sh -c true|"));
}

#[test]
fn what_is_no_change_and_no_container() {
    let env = TestEnv::new();
    ran(&env, &[], "true");
    let refused = |change: &str, words: &[&str]| {
        env.kiln(["commit", "-c", change, "work", "never"]).run().fails(1).says(words);
    };
    refused("RUN true", &["run is not a valid change command"]);
    refused("COPI a b", &["COPI a b", "unknown instruction", "COPY"]);
    refused("ENV", &["ENV"]);
    env.kiln(["commit", "nosuch", "x"]).run().fails(1).says(&["no such container", "nosuch"]);
    env.kiln(["commit", "work", "Wrong Name"]).run().fails(1);
    assert_eq!(env.ok(&["images", "-q"]).text().lines().count(), 1);
    let id = env.ok(&["commit", "work"]).text();
    assert_eq!(env.ok(&["images", "--no-trunc", "-q", "-f", "dangling=true"]).text(), id);
}

#[test]
fn it_stands_still_while_it_is_read_and_goes_on() {
    let env = TestEnv::new();
    // Both files have the same number at every moment that nobody writes; many others make the reading long.
    let script = "i=0; while [ $i -lt 400 ]; do echo $i > /f$i; i=$((i+1)); done; echo ready > /ready; \
                  n=0; while :; do n=$((n+1)); echo $n > /a-first; echo $n > /z-last; done";
    ran(&env, &["-d", "--stop-timeout", "0"], script);
    let wait = std::time::Instant::now();
    while !env.ok(&["diff", "work"]).text().contains("/ready") {
        assert!(wait.elapsed() < Duration::from_secs(60));
    }
    let counts: Vec<i64> = ["one", "two"]
        .iter()
        .map(|image| {
            env.ok(&["commit", "work", image]);
            let both = sh(&env, image, "cat /a-first; echo; cat /z-last");
            let numbers: Vec<i64> = both.split_whitespace().map(|it| it.parse().unwrap()).collect();
            // It may be stopped between the two lines, or while one of them is empty.
            if let [first, last] = numbers[..] {
                assert!(first == last || first == last + 1, "{both}");
            }
            numbers.iter().copied().max().unwrap()
        })
        .collect();
    assert!(counts[1] > counts[0], "it went on: {counts:?}");
    env.ok(&["kill", "work"]);
}

#[test]
fn of_an_ordinary_user() {
    let Some(account) = Account::create() else { return };
    let env = TestEnv::of(account);
    let script = "echo x > /f; chown 1000:50 /f; rm /etc/passwd; mkdir /d; chmod 700 /d; sleep 60";
    ran(&env, &["-d", "--stop-timeout", "0"], script);
    let wait = std::time::Instant::now();
    while !env.ok(&["diff", "work"]).text().contains("/d") {
        assert!(wait.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(env.ok(&["diff", "work"]).text(), "A /d\nC /etc\nD /etc/passwd\nA /f");
    env.ok(&["commit", "work", "made"]);
    env.ok(&["kill", "work"]);
    let tree = env.tree(&env.context("FROM made\n"), &[]);
    assert_eq!(tree.owner("f"), "644 1000:50");
    assert!(!tree.has("etc/passwd"));
    assert_eq!(tree.owner("d"), "700 0:0");
}
