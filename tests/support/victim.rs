//! A directory of the host that an attack would change, and whoever looks whether it has.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::env::TestEnv;

/// What is in its files, and must never be shown.
pub(crate) const TOKEN: &str = "TOKEN-91c2";

pub(crate) struct Victim {
    dir: PathBuf,
    before: Vec<String>,
}

impl Victim {
    pub(crate) fn create(env: &TestEnv) -> Self {
        let dir = env.path("victim");
        fs::create_dir_all(dir.join("sub")).unwrap();
        for name in ["hosts", "passwd", "ptmx", "token", "sub/f"] {
            fs::write(dir.join(name), format!("{TOKEN}\n")).unwrap();
        }
        let before = portrait(&dir);
        Self { dir, before }
    }

    pub(crate) fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn is_unharmed(&self, case: &str) {
        assert_eq!(portrait(&self.dir), self.before, "{case}");
    }
}

/// Everything about a directory and what is in it.
fn portrait(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(path) = ahead.pop() {
        let stat = path.symlink_metadata().unwrap();
        if stat.is_dir() {
            ahead.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let text = fs::read(&path).unwrap_or_default();
        let (mode, owner, time) = (stat.mode(), stat.uid(), stat.mtime_nsec());
        lines.push(format!("{path:?} {mode:o} {owner} {} {time} {text:?}", stat.nlink()));
    }
    lines.sort();
    lines
}
