//! Root file systems where nothing can be mounted: copies of the layers, for one step at a time.
//!
//! A step takes a copy, works on it, and gives it back together with what it looks like now, so that the next step of the
//! stage goes on with it: a chain of steps costs one copy. A copy is in the directory of this process in the store and goes
//! with it.

use std::{
    mem,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use filetree::{RootDir, Scan, Timestamp};
use rustix::{
    fs::{Mode, OFlags},
    time::{ClockId, clock_gettime},
};
use store::{Open, Snapshot, SnapshotId};

use super::{directories, fresh};
use crate::{Engine, Error};

/// How many copies are kept that nobody works on: stages side by side have one each.
const MOST_TREES: usize = 4;

/// How long a clock is waited for that is behind the times of files.
const PATIENCE: Duration = Duration::from_millis(100);

/// The copies of this process that nobody works on, the one given back last at the end. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trees(Arc<Mutex<Vec<Tree>>>);

/// A copy of some layers.
#[derive(Debug)]
pub(super) struct Tree {
    directory: Snapshot<Open>,
    snapshots: Vec<SnapshotId>,
    /// The directory of the snapshot with what was changed last, as long as that has no name.
    unsealed: Option<PathBuf>,
    scan: Scan,
}

/// A copy that is read, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Borrowed {
    trees: Trees,
    tree: Option<Tree>,
}

impl Trees {
    /// Returns a copy of `snapshots`, the bottom first, for one that writes to it: dropped, it is removed.
    pub(super) fn take(&self, engine: &Engine, snapshots: &[SnapshotId]) -> Result<Tree, Error> {
        let tree = self.find(engine, snapshots)?;
        tree.wait_for_clock();
        Ok(tree)
    }

    /// Returns the root of a copy of `snapshots`, to be read.
    pub(super) fn borrow(
        &self,
        engine: &Engine,
        snapshots: &[SnapshotId],
    ) -> Result<(RootDir, Borrowed), Error> {
        let tree = self.find(engine, snapshots)?;
        let root = tree.root()?;
        Ok((root, Borrowed { trees: self.clone(), tree: Some(tree) }))
    }

    /// Puts into `snapshot` what was changed in a copy, and keeps the copy for the next step.
    pub(super) fn collect(
        &self,
        engine: &Engine,
        mut tree: Tree,
        snapshot: &Snapshot<Open>,
        except: &[&Path],
    ) -> Result<(), Error> {
        let root = tree.root()?;
        let after = Scan::of(&root)?;
        let to = (snapshot.fs(), engine.flavour());
        filetree::collect((&tree.scan, &after), &root, to, except)?;
        tree.scan = after;
        tree.unsealed = Some(snapshot.fs().to_owned());
        self.give_back(tree);
        Ok(())
    }

    /// The snapshot whose directory this was has a name now.
    pub(super) fn sealed(&self, directory: &Path, id: SnapshotId) {
        let mut trees = self.idle();
        let is_it = |tree: &&mut Tree| tree.unsealed.as_deref() == Some(directory);
        if let Some(tree) = trees.iter_mut().find(is_it) {
            tree.snapshots.push(id);
            tree.unsealed = None;
        }
    }

    /// Finds the copy that lacks the fewest of `snapshots`, or makes one.
    fn find(&self, engine: &Engine, snapshots: &[SnapshotId]) -> Result<Tree, Error> {
        let found = {
            let mut trees = self.idle();
            let fits = |tree: &Tree| {
                let is_below = snapshots.starts_with(&tree.snapshots);
                (is_below && tree.unsealed.is_none()).then_some(tree.snapshots.len())
            };
            let fitting = trees.iter().enumerate();
            let fitting = fitting.filter_map(|(place, tree)| Some((fits(tree)?, place)));
            fitting.max().map(|(_, place)| trees.remove(place))
        };
        match found {
            Some(tree) if tree.snapshots.len() == snapshots.len() => Ok(tree),
            Some(tree) => tree.complete(engine, snapshots),
            None => Tree::empty(engine)?.complete(engine, snapshots),
        }
    }

    fn give_back(&self, tree: Tree) {
        let mut trees = self.idle();
        trees.push(tree);
        let surplus = trees.len().saturating_sub(MOST_TREES);
        let surplus: Vec<Tree> = trees.drain(..surplus).collect();
        // Removing them takes long.
        drop(trees);
        drop(surplus);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Tree>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    fn empty(engine: &Engine) -> Result<Self, Error> {
        let directory = fresh(engine, &[])?;
        Ok(Self { directory, snapshots: Vec::new(), unsealed: None, scan: Scan::default() })
    }

    /// Lays those of `snapshots` onto it that it lacks.
    fn complete(mut self, engine: &Engine, snapshots: &[SnapshotId]) -> Result<Self, Error> {
        let root = self.root()?;
        let missing = directories(engine, &snapshots[self.snapshots.len()..])?;
        for directory in missing.iter().rev() {
            filetree::lay(directory, engine.flavour(), &root)?;
        }
        self.snapshots = snapshots.to_vec();
        self.scan = Scan::of(&root)?;
        Ok(self)
    }

    pub(super) fn root(&self) -> Result<RootDir, Error> {
        Ok(RootDir::open(self.directory.fs())?)
    }

    /// The directory beside it, for what has to give way while a program runs.
    pub(super) fn aside(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(self.directory.work(), flags, Mode::empty())
            .map_err(Error::errno("open", self.directory.work()))
    }

    /// Waits until the clock of files has gone on since the last change: one within the same tick would look as if
    /// nothing had happened.
    fn wait_for_clock(&self) {
        let end = Instant::now() + PATIENCE;
        let now = || {
            let now = clock_gettime(ClockId::RealtimeCoarse);
            Timestamp { seconds: now.tv_sec, nanoseconds: now.tv_nsec as u32 }
        };
        while now() <= self.scan.newest() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(tree) = mem::take(&mut self.tree) {
            self.trees.give_back(tree);
        }
    }
}
