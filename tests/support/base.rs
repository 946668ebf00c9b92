//! The image that the tests build upon, made by `tests/base.sh` once per version of that script, and the binary under test.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The binary that cargo has built for this test.
pub(crate) fn kiln() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_kiln"))
}

/// The root of the source tree.
pub(crate) fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A tar of a tiny root file system with a shell.
pub(crate) fn tar() -> PathBuf {
    let mut version = DefaultHasher::new();
    include_str!("../base.sh").hash(&mut version);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let tar = dir.join(format!("base-{:016x}.tar", version.finish()));
    if tar.exists() {
        return tar;
    }
    // Several tests may find it missing at once: each makes its own, and the last rename wins.
    let mine = dir.join(format!("base-{}-{:?}", std::process::id(), std::thread::current().id()));
    let made = Command::new(source().join("tests/base.sh")).arg(&mine).output().unwrap();
    assert!(made.status.success(), "tests/base.sh: {}", String::from_utf8_lossy(&made.stderr));
    fs::rename(mine, &tar).unwrap();
    tar
}
