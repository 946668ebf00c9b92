//! How many steps are done side by side.
//!
//! Nobody can tell from a Dockerfile whether a step keeps all processors busy or waits for the network. So as many start as there are
//! processors, and some more as long as there is no sign that this was too much; very many only while the machine is seen to be idle.
//! A step that waits here has begun for people, has no process yet, and holds nothing that another one needs.

use std::{
    num::NonZeroUsize,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use sandbox::Pressure;

use crate::{Cancel, Error};

/// How many start on an idle machine, at most: each has a thread of this program, and three processes.
const MOST: usize = 64;

/// How long a step waits before it looks again whether the machine is idle, and how long it has to be idle for that.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the machine has to be busy before that counts: longer than a compiler takes to begin.
const LONG: Duration = Duration::from_secs(1);

/// The share of a time in which some process waited for a processor, from which on the machine is busy.
const BUSY: f64 = 0.8;

/// The share up to which it is idle.
const IDLE: f64 = 0.5;

/// The share of a time in which some process waited for memory, from which on there is too little of it.
const SHORT: f64 = 0.1;

/// Who lets steps start.
#[derive(Debug)]
pub(crate) struct Jobs {
    /// `--jobs`.
    asked: Option<NonZeroUsize>,
    processors: fn() -> usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// What was seen a long time ago, and since then: a share of time is one of at least [`LONG`].
    long_ago: Option<Seen>,
    since: Option<Seen>,
    /// What was seen when the last ones of very many had started.
    wave: Option<Seen>,
    /// How many of very many may still start on what was seen.
    left: usize,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    pressure: Pressure,
}

/// The share of a time in which some process waited.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share {
    processor: f64,
    memory: f64,
}

/// What is known when a step wants to start.
#[derive(Debug, Clone, Copy)]
struct Situation {
    asked: Option<NonZeroUsize>,
    processors: usize,
    running: usize,
    /// Of the last seconds, if steps have been side by side for as long.
    long: Option<Share>,
    /// Of the time since the last steps started, if that is long enough to tell.
    short: Option<Share>,
}

/// A step that may run. Dropped, the next one may.
#[derive(Debug)]
pub(crate) struct Started<'a>(&'a Jobs);

impl Jobs {
    pub(crate) fn new(asked: Option<NonZeroUsize>) -> Self {
        Self { asked, processors, state: Mutex::default(), freed: Condvar::new() }
    }

    /// How many stages can have a step at all.
    pub(crate) fn most(&self) -> usize {
        self.asked.map_or(MOST, |asked| asked.get().clamp(MOST, 4 * MOST))
    }

    /// Waits until a step may start.
    ///
    /// # Errors
    /// The build was cancelled meanwhile.
    pub(crate) fn start(&self, cancel: &Cancel) -> Result<Started<'_>, Error> {
        let mut state = self.state();
        loop {
            cancel.check()?;
            let now = || Some(Seen { at: Instant::now(), pressure: sandbox::pressure()? });
            // Alone, and where somebody has decided, it does not matter.
            let seen = (self.asked.is_none() && state.running > 0).then(now).flatten();
            if self.situation(&mut state, seen).may_start() {
                state.note_start(usual((self.processors)()), seen);
                return Ok(Started(self));
            }
            let woken = self.freed.wait_timeout(state, PAUSE);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn situation(&self, state: &mut State, seen: Option<Seen>) -> Situation {
        Situation {
            asked: self.asked,
            processors: (self.processors)(),
            running: state.running,
            long: seen.and_then(|seen| state.long(seen)),
            short: seen.and_then(|seen| state.short(seen)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.freed.notify_all();
    }
}

impl Situation {
    fn may_start(&self) -> bool {
        let (some, many) = (self.processors, usual(self.processors));
        let short_of_memory = |share: Share| share.memory >= SHORT;
        match (self.asked, self.running) {
            (Some(asked), running) => running < asked.get(),
            (None, 0) => true,
            // What runs needs the memory that a further one would take from it.
            (None, _) if self.long.is_some_and(short_of_memory) => false,
            (None, running) if running < some => true,
            (None, running) if running < many => {
                self.long.is_none_or(|share| share.processor < BUSY)
            }
            (None, running) if running < MOST => {
                self.short.is_some_and(|share| share.processor < IDLE && !short_of_memory(share))
            }
            (None, _) => false,
        }
    }
}

/// How many processors this process may use. To find out takes thirty system calls, which a build that has nothing to do can do
/// without.
pub(crate) fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(2, NonZeroUsize::get))
}

/// How many start without a look: most steps wait for something from time to time.
fn usual(processors: usize) -> usize {
    (processors * 2).max(8)
}

impl State {
    fn long(&mut self, now: Seen) -> Option<Share> {
        let since = *self.since.get_or_insert(now);
        if now.at - since.at >= LONG {
            (self.long_ago, self.since) = (Some(since), Some(now));
        }
        self.long_ago.map(|long_ago| long_ago.until(now))
    }

    fn short(&self, now: Seen) -> Option<Share> {
        let wave = self.wave.filter(|wave| self.left > 0 || now.at - wave.at >= PAUSE)?;
        Some(wave.until(now))
    }

    /// One more runs. Of very many as many start at once as there are already, and the next ones when it is seen what that did.
    fn note_start(&mut self, usual: usize, seen: Option<Seen>) {
        if self.running + 1 >= usual {
            if self.left == 0 {
                self.left = self.running;
            }
            self.left -= 1;
            if self.left == 0 || self.wave.is_none() {
                (self.wave, self.left) = (seen, 0);
            }
        }
        self.running += 1;
    }
}

impl Seen {
    /// The share of the time from here.
    fn until(self, now: Seen) -> Share {
        let time = (now.at - self.at).as_secs_f64().max(f64::EPSILON);
        let share = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() / time;
        Share {
            processor: share(self.pressure.processor, now.pressure.processor),
            memory: share(self.pressure.memory, now.pressure.memory),
        }
    }
}

#[cfg(test)]
mod tests;
