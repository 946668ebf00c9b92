//! The keeper of a container: the process that a running container has for itself.
//!
//! It is this binary started again, without a terminal and apart from the command that started it. It takes the
//! container's lock, starts its program (`start`), writes the log and the state (`register`), checks whether the program is
//! well (`health`), and serves the socket in the container's directory (`service`, and `turn` for one run of the program);
//! when the program has ended it starts it again if that is wanted, or says so everywhere, removes the container if it was
//! made for one run, and ends. If it is killed, the kernel kills what it kept, and frees the lock when the last of it is
//! dead: the next look at the state finds out.

mod health;
mod register;
mod service;
mod start;
mod turn;

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use oci::{Config, ImageConfig};
use sandbox::{Exit, Process, Termination};
use store::{ContainerDirectory, ContainerId, ContainerState, Health, Kept, Status};

use self::{
    health::Probe,
    register::Register,
    service::{Connection, Service},
    start::Started,
    turn::Turn,
};
use super::{
    Settings, control,
    program::exit_code,
    restart::Restarts,
    stop::{self, Stop},
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

/// Keeps the container from its start to its end. `born` is the socket to the command that wants it started;
/// `termination` is how this process is asked to end, which stops the container.
///
/// What goes wrong is told there, and nothing is left of it but the reason in the container's state.
pub fn keep(
    engine: &Engine,
    id: &ContainerId,
    born: UnixStream,
    termination: Termination,
) -> Result<(), Error> {
    let mut first = Connection::new(born);
    let Some(Request::Start { attach }) = first.request() else { return Ok(()) };
    match Keeper::take(engine, id) {
        Ok(Some(keeper)) => keeper.run(first, attach, termination),
        Ok(None) => {
            first.answer(&Answer::Kept);
            Ok(())
        }
        Err(error) => {
            first.answer(&Answer::Failed((&error).into()));
            Err(error)
        }
    }
}

/// A container in the hands of this process.
struct Keeper {
    engine: Engine,
    register: Arc<Register>,
    settings: Settings,
    /// What the image says.
    config: Config,
    directory: ContainerDirectory,
    service: Arc<Service>,
    grace: Option<Duration>,
}

/// How a run of the program has ended.
struct Ended {
    exit: Result<Exit, Error>,
    out_of_memory: bool,
    ran: Duration,
}

impl Ended {
    fn code(&self) -> i32 {
        match &self.exit {
            Ok(exit) => exit_code(*exit),
            Err(error) => exit_code_without_a_start(error).unwrap_or(KILLED),
        }
    }
}

impl Keeper {
    /// Takes a container; `None` if somebody else has it.
    fn take(engine: &Engine, id: &ContainerId) -> Result<Option<Self>, Error> {
        let Some(kept) = engine.store().keep_container(id)? else { return Ok(None) };
        let settings = Settings::of(kept.container())?;
        let config = ImageConfig::parse(kept.container().image_config.as_bytes())?.config;
        let (stop_signal, grace) = stop::manner(kept.container(), Stop::default())?;
        let name = kept.container().name.clone();
        let register = Arc::new(Register::new(kept)?);
        let service = Service::new(name, stop_signal, Arc::clone(&register));
        let (engine, directory) = (engine.clone(), engine.store().container_directory(id));
        Ok(Some(Self { engine, register, settings, config, directory, service, grace }))
    }

    /// Starts the program, again and again if that is wanted, and leaves everything in order.
    fn run(
        self,
        first: Connection,
        attach: Option<Attach>,
        termination: Termination,
    ) -> Result<(), Error> {
        let opened = self.start(attach.as_ref(), 0).and_then(|started| {
            let listener = control::listen(&self.directory)?;
            Ok((started, listener))
        });
        let (started, listener) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let given_up = self.give_up(&error);
                first.answer(&Answer::Failed((&error).into()));
                return given_up.and(Err(error));
            }
        };
        self.service.open(&listener);
        self.stop_on(termination);
        let (turn, ended) = self.run_to_its_end(started, Some((first, attach)));
        let (turn, ended) = self.restart(turn, ended);
        self.leave(&listener, &turn, ended)
    }

    /// Starts the program anew for as long as that is wanted; returns the last run of it.
    fn restart(&self, mut turn: Arc<Turn>, mut ended: Ended) -> (Arc<Turn>, Ended) {
        let mut restarts = Restarts::new(self.settings.restart);
        while !self.service.stops()
            && let Some(pause) = restarts.next(ended.code(), ended.ran)
        {
            self.service.rest(ended.code());
            // A state that cannot be written keeps nothing from running.
            let _ = self.write_end(Status::Restarting, &ended);
            // Whoever is slow to listen does not hold it up.
            turn.tell_end(ended.code());
            self.service.pause(pause);
            if self.service.stops() {
                break;
            }
            match self.start(None, restarts.count()) {
                Ok(started) => (turn, ended) = self.run_to_its_end(started, None),
                Err(error) => {
                    ended = Ended { exit: Err(error), out_of_memory: false, ran: Duration::ZERO }
                }
            }
        }
        (turn, ended)
    }

    fn start(&self, attach: Option<&Attach>, restarts: u32) -> Result<Started, Error> {
        let start = |kept: &Kept| start::start(&self.engine, kept, &self.settings, attach);
        let started = self.register.with(start)?;
        self.register.change(|before| ContainerState {
            ports: started.world.outside.published_ports(),
            restarts,
            health: self.probe().map(|_| Health::starting()),
            ..running(&started.inside.process, &before)
        })?;
        Ok(started)
    }

    /// Passes the program's streams on until it has ended; nothing of it is left then but those who want to hear of it.
    fn run_to_its_end(
        &self,
        started: Started,
        first: Option<(Connection, Option<Attach>)>,
    ) -> (Arc<Turn>, Ended) {
        let Started { mut child, program, outputs, log, inside, world } = started;
        let begun = Instant::now();
        let turn = Turn::new(program, inside, self.settings.stdin_once);
        self.service.set_turn(&turn);
        if let Some((first, attach)) = first {
            turn.begin(first, attach);
        }
        let probe = self.probe();
        let exit = thread::scope(|scope| {
            if let Some(probe) = &probe {
                scope.spawn(|| probe.watch(&turn, &self.register));
            }
            let exit = turn.main().run(&mut child, outputs, log.as_ref());
            // Everything there is dead, the check too: nobody is waited for in vain.
            turn.set_over();
            exit
        });
        let out_of_memory = child.ran_out_of_memory();
        if out_of_memory {
            turn.main().listeners.tell(&Answer::OutOfMemory);
        }
        drop((child, log, world));
        (turn, Ended { exit, out_of_memory, ran: begun.elapsed() })
    }

    /// Gives everything back: after that, the container can be started again, or is gone; and everyone hears of it.
    fn leave(self, listener: &UnixListener, turn: &Turn, ended: Ended) -> Result<(), Error> {
        let written = self.write_end(Status::Exited, &ended);
        // If it stays, the next keeper removes it.
        let _ = fs::remove_file(self.directory.path().join(self.directory.control()));
        let goes = self.settings.auto_remove && !self.service.stays();
        let removed = match self.register.release() {
            Some(kept) if goes => remove(&self.engine, kept),
            // Dropped, which gives it back.
            Some(_) | None => Ok(()),
        };
        Service::close(listener);
        turn.end(ended.code());
        written.and(removed)
    }

    fn write_end(&self, status: Status, ended: &Ended) -> Result<(), Error> {
        self.register.change(|before| ContainerState {
            status,
            pid: None,
            ports: Vec::new(),
            finished: Some(SystemTime::now()),
            exit_code: ended.code(),
            error: ended.exit.as_ref().err().map(ToString::to_string),
            oom_killed: ended.out_of_memory,
            ..before.unwatched()
        })
    }

    fn probe(&self) -> Option<Probe> {
        let check = self.settings.options.health_check(&self.config)?;
        Probe::of(&check, &self.config.shell)
    }

    /// Leaves a container that could not be started: with the reason, or not at all if it was made for one run.
    fn give_up(self, error: &Error) -> Result<(), Error> {
        if self.settings.auto_remove {
            return self.register.release().map_or(Ok(()), |kept| remove(&self.engine, kept));
        }
        let exit_code = exit_code_without_a_start(error).unwrap_or(NOT_STARTED);
        self.register.change(|before| ContainerState {
            exit_code,
            error: Some(error.to_string()),
            ..before
        })
    }

    /// Stops the container when this process is asked to end: when the machine goes down, or its user leaves.
    fn stop_on(&self, termination: Termination) {
        let (service, grace) = (Arc::clone(&self.service), self.grace);
        thread::spawn(move || {
            termination.wait();
            service.stop(grace);
        });
    }
}

fn running(process: &Process, before: &ContainerState) -> ContainerState {
    ContainerState {
        status: Status::Running,
        pid: Some(process.pid),
        started: Some(SystemTime::now()),
        finished: before.finished,
        ..ContainerState::created()
    }
}

/// The exit code that stands for a program that could not be executed; `None` for another error.
fn exit_code_without_a_start(error: &Error) -> Option<i32> {
    let Error::Sandbox(sandbox::Error::Exec { source, .. }) = error else { return None };
    Some(match source.kind() {
        std::io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    })
}

/// Removes a container that was made for one run, and what was made for it alone.
fn remove(engine: &Engine, kept: Kept) -> Result<(), Error> {
    let container = kept.container().clone();
    kept.remove()?;
    volumes::remove_own(engine, &container)
}
