//! One readable stream, each line with the number of its step: `--progress=plain`, and what a log file gets.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    sync::mpsc::Receiver,
    time::Instant,
};

use engine::{Event, Moment, StepNumber, Stream};

use super::in_batches;
use crate::text;

/// Longer lines are broken here, in bytes: a command may print without end and without a line's end.
const LONGEST_LINE: usize = 1 << 20;

/// Shows events until the build ends.
pub(super) fn show(events: Receiver<Moment>) {
    let mut plain = Plain { out: BufWriter::new(io::stderr()), steps: BTreeMap::new(), last: None };
    in_batches(&events, |batch| {
        for Moment { at, event, .. } in batch {
            // Nobody reads what cannot be written; the build goes on.
            let _ = plain.show(event, at);
        }
        let _ = plain.out.flush();
    });
}

struct Plain<W> {
    out: W,
    steps: BTreeMap<StepNumber, Step>,
    /// The step that was written about last; a blank line stands between the lines of two steps.
    last: Option<StepNumber>,
}

struct Step {
    heading: String,
    began: Instant,
    /// Output without its line end, which may still come.
    partial: BTreeMap<Stream, Vec<u8>>,
}

impl<W: Write> Plain<W> {
    fn show(&mut self, event: Event, now: Instant) -> io::Result<()> {
        match event {
            Event::Note(text) => match self.last {
                Some(step) => writeln!(self.out, "#{step} {}", text::visible(&text)),
                None => writeln!(self.out, "{}", text::visible(&text)),
            },
            Event::Warning(text) => writeln!(self.out, "{}", text::message(&text)),
            Event::Started { step, heading } => {
                let heading = heading.to_string();
                self.steps.insert(step, Step { heading, began: now, partial: BTreeMap::new() });
                self.turn_to(step)
            }
            Event::Output { step, stream, bytes } => self.output(step, stream, &bytes, now),
            Event::Missed { step, reason } => {
                self.line(step, &format!("not cached: {}", text::visible(&reason)), now)
            }
            Event::Reading { step, done, size } => {
                let amounts = format!("{} of {}", text::size(done), text::size(size));
                self.line(step, &format!("reading files: {amounts}"), now)
            }
            Event::Cached { step } => self.line(step, "CACHED", now),
            Event::Done { step, elapsed } => {
                self.line(step, &format!("DONE {:.1}s", elapsed.as_secs_f64()), now)
            }
            Event::Failed { step, message } => {
                self.line(step, &format!("ERROR: {}", text::message(&message)), now)
            }
        }
    }

    /// Says which step the next lines are about.
    fn turn_to(&mut self, step: StepNumber) -> io::Result<()> {
        if self.last == Some(step) {
            return Ok(());
        }
        if self.last.is_some() {
            writeln!(self.out)?;
        }
        self.last = Some(step);
        match self.steps.get(&step) {
            Some(known) => {
                writeln!(self.out, "#{step} {}", text::message(&known.heading).replace('\n', " "))
            }
            None => Ok(()),
        }
    }

    fn line(&mut self, step: StepNumber, text: &str, now: Instant) -> io::Result<()> {
        self.turn_to(step)?;
        let partial = self.steps.get_mut(&step).map(|step| std::mem::take(&mut step.partial));
        for line in
            partial.into_iter().flatten().map(|(_, line)| line).filter(|line| !line.is_empty())
        {
            self.output_line(step, &line, now)?;
        }
        writeln!(self.out, "#{step} {text}")
    }

    fn output(
        &mut self,
        number: StepNumber,
        stream: Stream,
        bytes: &[u8],
        now: Instant,
    ) -> io::Result<()> {
        self.turn_to(number)?;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(step) = self.steps.get_mut(&number) else { return Ok(()) };
            let partial = step.partial.entry(stream).or_default();
            partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || partial.len() >= LONGEST_LINE {
                let line = std::mem::take(partial);
                self.output_line(number, &line, now)?;
            }
        }
        Ok(())
    }

    fn output_line(&mut self, step: StepNumber, line: &[u8], now: Instant) -> io::Result<()> {
        let since = |step: &Step| now.saturating_duration_since(step.began).as_secs_f64();
        let seconds = self.steps.get(&step).map_or(0.0, since);
        let end = line.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |end| end + 1);
        write!(self.out, "#{step} {seconds:.3} ")?;
        self.out.write_all(&line[..end])?;
        writeln!(self.out)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::Heading;

    use super::*;

    fn started(step: StepNumber, title: &str) -> Event {
        let heading = Heading {
            platform: None,
            stage: None,
            position: Some((step, 2)),
            title: title.to_owned(),
        };
        Event::Started { step, heading }
    }

    #[test]
    fn a_line_without_end_is_broken() {
        let mut plain = Plain { out: Vec::new(), steps: BTreeMap::new(), last: None };
        let now = Instant::now();
        plain.show(started(1, "RUN yes"), now).unwrap();
        let bytes = vec![b'x'; 64 * 1024];
        for _ in 0..40 {
            plain.output(1, Stream::Stdout, &bytes, now).unwrap();
        }
        assert!(plain.steps[&1].partial[&Stream::Stdout].len() < LONGEST_LINE);
        assert_eq!(plain.out.iter().filter(|byte| **byte == b'x').count(), 2 * LONGEST_LINE);
    }

    #[test]
    fn lines_of_two_steps_stand_apart() {
        let mut plain = Plain { out: Vec::new(), steps: BTreeMap::new(), last: None };
        let began = Instant::now();
        for (millis, event) in [
            (0, started(1, "FROM busybox")),
            (1, Event::Done { step: 1, elapsed: Duration::ZERO }),
            (2, started(2, "RUN a\nb")),
            (2, Event::Reading { step: 2, done: 1 << 30, size: 1 << 40 }),
            (3, Event::Output { step: 2, stream: Stream::Stdout, bytes: b"one\ntw".to_vec() }),
            (4, Event::Output { step: 2, stream: Stream::Stderr, bytes: b"aside\n".to_vec() }),
            (1002, Event::Output { step: 2, stream: Stream::Stdout, bytes: b"o\r\nend".to_vec() }),
            (1502, Event::Done { step: 2, elapsed: Duration::from_millis(1500) }),
        ] {
            plain.show(event, began + Duration::from_millis(millis)).unwrap();
        }
        let text = String::from_utf8(plain.out).unwrap();
        let expected = "#1 [1/2] FROM busybox\n#1 DONE 0.0s\n\n#2 [2/2] RUN a b\n#2 reading files: 1.07GB of 1.1TB\n#2 0.001 one\n#2 0.002 aside\n#2 1.000 two\n#2 1.500 end\n#2 DONE 1.5s\n";
        assert_eq!(text, expected);
    }
}
