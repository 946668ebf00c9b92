//! A view that is redrawn on a terminal: `--progress=tty`.
//!
//! One model of what runs, drawn ten times a second as one frame. The drawing is indicatif's; what is in a frame, and that it
//! fits the terminal, is decided here. Steps that are done are written once and scroll away.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use engine::{Event, Moment, StepNumber};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::tcgetwinsize;

use crate::{command::output::tell, environment, text};

/// How much of a line is kept, in bytes: no terminal is wider, and a command may print without a line's end.
const LONGEST_LINE: usize = 16 * 1024;

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// The size of a terminal that does not tell its own.
const FALLBACK: (usize, usize) = (24, 80);

/// Shows events until the build ends.
pub(super) fn show(events: Receiver<Moment>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(20));
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    let mut model = Model::new(environment::log_lines());
    loop {
        let mut done = Vec::new();
        let ended = model.take(&events, &mut done);
        if !done.is_empty() {
            bar.suspend(|| write(&done));
        }
        if ended {
            break;
        }
        let (rows, columns) = size();
        bar.set_message(model.frame(rows, columns).join("\n"));
        bar.tick();
    }
    bar.finish_and_clear();
    write(&[model.summary()]);
}

fn write(lines: &[String]) {
    for line in lines {
        tell(line);
    }
}

fn size() -> (usize, usize) {
    match tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => FALLBACK,
    }
}

/// What is known of the build.
struct Model {
    began: Instant,
    /// How many lines of a running command's output are kept in sight.
    tail: usize,
    running: BTreeMap<StepNumber, Running>,
    done: usize,
    cached: usize,
}

struct Running {
    heading: String,
    /// Why it is not in the cache.
    missed: Option<String>,
    /// How far reading its files has come, as long as that is what it does.
    reading: Option<String>,
    began: Instant,
    tail: VecDeque<String>,
    partial: Vec<u8>,
}

impl Model {
    fn new(tail: usize) -> Self {
        Self { began: Instant::now(), tail, running: BTreeMap::new(), done: 0, cached: 0 }
    }

    /// Takes in what comes until the next frame is due; lines to be kept go to `done`. Returns whether the build has ended.
    fn take(&mut self, events: &Receiver<Moment>, done: &mut Vec<String>) -> bool {
        let due = Instant::now() + FRAME;
        loop {
            match events.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(moment) => done.extend(self.learn(moment.event)),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// Takes in one event; returns the line that it leaves for good.
    fn learn(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Note(text) | Event::Warning(text) => Some(text::message(&text)),
            Event::Started { step, heading } => {
                let heading = text::message(&heading.to_string()).replace('\n', " ");
                let (began, tail, partial) = (Instant::now(), VecDeque::new(), Vec::new());
                let (missed, reading) = (None, None);
                self.running
                    .insert(step, Running { heading, missed, reading, began, tail, partial });
                None
            }
            Event::Missed { step, reason } => {
                if let Some(running) = self.running.get_mut(&step) {
                    running.missed = Some(text::message(&reason));
                    running.reading = None;
                }
                None
            }
            Event::Reading { step, done, size } => {
                if let Some(running) = self.running.get_mut(&step) {
                    let amounts = format!("{} of {}", text::size(done), text::size(size));
                    running.reading = Some(format!(" => => reading files: {amounts}"));
                }
                None
            }
            Event::Output { step, bytes, .. } => {
                if let Some(running) = self.running.get_mut(&step) {
                    running.reading = None;
                    running.output(&bytes, self.tail);
                }
                None
            }
            Event::Cached { step } => {
                self.cached += 1;
                self.end(step, |heading| format!(" => CACHED {heading}"))
            }
            Event::Done { step, elapsed } => {
                self.end(step, |heading| format!(" => {heading} {:.1}s", elapsed.as_secs_f64()))
            }
            Event::Failed { step, .. } => self.end(step, |heading| format!(" => ERROR {heading}")),
        }
    }

    fn end(&mut self, step: StepNumber, line: impl FnOnce(&str) -> String) -> Option<String> {
        self.done += 1;
        self.running.remove(&step).map(|running| match &running.missed {
            Some(reason) => format!("{} (not cached: {reason})", line(&running.heading)),
            None => line(&running.heading),
        })
    }

    /// The lines of one frame: a line for the build, and for each running step its heading and the end of its output, as
    /// many as there is room for.
    fn frame(&self, rows: usize, columns: usize) -> Vec<String> {
        let mut lines = vec![self.summary()];
        let room = rows.saturating_sub(2);
        let tails = room.saturating_sub(self.running.len()) / self.running.len().max(1);
        for running in self.running.values() {
            lines.push(format!(
                " => {} {:.1}s",
                running.heading,
                running.began.elapsed().as_secs_f64()
            ));
            lines.extend(running.reading.clone().filter(|_| tails > 0));
            let tail = running.tail.iter().rev().take(tails.min(self.tail)).rev();
            lines.extend(tail.map(|line| format!(" => => {line}")));
        }
        lines.truncate(room.max(1));
        lines.iter().map(|line| cut(line, columns.saturating_sub(1))).collect()
    }

    fn summary(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        format!("[+] {seconds:.1}s, {} steps done, {} of them cached", self.done, self.cached)
    }
}

impl Running {
    fn output(&mut self, bytes: &[u8], most: usize) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.partial);
                // A tab would be wider than the one column that is counted for it.
                let line = text::said(&String::from_utf8_lossy(&line)).replace('\t', " ");
                self.tail.push_back(line);
                if self.tail.len() > most {
                    self.tail.pop_front();
                }
            }
        }
    }
}

fn cut(line: &str, columns: usize) -> String {
    line.chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use engine::{Heading, Stream};

    use super::*;

    fn model(steps: usize, lines: usize) -> Model {
        let mut model = Model::new(6);
        for step in 1..=steps {
            let heading = Heading {
                platform: None,
                stage: None,
                position: None,
                title: format!("RUN {step}"),
            };
            model.learn(Event::Started { step, heading });
            for line in 0..lines {
                model.learn(Event::Output {
                    step,
                    stream: Stream::Stdout,
                    bytes: format!("line {line}\n").into(),
                });
            }
        }
        model
    }

    #[test]
    fn a_frame_fits_the_terminal() {
        for (steps, rows) in [(1, 24), (4, 10), (30, 10), (3, 2)] {
            let frame = model(steps, 20).frame(rows, 20);
            assert!(frame.len() < rows, "{steps} steps on {rows} rows: {frame:?}");
            assert!(frame.iter().all(|line| line.chars().count() < 20));
        }
    }

    #[test]
    fn reading_is_in_sight_until_something_else_happens() {
        let mut model = model(1, 0);
        model.learn(Event::Reading { step: 1, done: 1 << 30, size: 1 << 40 });
        let frame = model.frame(24, 80);
        assert_eq!(frame.last().map(String::as_str), Some(" => => reading files: 1.07GB of 1.1TB"));
        model.learn(Event::Missed { step: 1, reason: "a file changed".to_owned() });
        assert_eq!(model.frame(24, 80).len(), 2);
    }

    #[test]
    fn the_end_of_the_output_is_in_sight() {
        let frame = model(1, 20).frame(24, 80);
        assert_eq!(frame.last().map(String::as_str), Some(" => => line 19"));
        assert_eq!(frame.len(), 2 + 6);
    }

    #[test]
    fn of_a_line_without_end_the_beginning_is_kept() {
        let mut model = model(1, 0);
        for bytes in std::iter::repeat_n(vec![b'x'; 1 << 16], 4) {
            model.learn(Event::Output { step: 1, stream: Stream::Stdout, bytes });
        }
        assert_eq!(model.running[&1].partial.len(), LONGEST_LINE);
        let bytes = b"x\nend\n".to_vec();
        model.learn(Event::Output { step: 1, stream: Stream::Stdout, bytes });
        assert_eq!(model.frame(24, 80).last().map(String::as_str), Some(" => => end"));
    }

    #[test]
    fn as_many_lines_as_are_wanted() {
        let mut model = model(1, 0);
        model.tail = 0;
        let bytes = b"a\nb\n".to_vec();
        model.learn(Event::Output { step: 1, stream: Stream::Stdout, bytes: bytes.clone() });
        assert_eq!(model.frame(24, 80).len(), 2);
        model.tail = 1;
        model.learn(Event::Output { step: 1, stream: Stream::Stdout, bytes });
        assert_eq!(model.frame(24, 80).last().map(String::as_str), Some(" => => b"));
    }

    #[test]
    fn a_step_that_ends_leaves_one_line() {
        let mut model = model(1, 1);
        let line = model.learn(Event::Cached { step: 1 });
        assert_eq!(line.as_deref(), Some(" => CACHED RUN 1"));
        assert_eq!(model.cached, 1);
    }
}
