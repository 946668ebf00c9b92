//! What a container has written to its output, kept for `kiln logs`: the format of Docker's driver `json-file`.
//!
//! ```text
//! {"log":"a line\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
//! ```
//!
//! One object a line, in the order in which they came. A line of the container that is longer than 16 KiB is kept in
//! pieces, of which only the last ends with `\n`. What is not UTF-8 becomes U+FFFD. Reading them is in `read`.

mod follow;
mod read;

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    follow::LogFollower,
    read::{Entry, LogReader},
};
use super::streams::OutputStream;
use crate::Error;

/// The longest piece of a line, as Docker's.
const LONGEST: usize = 16 * 1024;

/// One entry.
#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    stream: &'a str,
    time: &'a str,
}

/// The log of a container, to be added to.
#[derive(Debug)]
pub(super) struct LogWriter {
    file: File,
}

impl LogWriter {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        Ok(Self { file: options.open(path).map_err(Error::io("open", path))? })
    }

    pub(super) fn stream(&self, stream: OutputStream) -> StreamLog<'_> {
        StreamLog { file: &self.file, stream, begun: Vec::new() }
    }
}

/// One output's way into the log. Dropped, it adds the line that was begun.
#[derive(Debug)]
pub(super) struct StreamLog<'a> {
    file: &'a File,
    stream: OutputStream,
    begun: Vec<u8>,
}

impl StreamLog<'_> {
    /// Adds output, as far as its lines are complete or too long. A log that cannot be written does not stop a container.
    pub(super) fn write(&mut self, bytes: &[u8]) {
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
        self.flush(&text);
    }

    fn append(&self, text: &mut Vec<u8>, line: &[u8]) {
        let stream = match self.stream {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        };
        let log = String::from_utf8_lossy(line);
        let line = Line { log, stream, time: &Timestamp::now().to_string() };
        if let Ok(json) = serde_json::to_vec(&line) {
            text.extend_from_slice(&json);
            text.push(b'\n');
        }
    }

    /// In one write, so that the two outputs do not get into each other's lines.
    fn flush(&self, text: &[u8]) {
        if !text.is_empty() {
            let mut file = self.file;
            let _ = file.write_all(text);
        }
    }
}

impl Drop for StreamLog<'_> {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            let mut text = Vec::new();
            self.append(&mut text, &self.begun);
            self.flush(&text);
        }
    }
}

/// Returns the place at or before `wanted` where no character is torn apart.
fn boundary(bytes: &[u8], wanted: usize) -> usize {
    let is_inside = |place: usize| bytes.get(place).is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has four bytes at most; what has more of these is no text.
    (wanted.saturating_sub(3)..=wanted).rev().find(|place| !is_inside(*place)).unwrap_or(wanted)
}

#[cfg(test)]
mod tests;
