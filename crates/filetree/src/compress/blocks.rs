//! Writing gzip: one member, made of blocks that are compressed independently of each other, on all processors at once.
//!
//! The bytes depend on the contents alone: not on the time, the number of processors or how the contents were cut into
//! writes. One member, because some readers stop after the first.
//!
//! ```text
//! 1f 8b 08 00  00 00 00 00  00 ff     deflate; no name, no time, unknown system
//! blocks …                            of each 1 MiB of contents, ended by a sync flush, so byte-aligned
//! 03 00                               an empty last block
//! CRC-32, length                      of all contents, little endian
//! ```

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use flate2::Crc;
use libdeflater::{CompressionLvl, Compressor};

use super::deflate;

/// Contents of one block: large enough that starting with an empty window costs below 1 %.
const BLOCK: usize = 1024 * 1024;

/// Of libdeflate: as fast as zlib's 3, and 0.5 % smaller than what zlib's 6 makes, which is what other builders use. Changing
/// it changes the digests of all blobs, and so does another version of libdeflate that finds other matches.
const LEVEL: i32 = 5;

/// More threads than this are faster than any disk or network, and each needs memory.
const MAX_THREADS: usize = 16;

const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A deflate block with no contents that says it is the last.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Returns a writer that compresses deterministically into `out`; [`GzipWriter::finish`] ends it.
pub fn gzip_writer<W: Write>(out: W) -> GzipWriter<W> {
    GzipWriter {
        out,
        begun: false,
        block: Vec::new(),
        crc: Crc::new(),
        length: 0,
        pending: VecDeque::new(),
        pool: None,
        threads: thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS),
    }
}

/// Compresses what is written into it. Dropped without [`finish`](Self::finish) it leaves a truncated stream.
#[derive(Debug)]
pub struct GzipWriter<W: Write> {
    out: W,
    begun: bool,
    block: Vec<u8>,
    crc: Crc,
    length: u64,
    /// The blocks at work, in order.
    pending: VecDeque<Receiver<io::Result<Done>>>,
    /// Made with the second block: most blobs are smaller than one.
    pool: Option<Pool>,
    threads: usize,
}

/// A compressed block.
#[derive(Debug)]
struct Done {
    deflated: Vec<u8>,
    crc: Crc,
    length: u64,
}

/// A block and where its result is awaited.
type Job = (Vec<u8>, Sender<io::Result<Done>>);

#[derive(Debug)]
struct Pool {
    jobs: Sender<Job>,
}

impl Pool {
    fn new(threads: usize) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut deflater = Deflater::new();
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((block, result)) = job else { break };
                    // Nobody waits any more when the writer was dropped: then the work is worth nothing.
                    let _ = result.send(deflater.deflate(&block));
                }
            });
        }
        Self { jobs }
    }
}

impl<W: Write> GzipWriter<W> {
    /// Compresses on so many threads, and not on all processors.
    #[cfg(test)]
    pub(super) fn on(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Writes what is left and the end of the stream; returns what was written into.
    pub fn finish(mut self) -> io::Result<W> {
        let block = std::mem::take(&mut self.block);
        if self.pool.is_some() && !block.is_empty() {
            self.submit(block)?;
        } else if !block.is_empty() {
            let done = Deflater::new().deflate(&block)?;
            self.write_done(&done)?;
        }
        while !self.pending.is_empty() {
            self.write_oldest()?;
        }
        self.begin()?;
        self.out.write_all(&LAST_BLOCK)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.out)
    }

    fn begin(&mut self) -> io::Result<()> {
        if !self.begun {
            self.out.write_all(&HEADER)?;
            self.begun = true;
        }
        Ok(())
    }

    fn submit(&mut self, block: Vec<u8>) -> io::Result<()> {
        let threads = self.threads;
        let pool = self.pool.get_or_insert_with(|| Pool::new(threads));
        let (sender, receiver) = mpsc::channel();
        pool.jobs.send((block, sender)).map_err(io::Error::other)?;
        self.pending.push_back(receiver);
        // One block waits for each that is at work: enough to keep all processors busy, and a bound for the memory.
        if self.pending.len() > 2 * threads {
            self.write_oldest()?;
        }
        Ok(())
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some(receiver) = self.pending.pop_front() else { return Ok(()) };
        let done = receiver.recv().map_err(io::Error::other)??;
        self.write_done(&done)
    }

    fn write_done(&mut self, done: &Done) -> io::Result<()> {
        self.begin()?;
        self.out.write_all(&done.deflated)?;
        self.crc.combine(&done.crc);
        self.length += done.length;
        Ok(())
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, contents: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK {
            let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
            self.submit(block)?;
        }
        let length = contents.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&contents[..length]);
        Ok(length)
    }

    /// Does nothing: a block is compressed when it is full, or its bytes would depend on when this is called.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses blocks, with memory that is kept from one to the next.
struct Deflater {
    compressor: Compressor,
    /// Room for the longest result; the results themselves are cut to their length.
    room: Vec<u8>,
}

impl Deflater {
    fn new() -> Self {
        let level = CompressionLvl::new(LEVEL).unwrap_or_default();
        Self { compressor: Compressor::new(level), room: Vec::new() }
    }

    /// Compresses one block up to a byte boundary.
    fn deflate(&mut self, block: &[u8]) -> io::Result<Done> {
        self.room.resize(self.compressor.deflate_compress_bound(block.len()), 0);
        let length = self
            .compressor
            .deflate_compress(block, &mut self.room)
            .map_err(|_| io::Error::other("the compressor has no room"))?;
        let mut deflated = Vec::with_capacity(length + 5);
        deflated.extend_from_slice(&self.room[..length]);
        deflate::continue_after(&mut deflated)?;
        let mut crc = Crc::new();
        crc.update(block);
        Ok(Done { deflated, crc, length: block.len() as u64 })
    }
}
