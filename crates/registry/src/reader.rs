//! Blobs for synchronous code: a task downloads, a thread reads, a short queue between them.
//!
//! So hashing (in the task) and decompressing and unpacking (in the thread) run side by side.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use crate::{Blob, Error};

/// Chunks in the queue. A chunk is at most what the connection reads at once, some 400 KiB; most are far smaller.
const QUEUE: usize = 16;

/// What goes through the queue. The end is said aloud: a queue that closes without it was abandoned.
enum Part {
    Bytes(Bytes),
    End,
}

/// A blob as [`std::io::Read`]. Made by [`Blob::into_reader`].
///
/// Errors carry an [`Error`]. The end of the data (`Ok(0)`) means that size and digest were found right; a reader that
/// stops earlier, as those of compressed formats do, has to call [`BlobReader::finish`] to know. Dropping it ends the
/// download.
#[derive(Debug)]
#[must_use]
pub struct BlobReader {
    queue: mpsc::Receiver<Result<Part, Error>>,
    chunk: Bytes,
    ended: bool,
}

// By hand, as the bytes are of no interest.
impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Part")
    }
}

impl Blob {
    /// Goes on downloading in a task of the current tokio runtime, for a thread to read.
    ///
    /// Must be called on a runtime, and the reader must be read elsewhere: on a blocking or a plain thread. Reading it
    /// on a thread of the runtime panics, as the task that it waits for might need the thread.
    pub fn into_reader(mut self) -> BlobReader {
        let (sender, queue) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            loop {
                let part = match self.chunk().await {
                    Ok(Some(bytes)) => Ok(Part::Bytes(bytes)),
                    Ok(None) => Ok(Part::End),
                    Err(error) => Err(error),
                };
                let last = !matches!(part, Ok(Part::Bytes(_)));
                // Nobody listens any more: the reader was dropped.
                if sender.send(part).await.is_err() || last {
                    return;
                }
            }
        });
        BlobReader { queue, chunk: Bytes::new(), ended: false }
    }
}

impl BlobReader {
    /// Reads what is left, and returns whether the whole blob was right.
    pub fn finish(mut self) -> io::Result<()> {
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.consume(length);
        }
    }
}

impl BufRead for BlobReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() && !self.ended {
            match self.queue.blocking_recv() {
                Some(Ok(Part::Bytes(bytes))) => self.chunk = bytes,
                Some(Ok(Part::End)) => self.ended = true,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::Error::other(Error::Abandoned)),
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount.min(self.chunk.len()));
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}
