//! How a process that stays in the background is asked to end: the machine goes down, its user leaves, or somebody wants
//! it so.

use crate::sys;

/// What asks a process to end, and can be answered.
pub(crate) const ASKING: &[i32] = &[libc::SIGTERM, libc::SIGINT];

/// The signals that ask this process to end, held back until they are waited for.
#[derive(Debug)]
pub struct Termination(());

impl Termination {
    /// Holds them back. To be called while the process has one thread, as each thread has what it was started with.
    pub fn hold_back() -> Self {
        sys::block_signals(ASKING, libc::SIG_BLOCK);
        Self(())
    }

    /// Waits until one comes.
    pub fn wait(&self) {
        // It fails when it is interrupted by a signal that it does not wait for.
        while sys::wait_for_signal(ASKING).is_err() {}
    }
}
