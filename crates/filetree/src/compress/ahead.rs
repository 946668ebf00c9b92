//! Decompression on a thread of its own: who takes the digest of what comes out and unpacks it is busy enough.

use std::{
    io::{self, Read},
    panic,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
};

use super::decompress_within;
use crate::{Budget, Error};

/// How much is handed over at once.
const PIECE: usize = 128 * 1024;

/// How many pieces wait between the threads: enough for both to go on while the other one waits for the disk.
const WAITING: usize = 4;

/// Hands the decompressed stream of `input` to `read`, like [`decompress_within`], while another thread decompresses the
/// next of it.
///
/// # Errors
/// Those of [`decompress_within`], whatever `read` returns. What is wrong further on is said by the stream itself.
pub fn decompress_ahead<T>(
    input: impl Read + Send,
    budget: &Budget,
    read: impl FnOnce(&mut dyn Read) -> T,
) -> Result<T, Error> {
    let is_unwanted = AtomicBool::new(false);
    let input = Wanted { input, is_unwanted: &is_unwanted };
    thread::scope(|scope| {
        let (pieces, queue) = mpsc::sync_channel(WAITING);
        let (spare, spares) = mpsc::channel();
        let work = move || {
            decompress_within(input, budget).map(|plain| hand_over(plain, &pieces, &spares))
        };
        let thread =
            thread::Builder::new().spawn_scoped(scope, work).map_err(Error::read_archive)?;
        let mut reader = Pieces { queue, spare, piece: Piece::default(), at: 0, has_ended: false };
        let result = read(&mut reader);
        is_unwanted.store(true, Ordering::Relaxed);
        drop(reader);
        match thread.join() {
            Ok(decompressed) => decompressed.map(|()| result),
            Err(panicked) => panic::resume_unwind(panicked),
        }
    })
}

/// Decompressed bytes; none are the end of the stream.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    length: usize,
}

/// Reads to the end, or until nobody listens any more.
fn hand_over(
    mut plain: impl Read,
    pieces: &SyncSender<io::Result<Piece>>,
    spares: &Receiver<Vec<u8>>,
) {
    loop {
        let mut bytes = spares.try_recv().unwrap_or_else(|_| vec![0; PIECE]);
        let (length, error) = fill(&mut plain, &mut bytes);
        let is_last = length == 0 || error.is_some();
        if (length > 0 || error.is_none()) && pieces.send(Ok(Piece { bytes, length })).is_err() {
            return;
        }
        if let Some(error) = error {
            // Nobody hears it who does not listen.
            let _ = pieces.send(Err(error));
        }
        if is_last {
            return;
        }
    }
}

/// Reads until the buffer is full or there is no more; says what went wrong behind what was read.
fn fill(plain: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut length = 0;
    while length < buffer.len() {
        match plain.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Some(error)),
        }
    }
    (length, None)
}

/// Reads what the other thread has decompressed.
struct Pieces {
    queue: Receiver<io::Result<Piece>>,
    /// Takes buffers back.
    spare: Sender<Vec<u8>>,
    piece: Piece,
    /// How much of the piece was read.
    at: usize,
    has_ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.length && !self.has_ended && !buffer.is_empty() {
            // It has ended without an end only after an error, which was told.
            let next = self.queue.recv().map_err(|_| io::ErrorKind::UnexpectedEof)??;
            let last = std::mem::replace(&mut self.piece, next);
            self.at = 0;
            self.has_ended = self.piece.length == 0;
            if !last.bytes.is_empty() {
                // Where nobody takes it, it is not needed any more.
                let _ = self.spare.send(last.bytes);
            }
        }
        let rest = &self.piece.bytes[self.at..self.piece.length];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

/// Reads as long as somebody wants it: what has failed to be unpacked need not be downloaded to its end.
struct Wanted<'a, R> {
    input: R,
    is_unwanted: &'a AtomicBool,
}

impl<R: Read> Read for Wanted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_unwanted.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody reads on"));
        }
        self.input.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::compress::gzip_writer;

    fn contents(length: usize) -> Vec<u8> {
        (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    fn compressed(contents: &[u8]) -> Vec<u8> {
        let mut writer = gzip_writer(Vec::new());
        writer.write_all(contents).unwrap();
        writer.finish().unwrap()
    }

    fn read(input: &[u8]) -> (Vec<u8>, io::Result<usize>) {
        decompress_ahead(input, &Budget::GENEROUS, |plain| {
            let mut bytes = Vec::new();
            let result = plain.read_to_end(&mut bytes);
            (bytes, result)
        })
        .unwrap()
    }

    #[test]
    fn all_of_it_comes_through() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 20 * PIECE + 7] {
            let contents = contents(length);
            for input in [compressed(&contents), contents.clone()] {
                let (bytes, result) = read(&input);
                assert!(bytes == contents && result.unwrap() == length, "{length}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_behind_what_is_right() {
        let contents = contents(3 * PIECE + 7);
        let mut input = compressed(&contents);
        let last = input.len() - 6;
        input[last] ^= 1;
        let (bytes, result) = read(&input);
        result.unwrap_err();
        assert!(bytes == contents, "the checksum is at the end");
    }

    #[test]
    fn what_cannot_be_read_at_all_is_an_error_of_its_own() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is on fire"))
            }
        }
        let error =
            decompress_ahead(Fails, &Budget::GENEROUS, |plain| io::copy(plain, &mut io::sink()));
        assert!(matches!(error, Err(Error::ReadArchive { .. })), "{error:?}");
    }

    #[test]
    fn nobody_has_to_read_to_the_end() {
        // One that never ends, and would never be left.
        let input = io::repeat(7);
        let first = decompress_ahead(input, &Budget::GENEROUS, |plain| {
            let mut first = [0; 10];
            plain.read_exact(&mut first).map(|()| first)
        });
        assert_eq!(first.unwrap().unwrap(), [7; 10]);
    }
}
