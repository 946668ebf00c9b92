//! Files that are not on this machine: of the web (`web`) and of git repositories (`git`).
//!
//! Whatever was fetched is a sealed snapshot with a record, as the result of a step is: the next build asks only whether
//! it is still the current version. In one build each address is asked once, whoever wants it, so that all steps see the
//! same version.

pub(crate) mod git;
pub(crate) mod web;

mod address;
mod checkout;
mod growth;
mod program;

use std::{
    collections::HashMap,
    hash::Hash,
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
};

use filetree::{Owners, RootDir, Selection, Tree, Wanted};
use plan::Copy;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use store::{Lease, Record, SnapshotId};

use crate::{BuildRequest, Engine, Error, Events, commit};

/// Who asks: everything that a fetch needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) request: &'a BuildRequest,
    pub(crate) events: &'a Events,
    pub(crate) remotes: &'a Remotes,
}

/// What one build has fetched.
#[derive(Debug, Default)]
pub(crate) struct Remotes {
    files: Once<web::Wish, web::File>,
    commits: Once<String, git::Commit>,
    checkouts: Once<Vec<u8>, git::Checkout>,
    /// Holds what earlier builds have fetched and this one uses.
    lease: Mutex<Option<Lease>>,
}

/// A tree that was fetched.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) snapshot: SnapshotId,
    /// The directory of it that is wanted, relative and clean; empty for all.
    pub(crate) directory: String,
    /// Names what it shows, which never changes.
    pub(crate) identity: Vec<u8>,
    pub(crate) owners: Owners,
}

impl Fetched {
    /// Opens it.
    pub(crate) fn tree(&self, engine: &Engine) -> Result<Tree, Error> {
        Ok(Tree::new(self.root(engine)?, self.owners))
    }

    /// No part of the directory's path may be a link: its owner could have it lead anywhere.
    fn root(&self, engine: &Engine) -> Result<RootDir, Error> {
        let root = RootDir::open(&engine.store().snapshot_dir(&self.snapshot))?;
        if self.directory.is_empty() {
            return Ok(root);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let directory = self.directory.as_str();
        let fd = rustix::fs::openat2(root.as_fd(), directory, flags, Mode::empty(), resolve)
            .map_err(Error::errno("open the directory", directory))?;
        Ok(RootDir::from_fd(fd))
    }
}

/// What an ADD takes from an address.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) tree: Tree,
    pub(crate) selection: Selection,
}

/// Selects the whole of a repository.
pub(crate) fn select_all(tree: Tree, copy: &Copy) -> Result<Taken, Error> {
    let sources = ["/".to_owned()];
    let wanted = Wanted { sources: &sources, exclude: &copy.exclude, ..Wanted::default() };
    let selection = filetree::select(&tree, &wanted)?;
    Ok(Taken { tree, selection })
}

impl Asker<'_> {
    /// Returns what an earlier build has fetched under a key, and holds it.
    fn known(&self, key: &[u8; 32]) -> Result<Option<Record>, Error> {
        let Some(record) = self.engine.store().record(key)? else { return Ok(None) };
        let mut lease = self.remotes.lease.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = match &mut *lease {
            Some(lease) => lease,
            none => none.insert(self.engine.store().lease()?),
        };
        match lease.hold(&record.snapshot) {
            Ok(()) => Ok(Some(record)),
            // Another process removed it between the look and the hold: it was never fetched.
            Err(store::Error::NoSuchSnapshot { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers what was fetched under a key, for other builds.
    fn remember(
        &self,
        key: &[u8; 32],
        snapshot: SnapshotId,
        description: String,
        ingredients: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let (began, created) = (None, commit::now());
        let record = Record { snapshot, below: None, began, created, description, ingredients };
        Ok(self.engine.store().put_record(key, &record)?)
    }
}

/// A key that no two lists of parts have in common. Every part is preceded by its length.
fn key(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Values that are made once, by whoever asks first; the others wait for it.
#[derive(Debug)]
struct Once<K, V>(Mutex<HashMap<K, Slot<V>>>);

type Slot<V> = Arc<Mutex<Option<V>>>;

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Once<K, V> {
    /// Returns the value, made if nobody has made it yet. A failure is told to the one who met it; the next one tries anew.
    fn get(&self, key: K, make: impl FnOnce() -> Result<V, Error>) -> Result<V, Error> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key).or_default())
        };
        let mut value = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        Ok(value.insert(make()?).clone())
    }
}
