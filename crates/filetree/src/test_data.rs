//! What the tests of this crate share: reference tables (skipped when absent) and temporary trees.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// Returns the rows of a table of JSON cells, strings without their quotes; none when the reference data is absent.
pub(crate) fn table(name: &str) -> Vec<Vec<String>> {
    let Some(text) = read(name) else { return Vec::new() };
    let rows: Vec<Vec<String>> = text
        .lines()
        .filter(|line| !line.starts_with('#') && (line.starts_with('"') || line.starts_with('[')))
        .map(|line| line.split('\t').map(cell).collect())
        .collect();
    assert!(!rows.is_empty(), "{name} has no rows");
    rows
}

/// Returns a reference document; `None` when the reference data is absent.
pub(crate) fn json(name: &str) -> Option<serde_json::Value> {
    Some(serde_json::from_str(&read(name)?).unwrap())
}

/// Parses a cell that is a list of strings.
pub(crate) fn strings(cell: &str) -> Vec<String> {
    serde_json::from_str(cell).unwrap()
}

fn cell(text: &str) -> String {
    match serde_json::from_str(text).unwrap() {
        serde_json::Value::String(text) => text,
        _ => text.to_owned(),
    }
}

fn read(name: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec/data/tables");
    match std::fs::read_to_string(root.join(name)) {
        Ok(text) => Some(text),
        Err(_) => {
            eprintln!("skipped: no reference data {name}");
            None
        }
    }
}

/// Says whether the tests run as root, and reports the one that asks as skipped otherwise.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {test} needs root");
    }
    root
}

/// A temporary directory that goes with its value.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// Makes an empty one.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("filetree-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and the parents it needs.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// Makes a directory and the parents it needs.
    pub(crate) fn dir(&self, path: &str) -> &Self {
        std::fs::create_dir_all(self.0.join(path)).unwrap();
        self
    }

    /// Makes a link and the parents it needs.
    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// Sets a mode.
    pub(crate) fn mode(&self, path: &str, mode: u32) -> &Self {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.0.join(path), permissions).unwrap();
        self
    }

    /// Sets an owner; only root can.
    pub(crate) fn owner(&self, path: &str, uid: u32, gid: u32) -> &Self {
        std::os::unix::fs::lchown(self.0.join(path), Some(uid), Some(gid)).unwrap();
        self
    }

    /// Opens it as a root.
    pub(crate) fn root(&self) -> crate::RootDir {
        crate::RootDir::open(&self.0).unwrap()
    }

    /// Lists everything below, one line each, sorted: kind, mode, owner, path, and a file's text or a link's target.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        list(&self.0, &self.0, &mut lines);
        lines
    }
}

fn list(root: &Path, dir: &Path, lines: &mut Vec<String>) {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let metadata = path.symlink_metadata().unwrap();
        let kind = metadata.file_type();
        let (letter, rest) = match kind {
            _ if kind.is_symlink() => {
                ('l', format!(" -> {}", std::fs::read_link(&path).unwrap().display()))
            }
            _ if kind.is_dir() => ('d', String::new()),
            _ if kind.is_file() => {
                let text = std::fs::read(&path).unwrap();
                ('f', format!(" {}", String::from_utf8_lossy(&text[..text.len().min(60)])))
            }
            _ if kind.is_fifo() => ('p', String::new()),
            _ if kind.is_socket() => ('s', String::new()),
            _ => ('c', format!(" {}", metadata.rdev())),
        };
        lines.push(format!(
            "{letter} {:o} {}:{} /{}{rest}",
            metadata.mode() & 0o7777,
            metadata.uid(),
            metadata.gid(),
            path.strip_prefix(root).unwrap().display()
        ));
        if metadata.is_dir() {
            list(root, &path, lines);
        }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A test that failed may have left a directory nobody can enter; what cannot be removed is no reason to fail twice.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
