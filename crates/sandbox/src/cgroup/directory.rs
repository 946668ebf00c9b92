//! The directories that groups are: their names, how they come and go.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// What the names of groups begin with; the supervisor's pid follows.
const PREFIX: &str = "kiln-";

/// A name that no other living supervisor has.
pub(super) fn own_name() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// Removes the groups of supervisors that were killed.
pub(super) fn remove_left_over(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // It fails if processes are in it still: then the next one tries again.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Makes a directory; one with its name is left over from a supervisor that was killed, or kiln's own one.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// The kernel is done with the dead a moment after they are waited for.
pub(super) fn remove(path: &Path) {
    for _ in 0..100 {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(2));
            }
            // Nothing can be done about any other error; an empty group costs nobody anything.
            _ => return,
        }
    }
}
