//! Cache mounts: directories that steps share and that no layer contains (RUN --mount=type=cache).

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use oci::Digest;

use crate::{
    CacheEntry, Store,
    collect::size,
    error::{Error, Result},
    lock::Lock,
    open::Inner,
    tmp,
};

/// Who may use a cache mount at the same time (Dockerfile reference, "RUN --mount=type=cache", `sharing`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Any number of steps.
    Shared,
    /// Each step has its own: a further one is made if all are in use.
    Private,
    /// One step at a time; the others wait.
    Locked,
}

/// A cache mount in use, until it is dropped.
#[derive(Debug)]
pub struct CacheMount {
    fs: PathBuf,
    _lock: Lock,
}

impl CacheMount {
    /// Returns its directory, which is for the step to change.
    pub fn path(&self) -> &Path {
        &self.fs
    }
}

impl Store {
    /// Takes the cache mount named `id`; a new one is filled by `fill` first, and not made at all if that fails.
    ///
    /// Waits for who has it, if it is [`Sharing::Locked`]. A step that takes several takes them in the order of their
    /// ids, or two such steps wait for each other for ever.
    pub fn cache_mount(
        &self,
        id: &str,
        sharing: Sharing,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<CacheMount, Error> {
        let hash = Digest::of(id.as_bytes()).to_hex();
        let (name, lock) = match sharing {
            Sharing::Shared => (hash.clone(), Lock::shared(&self.inner.layout.mount_lock(&hash))?),
            Sharing::Locked => {
                (hash.clone(), Lock::exclusive(&self.inner.layout.mount_lock(&hash))?)
            }
            Sharing::Private => self.take_private(&hash)?,
        };
        let directory = self.inner.layout.mount(&name);
        let fs = directory.join("fs");
        if !fs.is_dir() {
            self.make_mount(id, &directory, fill)?;
        }
        // Only the order of removal depends on it.
        let _ = fs::File::open(directory.join("id"))
            .and_then(|file| file.set_modified(SystemTime::now()));
        Ok(CacheMount { fs, _lock: lock })
    }

    /// Removes the cache mount named `id`: who takes it next gets a new one. Who has it keeps what it has.
    pub fn forget_cache_mount(&self, id: &str) -> Result<(), Error> {
        let hash = Digest::of(id.as_bytes()).to_hex();
        let directory = self.inner.layout.mount(&hash);
        let trash = self.inner.trash();
        trash.throw(&directory)?;
        Ok(())
    }

    /// Takes the first one that nobody has.
    fn take_private(&self, hash: &str) -> Result<(String, Lock)> {
        let mut name = hash.to_owned();
        let mut number = 0;
        loop {
            if let Some(lock) = Lock::try_exclusive(&self.inner.layout.mount_lock(&name))? {
                return Ok((name, lock));
            }
            number += 1;
            name = format!("{hash}-{number}");
        }
    }

    /// Makes a cache mount out of sight, and puts it in its place if nobody was quicker.
    fn make_mount(
        &self,
        id: &str,
        directory: &Path,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<()> {
        let new = self.temp_dir()?;
        let fs = new.path().join("fs");
        tmp::create_directories(&fs)?;
        fill(&fs).map_err(Error::io("fill", &fs))?;
        let id_file = new.path().join("id");
        fs::write(&id_file, id).map_err(Error::io("write", id_file))?;
        match tmp::publish(new.path(), directory) {
            Err(_) if directory.join("fs").is_dir() => Ok(()),
            published => published,
        }
    }

    /// Returns all cache mounts, in the order of their ids.
    pub fn cache_mounts(&self) -> Result<Vec<CacheEntry>, Error> {
        let mut mounts = Vec::new();
        for (name, directory) in self.inner.mount_directories()? {
            // Without an id, it is being removed.
            let Ok(description) = fs::read_to_string(directory.join("id")) else { continue };
            let size = size::on_disk(&directory.join("fs"))?;
            let used = self.inner.mount_used(&directory);
            let created = directory.metadata().and_then(|stat| stat.created()).unwrap_or(used);
            mounts.push(CacheEntry { name, snapshot: None, description, size, created, used });
        }
        mounts.sort_by(|a, b| (&a.description, &a.name).cmp(&(&b.description, &b.name)));
        Ok(mounts)
    }
}

impl Inner {
    /// Returns the names and the directories of all cache mounts.
    pub(crate) fn mount_directories(&self) -> Result<Vec<(String, PathBuf)>> {
        let entries = tmp::directory_entries(&self.layout.mounts())?;
        let named = |path: PathBuf| Some((path.file_name()?.to_str()?.to_owned(), path));
        Ok(entries.into_iter().filter_map(named).collect())
    }

    /// Returns when a cache mount was taken last.
    pub(crate) fn mount_used(&self, directory: &Path) -> SystemTime {
        let used = fs::metadata(directory.join("id")).and_then(|stat| stat.modified());
        used.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;
    use crate::testing::Scratch;

    fn nothing(_: &Path) -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn contents_stay_and_are_filled_in_once() {
        let scratch = Scratch::new("mount");
        let store = scratch.store();
        let fill = |path: &Path| fs::write(path.join("first"), "");
        let mount = store.cache_mount("/root/.cache", Sharing::Shared, fill).unwrap();
        fs::write(mount.path().join("second"), "").unwrap();
        let other = store.cache_mount("/root/.cache", Sharing::Shared, |_| panic!()).unwrap();
        assert_eq!(other.path(), mount.path());
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 2);
        let elsewhere = store.cache_mount("../../x", Sharing::Shared, nothing).unwrap();
        assert!(elsewhere.path().starts_with(scratch.root()));
        let mounts = store.cache_mounts().unwrap();
        let ids: Vec<&str> = mounts.iter().map(|mount| mount.description.as_str()).collect();
        assert_eq!(ids, ["../../x", "/root/.cache"]);
    }

    #[test]
    fn a_forgotten_one_starts_again() {
        let scratch = Scratch::new("mount-forget");
        let store = scratch.store();
        store.forget_cache_mount("id").unwrap();
        let old = store.cache_mount("id", Sharing::Shared, nothing).unwrap();
        fs::write(old.path().join("file"), "").unwrap();
        store.forget_cache_mount("id").unwrap();
        let new = store.cache_mount("id", Sharing::Shared, nothing).unwrap();
        assert_eq!(fs::read_dir(new.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_that_could_not_be_filled_is_not_there() {
        let scratch = Scratch::new("mount-fill");
        let store = scratch.store();
        let failing = |_: &Path| Err(io::Error::other("full"));
        assert!(store.cache_mount("id", Sharing::Shared, failing).is_err());
        assert!(store.cache_mounts().unwrap().is_empty());
        store.cache_mount("id", Sharing::Shared, nothing).unwrap();
    }

    #[test]
    fn private_ones_are_apart() {
        let scratch = Scratch::new("mount-private");
        let store = scratch.store();
        let first = store.cache_mount("id", Sharing::Private, nothing).unwrap();
        let second = store.cache_mount("id", Sharing::Private, nothing).unwrap();
        assert_ne!(first.path(), second.path());
        let path = first.path().to_owned();
        drop(first);
        let third = store.cache_mount("id", Sharing::Private, nothing).unwrap();
        assert_eq!(third.path(), path);
    }

    #[test]
    fn a_locked_one_has_one_user_at_a_time() {
        let scratch = Scratch::new("mount-locked");
        let store = scratch.store();
        let first = store.cache_mount("id", Sharing::Locked, nothing).unwrap();
        let (sender, receiver) = mpsc::channel();
        let waiting = thread::spawn({
            let store = store.clone();
            move || {
                let mount = store.cache_mount("id", Sharing::Locked, nothing).unwrap();
                sender.send(()).unwrap();
                drop(mount);
            }
        });
        assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err());
        drop(first);
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        waiting.join().unwrap();
    }
}
