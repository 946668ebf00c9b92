//! A directory for one input of a target, made in `TMPDIR` and removed with everything in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// The directory.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(target: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kiln-fuzz-{target}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes a tree in which directories may lack the permission to write.
    pub(crate) fn remove(path: &Path) {
        if fs::remove_dir_all(path).is_ok() {
            return;
        }
        let mut command = Command::new("chmod");
        drop(command.args(["-R", "u+rwX"]).arg(path).stderr(Stdio::null()).status());
        fs::remove_dir_all(path).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            Self::remove(&self.0);
        }
    }
}
