//! What is shown of a build, and of layers on their way, while it happens. Everything here goes to standard error.
//!
//! [`plain`]: one readable stream. [`rawjson`]: the same for programs. [`live`]: a view that is redrawn, on a terminal. [`layers`]: what `pull` and `push` show.

mod layers;
mod live;
mod plain;
pub(crate) mod rawjson;

use std::{
    io::{self, IsTerminal},
    sync::mpsc::{self, Receiver},
    thread::{self, JoinHandle},
};

use engine::{Event, Events};

pub(crate) use self::layers::Layers;
use crate::{args::Progress, environment};

/// Shows events in a thread of its own, so that a slow terminal does not slow down the build.
#[derive(Debug)]
pub(crate) struct Display {
    events: Events,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts to show what comes.
    pub(crate) fn start(progress: Progress) -> Self {
        let terminal = io::stderr().is_terminal() && environment::wants_colour();
        let view: fn(Receiver<Event>) = match progress {
            Progress::Quiet => return Self { events: Events::nowhere(), thread: None },
            Progress::Tty => live::show,
            Progress::Rawjson => rawjson::show,
            Progress::Auto if terminal => live::show,
            Progress::Auto | Progress::Plain => plain::show,
        };
        let (sender, receiver) = mpsc::channel();
        Self { events: Events::to(sender), thread: Some(thread::spawn(move || view(receiver))) }
    }

    /// Where a build sends its events.
    pub(crate) fn events(&self) -> Events {
        self.events.clone()
    }

    /// Waits until everything was shown. The build has ended by then, and its end of the channel with it.
    pub(crate) fn end(self) {
        drop(self.events);
        if let Some(thread) = self.thread {
            // A display that failed is no reason to fail the build.
            let _ = thread.join();
        }
    }
}
