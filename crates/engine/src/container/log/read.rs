//! Reading the log of a container: all of it or its end, and what is added while one reads, also when a
//! new file is begun meanwhile.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{Line, OutputStream, files};
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
    /// Labels and variables that are kept with it.
    pub attrs: BTreeMap<String, String>,
}

/// Reads the log of a container.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: BufReader<File>,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl LogReader {
    /// Opens the log; `None` if the container has never been started.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let file = open_oldest(path).map_err(Error::io("open", path))?;
        let reader =
            |file| Self { path: path.to_owned(), file: BufReader::new(file), begun: Vec::new() };
        Ok(file.map(reader))
    }

    /// Goes to the `count` last entries.
    pub fn seek_to_last(&mut self, count: usize) -> io::Result<()> {
        let mut wanted = count;
        for number in 0.. {
            let mut file = match File::open(files::numbered(&self.path, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && number > 0 => break,
                file => file?,
            };
            let end = file.seek(SeekFrom::End(0))?;
            let (start, found) = start_of_last(&mut file, end, wanted)?;
            file.seek(SeekFrom::Start(start))?;
            self.file = BufReader::new(file);
            wanted -= found;
            if wanted == 0 {
                break;
            }
        }
        self.begun.clear();
        Ok(())
    }

    /// Returns the next entry, `None` at the end of what is there now. What does not read is skipped: a line that was
    /// being written when the power went.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        loop {
            self.file.read_until(b'\n', &mut self.begun)?;
            if !self.begun.ends_with(b"\n") && !self.go_on()? {
                return Ok(None);
            }
            if !self.begun.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(&mut self.begun);
            let Ok(line) = serde_json::from_slice::<Line<'_>>(&line) else { continue };
            let Ok(time) = line.time.parse() else { continue };
            let stream = match line.stream {
                "stderr" => OutputStream::Stderr,
                _ => OutputStream::Stdout,
            };
            let attrs = line.attrs.into_iter();
            let attrs = attrs.map(|(name, value)| (name.into_owned(), value.into_owned()));
            let (text, attrs) = (line.log.into_owned(), attrs.collect());
            return Ok(Some(Entry { time, stream, text, attrs }));
        }
    }

    /// At the end of a file: reads on in the one that was begun after it, if there is one.
    fn go_on(&mut self) -> io::Result<bool> {
        let Some(next) = self.next_file()? else { return Ok(false) };
        // What came between the end and the new file.
        self.file.read_until(b'\n', &mut self.begun)?;
        if !self.begun.ends_with(b"\n") {
            // Nobody will end this line any more.
            self.begun.clear();
            self.file = BufReader::new(next);
        }
        Ok(true)
    }

    fn next_file(&self) -> io::Result<Option<File>> {
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let own = id(self.file.get_ref().metadata()?);
        // Files may be moved on while one looks: then one looks again.
        for _ in 0..100 {
            let place = (0..=files::full(&self.path)).find(|number| {
                let metadata = fs::metadata(files::numbered(&self.path, *number));
                metadata.is_ok_and(|metadata| id(metadata) == own)
            });
            let next = match place {
                Some(0) => return Ok(None),
                Some(place) => File::open(files::numbered(&self.path, place - 1)),
                // So many were begun that this one is gone.
                None => match open_oldest(&self.path)? {
                    Some(file) => Ok(file),
                    None => return Ok(None),
                },
            };
            match next {
                Ok(next) if id(next.metadata()?) != own => return Ok(Some(next)),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Opens the oldest file of a log.
fn open_oldest(path: &Path) -> io::Result<Option<File>> {
    for number in (0..=files::full(path)).rev() {
        match File::open(files::numbered(path, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => return file.map(Some),
        }
    }
    Ok(None)
}

/// Finds where the last `count` lines begin, from the end in blocks, and how many there are.
fn start_of_last(file: &mut File, end: u64, count: usize) -> io::Result<(u64, usize)> {
    use std::os::unix::fs::FileExt;
    const BLOCK: u64 = 64 * 1024;
    if count == 0 {
        return Ok((end, 0));
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
                return Ok((start + place as u64 + 1, count));
            }
        }
        block_end = start;
    }
    Ok((0, ends))
}
