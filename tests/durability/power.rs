//! A power cut, as far as a machine can do it to itself: a file system on a loop device is shut down in the middle of a build,
//! without its log, and mounted again. What was brought to the disk before is there, and what is there is right.
//!
//! The machine itself stays on, and so does its boot id, by which kiln knows what a power cut cannot have spoilt. So kiln
//! is given another one after each cut, as a machine would have.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use super::fault::{Faults, tell};
use crate::support::env::IMAGE;
use crate::support::process::Kiln;
use crate::support::requires;

/// What becomes of the log of a file system: of the names and sizes of files.
#[derive(Debug, Clone, Copy)]
enum Log {
    /// It is lost, as when a second has not passed.
    Lost,
    /// It has just been written; the contents of the files have not.
    Written,
}

/// A file system in a file.
struct Disk {
    image: PathBuf,
    place: PathBuf,
    kind: &'static str,
    cuts: usize,
}

impl Disk {
    fn make(directory: &Path, kind: &'static str) -> Self {
        let disk =
            Self { image: directory.join("disk"), place: directory.join("mnt"), kind, cuts: 0 };
        fs::create_dir_all(&disk.place).unwrap();
        File::create(&disk.image).unwrap().set_len(512 << 20).unwrap();
        let mut make = Command::new(format!("mkfs.{kind}"));
        make.arg("-q").arg(&disk.image).stdout(Stdio::null());
        assert!(make.status().unwrap().success());
        disk.mount();
        disk
    }

    fn mount(&self) {
        let mut mount = Command::new("mount");
        // What xfs says it is, its copy says too.
        let options = if self.kind == "xfs" { "loop,nouuid" } else { "loop" };
        mount.args(["-t", self.kind, "-o", options]).arg(&self.image).arg(&self.place);
        assert!(mount.status().unwrap().success());
    }

    /// Nothing more gets to the disk.
    fn cut(&self, log: Log) {
        let command = match log {
            Log::Lost => "shutdown",
            Log::Written => "shutdown -f",
        };
        let mut cut = Command::new("xfs_io");
        // -x: it is for experts.
        cut.args(["-x", "-c", command]).arg(&self.place).stdout(Stdio::null());
        assert!(cut.status().unwrap().success());
    }

    /// Takes what has come to the disk to another machine, so to speak: other processes, in namespaces of their own, may still
    /// have the old file system, which is none any more.
    fn replace(&mut self) {
        let next = self.image.with_extension(format!("{}", self.cuts));
        self.cuts += 1;
        let mut copy = Command::new("cp");
        assert!(copy.arg("--sparse=always").args([&self.image, &next]).status().unwrap().success());
        assert!(Command::new("umount").arg("-l").arg(&self.place).status().unwrap().success());
        fs::remove_file(&self.image).unwrap();
        self.image = next;
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.place).stderr(Stdio::null()).status());
    }
}

/// Whether this machine can mount a file system of a kind from a file, and shut it down.
fn can_cut(kind: &str) -> bool {
    requires::root()
        && requires::program("xfs_io")
        && requires::program(&format!("mkfs.{kind}"))
        && requires::loop_devices(Path::new("/dev/loop-control").exists())
}

/// kiln after so many power cuts. It leaves no process behind that waits for the disk: in a power cut, it would not live on.
fn after(root: &Path, kiln: Kiln, cuts: usize) -> Kiln {
    // Written to just now: then somebody waits already. Before there is a store there is nothing to wait for.
    if root.join("format").exists() {
        let fresh = root.join(format!("boot-cut-{cuts}"));
        fs::create_dir_all(&fresh).unwrap();
        File::open(&fresh).unwrap().set_modified(SystemTime::now()).unwrap();
    }
    kiln.env("KILN_BOOT_ID", &format!("cut-{cuts}"))
}

fn cuts(kind: &'static str, rounds: usize) {
    if !can_cut(kind) {
        return;
    }
    let faults = Faults::new();
    let mut disk = Disk::make(&faults.place(""), kind);
    let root = disk.place.join("store");
    let archive = faults.place("base-image.tar");
    let load = ["load", "-q", "-i", archive.to_str().unwrap()];
    after(&root, faults.kiln(&root, &load), 0).run().ok();
    let (mut lost, mut durable, mut survived) = (0, false, 0);
    let started = Instant::now();
    after(&root, faults.building(&root), 0).run().ok();
    let whole = started.elapsed();
    for round in 0..rounds {
        let what = format!("{kind}, power cut {round}");
        // A name that only this round has, and that is said to be on the disk in every other one.
        let name = format!("durable:{round}");
        let is_durable = round % 2 == 0;
        after(&root, faults.kiln(&root, &["tag", "busybox", &name]), round).run().ok();
        if is_durable {
            after(&root, faults.kiln(&root, &["sync"]), round).run().ok();
            durable = true;
        }
        let mut build = after(&root, faults.building(&root).args(["--no-cache"]), round).spawn();
        std::thread::sleep(whole * u32::try_from(round * 11 % 29).unwrap() / 24);
        disk.cut(if round % 4 < 2 { Log::Written } else { Log::Lost });
        if !build.is_over() {
            build.signal(rustix::process::Signal::KILL);
        }
        build.wait();
        disk.replace();
        let next = round + 1;
        let checked = after(&root, faults.kiln(&root, &["fsck"]), next).run();
        assert!(checked.status.success(), "{what}: {checked}");
        let names = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
        let names = after(&root, faults.kiln(&root, &names), next).run().ok().text();
        let is_there = names.lines().any(|line| line == name);
        lost += usize::from(is_durable && !is_there);
        assert!(!is_durable || is_there, "{what}: what was on the disk is lost: {names}");
        survived += usize::from(!is_durable && is_there);
        assert!(!durable || names.contains("busybox:latest"), "{what}: the base is lost: {names}");
        // Not before it was on the disk: then it has to be loaded again.
        after(&root, faults.kiln(&root, &load), next).run().ok();
        after(&root, faults.building(&root), next).run().ok();
        let id = after(&root, faults.kiln(&root, &["images", "-q", "--no-trunc", IMAGE]), next)
            .run()
            .ok();
        assert_eq!(id.text(), faults.id(), "{what}: another image");
        after(&root, faults.kiln(&root, &["fsck"]), next).run().ok();
        if round % 8 == 7 {
            after(&root, faults.kiln(&root, &["prune", "-f"]), next).run().ok();
        }
    }
    tell(
        &format!("power cuts on {kind}, {survived} times more was left than was promised"),
        rounds,
        lost,
    );
}

/// What all this is about: names that are there, of files that are not.
#[test]
fn a_cut_does_harm() {
    if !can_cut("ext4") {
        return;
    }
    let faults = Faults::new();
    let mut disk = Disk::make(&faults.place(""), "ext4");
    let root = disk.place.join("store");
    let archive = faults.place("base-image.tar");
    let load = ["load", "-q", "-i", archive.to_str().unwrap()];
    after(&root, faults.kiln(&root, &load), 0).run().ok();
    after(&root, faults.building(&root), 0).run().ok();
    disk.cut(Log::Written);
    disk.replace();
    // As if nothing had happened.
    let checked = after(&root, faults.kiln(&root, &["fsck"]), 0).run().fails(1);
    assert!(checked.text().contains("wrong: `kiln fsck --repair`"), "{checked}");
    // As it is.
    let checked = after(&root, faults.kiln(&root, &["fsck"]), 1).run().ok();
    assert!(checked.text().contains("nothing is wrong"), "{checked}");
}

#[test]
fn power_cuts_on_ext4() {
    cuts("ext4", 4);
}

#[test]
fn power_cuts_on_xfs() {
    cuts("xfs", 4);
}

mod long {
    #[test]
    #[ignore = "long"]
    fn power_cuts_on_ext4() {
        super::cuts("ext4", 200);
    }

    #[test]
    #[ignore = "long"]
    fn power_cuts_on_xfs() {
        super::cuts("xfs", 200);
    }
}
