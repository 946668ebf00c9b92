//! Adding to the log of a container. A log that cannot be written does not stop the container.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use super::{super::options::LogLimits, Line, OutputStream, files};
use crate::Error;

/// The longest piece of a line, as Docker's.
pub(super) const LONGEST: usize = 16 * 1024;

/// The log of a container, to be added to.
#[derive(Debug)]
pub(in super::super) struct LogWriter {
    path: PathBuf,
    limits: LogLimits,
    /// What is kept with each line.
    attrs: BTreeMap<String, String>,
    /// The file and how much is in it.
    current: Mutex<(File, u64)>,
}

impl LogWriter {
    pub(in super::super) fn open(
        path: &Path,
        limits: LogLimits,
        attrs: BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let file = open(path).map_err(Error::io("open", path))?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        Ok(Self { path: path.to_owned(), limits, attrs, current: Mutex::new((file, size)) })
    }

    pub(in super::super) fn stream(&self, stream: OutputStream) -> StreamLog<'_> {
        StreamLog { log: self, stream, begun: Vec::new() }
    }

    /// Adds lines, in as few writes as the limits allow: so the two outputs do not get into each other's lines.
    fn add(&self, lines: &[u8]) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = lines;
        while !rest.is_empty() {
            let now;
            (now, rest) = rest.split_at(self.fitting(rest, current.1));
            if self.is_full(current.1) {
                // Else it goes on in the same file.
                if let Ok(new) =
                    files::rotate(&self.path, self.limits.max_files).and_then(|()| open(&self.path))
                {
                    *current = (new, 0);
                }
            }
            let (file, size) = &mut *current;
            let _ = file.write_all(now);
            *size += now.len() as u64;
        }
    }

    fn is_full(&self, size: u64) -> bool {
        self.limits.max_size.is_some_and(|max_size| size >= max_size)
    }

    /// How much of the lines goes into one file that has so much in it: up to the line with which it is full.
    fn fitting(&self, lines: &[u8], size: u64) -> usize {
        let Some(max_size) = self.limits.max_size else { return lines.len() };
        let size = if size >= max_size { 0 } else { size };
        let room = usize::try_from(max_size - size).unwrap_or(usize::MAX);
        if lines.len() < room {
            return lines.len();
        }
        let end = lines[room - 1..].iter().position(|byte| *byte == b'\n');
        end.map_or(lines.len(), |end| room + end)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// One output's way into the log. Dropped, it adds the line that was begun.
#[derive(Debug)]
pub(in super::super) struct StreamLog<'a> {
    log: &'a LogWriter,
    stream: OutputStream,
    begun: Vec<u8>,
}

impl StreamLog<'_> {
    /// Adds output, as far as its lines are complete or too long.
    pub(in super::super) fn write(&mut self, bytes: &[u8]) {
        let mut text = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            while self.begun.len() > LONGEST {
                let rest = self.begun.split_off(boundary(&self.begun, LONGEST));
                let long = std::mem::replace(&mut self.begun, rest);
                self.append(&mut text, &long);
            }
            if self.begun.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.append(&mut text, &line);
            }
        }
        self.log.add(&text);
    }

    fn append(&self, text: &mut Vec<u8>, line: &[u8]) {
        let stream = match self.stream {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        };
        let log = String::from_utf8_lossy(line);
        let time = Timestamp::now().to_string();
        let attrs = self.log.attrs.iter().map(|(name, value)| (name.into(), value.into()));
        let line = Line { log, stream, attrs: attrs.collect(), time: &time };
        if let Ok(json) = serde_json::to_vec(&line) {
            text.extend_from_slice(&json);
            text.push(b'\n');
        }
    }
}

impl Drop for StreamLog<'_> {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            let mut text = Vec::new();
            self.append(&mut text, &self.begun);
            self.log.add(&text);
        }
    }
}

/// Returns the place at or before `wanted` where no character is torn apart.
fn boundary(bytes: &[u8], wanted: usize) -> usize {
    let is_inside = |place: usize| bytes.get(place).is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has four bytes at most; what has more of these is no text.
    (wanted.saturating_sub(3)..=wanted).rev().find(|place| !is_inside(*place)).unwrap_or(wanted)
}
