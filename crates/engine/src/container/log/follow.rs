//! Waiting for more in the log of a container that runs.

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};
use store::Container;

use super::super::{
    control::{self, WhenStopped},
    wire::Request,
};
use crate::{Engine, Error};

/// How often one looks where the kernel does not tell of changes.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for more in the log of a container.
#[derive(Debug)]
pub struct LogFollower {
    /// Tells of changes, unless this user watches too much already.
    changes: Option<OwnedFd>,
    /// Speaks when the container has ended, and everything it wrote is in the log.
    running: Option<UnixStream>,
}

impl LogFollower {
    /// Begins to wait; before the log is read, or something may fall in between.
    pub fn of(engine: &Engine, container: &Container) -> Result<Self, Error> {
        let running = match control::request(engine, container, &Request::Wait, WhenStopped::Tell) {
            Ok((_, stream)) => Some(stream),
            Err(Error::NotRunning { .. }) => None,
            Err(error) => return Err(error),
        };
        let watch = || {
            let changes = inotify::init(inotify::CreateFlags::CLOEXEC)?;
            // The directory: a new file may be begun.
            let directory = engine.store().container_directory(&container.id);
            let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
            inotify::add_watch(&changes, directory.path(), flags)?;
            Ok::<_, rustix::io::Errno>(changes)
        };
        Ok(Self { changes: watch().ok(), running })
    }

    /// Whether more may come than is in the log now.
    pub fn has_more(&mut self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if let Some(running) = &self.running {
            let mut events = [PollFd::new(running, PollFlags::IN)];
            if poll(&mut events, Some(&now)).is_ok_and(|count| count > 0) {
                self.running = None;
            }
        }
        self.running.is_some()
    }

    /// Waits until there may be more, or the container has ended.
    pub fn wait(&mut self) {
        let Some(running) = &self.running else { return };
        let mut events = vec![PollFd::new(running, PollFlags::IN)];
        events.extend(self.changes.iter().map(|changes| PollFd::new(changes, PollFlags::IN)));
        let pause = Timespec { tv_sec: 0, tv_nsec: PAUSE.as_nanos() as _ };
        let limit = self.changes.is_none().then_some(&pause);
        // Interrupted, one looks a little too early.
        let _ = poll(&mut events, limit);
        let changed = events.get(1).is_some_and(|event| !event.revents().is_empty());
        drop(events);
        if let (true, Some(changes)) = (changed, &self.changes) {
            // What exactly has changed does not matter.
            let _ = rustix::io::read(changes, &mut [0; 4096]);
        }
    }
}
