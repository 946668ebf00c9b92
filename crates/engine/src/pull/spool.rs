//! A blob that is read while it is still being downloaded: through its file, so that who reads slowly does not hold up
//! who downloads, and what has come is still there when both are gone.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use store::Partial;

use crate::Error;

/// Starts to pass on a blob, from its beginning that is there already.
pub(super) fn spool(partial: Partial) -> Result<(Feeder, Follower), Error> {
    let file = Box::new(partial.reader()?);
    let state = State { length: partial.length(), end: None };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    let follower = Follower { file, read: 0, shared: Arc::clone(&shared) };
    Ok((Feeder { partial: Some(partial), shared }, follower))
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// How many bytes can be read.
    length: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All of it is there and right.
    Right,
    /// The rest will never come.
    Abandoned,
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// Takes what is downloaded. Dropped before its end, it ends the reading with an error.
#[derive(Debug)]
pub(super) struct Feeder {
    partial: Option<Partial>,
    shared: Arc<Shared>,
}

impl Feeder {
    /// Returns how much there is already.
    pub(super) fn length(&self) -> u64 {
        self.partial.as_ref().map_or(0, Partial::length)
    }

    /// Opens what there is already, for reading from the start.
    pub(super) fn reader(&self) -> Result<impl Read + Send + use<>, Error> {
        let partial = self.partial.as_ref().ok_or(Error::Lost { what: "a blob" })?;
        Ok(partial.reader()?)
    }

    /// Takes the next bytes; returns how much there is then.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let Some(partial) = &mut self.partial else {
            return Err(Error::Lost { what: "a blob" });
        };
        partial.write_all(bytes).map_err(Error::io("write", "a blob that is downloaded"))?;
        self.shared.change(|state| state.length += bytes.len() as u64);
        Ok(partial.length())
    }

    /// Ends a blob that was found right; it is in the store then.
    pub(super) fn finish(mut self, size: u64) -> Result<(), Error> {
        if let Some(partial) = self.partial.take() {
            partial.commit(size)?;
            self.shared.change(|state| state.end = Some(End::Right));
        }
        Ok(())
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.end.get_or_insert(End::Abandoned);
        });
    }
}

/// Reads what is downloaded, to its end. That comes only when all of it was found right.
pub(super) struct Follower {
    file: Box<dyn Read + Send>,
    read: u64,
    shared: Arc<Shared>,
}

impl Follower {
    /// Waits until there is more to read; `false` at the end.
    fn wait(&self) -> io::Result<bool> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match state.end {
                _ if self.read < state.length => return Ok(true),
                Some(End::Right) => return Ok(false),
                Some(End::Abandoned) => {
                    return Err(io::Error::other(registry::Error::Abandoned));
                }
                None => {
                    let waited = self.shared.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || !self.wait()? {
            return Ok(0);
        }
        let count = self.file.read(buffer)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob's file was cut"));
        }
        self.read += count as u64;
        Ok(count)
    }
}
