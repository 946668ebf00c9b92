//! What is written of a container's state while it is kept: by several threads of the keeper, one after the other, and by
//! none after the container was given back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use store::{ContainerState, Kept};

use crate::Error;

/// The container that is kept, until it is given back.
#[derive(Debug)]
pub(super) struct Register(Mutex<Option<Entry>>);

#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// What was written last; at first that of an earlier run.
    state: ContainerState,
}

impl Register {
    pub(super) fn new(kept: Kept) -> Result<Self, Error> {
        let state = kept.state()?;
        Ok(Self(Mutex::new(Some(Entry { kept, state }))))
    }

    /// Writes another state, made of the one that was written last.
    ///
    /// # Errors
    /// [`Error::Lost`] after the container was given back.
    pub(super) fn change(
        &self,
        change: impl FnOnce(ContainerState) -> ContainerState,
    ) -> Result<(), Error> {
        match &mut *self.lock() {
            Some(entry) => {
                let changed = change(entry.state.clone());
                if changed != entry.state {
                    entry.kept.set_state(&changed)?;
                    entry.state = changed;
                }
                Ok(())
            }
            None => Err(given_back()),
        }
    }

    /// Does something with the container.
    ///
    /// # Errors
    /// [`Error::Lost`] after it was given back.
    pub(super) fn with<T>(&self, what: impl FnOnce(&Kept) -> Result<T, Error>) -> Result<T, Error> {
        match &*self.lock() {
            Some(entry) => what(&entry.kept),
            None => Err(given_back()),
        }
    }

    /// Gives the container back: to be dropped or removed. Nothing is written of it from then on.
    pub(super) fn release(&self) -> Option<Kept> {
        self.lock().take().map(|entry| entry.kept)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn given_back() -> Error {
    Error::Lost { what: "the container" }
}
