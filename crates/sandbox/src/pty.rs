//! Terminals, for the caller of an interactive sandbox: its own goes to raw mode, its size is handed
//! on. Copying the bytes is the caller's task; making the sandbox's terminal is `device`'s.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::termios::OptionalActions;
use rustix::termios::Termios;

use crate::Error;

/// A terminal in raw mode: every key goes to the sandbox, `^C` too. Dropping it restores the mode.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Puts a terminal into raw mode.
    pub fn enter(terminal: BorrowedFd<'_>) -> Result<RawMode, Error> {
        let failed = "put the terminal into raw mode";
        let terminal = terminal.try_clone_to_owned().map_err(Error::setup(failed))?;
        let before = rustix::termios::tcgetattr(&terminal).map_err(Error::setup(failed))?;
        let mut raw = before.clone();
        raw.make_raw();
        // Not with a flush: what was typed while the container was being started is meant for it.
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw)
            .map_err(Error::setup(failed))?;
        Ok(RawMode { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // If the terminal is gone, so is its mode.
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Gives one terminal the size of another; to be called at the start and at each `SIGWINCH`.
pub fn copy_window_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Error> {
    let size =
        rustix::termios::tcgetwinsize(from).map_err(Error::setup("ask for a window size"))?;
    rustix::termios::tcsetwinsize(to, size).map_err(Error::setup("set a window size"))
}
