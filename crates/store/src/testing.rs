//! What the tests of this crate share: directories of their own, and processes to kill.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::Store;

/// A directory that is removed with everything in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kiln-store-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the store of a test is: not there yet.
    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Opens the store as if in the boot of this name.
    pub(crate) fn store_in(&self, boot: &str) -> Store {
        Store::open_in_boot(&self.root(), boot).unwrap()
    }

    pub(crate) fn store(&self) -> Store {
        self.store_in("b0")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind in the temporary directory at worst.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const ROLE: &str = "KILN_STORE_TEST_ROOT";

/// Starts this test binary again, to run the ignored test `role` alone, on the store at `root`.
pub(crate) fn process(role: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", role])
        .env(ROLE, root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// In a process started by [`process`]: the store's root. `None` if somebody runs the ignored tests by hand.
pub(crate) fn given_root() -> Option<PathBuf> {
    std::env::var_os(ROLE).map(PathBuf::from)
}
