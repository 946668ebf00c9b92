//! Where the tests find the tables about BuildKit's behaviour, which are beside the repository and may be absent.

use std::path::{Path, PathBuf};

/// The path of a table; says so and returns `None` where there is none.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec/data").join(name);
    if !path.exists() {
        eprintln!("skipped: there is no {}", path.display());
        return None;
    }
    Some(path)
}

/// A table of JSON.
pub(crate) fn json(name: &str) -> Option<serde_json::Value> {
    let text = std::fs::read(path(name)?).unwrap();
    Some(serde_json::from_slice(&text).unwrap())
}

/// The sub-directories of a directory, in order.
pub(crate) fn directories(name: &str) -> Vec<PathBuf> {
    let Some(path) = path(name) else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}
