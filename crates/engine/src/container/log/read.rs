//! Reading the log of a container: all of it or its end, and what is added while one reads.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use jiff::Timestamp;

use super::{Line, OutputStream};
use crate::Error;

/// One line of a container's output, or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was written.
    pub time: Timestamp,
    /// Where to.
    pub stream: OutputStream,
    /// The text, with its line end if it has one.
    pub text: String,
}

/// Reads the log of a container.
#[derive(Debug)]
pub struct LogReader {
    file: BufReader<File>,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl LogReader {
    /// Opens the log; `None` if the container has never been started.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Error> {
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => {
                let file = BufReader::new(file.map_err(Error::io("open", path))?);
                Ok(Some(Self { file, begun: Vec::new() }))
            }
        }
    }

    /// Goes to the `count` last entries.
    pub fn seek_to_last(&mut self, count: usize) -> io::Result<()> {
        let end = self.file.seek(SeekFrom::End(0))?;
        let start = start_of_last(self.file.get_mut(), end, count)?;
        self.file.seek(SeekFrom::Start(start))?;
        self.begun.clear();
        Ok(())
    }

    /// Returns the next entry, `None` at the end of what is there now. What does not read is skipped: a line that was
    /// being written when the power went.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        loop {
            self.file.read_until(b'\n', &mut self.begun)?;
            if !self.begun.ends_with(b"\n") {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.begun);
            let Ok(line) = serde_json::from_slice::<Line<'_>>(&line) else { continue };
            let Ok(time) = line.time.parse() else { continue };
            let stream = match line.stream {
                "stderr" => OutputStream::Stderr,
                _ => OutputStream::Stdout,
            };
            return Ok(Some(Entry { time, stream, text: line.log.into_owned() }));
        }
    }
}

/// Finds where the last `count` lines begin, from the end in blocks.
fn start_of_last(file: &mut File, end: u64, count: usize) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    const BLOCK: u64 = 64 * 1024;
    if count == 0 {
        return Ok(end);
    }
    let mut ends = 0;
    let mut block_end = end;
    while block_end > 0 {
        let start = block_end.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(block_end - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut block, start)?;
        for (place, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            ends += 1;
            // The end of the line before the first wanted one.
            if ends > count {
                return Ok(start + place as u64 + 1);
            }
        }
        block_end = start;
    }
    Ok(0)
}
