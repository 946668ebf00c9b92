//! `kiln import`.

use crate::support::archive::{Tarball, gzip};
use crate::support::env::{IMAGE, TestEnv};
use crate::support::web::{Page, Site};

fn tar() -> Vec<u8> {
    Tarball::new()
        .dir("d", 0o750)
        .owned_file("d/f", "content\n", 0o640, 3, 4)
        .symlink("s", "d/f")
        .finish()
}

#[test]
fn a_tar_becomes_an_image_of_one_layer() {
    let env = TestEnv::empty();
    let path = env.path("root.tar");
    std::fs::write(&path, tar()).unwrap();
    let id = env.ok(&["import", path.to_str().unwrap(), "imported:1"]).text();
    assert_eq!(id, env.id("imported:1"));
    assert_eq!(env.inspect("imported:1")["RootFS"]["Layers"].as_array().unwrap().len(), 1);

    let tree = env.tree(&env.context("FROM imported:1\n"), &[]);
    assert_eq!(tree.text("d/f"), "content\n");
    assert_eq!(tree.owner("d/f"), "640 3:4");
    assert_eq!(tree.owner("d"), "750 0:0");
    assert_eq!(tree.entry("s").link.as_deref(), Some("d/f"));
}

#[test]
fn from_stdin_and_compressed() {
    let env = TestEnv::empty();
    env.kiln(["import", "-", "plain"]).stdin(tar()).run().ok();
    env.kiln(["import", "-", "packed"]).stdin(gzip(&tar())).run().ok();
    // The layer is the same, so the images differ in nothing but the time.
    let layers = ["plain", "packed"].map(|name| env.inspect(name)["RootFS"]["Layers"].clone());
    assert_eq!(layers[0], layers[1]);
}

#[test]
fn a_name_that_moves_on() {
    let env = TestEnv::empty();
    env.kiln(["import", "-", IMAGE]).stdin(tar()).run().ok();
    let first = env.id(IMAGE);
    env.kiln(["import", "-", IMAGE]).stdin(Tarball::new().file("x", "x").finish()).run().ok();
    assert_ne!(env.id(IMAGE), first);
}

#[test]
fn what_is_no_tar_is_refused() {
    let env = TestEnv::empty();
    env.kiln(["import", "-", "x"]).stdin("garbage, and enough of it\n".repeat(100)).run().fails(1);
    env.kiln(["import", &env.str("missing.tar"), "x"]).run().fails(1).says(&["missing.tar"]);
    let mut cut = tar();
    cut.truncate(700);
    env.kiln(["import", "-", "x"]).stdin(cut).run().fails(1);
    assert_eq!(env.ok(&["images", "-q"]).text(), "");
}

#[test]
fn entries_that_climb_stay_inside() {
    let env = TestEnv::empty();
    let tar = Tarball::new()
        .symlink("up", "../../../../../../..")
        .file("up/kiln-import-escaped", "x")
        .finish();
    // Refused or kept inside.
    env.kiln(["import", "-", "x"]).stdin(tar).run();
    assert!(!std::path::Path::new("/kiln-import-escaped").exists());
}

#[test]
fn a_wrong_name_is_refused_before_anything_is_read() {
    let env = TestEnv::empty();
    let output = env.kiln(["import", "-", "Not/Valid:1"]).stdin(tar()).run();
    assert!(!output.status.success());
    output.says(&["Not/Valid"]);
}

#[test]
fn from_the_web() {
    let env = TestEnv::empty();
    let site = Site::start();
    site.page("/root.tgz", Page::new(gzip(&tar())))
        .page("/moved", Page::redirect("/root.tgz"))
        .page("/cut", Page::new(tar()).cut())
        .page("/text", Page::new("no archive, and enough of it\n".repeat(100)));
    let address = |path: &str| format!("{}{path}", site.url);
    let output = env.ok(&["import", "-m", "from afar", &address("/moved?key=secret"), "web:1"]);
    let output = output.says(&["Downloading from", "/moved"]);
    assert!(!output.stderr.contains("secret"));
    assert_eq!(output.text(), env.id("web:1"));
    assert_eq!(env.inspect("web:1")["Comment"], "from afar");
    assert_eq!(env.tree(&env.context("FROM web:1\n"), &[]).text("d/f"), "content\n");
    let images = env.ok(&["images", "-aq"]).text();
    // Nothing is asked for if the rest makes no sense.
    site.requests();
    let args = ["import", "-c", "RUN x", &address("/root.tgz"), "never"];
    env.kiln(args).run().fails(1).says(&["run is not a valid change command"]);
    assert!(site.requests().is_empty());
    env.kiln(["import", &address("/missing"), "x"]).run().fails(1).says(&["404", "/missing"]);
    env.kiln(["import", &address("/text"), "x"]).run().fails(1);
    env.kiln(["import", &address("/cut"), "x"]).run().fails(1);
    env.kiln(["--offline", "import", &address("/root.tgz"), "x"]).run().fails(1);
    assert_eq!(env.ok(&["images", "-aq"]).text(), images);
}
