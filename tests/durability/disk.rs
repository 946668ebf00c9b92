//! A limit for the store, and a disk that is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fault::Faults;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::requires;

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
