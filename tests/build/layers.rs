//! Images with very many layers: what is done with any image is done with them.

use serde_json::json;

use crate::support::account::Account;
use crate::support::archive::{Tarball, Tree, sha256};
use crate::support::env::{IMAGE, TestEnv};
use crate::support::registry::Registry;

/// A Dockerfile of so many steps that have a layer each, and some that have none.
fn many(layers: usize) -> String {
    let mut text = "FROM busybox\n".to_owned();
    for number in 0..layers {
        text += &match number % 50 {
            0 => format!("ENV N={number}\nRUN rm -f /same; echo {number} >> /runs\n"),
            7 => format!("RUN rm -rf /dir* && mkdir /dir{number} && echo {number} > /same\n"),
            _ => format!("COPY <<EOF /many/f{number}\n{number}\nEOF\n"),
        };
    }
    text
}

/// An image of so many layers, as another tool has saved it.
fn archive(layers: usize) -> Vec<u8> {
    let file =
        |number: usize| Tarball::new().file(&format!("f{number}"), number.to_string()).finish();
    let tars: Vec<Vec<u8>> = (0..layers).map(file).collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "rootfs": {
            "type": "layers",
            "diff_ids": tars.iter().map(|tar| sha256(tar)).collect::<Vec<_>>(),
        },
    });
    let name = |number: usize| format!("{number}/layer.tar");
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": ["high:1"],
        "Layers": (0..layers).map(name).collect::<Vec<_>>(),
    }]);
    let mut archive = Tarball::new().file("config.json", config.to_string());
    for (number, tar) in tars.iter().enumerate() {
        archive = archive.file(&name(number), tar);
    }
    archive.file("manifest.json", manifest.to_string()).finish()
}

/// What [`many`] leaves, as seen in a container.
const LOOK: &str = "ls -d /dir*; cat /runs /same; ls /many | wc -l; cat /many/f1 /many/f199";

const SEEN: &str = "/dir157\n0\n50\n100\n150\n157\n192\n1\n199";

#[test]
fn an_image_of_200_layers() {
    let env = TestEnv::new();
    let context = env.context(&many(200));
    env.build(&context, &[]);
    assert_eq!(env.sh(LOOK), SEEN);
    env.build(&context, &[]).has_cached(200);

    // The base, 200 layers and four steps without one; the last one is the image itself.
    let rows = |args: &[&str]| env.ok(args).text().lines().count();
    assert_eq!(rows(&["images", "-aq"]), 1 + 204);
    assert_eq!(env.inspect(IMAGE)["RootFS"]["Layers"].as_array().unwrap().len(), 201);
    let history = env.ok(&["history", "-q", "--no-trunc", IMAGE]).text();
    let ids: Vec<&str> = history.lines().collect();
    assert_eq!((ids.len(), ids[0]), (205, env.id(IMAGE).as_str()));
    // Each step is an image that can be run: this one has 101 of the layers, five of them of RUN.
    assert_eq!(env.ok(&["run", "--rm", ids[100], "ls", "/many"]).text().lines().count(), 96);

    let tar = env.str("saved.tar");
    env.ok(&["save", "-o", &tar, IMAGE]).says(&["201 layers", "Docker loads no more than 125"]);
    let other = TestEnv::empty();
    other.ok(&["load", "-i", &tar]);
    assert_eq!(other.id(IMAGE), env.id(IMAGE));
    assert_eq!(other.sh(LOOK), SEEN);

    let removed = env.ok(&["rmi", IMAGE]).text();
    // The image and what it was, and its layers.
    assert_eq!(removed.lines().filter(|line| line.starts_with("Deleted: ")).count(), 204);
    assert_eq!(rows(&["images", "-aq"]), 1);
    assert!(env.ok(&["prune", "-af"]).text().contains("Total reclaimed space: "));
    assert_eq!(env.ok(&["images", "-aq"]).text(), "");
}

#[test]
fn a_registry_takes_and_gives_them() {
    let env = TestEnv::empty();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let name = registry.at("team/high:1");
    env.kiln(["load"]).stdin(archive(200)).run().ok();
    env.ok(&["tag", "high:1", &name]);
    env.ok(&["push", &name]).says(&["200 layers", "no more than 127"]);
    let other = TestEnv::empty();
    other.ok(&["pull", &name]);
    assert_eq!(other.id(&name), env.id("high:1"));
    let tree = other.tree(&other.context(&format!("FROM {name}\n")), &[]);
    assert_eq!((tree.text("f0"), tree.text("f199")), ("0".to_owned(), "199".to_owned()));
}

#[test]
fn five_hundred_and_no_more() {
    let env = TestEnv::new();
    // Run below, so that it is no matter what the base is made of.
    env.kiln(["load"]).stdin(archive(498)).run().ok();
    let context = env.context(
        "FROM busybox AS tools\nFROM high:1\nCOPY --from=tools / /\nRUN cat /f0 /f497 > /both && rm /f1\n",
    );
    env.build(&context, &[]);
    assert_eq!(env.sh("cat /both; ls / | grep -c '^f'"), "0497497");
    // Committed with one more layer, it could not be run.
    env.ok(&["run", "--name", "full", "--network=none", IMAGE, "touch", "/more"]);
    env.kiln(["commit", "full", "more"]).run().fails(1).says(&["501 layers", "500"]);
    env.ok(&["run", "--name", "same", "--network=none", IMAGE, "true"]);
    env.ok(&["commit", "same", "same"]);
    assert_eq!(env.ok(&["run", "--rm", "same", "cat", "/both"]).text(), "0497");
    let context = env.context(&format!("FROM {IMAGE}\nENV A=b\nCOPY Dockerfile /one-more\n"));
    env.kiln(["build"]).args([context.path()]).run().fails(1).says(&[
        "501 layers",
        "500",
        "Dockerfile:3",
        "COPY Dockerfile /one-more",
        "join some",
    ]);
}

#[test]
fn an_ordinary_user_has_them_too() {
    let Some(env) = Account::create().map(TestEnv::of) else { return };
    env.build_text(&many(130));
    assert_eq!(env.sh("ls -d /dir*; cat /runs; ls /many | wc -l"), "/dir107\n0\n50\n100\n124");
    let tree: Tree =
        env.tree(&env.context(&format!("FROM {IMAGE}\nCOPY Dockerfile /many/\n")), &[]);
    assert_eq!(tree.text("many/f129"), "129\n");
}
