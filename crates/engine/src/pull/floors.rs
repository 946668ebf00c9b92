//! The layers of an image as they become complete: what those above them stand on.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, OnceLock, PoisonError},
};

use filetree::{RootDir, Underneath};

/// All layers of one image, the bottom first.
#[derive(Debug)]
pub(super) struct Floors {
    /// Of a layer that the store had, where it is: opened only if somebody looks.
    known: Vec<Option<PathBuf>>,
    complete: Vec<OnceLock<RootDir>>,
    given_up: Mutex<bool>,
    changed: Condvar,
}

impl Floors {
    /// Starts with those that are there.
    pub(super) fn new(known: Vec<Option<PathBuf>>) -> Self {
        let complete = known.iter().map(|_| OnceLock::new()).collect();
        Self { known, complete, given_up: Mutex::new(false), changed: Condvar::new() }
    }

    /// Says that a layer is complete.
    pub(super) fn complete(&self, index: usize, root: RootDir) {
        if let Some(place) = self.complete.get(index) {
            // Each layer is unpacked once.
            let _ = place.set(root);
        }
        let _guard = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
    }

    fn give_up(&self) {
        *self.given_up.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn floor(&self, index: usize) -> Result<&RootDir, Missing> {
        let place = self.complete.get(index).ok_or(Missing::ForEver)?;
        if place.get().is_none()
            && let Some(Some(path)) = self.known.get(index)
        {
            // One that cannot be opened was removed behind the store's back.
            let _ = place.set(RootDir::open(path).map_err(|_| Missing::ForEver)?);
        }
        place.get().ok_or(Missing::Yet)
    }

    fn all_below(&self, index: usize) -> Result<Vec<&RootDir>, Missing> {
        (0..index).rev().map(|below| self.floor(below)).collect()
    }
}

/// Why a layer cannot be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Yet,
    ForEver,
}

/// Ends the waiting of all layers when the pull ends, however it does.
#[derive(Debug)]
pub(super) struct GiveUp(pub(super) Arc<Floors>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// What a layer stands on.
#[derive(Debug)]
pub(super) struct Below {
    pub(super) floors: Arc<Floors>,
    /// Which layer it is.
    pub(super) index: usize,
}

impl Underneath for Below {
    fn layers(&self) -> Option<Vec<&RootDir>> {
        let mut given_up = self.floors.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match self.floors.all_below(self.index) {
                Ok(layers) => return Some(layers),
                Err(Missing::Yet) if !*given_up => {}
                Err(_) => return None,
            }
            let waited = self.floors.changed.wait(given_up);
            given_up = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}
