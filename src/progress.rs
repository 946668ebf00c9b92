//! What is shown of a build, and of layers on their way, while it happens. Everything here goes to standard error.
//!
//! [`plain`]: one readable stream. [`rawjson`]: the same for programs. [`live`]: a view that is redrawn, on a terminal. [`layers`]: what `pull` and `push` show.

mod layers;
mod live;
mod plain;
pub(crate) mod rawjson;

use std::{
    io::{self, IsTerminal},
    iter,
    sync::mpsc::{self, Receiver, TryRecvError},
    thread::{self, JoinHandle},
    time::Duration,
};

use engine::{Events, Moment};

pub(crate) use self::layers::Layers;
use crate::{args::Progress, environment};

/// How long a stream rests after it has written, so that what comes meanwhile is written together: to wake a thread for each
/// word takes longer than to find a step in the cache. Nobody sees the difference.
const REST: Duration = Duration::from_millis(10);

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
        let view: fn(Receiver<Moment>) = match progress {
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
            // From its rest.
            thread.thread().unpark();
            // A display that failed is no reason to fail the build.
            let _ = thread.join();
        }
    }
}

/// Calls `show` with what has come together, at once with the first and later as often as people can see, until the end.
fn in_batches(events: &Receiver<Moment>, mut show: impl FnMut(&mut dyn Iterator<Item = Moment>)) {
    let mut next = events.recv().ok();
    while let Some(first) = next {
        show(&mut iter::once(first).chain(events.try_iter()));
        next = match events.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                // The end comes with a wake-up.
                thread::park_timeout(REST);
                events.recv().ok()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use engine::Event;

    use super::*;

    #[test]
    fn what_comes_together_is_shown_together_and_the_end_at_once() {
        let (sender, receiver) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            in_batches(&receiver, |batch| tell.send(batch.count()).unwrap());
        });
        let send = || sender.send(Moment::now(Event::Note("x".to_owned()))).unwrap();
        send();
        assert_eq!(told.recv().unwrap(), 1);
        (0..100).for_each(|_| send());
        drop(sender);
        thread.thread().unpark();
        thread.join().unwrap();
        let batches: Vec<usize> = told.iter().collect();
        assert_eq!(batches.iter().sum::<usize>(), 100);
        assert!(batches.len() < 10, "{batches:?}");
    }
}
