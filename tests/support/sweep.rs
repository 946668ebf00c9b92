//! What tests have left behind that were killed, by who runs them or by a limit of time: they cannot clean up after themselves, so the
//! next one does. Containers are ended with the processes that keep them, servers too, mounts are undone, files removed.
//!
//! A test holds the lock of a file in its directory as long as it lives, and its process id is in the name. The directory
//! itself is for kiln to lock, as that of a configuration which lies in it.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, kill_process};

use super::env::remove;

/// What the names of all directories of tests begin with; a process id comes next.
pub(super) const PREFIX: &str = "kiln-test-";

/// One that is just being made is not locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// How long what was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a test locks in its directory.
const HELD: &str = ".held";

/// Says that a directory is in use, until the file is closed.
pub(super) fn hold(directory: &Path) -> File {
    lock(directory).unwrap()
}

fn lock(directory: &Path) -> io::Result<File> {
    let file = File::create(directory.join(HELD))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Sweeps the directory for temporary files, once in a process.
pub(super) fn once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| sweep(&std::env::temp_dir(), YOUNG));
}

fn sweep(place: &Path, young: Duration) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Some(_lock) = left(&path, young) {
            clear(&path);
            eprintln!("removed what a killed test has left: {}", path.display());
        }
    }
}

/// Returns the lock of a directory whose test is dead.
fn left(path: &Path, young: Duration) -> Option<File> {
    let name = path.file_name()?.to_str()?;
    let process: u32 = name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()?;
    let stat = path.symlink_metadata().ok()?;
    let is_young = stat.modified().ok()?.elapsed().is_ok_and(|age| age < young);
    if !stat.is_dir() || is_young || Path::new(&format!("/proc/{process}")).exists() {
        return None;
    }
    lock(path).ok()
}

fn clear(path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let processes = processes(path);
        if processes.is_empty() || Instant::now() > deadline {
            break;
        }
        for process in processes {
            // It may have ended by itself.
            let _ = kill_process(process, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // What lies on another mount is undone first.
    for mounted in mounts(path).iter().rev() {
        drop(Command::new("umount").arg("-l").arg(mounted).status());
    }
    remove(path);
}

/// The processes that were started with a path of a directory.
fn processes(directory: &Path) -> Vec<Pid> {
    let needle = [directory.as_os_str().as_bytes(), b"/"].concat();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_one = |number: &i32| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        line.windows(needle.len()).any(|part| part == needle)
    };
    numbers.filter(is_one).filter_map(Pid::from_raw).collect()
}

fn mounts(directory: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let paths = table.lines().filter_map(|line| line.split(' ').nth(4).map(PathBuf::from));
    paths.filter(|path| path.starts_with(directory)).collect()
}

#[test]
fn what_a_killed_test_has_left_goes_and_nothing_else() {
    use std::os::unix::process::ExitStatusExt;

    let place = std::env::temp_dir().join(format!("kiln-sweep-{}", std::process::id()));
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let directory = |process: u32, number: u32| {
        let path = place.join(format!("{PREFIX}{process}-{number}"));
        fs::create_dir_all(path.join("store")).unwrap();
        path
    };
    let left = directory(dead.id(), 0);
    let (held, living) = (directory(dead.id(), 1), directory(std::process::id(), 2));
    let _held = hold(&held);
    let (other, file) = (place.join("kiln-test-x"), left.join("store/file"));
    fs::create_dir_all(&other).unwrap();
    fs::write(&file, "").unwrap();
    let mut process = Command::new("tail").arg("-f").arg(&file).spawn().unwrap();
    if super::requires::root() {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "none"]).arg(left.join("store"));
        assert!(mount.status().unwrap().success());
    }
    sweep(&place, Duration::from_secs(3600));
    assert!(left.exists(), "it may just be being made");
    sweep(&place, Duration::ZERO);
    assert!(!left.exists());
    assert_eq!(process.wait().unwrap().signal(), Some(9));
    assert!(held.exists() && living.exists() && other.exists());
    fs::remove_dir_all(place).unwrap();
}
