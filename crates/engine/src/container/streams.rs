//! The output of a program, to everyone who listens: pipes or a terminal on one side, a log and connections on the other.
//!
//! Who listens slowly slows the program down, as a pipe would; but not any more when the program has ended: what is left
//! then is a pipe full at most, and is kept for whoever listens. So the end of a program never waits for a listener.

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::event::{PollFd, PollFlags, poll};

use super::{
    log::LogWriter,
    wire::{self, Answer, Attach, Kind},
};

/// How much waits for a listener before the program has to.
const WAITING: usize = 256 * 1024;

/// Which output of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output, and all output of a program with a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    fn kind(self) -> Kind {
        match self {
            Self::Stdout => Kind::Stdout,
            Self::Stderr => Kind::Stderr,
        }
    }
}

/// One who listens: a queue, emptied by a thread that writes to the connection.
#[derive(Debug)]
pub(super) struct Listener {
    attach: Attach,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<(Kind, Arc<[u8]>)>,
    bytes: usize,
    /// The program has ended: whatever comes now is all, and fits.
    unbounded: bool,
    /// No more will come.
    finished: bool,
    /// Nobody reads the output any more.
    deaf: bool,
    /// Nobody is there any more.
    gone: bool,
}

impl Listener {
    pub(super) fn new(attach: Attach) -> Arc<Self> {
        Arc::new(Self { attach, queue: Mutex::default(), changed: Condvar::new() })
    }

    /// Passes frames on until there will be no more, or nobody is there.
    pub(super) fn write_to(&self, mut stream: UnixStream) {
        while let Some((kind, bytes)) = self.next() {
            if wire::write(&mut stream, kind, &bytes).is_err() {
                return self.leave();
            }
        }
        // The other side may be gone already.
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }

    /// Returns the first bytes of all output when there will be no more.
    pub(super) fn collect(&self, most: usize) -> Vec<u8> {
        let mut collected = Vec::new();
        while let Some((kind, bytes)) = self.next() {
            if kind != Kind::Answer {
                let room = most.saturating_sub(collected.len()).min(bytes.len());
                collected.extend_from_slice(&bytes[..room]);
            }
        }
        collected
    }

    /// Says that nobody is there any more.
    pub(super) fn leave(&self) {
        self.change(|queue| {
            queue.gone = true;
            queue.frames.clear();
        });
    }

    pub(super) fn answer(&self, answer: &Answer) {
        if let Ok(text) = serde_json::to_vec(answer) {
            self.change(|queue| queue.frames.push_back((Kind::Answer, text.into())));
        }
    }

    /// Says that nobody reads the output any more; the end of the program is still to be told.
    fn stop_listening(&self) {
        self.change(|queue| {
            queue.deaf = true;
            queue.frames.retain(|(kind, _)| *kind == Kind::Answer);
            queue.bytes = 0;
        });
    }

    fn is_listening(&self) -> bool {
        let queue = self.lock();
        !queue.gone && !queue.deaf
    }

    fn wants(&self, stream: OutputStream) -> bool {
        match stream {
            OutputStream::Stdout => self.attach.stdout,
            OutputStream::Stderr => self.attach.stderr,
        }
    }

    /// Waits until there is room.
    fn push(&self, kind: Kind, bytes: Arc<[u8]>) {
        let is_full = |queue: &mut Queue| {
            queue.bytes > WAITING && !queue.unbounded && !queue.gone && !queue.deaf
        };
        let queue = self.lock();
        let mut queue =
            self.changed.wait_while(queue, is_full).unwrap_or_else(PoisonError::into_inner);
        if !queue.gone && !queue.deaf {
            queue.bytes += bytes.len();
            queue.frames.push_back((kind, bytes));
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<(Kind, Arc<[u8]>)> {
        let is_waiting =
            |queue: &mut Queue| queue.frames.is_empty() && !queue.finished && !queue.gone;
        let queue = self.lock();
        let mut queue =
            self.changed.wait_while(queue, is_waiting).unwrap_or_else(PoisonError::into_inner);
        let (kind, bytes) = queue.frames.pop_front()?;
        if kind != Kind::Answer {
            queue.bytes = queue.bytes.saturating_sub(bytes.len());
        }
        self.changed.notify_all();
        Some((kind, bytes))
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everyone who listens to one program.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    listeners: Vec<Arc<Listener>>,
    /// Who started the program does not read its output any more.
    unread: bool,
    ended: Option<i32>,
}

impl Listeners {
    /// Adds one; who comes after the end hears of that alone.
    pub(super) fn add(&self, listener: &Arc<Listener>) {
        let mut state = self.lock();
        match state.ended {
            Some(code) => finish(listener, code),
            None => state.listeners.push(Arc::clone(listener)),
        }
    }

    pub(super) fn remove(&self, listener: &Arc<Listener>) {
        listener.leave();
        self.lock().listeners.retain(|other| !Arc::ptr_eq(other, listener));
    }

    /// Says that who started the program does not read its output any more: unless somebody else does, writing fails
    /// from now on, as it would without a keeper in between.
    pub(super) fn set_unread(&self, listener: &Listener) {
        listener.stop_listening();
        self.lock().unread = true;
    }

    /// From now on nobody makes the program wait.
    pub(super) fn stop_waiting(&self) {
        for listener in self.lock().listeners.iter() {
            listener.change(|queue| queue.unbounded = true);
        }
    }

    /// Tells everyone how the program has ended; there will be no more.
    pub(super) fn end(&self, code: i32) {
        let mut state = self.lock();
        state.ended = Some(code);
        for listener in state.listeners.drain(..) {
            finish(&listener, code);
        }
    }

    /// Tells everyone who listens something.
    pub(super) fn tell(&self, answer: &Answer) {
        for listener in &self.lock().listeners {
            listener.answer(answer);
        }
    }

    /// Passes output on; `false` if nobody will ever read it.
    fn pass(&self, stream: OutputStream, bytes: &[u8]) -> bool {
        let (listeners, unread) = {
            let state = self.lock();
            (state.listeners.clone(), state.unread)
        };
        let mut wanted = false;
        let bytes: Arc<[u8]> = bytes.into();
        for listener in listeners.iter().filter(|it| it.wants(stream)) {
            listener.push(stream.kind(), Arc::clone(&bytes));
            wanted |= listener.is_listening();
        }
        wanted || !unread
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finish(listener: &Listener, code: i32) {
    listener.answer(&Answer::Exited(code));
    listener.change(|queue| {
        queue.unbounded = true;
        queue.finished = true;
    });
}

/// Passes the output of a program on until it has ended and all that it wrote is read: to the log, if there is one, and to
/// who listens. `ended` hangs up when the program has ended; who holds the other end of a pipe after that is not waited for.
pub(super) fn pump(
    from: OwnedFd,
    stream: OutputStream,
    ended: &OwnedFd,
    log: Option<&LogWriter>,
    listeners: &Listeners,
) {
    let mut log = log.map(|log| log.stream(stream));
    let mut from = File::from(from);
    let mut buffer = vec![0; 64 * 1024];
    // The end of a terminal shows as an error.
    while is_readable(&from, ended)
        && let Ok(count @ 1..) = from.read(&mut buffer)
    {
        if let Some(log) = &mut log {
            log.write(&buffer[..count]);
        }
        if !listeners.pass(stream, &buffer[..count]) {
            break;
        }
    }
}

/// Waits until there is something to read; not so if there is nothing and the program has ended.
fn is_readable(from: &File, ended: &OwnedFd) -> bool {
    let mut events = [PollFd::new(from, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
    match rustix::io::retry_on_intr(|| poll(&mut events, None)) {
        Ok(_) => !events[0].revents().is_empty(),
        Err(_) => false,
    }
}

/// What a program reads: a pipe or its terminal.
#[derive(Debug)]
pub(super) struct Input(Mutex<Option<Arc<File>>>);

impl Input {
    pub(super) fn new(descriptor: Option<OwnedFd>) -> Self {
        Self(Mutex::new(descriptor.map(|descriptor| Arc::new(File::from(descriptor)))))
    }

    /// Writes; what nobody reads any more is dropped.
    pub(super) fn write(&self, bytes: &[u8]) {
        let file = self.lock().clone();
        if let Some(file) = file {
            // Not under the lock: it may wait for the program for ever.
            let _ = file.as_ref().write_all(bytes);
        }
    }

    /// Ends the input.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a terminal a size.
pub(super) fn resize(pty: impl AsFd, size: wire::Size) {
    let size = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // It fails when the terminal is gone, and then its size does not matter.
    let _ = rustix::termios::tcsetwinsize(pty, size);
}
