//! How much of what commands write may wait to be shown: without a bound, a terminal that was stopped would fill the memory.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The most bytes that wait, unless one piece alone has more.
pub(super) const MOST: usize = 4 << 20;

/// The bytes that wait.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: Mutex<usize>,
    shown: Condvar,
}

/// What one piece of output takes of the backlog, as long as this lives.
#[derive(Debug)]
pub(super) struct Share {
    backlog: Arc<Backlog>,
    bytes: usize,
}

impl Backlog {
    /// Waits until there is room for some bytes.
    pub(super) fn enter(self: &Arc<Self>, bytes: usize) -> Share {
        let is_full = |waiting: &mut usize| *waiting > 0 && *waiting + bytes > MOST;
        let waiting = self.shown.wait_while(self.lock(), is_full);
        *waiting.unwrap_or_else(PoisonError::into_inner) += bytes;
        Share { backlog: Arc::clone(self), bytes }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.backlog.lock() -= self.bytes;
        self.backlog.shown.notify_all();
    }
}
