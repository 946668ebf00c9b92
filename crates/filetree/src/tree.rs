//! What a COPY reads from: the build context, a named context, or the root of another stage or image.
//!
//! A context is seen through its ignore file: what that hides does not exist here. Which of the rest a COPY takes is in
//! [`select`](mod@crate::select).

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Stat};

use crate::{Error, Patterns, RootDir, StatCache, Timestamp, ignore::Matched, root::Place};

/// Whom copied files belong to when `--chown` says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Everything is 0:0: a context's owners are those of whoever checked it out.
    Root,
    /// As in the tree: stages and images.
    Keep,
}

/// A tree to copy from.
#[derive(Debug)]
pub struct Tree {
    /// Its root directory.
    pub root: RootDir,
    /// The rules that hide part of it.
    pub ignore: Option<Patterns>,
    /// Whom its files belong to once copied.
    pub owners: Owners,
    /// What is remembered of its files' contents; the caller saves it.
    pub stat_cache: Option<StatCache>,
    /// The directory that nothing is taken from, wherever it is met: what a build writes is not what it reads.
    pub apart: Option<DirectoryId>,
}

/// Which directory it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryId {
    device: u64,
    inode: u64,
}

impl DirectoryId {
    /// Looks at a directory of the host.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let stat = rustix::fs::stat(path).map_err(Error::io("stat", path))?;
        Ok(Self::of_stat(&stat))
    }

    #[allow(clippy::unnecessary_cast, reason = "the widths differ between architectures")]
    pub(crate) fn of_stat(stat: &Stat) -> Self {
        Self { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Dir,
    Link,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

/// What is known of an entry without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    /// Twelve bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) inode: u64,
    /// Which device it is, for devices.
    pub(crate) rdev: u64,
}

impl Meta {
    #[allow(clippy::unnecessary_cast, reason = "the widths differ between architectures")]
    pub(crate) fn new(stat: &Stat) -> Self {
        let time = |seconds: i64, nanoseconds: u64| Timestamp {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        };
        Self {
            kind: Kind::of(FileType::from_raw_mode(stat.st_mode)),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
            inode: stat.st_ino as u64,
            rdev: stat.st_rdev as u64,
        }
    }

    /// Says whether the file is still what it was when `self` was taken.
    pub(crate) fn is_unchanged(&self, now: &Self) -> bool {
        (self.kind, self.size, self.mtime, self.ctime) == (now.kind, now.size, now.mtime, now.ctime)
    }
}

impl Kind {
    fn of(file_type: FileType) -> Self {
        match file_type {
            FileType::Directory => Self::Dir,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::RegularFile | FileType::Unknown => Self::File,
        }
    }
}

/// A path of the tree that exists, every link resolved.
#[derive(Debug)]
pub(crate) struct Found {
    /// Relative to the root, free of links; empty for the root.
    pub(crate) path: PathBuf,
    pub(crate) meta: Meta,
    /// Which ignore patterns it matches, for its entries.
    pub(crate) matched: Matched,
    /// Whether it is a hidden directory, which is there only if something below it is not hidden.
    pub(crate) hidden: bool,
}

impl Tree {
    /// Returns a tree without ignore rules and without a memory.
    pub fn new(root: RootDir, owners: Owners) -> Self {
        Self { root, ignore: None, owners, stat_cache: None, apart: None }
    }

    /// Resolves `path` as if the root were `/`, following all links; `None` when it does not exist or is hidden.
    pub(crate) fn find(&self, path: &Path) -> Result<Option<Found>, Error> {
        let place = match self.root.place(path) {
            Ok(place) => place,
            Err(Error::NotADirectory { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if place.is_missing() || place.links().iter().any(|link| self.hides(link)) {
            return Ok(None);
        }
        let meta = self.meta(&place)?;
        let path = crate::root::clean(&place.path());
        let (hidden, matched) = self.ignore_state(&path);
        if hidden && meta.kind != Kind::Dir {
            return Ok(None);
        }
        self.refuse_apart(&path)?;
        Ok(Some(Found { path, meta, matched, hidden }))
    }

    /// Fails for what is the directory that nothing is taken from, or lies in it. `path` is free of links.
    fn refuse_apart(&self, path: &Path) -> Result<(), Error> {
        let Some(apart) = self.apart else { return Ok(()) };
        for path in path.ancestors() {
            let stat = self.root.symlink_metadata(path).map_err(Error::io("stat", path))?;
            if stat.is_some_and(|stat| DirectoryId::of_stat(&stat) == apart) {
                return Err(Error::Apart { path: Path::new("/").join(path) });
            }
        }
        Ok(())
    }

    /// Returns the error for a source that [`find`](Self::find) does not find, naming the rule that hides it.
    pub(crate) fn not_found(&self, path: &Path) -> Error {
        let relative = crate::root::clean(path);
        let excluded = self.ignore.as_ref().and_then(|ignore| {
            // The hint is worth giving only if the file would be there without the rule.
            let exists = self.root.symlink_metadata(&relative).is_ok_and(|stat| stat.is_some());
            exists.then(|| ignore.explain(&relative.to_string_lossy())).flatten()
        });
        Error::NotFound { path: format!("/{}", relative.display()), excluded, nearest: None }
    }

    /// Decides on `path` going down from the root.
    pub(crate) fn ignore_state(&self, path: &Path) -> (bool, Matched) {
        let mut state = (false, Matched::default());
        let Some(ignore) = &self.ignore else { return state };
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return state;
        }
        let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for end in slashes.map(|(end, _)| end).chain([bytes.len()]) {
            state = ignore.descend(&bytes[..end], &state.1);
        }
        state
    }

    pub(crate) fn hides(&self, path: &Path) -> bool {
        self.ignore_state(&crate::root::clean(path)).0
    }

    fn meta(&self, place: &Place) -> Result<Meta, Error> {
        match place.file() {
            Some(stat) => Ok(Meta::new(stat)),
            None => {
                let stat = self.root.look_at(place.dir());
                Ok(Meta::new(&stat.map_err(Error::io("stat", place.path()))?))
            }
        }
    }
}
