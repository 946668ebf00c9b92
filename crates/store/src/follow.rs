//! A file that is read while it is being written: who reads slowly does not hold up who writes, and memory is needed for
//! neither. The writers are those of [`crate::blob`] and [`crate::partial`].

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use crate::error::{Error, Result};

/// What is being written, for who wants to read it meanwhile: as often as they like, from anywhere.
#[derive(Debug, Clone)]
pub struct Following {
    file: Arc<fs::File>,
    shared: Arc<Shared>,
}

impl Following {
    /// Starts to read at byte `from`. The end comes when all was written and became a blob; where it never does, there is
    /// an error.
    pub fn reader(&self, from: u64) -> Follower {
        Follower { following: self.clone(), read: from }
    }

    /// Returns how many bytes can be read by now.
    pub fn length(&self) -> u64 {
        self.shared.state().length
    }

    /// Lets whoever writes fail with the next bytes: nobody wants them any more.
    pub fn abandon(&self) {
        self.shared.change(|state| state.is_unwanted = true);
    }
}

/// The writer's side. Dropped before its end, it ends the reading with an error.
#[derive(Debug)]
pub(crate) struct Growth(Arc<Shared>);

impl Growth {
    /// Starts to tell of the file at `path`, which has so many bytes.
    pub(crate) fn of(path: &Path, length: u64) -> Result<(Self, Following)> {
        let file = Arc::new(fs::File::open(path).map_err(Error::io("open", path))?);
        let state = State { length, end: None, is_unwanted: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        Ok((Self(Arc::clone(&shared)), Following { file, shared }))
    }

    /// Tells that there are so many bytes now.
    ///
    /// # Errors
    /// Nobody wants them.
    pub(crate) fn reached(&self, length: u64) -> io::Result<()> {
        let mut is_unwanted = false;
        self.0.change(|state| {
            state.length = length;
            is_unwanted = state.is_unwanted;
        });
        if is_unwanted { Err(io::Error::other(Error::Unwanted)) } else { Ok(()) }
    }

    /// Tells that this was all, and that it is right.
    pub(crate) fn end(&self) {
        self.0.change(|state| state.end = Some(End::Right));
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.end.get_or_insert(End::Abandoned);
        });
    }
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
    is_unwanted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All of it is there and right.
    Right,
    /// The rest will never come.
    Abandoned,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// Reads what is being written, and waits where more is to come.
#[derive(Debug)]
pub struct Follower {
    following: Following,
    /// Where it is.
    read: u64,
}

impl Follower {
    /// Waits until there is more to read; `false` at the end.
    fn wait(&self) -> io::Result<bool> {
        let shared = &self.following.shared;
        let mut state = shared.state();
        loop {
            match state.end {
                _ if self.read < state.length => return Ok(true),
                Some(End::Right) => return Ok(false),
                Some(End::Abandoned) => return Err(io::Error::other(Error::Abandoned)),
                None => {
                    let waited = shared.changed.wait(state);
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
        let count = self.following.file.read_at(buffer, self.read)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob's file was cut"));
        }
        self.read += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, thread};

    use super::*;
    use crate::{Store, testing::Scratch};

    fn read(mut follower: Follower) -> thread::JoinHandle<io::Result<Vec<u8>>> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            follower.read_to_end(&mut bytes).map(|_| bytes)
        })
    }

    fn begun(store: &Store) -> (crate::BlobWriter, Following) {
        let mut writer = store.blob_writer().unwrap();
        writer.write_all(b"first ").unwrap();
        let following = writer.follow().unwrap();
        assert_eq!(following.length(), 6);
        (writer, following)
    }

    #[test]
    fn what_is_written_is_read_meanwhile_to_its_end() {
        let scratch = Scratch::new("follow");
        let store = scratch.store();
        let (mut writer, following) = begun(&store);
        // Read before the rest is written, so that there is no waiting for the end.
        let mut start = [0; 6];
        following.reader(0).read_exact(&mut start).unwrap();
        assert_eq!(&start, b"first ");
        let (all, rest) = (read(following.reader(0)), read(following.reader(6)));
        writer.write_all(b"second").unwrap();
        assert!(!all.is_finished(), "the end is known with the digest");
        let digest = writer.commit(None, None).unwrap();
        assert_eq!(all.join().unwrap().unwrap(), b"first second");
        assert_eq!(rest.join().unwrap().unwrap(), b"second");
        // The file has another name by now.
        assert_eq!(read(following.reader(0)).join().unwrap().unwrap(), b"first second");
        assert_eq!(store.read_blob(&digest).unwrap(), b"first second");
    }

    #[test]
    fn there_is_no_end_where_there_is_no_blob() {
        let scratch = Scratch::new("follow-none");
        let store = scratch.store();
        let (writer, following) = begun(&store);
        let reading = read(following.reader(0));
        drop(writer);
        let error = reading.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("was given up"), "{error}");
    }

    #[test]
    fn what_nobody_wants_is_not_written() {
        let scratch = Scratch::new("follow-unwanted");
        let store = scratch.store();
        let (mut writer, following) = begun(&store);
        writer.write_all(b"second").unwrap();
        following.abandon();
        writer.write_all(b"third").unwrap_err();
    }
}
