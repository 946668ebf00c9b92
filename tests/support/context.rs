//! Directories to build from.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A directory with a Dockerfile. It goes away with the [`TestEnv`](super::env::TestEnv) that made it.
pub(crate) struct Context {
    path: PathBuf,
}

impl Context {
    pub(crate) fn create(path: PathBuf, dockerfile: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let context = Self { path };
        context.write("Dockerfile", dockerfile);
        context
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn str(&self) -> &str {
        self.path.to_str().expect("temporary paths are UTF-8")
    }

    /// Writes a file, with its directories. A name that ends with `/` is a directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path.join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
            return self;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Writes several small files, each with its own name in it.
    pub(crate) fn files(&self, names: &[&str]) -> &Self {
        for name in names {
            self.write(name, format!("{name}\n"));
        }
        self
    }

    pub(crate) fn dockerfile(&self, text: &str) -> &Self {
        self.write("Dockerfile", text)
    }

    pub(crate) fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.path.join(name)).unwrap();
        self
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) -> &Self {
        fs::set_permissions(self.path.join(name), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    pub(crate) fn symlink(&self, name: &str, target: &str) -> &Self {
        symlink(target, self.path.join(name)).unwrap();
        self
    }

    pub(crate) fn hard_link(&self, name: &str, target: &str) -> &Self {
        fs::hard_link(self.path.join(target), self.path.join(name)).unwrap();
        self
    }

    /// Sets the time of the last modification, in seconds since 1970.
    pub(crate) fn touch(&self, name: &str, seconds: u64) -> &Self {
        let file = fs::File::open(self.path.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        self
    }
}
