//! What a build tells while it runs. The engine never sees a terminal: it sends these values into a channel.

mod backlog;

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use plan::redact;

use self::backlog::{Backlog, Share};

/// Number of a step in the output of one build, counted from 1.
pub type StepNumber = usize;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step begins.
    Started {
        /// Which.
        step: StepNumber,
        /// What people call it.
        heading: Heading,
    },
    /// The step that began was found in the cache.
    Cached {
        /// Which.
        step: StepNumber,
    },
    /// The step that began is not in the cache, unlike in the last build of the same Dockerfile.
    Missed {
        /// Which.
        step: StepNumber,
        /// What differs from that build.
        reason: String,
    },
    /// The files that the step depends on are being read, to find out whether they have changed; this takes a while.
    Reading {
        /// Which.
        step: StepNumber,
        /// How many bytes were read.
        done: u64,
        /// Of how many.
        size: u64,
    },
    /// The command of a step wrote something.
    Output {
        /// Which.
        step: StepNumber,
        /// To where.
        stream: Stream,
        /// The bytes as written, cut anywhere.
        bytes: Vec<u8>,
    },
    /// The step is done.
    Done {
        /// Which.
        step: StepNumber,
        /// How long it took.
        elapsed: Duration,
    },
    /// The step failed; the build ends with its error.
    Failed {
        /// Which.
        step: StepNumber,
        /// The error in one line.
        message: String,
    },
    /// Something about the build as a whole that its owner should know.
    Note(String),
    /// Something about the Dockerfile that its author should know; sent when all steps have ended.
    Warning(String),
}

impl Event {
    fn redacted(self) -> Self {
        match self {
            Self::Started { step, heading } => {
                let title = redact(&heading.title);
                Self::Started { step, heading: Heading { title, ..heading } }
            }
            Self::Missed { step, reason } => Self::Missed { step, reason: redact(&reason) },
            Self::Failed { step, message } => Self::Failed { step, message: redact(&message) },
            Self::Note(text) => Self::Note(redact(&text)),
            Self::Warning(text) => Self::Warning(redact(&text)),
            Self::Cached { .. }
            | Self::Reading { .. }
            | Self::Output { .. }
            | Self::Done { .. } => self,
        }
    }
}

/// Where a command writes to. A line on one may come in pieces, with pieces of the other between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What people call a step: `[build 2/4] RUN make`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// The platform that it runs on, and the one that it works for, where there are several.
    pub platform: Option<String>,
    /// The stage, where the Dockerfile has several or gives it a name.
    pub stage: Option<String>,
    /// Its place among the steps of the stage that do something, FROM of an image included, and how many there are; none
    /// for what is not a step of the Dockerfile.
    pub position: Option<(usize, usize)>,
    /// The instruction.
    pub title: String,
}

impl std::fmt::Display for Heading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((at, of)) = self.position else { return f.write_str(&self.title) };
        f.write_str("[")?;
        for part in [&self.platform, &self.stage].into_iter().flatten() {
            write!(f, "{part} ")?;
        }
        write!(f, "{at}/{of}] {}", self.title)
    }
}

/// An event, and when it happened: it may be looked at later.
#[derive(Debug)]
pub struct Moment {
    /// When.
    pub at: Instant,
    /// What.
    pub event: Event,
    /// What the output of a command takes of the backlog as long as this lives.
    _share: Option<Share>,
}

impl Moment {
    /// An event that happens now.
    pub fn now(event: Event) -> Self {
        Self { at: Instant::now(), event, _share: None }
    }
}

/// Where a build sends its events.
///
/// A receiver that went away is no reason to stop building, so sending never fails. One that is slow, such as a terminal that
/// was stopped, holds up no more than the commands whose output it is to show, once some MiB of it wait.
#[derive(Debug, Clone)]
pub struct Events(Option<(mpsc::Sender<Moment>, Arc<Backlog>)>);

impl Events {
    /// Sends to this channel.
    pub fn to(channel: mpsc::Sender<Moment>) -> Self {
        Self(Some((channel, Arc::default())))
    }

    /// Sends nowhere.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// Sends an event. No text of the engine's own has a password of an address in it; what commands write is theirs.
    pub(crate) fn send(&self, event: Event) {
        if let Some((channel, _)) = &self.0 {
            // The receiver is gone: nobody watches any more.
            let _ = channel.send(Moment::now(event.redacted()));
        }
    }

    /// Sends what a command has written; waits while too much of it waits to be shown.
    pub(crate) fn send_output(&self, step: StepNumber, stream: Stream, bytes: &[u8]) {
        if let Some((channel, backlog)) = &self.0 {
            let event = Event::Output { step, stream, bytes: bytes.to_vec() };
            let at = Instant::now();
            let share = Some(backlog.enter(bytes.len()));
            // As above; the share is free again then.
            let _ = channel.send(Moment { at, event, _share: share });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn output_waits_for_who_shows_it_and_nothing_else_does() {
        const PIECE: usize = 64 * 1024;
        const PIECES: usize = 1000;
        let (sender, receiver) = mpsc::channel();
        let events = Events::to(sender);
        let writer = events.clone();
        let thread = thread::spawn(move || {
            for _ in 0..PIECES {
                writer.send_output(1, Stream::Stdout, &[b'x'; PIECE]);
            }
        });
        thread::sleep(Duration::from_millis(300));
        assert!(!thread.is_finished());
        events.send(Event::Cached { step: 2 });
        drop(events);
        let (mut others, mut most, mut waiting) = (0, 0, Vec::new());
        // Looks at what has come together, and rests.
        while let Ok(first) = receiver.recv() {
            waiting.push(first);
            waiting.extend(receiver.try_iter());
            most = most.max(waiting.len());
            others +=
                waiting.drain(..).filter(|it| matches!(it.event, Event::Cached { .. })).count();
        }
        thread.join().unwrap();
        assert_eq!(others, 1);
        assert!(most * PIECE <= backlog::MOST + 2 * PIECE, "{most}");
    }

    #[test]
    fn nobody_waits_for_who_has_gone() {
        let (sender, receiver) = mpsc::channel();
        let events = Events::to(sender);
        let writer = events.clone();
        let thread = thread::spawn(move || {
            for _ in 0..1000 {
                writer.send_output(1, Stream::Stderr, &[b'x'; 64 * 1024]);
            }
        });
        thread::sleep(Duration::from_millis(100));
        drop(receiver);
        thread.join().unwrap();
        // What is larger than all there may be is alone.
        let (sender, receiver) = mpsc::channel();
        Events::to(sender).send_output(1, Stream::Stderr, &vec![b'x'; 2 * backlog::MOST]);
        assert_eq!(receiver.iter().count(), 1);
    }
}
