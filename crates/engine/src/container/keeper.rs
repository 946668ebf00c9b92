//! The keeper of a container: the process that a running container has for itself.
//!
//! It is this binary started again, without a terminal and apart from the command that started it. It takes the
//! container's lock, starts its program, writes the log and the state, and serves the socket in the container's directory
//! (`serve`); when the program has ended it says so everywhere, removes the container if it was made for one run, and
//! ends. If it is killed, the kernel kills what it kept, and frees the lock when the last of it is dead: the next look at
//! the state finds out.

mod serve;
mod start;

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    sync::Arc,
    time::SystemTime,
};

use sandbox::{Exit, Process};
use store::{ContainerDirectory, ContainerId, ContainerState, Kept, Status};

use self::{
    serve::{Connection, Served},
    start::Started,
};
use super::{
    Settings, control,
    program::exit_code,
    volumes,
    wire::{Answer, Attach, Request},
};
use crate::{Engine, Error};

/// Exit code of a container whose program could not be executed because it is not there, and for another reason; and of
/// one that did not come to that: Docker's.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
const NOT_STARTED: i32 = 128;

/// Exit code of a container whose end nobody could see: 128 and SIGKILL.
const KILLED: i32 = 137;

/// Keeps the container from its start to its end. `born` is the socket to the command that wants it started.
///
/// What goes wrong is told there, and nothing is left of it but the reason in the container's state.
pub fn keep(engine: &Engine, id: &ContainerId, born: UnixStream) -> Result<(), Error> {
    let mut first = Connection::new(born);
    let Some(Request::Start { attach }) = first.request() else { return Ok(()) };
    let kept = match engine.store().keep_container(id) {
        Ok(Some(kept)) => kept,
        Ok(None) => {
            first.answer(&Answer::Kept);
            return Ok(());
        }
        Err(error) => {
            let error = Error::from(error);
            first.answer(&Answer::Failed((&error).into()));
            return Err(error);
        }
    };
    let settings = Settings::of(kept.container())?;
    let directory = engine.store().container_directory(id);
    let opened = start::start(engine, &kept, &settings, attach.as_ref()).and_then(|started| {
        let listener = control::listen(&directory)?;
        let before = kept.state()?;
        let ports = started.world.outside.published_ports();
        let running = ContainerState { ports, ..running(&started.inside.process, &before) };
        kept.set_state(&running)?;
        Ok((started, listener))
    });
    match opened {
        Ok((started, listener)) => {
            let engine = engine.clone();
            Keeper { engine, kept, settings, directory }.run(started, &listener, first, attach)
        }
        Err(error) => {
            let given_up = give_up(engine, kept, &settings, &error);
            first.answer(&Answer::Failed((&error).into()));
            given_up.and(Err(error))
        }
    }
}

fn running(process: &Process, before: &ContainerState) -> ContainerState {
    ContainerState {
        status: Status::Running,
        pid: Some(process.pid),
        started: Some(SystemTime::now()),
        finished: before.finished,
        restarts: before.restarts,
        ..ContainerState::created()
    }
}

/// Leaves a container that could not be started: with the reason, or not at all if it was made for one run.
fn give_up(engine: &Engine, kept: Kept, settings: &Settings, error: &Error) -> Result<(), Error> {
    if settings.auto_remove {
        return remove(engine, kept);
    }
    let exit_code = match error {
        Error::Sandbox(sandbox::Error::Exec { source, .. }) => match source.kind() {
            std::io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        },
        _ => NOT_STARTED,
    };
    let state = ContainerState { exit_code, error: Some(error.to_string()), ..kept.state()? };
    Ok(kept.set_state(&state)?)
}

/// Removes a container that was made for one run, and what was made for it alone.
fn remove(engine: &Engine, kept: Kept) -> Result<(), Error> {
    let container = kept.container().clone();
    kept.remove()?;
    volumes::remove_own(engine, &container)
}

/// A container that runs, as far as its end needs it.
struct Keeper {
    engine: Engine,
    kept: Kept,
    settings: Settings,
    directory: ContainerDirectory,
}

impl Keeper {
    /// Serves whoever asks until the end, and leaves everything in order.
    fn run(
        self,
        started: Started,
        listener: &UnixListener,
        first: Connection,
        attach: Option<Attach>,
    ) -> Result<(), Error> {
        let Started { mut child, program, outputs, log, inside, world } = started;
        let served = Served::new(program, inside, self.settings.stdin_once);
        served.begin(listener, first, attach);
        let exit = served.main().run(&mut child, outputs, Some(&log));
        let out_of_memory = child.ran_out_of_memory();
        if out_of_memory {
            served.main().listeners.tell(&Answer::OutOfMemory);
        }
        drop((child, log, world));
        let code = exit.as_ref().map_or(KILLED, |exit| exit_code(*exit));
        let left = self.leave(exit, out_of_memory, &served);
        served.end(listener, code);
        left
    }

    /// Gives everything back: after that, the container can be started again, or is gone.
    fn leave(
        self,
        exit: Result<Exit, Error>,
        out_of_memory: bool,
        served: &Arc<Served>,
    ) -> Result<(), Error> {
        let state = ContainerState {
            status: Status::Exited,
            pid: None,
            ports: Vec::new(),
            finished: Some(SystemTime::now()),
            exit_code: exit.as_ref().map_or(KILLED, |exit| exit_code(*exit)),
            error: exit.err().map(|error| error.to_string()),
            oom_killed: out_of_memory,
            ..self.kept.state()?
        };
        let written = self.kept.set_state(&state);
        // If it stays, the next keeper removes it.
        let _ = fs::remove_file(self.directory.path().join(self.directory.control()));
        if self.settings.auto_remove && !served.stays() {
            remove(&self.engine, self.kept)?;
        }
        Ok(written?)
    }
}
