//! The socket of a container, as long as it is kept: also while its program is about to be started again.
//!
//! Who can connect is who can open the container's directory: the owner of the store.

use std::{
    os::{
        fd::BorrowedFd,
        unix::net::{UnixListener, UnixStream},
    },
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use sandbox::MountPoints;
use store::{ContainerState, Status};

use super::{
    super::wire::{self, Answer, Kind, Request},
    register::Register,
    turn::{MAIN, Turn},
};
use crate::Error;

/// The signal that nothing can ignore.
const KILL: i32 = 9;

/// What is served, and what those who are served want of the keeper itself.
pub(super) struct Service {
    /// The container's name, for errors.
    name: String,
    /// The signal that asks the container to end.
    pub(super) stop_signal: i32,
    register: Arc<Register>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The run of the program; none while it is about to be started again.
    turn: Option<Arc<Turn>>,
    /// How the last one ended.
    last: i32,
    /// Whether the container stays after its end, though it was made for one run.
    stays: bool,
    /// Whether the program is not to be started again.
    stops: bool,
}

/// One who has connected.
pub(super) struct Connection(UnixStream);

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Reads the request; `None` from whoever makes none that this version knows.
    pub(super) fn request(&mut self) -> Option<Request> {
        match wire::read(&self.0) {
            Ok(Some((Kind::Request, bytes))) => wire::parse(&bytes).ok(),
            _ => None,
        }
    }

    pub(super) fn answer(&self, answer: &Answer) {
        // Who is gone needs no answer.
        let _ = wire::write_json(&self.0, Kind::Answer, answer);
    }

    pub(super) fn answer_done(&self, done: Result<(), Error>) {
        self.answer(&match done {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed((&error).into()),
        });
    }

    pub(super) fn answer_with(&self, answer: &Answer, descriptor: BorrowedFd<'_>) {
        // As above.
        let _ = wire::answer_with(&self.0, answer, descriptor);
    }

    pub(super) fn try_clone(&self) -> Option<UnixStream> {
        self.0.try_clone().ok()
    }

    /// Waits until the other side is gone.
    pub(super) fn wait_for_its_end(&self) {
        // It has nothing more to say, whatever comes.
        let _ = wire::read(&self.0);
    }

    pub(super) fn into_stream(self) -> UnixStream {
        self.0
    }
}

impl Service {
    pub(super) fn new(name: String, stop_signal: i32, register: Arc<Register>) -> Arc<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { name, stop_signal, register, state, changed })
    }

    /// Serves whoever connects, until it is closed.
    pub(super) fn open(self: &Arc<Self>, listener: &UnixListener) {
        let Ok(listener) = listener.try_clone() else { return };
        let service = Arc::clone(self);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let service = Arc::clone(&service);
                thread::spawn(move || service.serve(Connection::new(stream)));
            }
        });
    }

    /// Ends it: the thread that accepts is woken.
    pub(super) fn close(listener: &UnixListener) {
        // It fails when nobody is waiting there.
        let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
    }

    /// From now on this is the run of the program.
    pub(super) fn set_turn(&self, turn: &Arc<Turn>) {
        self.lock().turn = Some(Arc::clone(turn));
    }

    /// The program has ended, and is about to be started again.
    pub(super) fn rest(&self, code: i32) {
        let mut state = self.lock();
        (state.turn, state.last) = (None, code);
    }

    /// Whether somebody wants the container to stay after its end.
    pub(super) fn stays(&self) -> bool {
        self.lock().stays
    }

    /// Whether somebody wants the container to end for good.
    pub(super) fn stops(&self) -> bool {
        self.lock().stops
    }

    /// Waits, but not after somebody wants the container to end.
    pub(super) fn pause(&self, pause: Duration) {
        let waiting = self.changed.wait_timeout_while(self.lock(), pause, |state| !state.stops);
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the container as `kiln stop` does: by its signal, and if it does not end by that, by force.
    pub(super) fn stop(&self, grace: Option<Duration>) {
        self.stop_restarting();
        self.signal_main(self.stop_signal);
        if let Some(grace) = grace {
            thread::sleep(grace);
            self.signal_main(KILL);
        }
    }

    fn signal_main(&self, signal: i32) {
        let turn = self.lock().turn.clone();
        if let Some(turn) = turn {
            turn.main().signal(signal);
            // One that stands still would not hear of it.
            self.unpause(&turn);
        }
    }

    fn stop_restarting(&self) {
        self.lock().stops = true;
        self.changed.notify_all();
    }

    fn serve(&self, mut connection: Connection) {
        match connection.request() {
            Some(Request::Stay) => {
                self.lock().stays = true;
                connection.answer(&Answer::Done);
            }
            Some(Request::Stop) => {
                self.stop_restarting();
                connection.answer(&Answer::Done);
            }
            Some(request) => {
                if self.is_meant_to_end(&request) {
                    // Who ends the program does not want it back, whether it runs just now or not: Docker's rule.
                    self.stop_restarting();
                }
                let turn = self.lock().turn.clone();
                match turn {
                    Some(turn) => self.serve_running(&turn, connection, request),
                    None => self.serve_at_rest(&connection, &request),
                }
            }
            None => {}
        }
    }

    fn serve_running(&self, turn: &Arc<Turn>, connection: Connection, request: Request) {
        match request {
            Request::Pause => connection.answer_done(self.pause_all(turn)),
            Request::Unpause => {
                let not_paused = Error::NotPaused { name: self.name.clone() };
                connection.answer_done(self.unpause(turn).then_some(()).ok_or(not_paused));
            }
            Request::Exec { .. } | Request::Attach(_) if turn.is_paused() => {
                connection.answer_done(Err(Error::Paused { name: self.name.clone() }));
            }
            request => {
                let is_to_end = self.is_meant_to_end(&request);
                turn.serve(connection, request);
                if is_to_end {
                    // Nor does he want it to stand still.
                    self.unpause(turn);
                }
            }
        }
    }

    fn is_meant_to_end(&self, request: &Request) -> bool {
        match request {
            Request::Signal { program: MAIN, signal } => [KILL, self.stop_signal].contains(signal),
            _ => false,
        }
    }

    fn pause_all(&self, turn: &Turn) -> Result<(), Error> {
        if !turn.pause()? {
            return Err(Error::AlreadyPaused { name: self.name.clone() });
        }
        // If it has ended meanwhile, that is what is said of it.
        self.register.change(|state| match state.status {
            Status::Running => ContainerState { status: Status::Paused, ..state },
            _ => state,
        })
    }

    /// Lets a container that was paused go on; says whether it was.
    fn unpause(&self, turn: &Turn) -> bool {
        let was_paused = turn.unpause();
        if was_paused {
            let written = self.register.change(|state| match state.status {
                Status::Paused => ContainerState { status: Status::Running, ..state },
                _ => state,
            });
            // It goes on all the same; the next state that is written is right again.
            drop(written);
        }
        was_paused
    }

    fn serve_at_rest(&self, connection: &Connection, request: &Request) {
        match request {
            Request::Wait => {
                connection.answer(&Answer::Done);
                connection.answer(&Answer::Exited(self.lock().last));
            }
            Request::Attach(_)
            | Request::Exec { .. }
            | Request::Root
            | Request::Pause
            | Request::Unpause
            | Request::Processes
            | Request::Usage => {
                let error = Error::Restarting { name: self.name.clone() };
                connection.answer(&Answer::Failed((&error).into()));
            }
            // Nothing is mounted there, and nothing runs.
            Request::MountPoints | Request::HoldStill => {
                connection.answer(&Answer::MountPoints(MountPoints::default()));
            }
            Request::Start { .. }
            | Request::Signal { .. }
            | Request::Resize { .. }
            | Request::Stop
            | Request::Stay => connection.answer(&Answer::Done),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
