//! What survives a power cut, and how little that costs.
//!
//! The files of a snapshot are not synced one by one: that would cost a hundred times what building it does. They, and
//! the records that make them visible, lie in the page cache until the kernel writes them, in no order. So:
//!
//! 1. A record or blob is written to the tree of this boot (`boot-<boot id>/`). Everybody sees it there: until the
//!    machine goes down, the page cache is as good as the disk.
//! 2. [`Store::sync`] lists that tree, lets the kernel write everything out (one `syncfs`), and then renames what it
//!    listed to `kept/`. What is under `kept/` is on disk together with everything it points to, because what it points
//!    to was there before it. A record that was replaced after the listing stays where it is, for the next sync.
//! 3. Opening a store in another boot drops every `boot-*` tree but its own, as if what is in it had never been made: one
//!    listing of the root. The snapshots it spoke of go with the next collection.
//!
//! A build does not sync, so a build without work costs nothing here. It is done at the end of `save` and `push`, on
//! request, and by [`Store::sync_if_old`] when something has lain unsynced for so long that the kernel has written it
//! anyway, so that there is little left to wait for.
//!
//! If a sync fails, the kernel has reported it once and forgets it: the next one would succeed without the data. So a
//! failed one leaves a mark, and nothing more of this boot is ever said to be durable.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{
    Store,
    error::{Error, Result},
    layout::Tree,
    open::Inner,
    tmp,
};

/// One file of the fresh tree, as it was before the sync.
struct Listed {
    from: PathBuf,
    to: PathBuf,
    version: Version,
}

/// What changes when a file is replaced by another of the same name.
#[derive(PartialEq, Eq)]
struct Version {
    inode: u64,
    made: SystemTime,
    size: u64,
}

impl Store {
    /// Makes everything durable that is visible now; returns how many records and blobs were not. Waits for the disk.
    ///
    /// # Errors
    /// If the disk fails, what was built in this boot stays usable until the machine goes down, and is dropped then.
    pub fn sync(&self) -> Result<usize, Error> {
        let inner = &self.inner;
        let poisoned = inner.layout.poisoned();
        if poisoned.try_exists().map_err(Error::io("look at", poisoned))? {
            return Err(Error::Poisoned { path: inner.layout.root().to_owned() });
        }
        let listed = inner.list_fresh()?;
        if listed.is_empty() {
            return Ok(0);
        }
        inner.sync_file_system()?;
        {
            let _lock = inner.lock_exclusive()?;
            for file in &listed {
                file.keep()?;
            }
            inner.remove_empty_directories()?;
        }
        // The renames themselves: what is said to be durable is.
        inner.sync_file_system()?;
        Ok(listed.len())
    }

    /// Makes everything durable if something has waited for `age`; returns whether it did. Costs one `stat` if not.
    pub fn sync_if_old(&self, age: Duration) -> Result<bool, Error> {
        match self.unsynced_for()? {
            Some(waiting) if waiting >= age => Ok(self.sync()? > 0),
            _ => Ok(false),
        }
    }

    /// Returns for how long something has waited to be made durable, `None` if nothing has.
    pub fn unsynced_for(&self) -> Result<Option<Duration>, Error> {
        // Written in when the tree or one of its directories is made: at the first record after a sync, or soon after.
        let tree = self.inner.layout.tree(Tree::Fresh);
        let stat = match fs::metadata(tree) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            stat => stat.map_err(Error::io("find", tree))?,
        };
        let since = stat.modified().map_err(Error::io("find", tree))?;
        Ok(Some(SystemTime::now().duration_since(since).unwrap_or(Duration::ZERO)))
    }
}

impl Inner {
    /// Lists the blobs, then the records, each before those that point to it: in this order they are kept.
    fn list_fresh(&self) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for (fresh, kept) in self.layout.mirrored() {
            for from in tmp::directory_entries(&fresh)? {
                let Some(version) = version_of(&from)? else { continue };
                let Some(name) = from.file_name() else { continue };
                listed.push(Listed { to: kept.join(name), from, version });
            }
        }
        Ok(listed)
    }

    /// Leaves a tree that was kept as a whole without directories, so that the time of the next one is that of the first
    /// record in it. Under the exclusive lock: nobody is about to write there.
    fn remove_empty_directories(&self) -> Result<()> {
        let directories = self.layout.mirrored().into_iter().map(|(fresh, _)| fresh);
        let above = self.layout.fresh_directories();
        for directory in directories.chain(above) {
            match fs::remove_dir(&directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) => return Err(Error::io("remove", directory)(error)),
            }
        }
        Ok(())
    }

    fn sync_file_system(&self) -> Result<()> {
        let root = self.layout.root();
        let directory = fs::File::open(root).map_err(Error::io("open", root))?;
        let synced = rustix::fs::syncfs(&directory);
        if synced.is_err() {
            let poisoned = self.layout.poisoned();
            tmp::create_directories(self.layout.tree(Tree::Fresh))?;
            fs::write(&poisoned, "").map_err(Error::io("write", poisoned))?;
        }
        synced.map_err(Error::io("sync", root))
    }
}

impl Listed {
    /// Moves the file to the kept tree, if it is still the one that was synced.
    fn keep(&self) -> Result<()> {
        if version_of(&self.from)?.as_ref() == Some(&self.version) {
            tmp::publish(&self.from, &self.to)?;
        }
        Ok(())
    }
}

/// Returns what a file is now, `None` if it is gone.
fn version_of(path: &Path) -> Result<Option<Version>> {
    let stat = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        stat => stat.map_err(Error::io("find", path))?,
    };
    // Where the file system does not tell when a file was made, the last change has to do; the use of a record is one,
    // which then makes it wait for the next sync.
    let made = stat.created().or_else(|_| stat.modified()).map_err(Error::io("find", path))?;
    Ok(Some(Version { inode: stat.ino(), made, size: stat.len() }))
}

#[cfg(test)]
mod tests;
