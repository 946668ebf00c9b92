//! The image that the tests build upon, made by `tests/base.sh` once per version of that script, and the binary under test.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::requires;

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
    made(None).unwrap_or_else(|error| panic!("tests/base.sh: {error}"))
}

/// The same for another architecture, by Debian's name; `None`, said on stderr, where it cannot be had.
pub(crate) fn foreign(architecture: &str) -> Option<PathBuf> {
    match made(Some(architecture)) {
        Ok(tar) => Some(tar),
        Err(error) => {
            requires::have("foreign", false, &error);
            None
        }
    }
}

fn made(architecture: Option<&str>) -> Result<PathBuf, String> {
    let mut version = DefaultHasher::new();
    include_str!("../base.sh").hash(&mut version);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name = architecture.unwrap_or("base");
    let tar = dir.join(format!("{name}-{:016x}.tar", version.finish()));
    if tar.exists() {
        return Ok(tar);
    }
    // Several tests may find it missing at once: each makes its own, and the last rename wins.
    let mine = dir.join(format!("{name}-{}-{:?}", std::process::id(), std::thread::current().id()));
    let mut command = Command::new(source().join("tests/base.sh"));
    let made = command.arg(&mine).args(architecture).output().unwrap();
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned());
    }
    fs::rename(mine, &tar).unwrap();
    Ok(tar)
}
