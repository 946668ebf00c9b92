//! Work that grows while it is done: the directories of a tree, shared by a few threads.
//!
//! Small trees stay on the calling thread, for which starting another would cost more than it saves.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::Error;

/// How long the calling thread works alone before it asks others for help: several times what it takes to start one.
const ALONE: Duration = Duration::from_micros(500);

/// More threads than this wait for each other in the file system.
const MAX_THREADS: usize = 8;

/// Does one task and adds those that it leads to.
type Work<'a, T> = dyn Fn(T, &mut Vec<T>) -> Result<(), Error> + Sync + 'a;

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    tasks: Vec<T>,
    running: usize,
    /// How many threads have nothing to do, and are to be told of what comes: to tell nobody costs a system call too.
    waiting: usize,
    failed: Option<Error>,
    stopped: bool,
}

/// Does all `tasks` and those that they add to the list they are given, in no particular order.
///
/// After an error no further task is begun; the first error is returned.
pub(crate) fn drain<T: Send>(tasks: Vec<T>, work: &Work<'_, T>) -> Result<(), Error> {
    let state = State { tasks, running: 0, waiting: 0, failed: None, stopped: false };
    let queue = Queue { state: Mutex::new(state), changed: Condvar::new() };
    thread::scope(|scope| {
        let began = Instant::now();
        while began.elapsed() < ALONE {
            if !queue.step(work) {
                return;
            }
        }
        let helpers = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS) - 1;
        for _ in 0..helpers.min(queue.lock().tasks.len()) {
            scope.spawn(|| while queue.step(work) {});
        }
        while queue.step(work) {}
    });
    match queue.state.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one task; says whether there may be another.
    fn step(&self, work: &Work<'_, T>) -> bool {
        let Some(task) = self.take() else { return false };
        let mut guard = Guard { queue: self, added: Vec::new(), result: None };
        guard.result = Some(work(task, &mut guard.added));
        true
    }

    /// Waits for a task; `None` when there will be none.
    fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(task) = state.tasks.pop() {
                state.running += 1;
                return Some(task);
            }
            if state.running == 0 {
                return None;
            }
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }
}

/// Hands back what a task gave, also when it panicked: otherwise the others would wait for ever.
struct Guard<'a, T> {
    queue: &'a Queue<T>,
    added: Vec<T>,
    result: Option<Result<(), Error>>,
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.running -= 1;
        match self.result.take() {
            Some(Ok(())) => state.tasks.append(&mut self.added),
            Some(Err(error)) => {
                state.stopped = true;
                state.failed.get_or_insert(error);
            }
            None => state.stopped = true,
        }
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.queue.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn does_everything_once() {
        let count = AtomicUsize::new(0);
        drain(vec![14], &|depth: usize, more| {
            count.fetch_add(1, Ordering::Relaxed);
            more.extend((0..2).filter(|_| depth > 0).map(|_| depth - 1));
            Ok(())
        })
        .unwrap();
        assert_eq!(count.into_inner(), (1 << 15) - 1);
    }

    #[test]
    fn stops_at_an_error() {
        let error = drain(vec![0usize], &|number, more| {
            more.extend([number + 1, number + 1]);
            if number == 20 { Err(Error::NotADirectory { path: "x".into() }) } else { Ok(()) }
        });
        assert!(matches!(error, Err(Error::NotADirectory { .. })));
    }
}
