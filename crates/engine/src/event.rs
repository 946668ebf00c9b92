//! What a build tells while it runs. The engine never sees a terminal: it sends these values into a channel.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use plan::redact;

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
            Self::Cached { .. } | Self::Output { .. } | Self::Done { .. } => self,
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

/// Where a build sends its events.
///
/// A receiver that went away is no reason to stop building, so sending never fails.
#[derive(Debug, Clone)]
pub struct Events(Option<mpsc::Sender<(Instant, Event)>>);

impl Events {
    /// Sends to this channel, each event with the moment at which it happened: it may be looked at later.
    pub fn to(channel: mpsc::Sender<(Instant, Event)>) -> Self {
        Self(Some(channel))
    }

    /// Sends nowhere.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// Sends an event. No text of the engine's own has a password of an address in it; what commands write is theirs.
    pub(crate) fn send(&self, event: Event) {
        if let Some(channel) = &self.0 {
            // The receiver is gone: nobody watches any more.
            let _ = channel.send((Instant::now(), event.redacted()));
        }
    }
}
