//! Writing compressed streams, on all processors at once: contents are cut into blocks that are compressed independently of
//! each other, and written in order.
//!
//! The bytes depend on the contents alone: not on the time, the number of processors or how the contents were cut into
//! writes. What a block is, and what stands around them, is the format's: `gzip.rs`, `zstd.rs`.

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

use super::{deflate, gzip, zstd};

/// More threads than this are faster than any disk or network, and each needs memory.
const MAX_THREADS: usize = 16;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Gzip,
    Zstd,
}

impl Format {
    /// How much contents one block has.
    fn block(self) -> usize {
        match self {
            Self::Gzip => gzip::BLOCK,
            Self::Zstd => zstd::BLOCK,
        }
    }

    fn worker(self) -> io::Result<Worker> {
        Ok(match self {
            Self::Gzip => Worker::Gzip(gzip::Deflater::new()),
            Self::Zstd => Worker::Zstd(zstd::compressor()?),
        })
    }
}

/// Compresses blocks one after another, with memory that is kept from one to the next.
enum Worker {
    Gzip(gzip::Deflater),
    Zstd(::zstd::bulk::Compressor<'static>),
}

impl Worker {
    fn compress(&mut self, block: &[u8]) -> io::Result<Done> {
        let begun = self.begin(block)?;
        self.end([begun]).map(|[done]| done)
    }

    /// Compresses a block; what comes out is complete after [`end`](Self::end).
    fn begin(&mut self, block: &[u8]) -> io::Result<Done> {
        let mut crc = Crc::new();
        let bytes = match self {
            Self::Gzip(deflater) => {
                crc.update(block);
                deflater.deflate(block)?
            }
            // Frames have their own checksums.
            Self::Zstd(compressor) => compressor.compress(block)?,
        };
        Ok(Done { bytes, crc, length: block.len() as u64 })
    }

    /// Completes blocks. Two at once take little more time than one.
    fn end<const N: usize>(&self, mut begun: [Done; N]) -> io::Result<[Done; N]> {
        if self.has_end() {
            deflate::continue_after(begun.each_mut().map(|done| &mut done.bytes))?;
        }
        Ok(begun)
    }

    /// Whether there is anything to complete.
    fn has_end(&self) -> bool {
        matches!(self, Self::Gzip(_))
    }

    /// Compresses what comes, until no more does.
    fn work(&mut self, queue: &Mutex<Receiver<Job>>) {
        while let Some((block, result)) = wait_for_job(queue) {
            let begun = self.begin(&block);
            drop(block);
            // Not before: the other threads have had the time to take theirs.
            let another = if self.has_end() { take_job(queue) } else { None };
            let Some((block, next_result)) = another else {
                tell(&result, begun.and_then(|begun| self.end([begun])).map(|[done]| done));
                continue;
            };
            let both = begun.and_then(|begun| {
                let next = self.begin(&block)?;
                self.end([begun, next])
            });
            match both {
                Ok([done, next]) => {
                    tell(&result, Ok(done));
                    tell(&next_result, Ok(next));
                }
                // This is the earlier one, and who hears of an error asks for no more.
                Err(error) => tell(&result, Err(error)),
            }
        }
    }
}

/// Returns a writer of one gzip member into `out`; [`CompressWriter::finish`] ends it.
pub fn gzip_writer<W: Write>(out: W) -> CompressWriter<W> {
    CompressWriter::new(Format::Gzip, out)
}

/// Returns a writer of Zstandard frames into `out`; [`CompressWriter::finish`] ends it.
pub fn zstd_writer<W: Write>(out: W) -> CompressWriter<W> {
    CompressWriter::new(Format::Zstd, out)
}

/// Compresses what is written into it. Dropped without [`finish`](Self::finish) it leaves a truncated stream.
#[derive(Debug)]
pub struct CompressWriter<W: Write> {
    format: Format,
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
    bytes: Vec<u8>,
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
    fn new(format: Format, threads: usize) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            thread::spawn(move || match format.worker() {
                Ok(mut worker) => worker.work(&queue),
                Err(error) => {
                    while let Some((_, result)) = wait_for_job(&queue) {
                        tell(&result, Err(io::Error::new(error.kind(), error.to_string())));
                    }
                }
            });
        }
        Self { jobs }
    }
}

/// Returns the next job; `None` when there will be no more.
fn wait_for_job(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Returns the next job if it is there already. Who holds the queue waits for one, so then there is none.
fn take_job(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue.try_lock().ok()?.try_recv().ok()
}

/// Nobody waits any more when the writer was dropped: then the work is worth nothing.
fn tell(result: &Sender<io::Result<Done>>, done: io::Result<Done>) {
    let _ = result.send(done);
}

impl<W: Write> CompressWriter<W> {
    fn new(format: Format, out: W) -> Self {
        Self {
            format,
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
        } else if !block.is_empty() || self.format == Format::Zstd && !self.begun {
            let done = self.format.worker()?.compress(&block)?;
            self.write_done(&done)?;
        }
        while !self.pending.is_empty() {
            self.write_oldest()?;
        }
        self.begin()?;
        if self.format == Format::Gzip {
            self.out.write_all(&gzip::trailer(&self.crc, self.length))?;
        }
        Ok(self.out)
    }

    fn begin(&mut self) -> io::Result<()> {
        if !self.begun && self.format == Format::Gzip {
            self.out.write_all(&gzip::HEADER)?;
        }
        self.begun = true;
        Ok(())
    }

    fn submit(&mut self, block: Vec<u8>) -> io::Result<()> {
        let (format, threads) = (self.format, self.threads);
        let pool = self.pool.get_or_insert_with(|| Pool::new(format, threads));
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
        self.out.write_all(&done.bytes)?;
        self.crc.combine(&done.crc);
        self.length += done.length;
        Ok(())
    }
}

impl<W: Write> Write for CompressWriter<W> {
    fn write(&mut self, contents: &[u8]) -> io::Result<usize> {
        let most = self.format.block();
        if self.block.len() == most {
            let block = std::mem::replace(&mut self.block, Vec::with_capacity(most));
            self.submit(block)?;
        }
        let length = contents.len().min(most - self.block.len());
        self.block.extend_from_slice(&contents[..length]);
        Ok(length)
    }

    /// Does nothing: a block is compressed when it is full, or its bytes would depend on when this is called.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
