//! Bytes that are not what was written: found by `kiln fsck` and named, found on use where bytes leave the store, and mended.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fault::Faults;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::Output;
use crate::support::registry::Registry;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// A byte in the middle is another one; the size and the times are what they were.
    Flip,
    /// The second half is gone.
    Truncate,
    /// Nothing is left of the contents, as after a power cut.
    Empty,
    /// It is gone.
    Remove,
}

pub(super) const HARMS: [Harm; 4] = [Harm::Flip, Harm::Truncate, Harm::Empty, Harm::Remove];

pub(super) fn harm(path: &Path, harm: Harm) {
    let stat = fs::metadata(path).unwrap();
    let file = || OpenOptions::new().write(true).open(path).unwrap();
    match harm {
        Harm::Flip => {
            let middle = stat.len() / 2;
            let byte = fs::read(path).unwrap()[usize::try_from(middle).unwrap()];
            let mut file = file();
            file.seek(SeekFrom::Start(middle)).unwrap();
            file.write_all(&[byte ^ 1]).unwrap();
            file.set_modified(stat.modified().unwrap()).unwrap();
        }
        Harm::Truncate => file().set_len(stat.len() / 2).unwrap(),
        Harm::Empty => file().set_len(0).unwrap(),
        Harm::Remove => fs::remove_file(path).unwrap(),
    }
}

/// The files below directories of the store with this name.
pub(super) fn files(root: &Path, part: &str) -> Vec<PathBuf> {
    let mut command = Command::new("find");
    command.arg(root).args(["-type", "f", "-size", "+0", "-path", part]);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let mut files: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    files.sort();
    files
}

/// Does harm to each of some files, one after the other: each time it is found and named, and repaired; then nothing is
/// wrong, and the next build makes the same image.
#[track_caller]
fn found_and_repaired(part: &str, harms: &[Harm], is_named: impl Fn(&Path, &str) -> bool) {
    let faults = Faults::new();
    let whole = faults.built_store();
    faults.kiln(&whole, &["create", "--name", "kept", IMAGE, "true"]).run().ok();
    faults.kiln(&whole, &["sync"]).run().ok();
    let paths = files(&whole, part);
    assert!(!paths.is_empty(), "nothing like {part}");
    // One kind of harm after the other, or it takes minutes.
    for (path, kind) in paths.iter().zip(harms.iter().copied().cycle()) {
        let root = faults.copy_of(&whole);
        harm(&root.join(path.strip_prefix(&whole).unwrap()), kind);
        let what = format!("{kind:?} of {}", path.display());
        let found = faults.fsck(&root);
        let text = found.text();
        assert_eq!(found.status.code(), Some(1), "{what}: {found}");
        assert!(is_named(path, &text), "{what}: {found}");
        // Looking changes nothing: it is found again.
        assert_eq!(faults.fsck(&root).text(), text, "{what}");
        let repaired = faults.kiln(&root, &["fsck", "--repair"]).run();
        let has_container = faults.kiln(&root, &["ps", "-aq"]).run().ok().text();
        if !repaired.status.success() {
            // What a container stands on is not taken from it.
            assert!(repaired.text().contains("kiln rm kept"), "{what}: {repaired}");
            assert_ne!(has_container, "", "{what}");
            faults.kiln(&root, &["rm", "kept"]).run().ok();
            faults.kiln(&root, &["fsck", "--repair"]).run().ok();
        }
        // What was dropped is loaded or built again.
        faults.load(&root);
        faults.assert_whole(&root, &what);
    }
}

#[test]
fn records() {
    found_and_repaired("*/records/*", &[Harm::Flip, Harm::Truncate, Harm::Empty], |path, text| {
        let kind = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let key = path.file_name().unwrap().to_str().unwrap();
        text.contains(&format!("record `{kind}/{key}`"))
    });
}

#[test]
fn files_of_layers() {
    let named = |path: &Path, text: &str| {
        let id = path.iter().skip_while(|part| *part != "snapshots").nth(1).unwrap();
        text.contains(&format!("layer `{}`", id.to_str().unwrap()))
            && (text.contains("  image `") || text.contains("  cached step `"))
    };
    found_and_repaired("*/snapshots/*", &HARMS, named);
}

#[test]
fn blobs() {
    let named = |path: &Path, text: &str| {
        let name = path.file_name().unwrap().to_str().unwrap();
        text.contains(name) && text.contains("image `busybox:latest`")
    };
    found_and_repaired("*/blobs/*", &HARMS, named);
}

/// A layer that was loaded is unpacked again from its blob: no image is lost.
#[test]
fn a_loaded_layer_is_made_again() {
    let faults = Faults::new();
    let root = faults.store();
    faults.build(&root);
    let images =
        |root: &Path| faults.kiln(root, &["images", "--format={{.Tag}} {{.ID}}"]).run().ok().text();
    let before = images(&root);
    harm(&files(&root, "*/snapshots/*/bin/busybox")[0], Harm::Flip);
    let repaired = faults.kiln(&root, &["fsck", "--repair"]).run().ok();
    assert!(repaired.text().contains("made again: layer "), "{repaired}");
    assert_eq!(images(&root), before);
    faults.building(&root).run().ok().has_cached(2);
    faults.assert_whole(&root, "made again");
}

/// Lines on stdout or stderr, whatever the case.
fn says(output: &Output, text: &str) -> bool {
    output.stderr.to_lowercase().contains(&text.to_lowercase())
}

#[test]
fn a_damaged_layer_is_found_when_it_is_saved() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo one > /one\nRUN echo two > /two\n");
    env.build(&context, &[]);
    harm(&files(&env.store(), "*/snapshots/*/one")[0], Harm::Flip);
    let archive = env.str("saved.tar");
    let failed = env.kiln(["save", "-o", &archive, IMAGE]).run().fails(1);
    assert!(says(&failed, "is damaged") && says(&failed, "cached step `RUN echo one"), "{failed}");
    assert!(says(&failed, "build, load or pull it again"), "{failed}");
    assert!(!Path::new(&archive).exists());
    env.ok(&["fsck"]);
    // Both are made again: the second one was made on the first.
    env.build(&context, &[]).has_cached(0);
    env.ok(&["save", "-o", &archive, IMAGE]);
    env.ok(&["fsck"]);
}

#[test]
fn a_build_makes_again_what_is_damaged() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo one > /one\nRUN echo two > /two\n");
    env.build(&context, &[]);
    harm(&files(&env.store(), "*/snapshots/*/two")[0], Harm::Truncate);
    let archive = env.path("built.tar");
    let output = format!("--output=type=oci,dest={}", archive.display());
    let built = env.build(&context, &[&output]);
    assert!(says(&built, "is damaged") && says(&built, "dropped: cached step"), "{built}");
    assert!(archive.exists());
    let other = TestEnv::empty();
    other.ok(&["load", "-i", archive.to_str().unwrap()]);
    env.ok(&["fsck"]);
}

/// Files that leave without their layers: nothing wrong is among them.
#[test]
fn damaged_files_do_not_leave() {
    let faults = Faults::new();
    let whole = faults.built_store();
    let context = faults.context("FROM busybox\nCOPY src /src\nRUN echo two > /two\n");
    context.write("src/one", "one\n".repeat(100));
    let build = ["build", "--progress=plain", context.str()];
    faults.kiln(&whole, &build).run().ok();
    faults.kiln(&whole, &["sync"]).run().ok();
    let destination = faults.place("out");
    for (file, kind) in
        [("src/one", Harm::Flip), ("two", Harm::Truncate), ("src/one", Harm::Remove)]
    {
        for output in ["tar", "local"] {
            let root = faults.copy_of(&whole);
            harm(&files(&root, &format!("*/snapshots/*/{file}"))[0], kind);
            let output = format!("--output=type={output},dest={}", destination.display());
            let built = faults.kiln(&root, &build).args([&output]).run().ok();
            let what = format!("{kind:?} of {file}, {output}: {built}");
            assert!(says(&built, "is damaged") && says(&built, "dropped: cached step"), "{what}");
            let read = |file: &str| match destination.is_dir() {
                true => fs::read(destination.join(file)).unwrap(),
                false => {
                    let mut tar = Command::new("tar");
                    tar.arg("-xOf").arg(&destination).arg(file).output().unwrap().stdout
                }
            };
            assert_eq!(read("src/one"), "one\n".repeat(100).as_bytes(), "{what}");
            assert_eq!(read("two"), b"two\n", "{what}");
            match destination.is_dir() {
                true => fs::remove_dir_all(&destination).unwrap(),
                false => fs::remove_file(&destination).unwrap(),
            }
            faults.fsck(&root).ok();
        }
    }
}

/// What was loaded is packed by others, so that it is known by its checksum; it is unpacked again.
#[test]
fn a_loaded_layer_is_made_again_before_its_files_leave() {
    let faults = Faults::new();
    for kind in HARMS {
        let root = faults.store();
        let right = fs::read(&files(&root, "*/snapshots/*/bin/busybox")[0]).unwrap();
        faults.kiln(&root, &["create", "--name", "user", "busybox", "true"]).run().ok();
        let tar = faults.place("out.tar");
        let context = faults.context("FROM busybox\n");
        let output = format!("--output=type=tar,dest={}", tar.display());
        let build = ["build", "--progress=plain", &output, context.str()];
        let export = ["export", "-o", tar.to_str().unwrap(), "user"];
        for command in [&build[..], &export[..]] {
            harm(&files(&root, "*/snapshots/*/bin/busybox")[0], kind);
            let done = faults.kiln(&root, command).run().ok();
            let what = format!("{kind:?}, {command:?}: {done}");
            let reason = if kind == Harm::Flip { "are not what was unpacked" } else { "contain" };
            assert!(says(&done, &format!("is damaged: its files {reason}")), "{what}");
            assert!(says(&done, "made again: layer"), "{what}");
            let mut read = Command::new("tar");
            let read = read.arg("-xOf").arg(&tar).arg("bin/busybox").output().unwrap();
            assert!(read.stdout == right, "{what}");
            fs::remove_file(&tar).unwrap();
            faults.fsck(&root).ok();
        }
        faults.kiln(&root, &["rm", "user"]).run().ok();
        faults.assert_whole(&root, "made again");
    }
}

/// A container stands on a layer that nothing can make again but a build: that is said, and the container stays.
#[test]
fn an_export_of_what_is_damaged_is_refused() {
    let faults = Faults::new();
    let root = faults.store();
    faults.build(&root);
    faults.kiln(&root, &["create", "--name", "user", IMAGE, "true"]).run().ok();
    // What the step has made, and what the image has of it with other times.
    for made in files(&root, "*/snapshots/*/made/1") {
        harm(&made, Harm::Flip);
    }
    let tar = faults.place("out.tar");
    let export = ["export", "-o", tar.to_str().unwrap(), "user"];
    let failed = faults.kiln(&root, &export).run().fails(1);
    assert!(says(&failed, "is damaged") && says(&failed, "build, load or pull"), "{failed}");
    assert!(!tar.exists());
    faults.kiln(&root, &export).run().fails(1).says(&["is damaged"]);
    let names = faults.kiln(&root, &["ps", "-a", "--format={{.Names}}"]).run().ok().text();
    assert_eq!(names, "user");
}

#[test]
fn a_damaged_blob_is_made_again_when_it_is_pushed() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let (first, second) = (registry.at("team/first:1"), registry.at("team/second:1"));
    env.build_text("FROM busybox\nRUN seq 100000 > /numbers\n");
    env.ok(&["tag", IMAGE, &first]);
    env.ok(&["push", &first]);
    // Nothing can be had from there any more.
    drop(registry);
    for kind in HARMS {
        let place = env.path(&format!("{kind:?}"));
        fs::create_dir_all(&place).unwrap();
        let registry = Registry::start(&place).unwrap();
        let name = registry.at("team/second:1");
        env.ok(&["tag", IMAGE, &name]);
        let blobs = files(&env.store(), "*/blobs/*");
        let largest = blobs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        harm(largest, kind);
        let pushed = env.kiln(["push", &name]).run().ok();
        let digest = format!("sha256:{}", largest.file_name().unwrap().to_str().unwrap());
        assert!(kind == Harm::Remove || says(&pushed, &digest), "{pushed}");
        let other = TestEnv::empty();
        other.ok(&["pull", &name]);
        assert_eq!(other.ok(&["run", "--rm", &name, "tail", "-n1", "/numbers"]).text(), "100000");
        env.ok(&["fsck"]);
    }
    drop(second);
}

#[test]
fn a_damaged_blob_of_a_pulled_image_is_fetched_again() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let name = registry.at("team/app:1");
    env.build_text("FROM busybox\nRUN seq 100000 > /numbers\n");
    env.ok(&["tag", IMAGE, &name]);
    env.ok(&["push", &name]);
    let other = TestEnv::empty();
    other.ok(&["pull", &name]);
    for kind in [Harm::Flip, Harm::Truncate, Harm::Remove] {
        let blobs = files(&other.store(), "*/blobs/*");
        let largest = blobs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        harm(largest, kind);
        let found = other.kiln(["fsck"]).run().fails(1);
        assert!(found.text().contains("blob `sha256:"), "{found}");
        other.ok(&["fsck", "--repair"]);
        // It runs all the same.
        assert_eq!(other.ok(&["run", "--rm", &name, "tail", "-n1", "/numbers"]).text(), "100000");
        other.ok(&["pull", &name]);
        other.ok(&["save", "-o", &other.str("saved.tar"), &name]);
        other.ok(&["fsck"]);
    }
}

/// What a directory of the store loses as a whole.
#[test]
fn what_is_gone_as_a_whole() {
    let faults = Faults::new();
    let whole = faults.built_store();
    let kinds = ["layer", "step", "image", "tag", "chain", "memo", "trail"];
    let records = kinds.map(|kind| files(&whole, &format!("*/records/{kind}/*"))).concat();
    let snapshots =
        fs::read_dir(whole.join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
    for path in records.into_iter().chain(snapshots) {
        let root = faults.copy_of(&whole);
        let victim = root.join(path.strip_prefix(&whole).unwrap());
        match victim.is_dir() {
            true => fs::remove_dir_all(&victim).unwrap(),
            false => fs::remove_file(&victim).unwrap(),
        }
        let what = format!("without {}", path.display());
        // Not all of it is wrong: a step that nobody remembers is none.
        let checked = faults.fsck(&root);
        if victim.parent().is_some_and(|parent| parent.ends_with("snapshots")) {
            assert_eq!(checked.status.code(), Some(1), "{what}: {checked}");
        }
        faults.kiln(&root, &["fsck", "--repair"]).run().ok();
        faults.load(&root);
        faults.assert_whole(&root, &what);
    }
}

/// The use of what is broken without anybody having looked.
#[test]
fn without_a_repair_the_next_build_is_right() {
    let faults = Faults::new();
    let whole = faults.built_store();
    for path in files(&whole, "*/records/*") {
        let root = faults.copy_of(&whole);
        harm(&root.join(path.strip_prefix(&whole).unwrap()), Harm::Flip);
        // The base may be what is broken; it comes from an archive, and is put there again.
        faults.load(&root);
        let id = faults.build(&root);
        assert_eq!(id, faults.build(&faults.store()), "{}", path.display());
    }
}
