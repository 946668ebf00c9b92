//! The handle on a state directory: opening it, making it, and what an earlier boot has left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::fs::FlockOperation;

use crate::{
    SnapshotId, Warning,
    error::{Error, Result},
    layout::{self, Layout},
    lease::LeaseFile,
    lock::{Lock, flock_again},
    record::Kind,
    tmp::{self, OwnNames, ProcessDirectory},
};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A state directory, open. Clones share it; any number of threads and processes may use one directory at once.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// How the snapshots of a store mark what is deleted, and say whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// As overlay does, to be mounted.
    Overlay,
    /// By names, as layers do: where nothing can be mounted.
    Names,
    /// As overlay does, and owners and devices beside files ([`oci::Deed`]): where files cannot belong to anybody.
    Deeds,
    /// By names, and owners, devices and modes beside files: for an ordinary user where nothing can be mounted.
    NamesAndDeeds,
}

impl Marks {
    const ALL: [Self; 4] = [Self::Overlay, Self::Names, Self::Deeds, Self::NamesAndDeeds];

    /// What the file says that is there for all but the first.
    fn text(self) -> Option<&'static str> {
        match self {
            Self::Overlay => None,
            Self::Names => Some("names\n"),
            Self::Deeds => Some("deeds\n"),
            Self::NamesAndDeeds => Some("names deeds\n"),
        }
    }
}

/// What all clones of a [`Store`] share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) names: OwnNames,
    pub(crate) made: Mutex<Option<LeaseFile>>,
    /// The snapshots that were sealed since the store was opened.
    pub(crate) made_here: Mutex<BTreeSet<SnapshotId>>,
    pub(crate) process: Mutex<Option<Arc<ProcessDirectory>>>,
    /// How much is in sealed snapshots, as far as somebody asked.
    pub(crate) sizes: Mutex<BTreeMap<SnapshotId, u64>>,
    warnings: Mutex<Vec<Warning>>,
}

impl Store {
    /// Opens the store at `root`, and makes it if there is nothing (or an empty directory).
    ///
    /// A store that is in order costs about ten system calls. Leftovers of killed processes and what an earlier boot has
    /// not brought to the disk ([`Store::sync`]) are removed; [`Store::take_warnings`] tells.
    ///
    /// # Errors
    /// A directory with something else in it, another user's store and one of a newer format are refused untouched.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let boot = fs::read_to_string(BOOT_ID).map_err(Error::io("read", BOOT_ID))?;
        Self::open_in_boot(root, boot.trim())
    }

    /// Opens the store as if the machine had been started for the time named `boot`: what another boot has not brought to
    /// the disk is dropped. For who has lost the power of a disk and not of the machine.
    pub fn open_in_boot(root: &Path, boot: &str) -> Result<Self, Error> {
        // It becomes a file name.
        let is_boot_id = !boot.is_empty()
            && boot.len() <= 64
            && boot.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_boot_id {
            return Err(Error::BootId { boot: boot.to_owned() });
        }
        let root = std::path::absolute(root).map_err(Error::io("find", root))?;
        let layout = Layout::new(&root, boot);
        if !check_format(&layout)? {
            create(&layout)?;
        }
        let inner = Inner {
            layout,
            names: OwnNames::default(),
            made: Mutex::new(None),
            made_here: Mutex::default(),
            process: Mutex::new(None),
            sizes: Mutex::default(),
            warnings: Mutex::new(Vec::new()),
        };
        inner.sweep()?;
        inner.drop_other_boots()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the state directory.
    pub fn root(&self) -> &Path {
        self.inner.layout.root()
    }

    /// Makes sure that all snapshots have these marks; a store without any has them from now on.
    ///
    /// # Errors
    /// [`Error::Marks`] for a store with others, which is left as it is.
    pub fn ensure_marks(&self, marks: Marks) -> Result<(), Error> {
        let path = self.inner.layout.marks();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            text => Some(text.map_err(Error::io("read", &path))?),
        };
        let found = Marks::ALL.into_iter().find(|marks| marks.text() == text.as_deref());
        let wanted = match marks.text() {
            _ if found == Some(marks) => return Ok(()),
            Some(wanted) if text.is_none() && self.snapshots()?.is_empty() => wanted,
            _ => return Err(Error::Marks { path: self.root().to_owned(), found }),
        };
        let new = self.inner.process()?.new_path("marks-");
        fs::write(&new, wanted).map_err(Error::io("write", &new))?;
        fs::rename(&new, &path).map_err(Error::io("rename", &path))
    }

    /// Returns the file in which to remember the stat cache of a build context; its directory exists.
    pub fn stat_cache_path(&self, context: &Path) -> Result<PathBuf, Error> {
        let directory = self.inner.layout.stat_caches();
        if !directory.is_dir() {
            tmp::create_directories(&directory)?;
        }
        Ok(self.inner.layout.stat_cache(context))
    }

    /// Returns what was noticed since the last call.
    pub fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut *self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.root()).finish()
    }
}

impl Inner {
    pub(crate) fn warn(&self, warning: Warning) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Taken by who looks up and holds, or writes a record.
    pub(crate) fn lock_shared(&self) -> Result<Lock> {
        Lock::shared(&self.layout.lock())
    }

    /// Taken by who removes what others might look up.
    pub(crate) fn lock_exclusive(&self) -> Result<Lock> {
        Lock::exclusive(&self.layout.lock())
    }

    /// Drops the records and blobs that an earlier boot has not brought to the disk for sure: after a power cut their
    /// files may be empty. One listing of the root, as long as the machine was not started again.
    fn drop_other_boots(&self) -> Result<()> {
        let root = self.layout.root();
        let mut dropped = BTreeMap::new();
        let mut passed_over = 0;
        for entry in fs::read_dir(root).map_err(Error::io("list", root))? {
            let name = entry.map_err(Error::io("list", root))?.file_name();
            let Some(name) = name.to_str().filter(|name| self.layout.is_of_another_boot(name))
            else {
                continue;
            };
            // Renamed at once, so that no other process sees half of it; removed with the directory of this process.
            let (path, trash) = (self.layout.root_entry(name), self.trash_path()?);
            match fs::rename(&path, &trash) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // Nobody looks into it: to read the rest, it need not go.
                Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                    passed_over += count_records(&path)?;
                    continue;
                }
                renamed => renamed.map_err(Error::io("rename", &trash))?,
            }
            dropped.insert(trash.clone(), count_records(&trash)?);
            self.discard(&trash);
        }
        let records = dropped.values().sum();
        if records > 0 {
            self.warn(Warning::Dropped { records });
        }
        if passed_over > 0 {
            self.warn(Warning::PassedOver { records: passed_over });
        }
        Ok(())
    }
}

fn count_records(tree: &Path) -> Result<u64> {
    let mut records = 0;
    for kind in Kind::ALL {
        let directory = tree.join("records").join(kind.directory());
        records += tmp::directory_entries(&directory)?.len() as u64;
    }
    Ok(records)
}

/// Returns whether there is a store that this program may use; `false` if there is none.
fn check_format(layout: &Layout) -> Result<bool> {
    let path = layout.format();
    let file = match fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file.map_err(Error::io("open", &path))?,
    };
    let owner = file.metadata().map_err(Error::io("read", &path))?.uid();
    let user = rustix::process::geteuid().as_raw();
    let foreign = || Error::ForeignDirectory { path: layout.root().to_owned() };
    let text = io::read_to_string(file).map_err(Error::io("read", &path))?;
    let found = layout::parse_format(&text).ok_or_else(foreign)?;
    if owner != user {
        return Err(Error::ForeignOwner { path: layout.root().to_owned(), owner, user });
    }
    if found > layout::FORMAT {
        let path = layout.root().to_owned();
        return Err(Error::NewerFormat { path, found, known: layout::FORMAT });
    }
    Ok(true)
}

/// Makes an empty store. Of several processes one does it, under a lock on the directory itself.
fn create(layout: &Layout) -> Result<()> {
    let root = layout.root();
    tmp::create_directories(root)?;
    let directory = fs::File::open(root).map_err(Error::io("open", root))?;
    flock_again(&directory, FlockOperation::LockExclusive).map_err(Error::io("lock", root))?;
    if check_format(layout)? {
        return Ok(());
    }
    for entry in tmp::directory_entries(root)? {
        let early = entry.file_name().and_then(|name| name.to_str());
        if !early.is_some_and(|name| layout::EARLY_NAMES.contains(&name)) {
            return Err(Error::ForeignDirectory { path: root.to_owned() });
        }
    }
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(root, private).map_err(Error::io("change the mode of", root))?;
    write_format(layout)
}

fn write_format(layout: &Layout) -> Result<()> {
    let (new, path) = (layout.new_format(), layout.format());
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new).map_err(Error::io("create", &new))?;
    file.write_all(layout::format_text().as_bytes()).map_err(Error::io("write", &new))?;
    // The one file that is synced at once: an empty one would make the directory look like somebody else's.
    file.sync_all().map_err(Error::io("sync", &new))?;
    fs::rename(&new, &path).map_err(Error::io("rename", &path))
}

#[cfg(test)]
mod tests;
