//! A limit for the store, and a disk that is full.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::corruption::{Harm, files, harm};
use super::fault::Faults;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::Output;
use crate::support::registry::Registry;
use crate::support::requires;

/// Fills a file system to the last byte.
fn fill(place: &Path) {
    let mut file = fs::File::create(place.join("filler")).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// One error that says what to do.
#[track_caller]
fn assert_full(output: Output, what: &str) {
    assert!(!output.status.success() && output.status.code().is_some(), "{what}: {output}");
    let errors = output.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{what}: {output}");
    output.says(&["No space left on device", "hint: the disk of the store", "kiln prune"]);
}

/// A small file system, as long as this is there.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(place: &Path, size: &str) -> Option<Self> {
        if !requires::root() {
            return None;
        }
        fs::create_dir_all(place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "none"]).arg(place);
        assert!(mount.status().unwrap().success());
        Some(Self(place.to_owned()))
    }

    fn ext4(place: &Path, size: u64) -> Option<Self> {
        let has_loop = Path::new("/dev/loop-control").exists();
        if !(requires::root() && requires::program("mkfs.ext4") && requires::loop_devices(has_loop))
        {
            return None;
        }
        fs::create_dir_all(place).unwrap();
        let image = place.with_extension("image");
        fs::File::create(&image).unwrap().set_len(size).unwrap();
        // -m 0: nothing is kept back for root.
        let mut make = Command::new("mkfs.ext4");
        assert!(make.args(["-q", "-m", "0"]).arg(&image).status().unwrap().success());
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).args([&image, place]);
        assert!(mount.status().unwrap().success());
        Some(Self(place.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process in the background may still use it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// What `df` counts, but for containers and volumes.
fn size(env: &TestEnv) -> u64 {
    let found = Command::new("find")
        .arg(env.store())
        .args(["-type", "f", "(", "-path", "*/snapshots/*", "-o", "-path", "*/blobs/*", "-o"])
        .args(["-path", "*/mounts/*/fs/*", ")", "-printf", "%s\n"])
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(|line| line.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_limit_holds_while_building() {
    const MB: u64 = 1_000_000;
    let env = TestEnv::new();
    let base = size(&env);
    let limit = base + 10 * MB;
    let build = |name: &str| {
        // Two steps that no image keeps, of three megabytes each.
        let context = env.context(&format!(
            "FROM busybox AS made\nRUN head -c 3000000 /dev/urandom > /{name}\nRUN head -c 3000000 /dev/urandom > /{name}2\n\
             FROM busybox\nCOPY --from=made /etc/passwd /{name}\n"
        ));
        env.kiln(["build", "--progress=plain", "-t", name, context.str()])
            .env("KILN_STORAGE_LIMIT", &limit.to_string())
            .run()
    };
    for name in ["one", "two", "three", "four"] {
        build(name).ok();
        // By no more than one step.
        assert!(size(&env) <= limit + 3 * MB, "{name}: {} of {limit}", size(&env));
        env.ok(&["fsck"]);
    }
    // What was used last is there.
    let context = env.context(
        "FROM busybox AS made\nRUN head -c 3000000 /dev/urandom > /four\nRUN head -c 3000000 /dev/urandom > /four2\n\
         FROM busybox\nCOPY --from=made /etc/passwd /four\n",
    );
    env.build(&context, &[]).has_cached(3);
    let named = env.ok(&["images", "-q"]).text();
    assert_eq!(named.lines().count(), 5, "no image goes for the sake of room");
}

#[test]
fn what_images_take_is_no_cache() {
    let env = TestEnv::new();
    let limit = size(&env) + 1_000_000;
    let context = env
        .context("FROM busybox\nRUN head -c 2000000 /dev/zero > /zeros\nRUN echo never > /never\n");
    let failed = env
        .building(&context, &[])
        .env("KILN_STORAGE_LIMIT", &limit.to_string())
        .run()
        .fails(1)
        .says(&["RUN echo never", "limit of the store", "kiln prune", "KILN_STORAGE_LIMIT"]);
    drop(failed);
    env.ok(&["fsck"]);
    env.build(&context, &["--storage-limit", "100m"]).has_cached(1);
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let faults = Faults::new();
    let place = faults.place("small");
    let Some(_mounted) = Mounted::tmpfs(&place, "14m") else { return };
    let root = place.join("store");
    faults.load(&root);
    let id = faults.build(&root);
    let fat = faults.context("FROM busybox\nCOPY fat /fat\nRUN echo never\n");
    fat.write("fat", vec![7; 20_000_000]);
    let failed = faults.kiln(&root, &["build", "--progress=plain", "-t", "fat", fat.str()]).run();
    let failed = failed.fails(1).says(&["COPY fat /fat", "No space left on device", "kiln prune"]);
    assert!(failed.stderr.contains("bytes free") || failed.stderr.contains("B free"), "{failed}");
    faults.fsck(&root).ok();
    assert_eq!(faults.kiln(&root, &["images", "-q", "--no-trunc", IMAGE]).run().ok().text(), id);
    faults.building(&root).run().ok().has_cached(2);
    // A command that fills it.
    let fat = faults.context("FROM busybox\nRUN head -c 20000000 /dev/zero > /fat\n");
    faults.kiln(&root, &["build", "--progress=plain", fat.str()]).run().fails(1).says(&[
        "RUN head -c 20000000",
        "the disk of the store was full",
        "kiln prune",
    ]);
    faults.fsck(&root).ok();
    faults.building(&root).run().ok().has_cached(2);
    // To the last byte: what frees room needs none.
    drop(fs::write(place.join("filler"), vec![0; 20_000_000]));
    faults.kiln(&root, &["prune", "-a", "-f"]).run().ok();
    fs::remove_file(place.join("filler")).unwrap();
    faults.load(&root);
    faults.assert_whole(&root, "after a full disk");
}

/// Every command that adds something says so in one error; those that do not go on; nothing is lost, and all is as it was when
/// there is room again.
fn commands_on_a_full_disk(faults: &Faults, place: &Path) {
    let root = place.join("store");
    let kiln = |args: &[&str]| faults.kiln(&root, args).run();
    faults.load(&root);
    let id = faults.build(&root);
    let Some(registry) = Registry::start(&faults.place("")) else { return };
    // What does not fit, in an archive and in a registry.
    let other = faults.store();
    let fat = faults.context("FROM busybox\nCOPY fat /fat\n");
    // Nothing can compress it.
    fat.write("fat", noise(20_000_000));
    let (name, archive) = (registry.at("fat:1"), faults.place("fat.tar").display().to_string());
    faults.kiln(&other, &["build", "-q", "-t", &name, fat.str()]).run().ok();
    faults.kiln(&other, &["push", "-q", &name]).run().ok();
    faults.kiln(&other, &["save", "-o", &archive, &name]).run().ok();
    kiln(&["create", "--name", "user", "busybox", "true"]).ok();
    kiln(&["volume", "create", "data"]).ok();
    kiln(&["sync"]).ok();
    let too_large: [&[&str]; 3] =
        [&["pull", &name], &["load", "-i", &archive], &["build", "--progress=plain", fat.str()]];
    for args in too_large {
        assert_full(kiln(args), &format!("{args:?}"));
        faults.fsck(&root).ok();
    }
    // What they have left unfinished goes first.
    kiln(&["tag", "busybox", "kept"]).ok();
    let names = || kiln(&["images", "--no-trunc", "--format={{.Repository}} {{.ID}}"]).ok().text();
    let before = names();
    fill(place);
    let full = place.join("saved.tar").display().to_string();
    let (small, elsewhere) =
        (faults.context("FROM busybox\nRUN echo new > /new\n"), faults.place("saved.tar"));
    let adding: [&[&str]; 7] = [
        &["pull", &name],
        &["load", "-i", &archive],
        &["build", "--progress=plain", small.str()],
        &["commit", "user", "committed"],
        &["tag", "busybox", "other"],
        &["run", "--rm", "busybox", "true"],
        &["create", "busybox", "true"],
    ];
    for args in adding {
        assert_full(kiln(args), &format!("{args:?}, full"));
    }
    let saved =
        kiln(&["save", "-o", &full, IMAGE]).fails(1).says(&["No space left on device", &full]);
    assert!(!Path::new(&full).exists(), "{saved}");
    // To make room, one can take away what is there, and look at it.
    kiln(&["save", "-o", elsewhere.to_str().unwrap(), IMAGE]).ok();
    kiln(&["export", "-o", faults.place("exported.tar").to_str().unwrap(), "user"]).ok();
    faults.fsck(&root).ok();
    assert_eq!(names(), before);
    // What makes room needs none.
    for args in
        [&["rm", "user"][..], &["volume", "rm", "data"], &["rmi", "kept"], &["prune", "-a", "-f"]]
    {
        kiln(args).ok();
    }
    fs::remove_file(place.join("filler")).unwrap();
    faults.load(&root);
    faults.fsck(&root).ok();
    assert_eq!(faults.build(&root), id);
    faults.assert_whole(&root, "after a full disk");
    faults.kiln(&other, &["load", "-i", elsewhere.to_str().unwrap()]).run().ok();
}

/// Bytes that look like chance.
fn noise(size: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(size).collect()
}

#[test]
fn commands_on_a_full_tmpfs() {
    let faults = Faults::new();
    let place = faults.place("small");
    let Some(_mounted) = Mounted::tmpfs(&place, "12m") else { return };
    commands_on_a_full_disk(&faults, &place);
}

#[test]
fn commands_on_a_full_ext4() {
    let faults = Faults::new();
    let place = faults.place("small");
    let Some(_mounted) = Mounted::ext4(&place, 16 << 20) else { return };
    commands_on_a_full_disk(&faults, &place);
}

/// What no image has is not packed by a build. Once it was looked at, it is known.
#[test]
fn a_step_without_an_image_gets_a_digest_when_it_is_checked() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS made\nRUN echo made > /made\nFROM busybox\nCOPY --from=made /made /copied\n",
    );
    env.build(&context, &[]);
    env.ok(&["sync"]);
    assert!(env.ok(&["fsck"]).text().contains("nothing to compare with: 1 layers"));
    let repaired = env.ok(&["fsck", "--repair"]).text();
    assert!(repaired.contains("compared from now on: 1 layers"), "{repaired}");
    assert!(!env.ok(&["fsck"]).text().contains("nothing to compare with"));
    harm(&files(&env.store(), "*/snapshots/*/made")[0], Harm::Flip);
    let found = env.kiln(["fsck"]).run().fails(1);
    assert!(found.text().contains("cached step `RUN echo made"), "{found}");
    env.ok(&["fsck", "--repair"]);
    env.build(&context, &["--no-cache-filter", "1"]);
    assert_eq!(env.sh("cat /copied"), "made");
}
