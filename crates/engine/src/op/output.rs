//! What a command writes: passed on as it comes, and the last lines kept for an error message.

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, read},
};

use crate::Stream;

/// How many lines an error message repeats.
const TAIL_LINES: usize = 12;
/// A line longer than this is cut in an error message; without a limit, output without line ends would fill the memory.
const LINE_LIMIT: usize = 4096;

/// Passes on what comes out of `pipes` until all are closed, and returns the last lines of it.
pub(crate) fn forward(
    mut pipes: Vec<(Stream, OwnedFd)>,
    mut sink: impl FnMut(Stream, &[u8]),
) -> Vec<String> {
    let mut tail = Tail::default();
    let mut buffer = vec![0; 64 * 1024];
    while !pipes.is_empty() {
        for index in ready(&pipes) {
            let (stream, pipe) = &pipes[index];
            match read(pipe, buffer.as_mut_slice()) {
                Ok(count @ 1..) => {
                    tail.take(*stream, &buffer[..count]);
                    sink(*stream, &buffer[..count]);
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                // The end; and a pipe that cannot be read has nothing more to say.
                Ok(0) | Err(_) => drop(pipes.remove(index)),
            }
        }
    }
    tail.into_lines()
}

/// The pipes that can be read, the last one first, so that removing one moves no other.
fn ready(pipes: &[(Stream, OwnedFd)]) -> Vec<usize> {
    let polled =
        pipes.iter().map(|(_, pipe)| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
    let mut polled: Vec<PollFd<'_>> = polled.collect();
    // An interrupted call reports nothing; the caller asks again.
    if poll(&mut polled, None).is_err() {
        return Vec::new();
    }
    (0..polled.len()).rev().filter(|index| !polled[*index].revents().is_empty()).collect()
}

/// The last lines of an output.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    /// What has no line end yet.
    partial: BTreeMap<Stream, Vec<u8>>,
}

impl Tail {
    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let partial = self.partial.entry(stream).or_default();
            let room = LINE_LIMIT.saturating_sub(partial.len());
            partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(partial);
                self.end_line(&line);
            }
        }
    }

    fn end_line(&mut self, line: &[u8]) {
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
    }

    fn into_lines(mut self) -> Vec<String> {
        for line in std::mem::take(&mut self.partial).into_values().filter(|line| !line.is_empty())
        {
            self.end_line(&line);
        }
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn forwarded(text: &[u8]) -> (Vec<u8>, Vec<String>) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let text = text.to_owned();
        let thread = std::thread::spawn(move || writer.write_all(&text));
        let mut all = Vec::new();
        let pipes = vec![(Stream::Stdout, reader.into())];
        let tail = forward(pipes, |_, bytes| all.extend_from_slice(bytes));
        thread.join().unwrap().unwrap();
        (all, tail)
    }

    #[test]
    fn everything_is_passed_on_and_the_last_lines_are_kept() {
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let (all, tail) = forwarded(text.as_bytes());
        assert_eq!(all, text.as_bytes());
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail.last().map(String::as_str), Some("line 99"));
    }

    #[test]
    fn a_line_in_pieces_is_one_line() {
        let mut tail = Tail::default();
        tail.take(Stream::Stdout, b"on");
        tail.take(Stream::Stderr, b"two\n");
        tail.take(Stream::Stdout, b"e\nend");
        assert_eq!(tail.into_lines(), ["two", "one", "end"]);
    }

    #[test]
    fn a_line_without_end_is_kept_in_bounds() {
        let (all, tail) = forwarded(&vec![b'x'; 1 << 20]);
        assert_eq!(all.len(), 1 << 20);
        assert_eq!(tail.len(), 1);
        assert_eq!(tail[0].len(), LINE_LIMIT);
    }
}
