//! A sandbox at one moment: standing still, and what is in its root only because it runs.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use sandbox::Child;
use sandbox::Exit;
use sandbox::Mount;
use sandbox::MountSource;
use sandbox::Process;

use super::world::Case;
use super::world::World;
use super::world::eventually;
use super::world::finish;
use super::world::join_spec;
use super::world::memory;

pub(crate) const CASES: &[Case] = &[
    ("everything_stands_still_and_goes_on", everything_stands_still_and_goes_on),
    ("who_joined_stands_still_too", who_joined_stands_still_too),
    ("mount_points_are_told", mount_points_are_told),
];

/// Processes that write all the time: a child, and a grandchild whose parent has ended.
const BUSY: &str = "
    write() { n=0; while :; do n=$((n+1)); echo $n > /tmp/$1; done; }
    write child &
    (write orphan &)
    trap 'exit 7' TERM
    while :; do sleep 0.05; done";

fn start(world: &World, script: &str) -> (Child, Process, PathBuf) {
    let (spec, upper) = world.spec(script);
    let mut child = sandbox::spawn(spec).unwrap();
    let process = child.started().unwrap();
    (child, process, upper)
}

fn count(upper: &Path, name: &str) -> u64 {
    // It is empty for a moment each time that it is written.
    let read = || fs::read_to_string(upper.join("tmp").join(name)).ok()?.trim().parse().ok();
    (0..10_000).find_map(|_| read()).unwrap_or(0)
}

fn raw(upper: &Path, names: [&str; 2]) -> [Option<Vec<u8>>; 2] {
    names.map(|name| fs::read(upper.join("tmp").join(name)).ok())
}

fn everything_stands_still_and_goes_on(world: &World) {
    let (child, process, upper) = start(world, BUSY);
    let names = ["child", "orphan"];
    eventually("they write", || names.iter().all(|name| count(&upper, name) > 3));
    let paused = sandbox::pause(&process).unwrap();
    let before = raw(&upper, names);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(raw(&upper, names), before);
    drop(paused);
    let then = names.map(|name| count(&upper, name));
    eventually("they write again", || {
        names.iter().zip(then).all(|(name, then)| count(&upper, name) > then)
    });
    child.killer().signal(libc::SIGTERM);
    assert_eq!(finish(child).unwrap().exit, Exit::Code(7));
}

fn who_joined_stands_still_too(world: &World) {
    let (child, process, upper) = start(world, "sleep 1000");
    let writing = "n=0; while :; do n=$((n+1)); echo $n > /tmp/joined; done";
    let joined = sandbox::join(join_spec(&process, &["sh", "-c", writing])).unwrap();
    eventually("it writes", || count(&upper, "joined") > 3);
    let paused = sandbox::pause(&process).unwrap();
    let before = raw(&upper, ["joined"; 2]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(raw(&upper, ["joined"; 2]), before);
    // What is killed while it stands still is dead.
    joined.killer().kill();
    finish(joined).unwrap();
    drop(paused);
    child.killer().kill();
    finish(child).unwrap();
}

fn mount_points_are_told(world: &World) {
    let (mut spec, upper) = world.spec("echo mine > /made; mkdir /a/mine; echo; exec sleep 1000");
    for target in ["/a/b/c", "/x"] {
        let source = memory(None, 0o755);
        spec.mounts.push(Mount { target: target.to_owned(), source, read_only: false });
    }
    let content = b"text".to_vec();
    let source = MountSource::File { content, mode: 0o644, uid: 0, gid: 0 };
    spec.mounts.push(Mount { target: "/etc/hosts".to_owned(), source, read_only: true });
    let mut child = sandbox::spawn(spec).unwrap();
    child.started().unwrap();
    eventually("the directory", || upper.join("a/mine").exists());
    let points = child.mount_points().clone();
    for path in ["a", "a/b", "a/b/c", "x", "etc", "etc/hosts", "proc", "dev", "sys"] {
        assert!(points.contains(Path::new(path)), "{path}: {points:?}");
    }
    assert!(!points.contains(Path::new("made")));

    let copy = world.new_directory("copy");
    let mut cp = std::process::Command::new("cp");
    assert!(cp.arg("-a").arg(&upper).arg(copy.join("fs")).status().unwrap().success());
    let root = fs::File::open(copy.join("fs")).unwrap();
    points.remove_from(root.as_fd()).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(copy.join("fs")).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    // What holds something else by now is not only a mount point.
    assert_eq!(left, ["a", "made"]);
    assert!(!copy.join("fs/a/b").exists() && copy.join("fs/a/mine").exists());
    assert!(upper.join("a/b/c").exists(), "the sandbox itself keeps them");
    child.killer().kill();
    finish(child).unwrap();
}
