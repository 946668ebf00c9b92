//! Ending a build from outside: what is running is killed, what waits does not start.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sandbox::Killer;

use crate::Error;

/// A build's end, asked for from outside. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cancelled: bool,
    next: u64,
    running: BTreeMap<u64, Box<dyn Fn() + Send>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cancelled: {}, running: {}", self.cancelled, self.running.len())
    }
}

impl Cancel {
    /// Ends the build: kills every running process at once and lets nothing new begin.
    pub fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        for killer in state.running.values() {
            killer();
        }
    }

    /// Fails if the end was asked for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.state().cancelled { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Ends when the end is asked for.
    pub(crate) async fn cancelled(&self) {
        // Short enough for people; a channel would have to be told by every thread that cancels.
        const PAUSE: Duration = Duration::from_millis(50);
        while self.check().is_ok() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Kills the sandbox when the end is asked for, as long as the guard lives.
    pub(crate) fn watch(&self, killer: Killer) -> Watch {
        self.watch_with(move || killer.kill())
    }

    /// Calls `kill` when the end is asked for, as long as the guard lives.
    pub(crate) fn watch_with(&self, kill: impl Fn() + Send + 'static) -> Watch {
        let mut state = self.state();
        if state.cancelled {
            kill();
        }
        let id = state.next;
        state.next += 1;
        state.running.insert(id, Box::new(kill));
        Watch { cancel: self.clone(), id }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running process that ends with the build.
#[derive(Debug)]
pub(crate) struct Watch {
    cancel: Cancel,
    id: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cancel.state().running.remove(&self.id);
    }
}
