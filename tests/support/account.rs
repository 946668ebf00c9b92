//! An ordinary user of this machine, with subordinate ids or without, for the time of one test.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::requires;

pub(crate) struct Account {
    name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// Makes the user; `None`, said on stderr, where this cannot be done.
    pub(crate) fn create() -> Option<Self> {
        if !requires::users() || !requires::userns() {
            return None;
        }
        // Tests are threads of one process or processes of their own, depending on the runner.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kiln{}-{number}", std::process::id());
        admin("useradd", &["--no-create-home", "--shell", "/bin/sh", &name]);
        let mut account = Self { name, uid: 0, gid: 0 };
        account.uid = account.number("-u");
        account.gid = account.number("-g");
        // useradd gives ranges by itself where /etc/login.defs says so.
        for (file, option) in [("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")] {
            let ranges = std::fs::read_to_string(file).unwrap_or_default();
            if !ranges.lines().any(|line| line.starts_with(&format!("{}:", account.name))) {
                // Above every range that a distribution hands out by itself.
                admin("usermod", &[option, "1000000000-1000065535", &account.name]);
            }
        }
        Some(account)
    }

    /// Somebody whom no file of this machine knows; `None`, said on stderr, where nobody can be that.
    pub(crate) fn without_ids() -> Option<Self> {
        if !requires::root() || !requires::userns() {
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = 1_500_000_000 + std::process::id() * 16 + number;
        Some(Self { name: String::new(), uid: id, gid: id })
    }

    /// Makes a directory and all below it theirs.
    pub(crate) fn give(&self, dir: &Path) {
        let owner = format!("{}:{}", self.uid, self.gid);
        let status = Command::new("chown").args(["-R", &owner]).arg(dir).status();
        assert!(status.unwrap().success(), "chown -R {owner} {}", dir.display());
    }

    fn number(&self, option: &str) -> u32 {
        let output = Command::new("id").args([option, &self.name]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("id prints a number")
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        // A failure here would only hide the one of the test.
        drop(Command::new("userdel").args(["--force", &self.name]).output());
    }
}

/// Runs a tool of the passwd package, which gives up at once when another one holds the lock.
fn admin(program: &str, args: &[&str]) {
    for _ in 0..50 {
        let output = Command::new(program).args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return;
        }
        assert!(stderr.contains("lock"), "{program} {args:?}: {stderr}");
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("{program} {args:?}: the lock is never free");
}
