//! Ending containers: by a signal, by the kernel, or by waiting; taking them away; and letting them stand still.

use std::{
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use oci::ImageConfig;
use sandbox::Usage;
use store::{Container, Status};

use super::{
    Settings,
    control::{self, Silence, WhenStopped},
    options::signal_number,
    volumes,
    wire::{Answer, Request},
};
use crate::{Engine, Error};

/// Seconds between the signal and the kill when nobody says: Docker's.
const GRACE: i64 = 10;

/// SIGTERM and SIGKILL.
const TERM: i32 = 15;
const KILL: i32 = 9;

/// How long to wait for somebody who has the container for a moment, or for one to end that was killed: on a machine without memory
/// or processors to spare that takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stops a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stop {
    /// The signal; the container's own if there is none.
    pub signal: Option<i32>,
    /// Seconds until it is killed, negative for never; the container's own if there are none.
    pub seconds: Option<i64>,
}

/// Stops a container: by its signal, and if it does not end by that, kills it. One that does not run is left alone.
pub fn stop(engine: &Engine, container: &Container, stop: Stop) -> Result<(), Error> {
    end(engine, container, stop, &[Request::Stop])
}

/// Stops a container so that it can be started again, also one that is otherwise removed at its end.
pub fn stop_to_restart(engine: &Engine, container: &Container, how: Stop) -> Result<(), Error> {
    end(engine, container, how, &[Request::Stay, Request::Stop])
}

/// Sends a container's program a signal.
///
/// # Errors
/// [`Error::NotRunning`]; [`Error::NotEnded`] after a kill.
pub fn kill(engine: &Engine, container: &Container, signal: i32) -> Result<(), Error> {
    send(engine, container, signal)?;
    match signal {
        // As with Docker, it is dead when the command returns.
        KILL => wait_until_gone(engine, container),
        _ => Ok(()),
    }
}

/// Lets every process of a container stand still until [`unpause`].
///
/// # Errors
/// [`Error::NotRunning`], [`Error::AlreadyPaused`], [`Error::Restarting`].
pub fn pause(engine: &Engine, container: &Container) -> Result<(), Error> {
    control::request(engine, container, &Request::Pause, WhenStopped::Tell).map(drop)
}

/// Lets a container that was paused go on.
///
/// # Errors
/// [`Error::NotRunning`], [`Error::NotPaused`].
pub fn unpause(engine: &Engine, container: &Container) -> Result<(), Error> {
    control::request(engine, container, &Request::Unpause, WhenStopped::Tell).map(drop)
}

/// Returns the process ids of all processes of a container, as the machine knows them.
///
/// # Errors
/// [`Error::NotRunning`], [`Error::Restarting`].
pub fn processes(engine: &Engine, container: &Container) -> Result<Vec<i32>, Error> {
    match control::request(engine, container, &Request::Processes, WhenStopped::Tell)? {
        (Answer::Processes(processes), _) => Ok(processes),
        _ => Err(Error::Lost { what: "its processes" }),
    }
}

/// Returns what all processes of a container use.
///
/// # Errors
/// [`Error::NotRunning`], [`Error::Restarting`].
pub fn usage(engine: &Engine, container: &Container) -> Result<Usage, Error> {
    match control::request(engine, container, &Request::Usage, WhenStopped::Tell)? {
        (Answer::Usage(usage), _) => Ok(usage),
        _ => Err(Error::Lost { what: "its processes" }),
    }
}

/// Waits until a container does not run; returns how it ended.
pub fn wait(engine: &Engine, container: &Container) -> Result<i32, Error> {
    match control::request(engine, container, &Request::Wait, WhenStopped::Wait) {
        Ok((_, stream)) => {
            if let Ok(code) = exited(&stream, None, WhenStopped::Wait) {
                return Ok(code);
            }
        }
        Err(Error::NotRunning { .. }) => {}
        Err(error) => return Err(error),
    }
    // If its keeper was killed, the rest may be just dying.
    wait_until_gone(engine, container)?;
    Ok(engine.store().container_state(&container.id)?.exit_code)
}

/// How a container is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removal {
    /// Whether one that runs is killed.
    pub force: bool,
    /// Whether the volumes that were made for it alone go with it.
    pub volumes: bool,
}

/// Removes a container with everything it has written.
///
/// # Errors
/// [`Error::Running`]; [`Error::NotEnded`]; [`store::Error::NoSuchContainer`].
pub fn remove(engine: &Engine, container: &Container, removal: Removal) -> Result<(), Error> {
    remove_container(engine, container, removal.force)?;
    match removal.volumes {
        true => volumes::remove_own(engine, container),
        false => Ok(()),
    }
}

fn remove_container(engine: &Engine, container: &Container, force: bool) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(kept) = engine.store().keep_container(&container.id)? {
            kept.remove()?;
            return Ok(());
        }
        // Only after another try: meanwhile, somebody may have let it go.
        if Instant::now() > deadline {
            return Err(not_ended(container));
        }
        if force {
            match kill(engine, container, KILL) {
                Ok(()) | Err(Error::NotRunning { .. }) => {}
                Err(error) => return Err(error),
            }
            // One that is removed at its end is gone by itself.
            if engine.store().container(&container.id)?.is_none() {
                return Ok(());
            }
        } else if engine.store().container_state(&container.id)?.status != Status::Exited {
            return Err(Error::Running { name: container.name.clone() });
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn end(
    engine: &Engine,
    container: &Container,
    stop: Stop,
    before: &[Request],
) -> Result<(), Error> {
    let (signal, grace) = manner(container, stop)?;
    let asked =
        |request: &Request| match control::request(engine, container, request, WhenStopped::Wake) {
            Ok((_, stream)) => Ok(Some(stream)),
            Err(Error::NotRunning { .. }) => Ok(None),
            Err(error) => Err(error),
        };
    for request in before {
        asked(request)?;
    }
    let Some(waiting) = asked(&Request::Wait)? else { return Ok(()) };
    asked(&Request::Signal { program: 0, signal })?;
    match exited(&waiting, grace, WhenStopped::Wake) {
        Err(Silence::Late) => {}
        Err(silence @ Silence::Stopped(_)) => return Err(control::unanswered(container, &silence)),
        // Ended; or its keeper was killed, and it with it.
        Ok(_) | Err(Silence::Gone) => return Ok(()),
    }
    match send(engine, container, KILL) {
        Err(Error::NotRunning { .. }) => return Ok(()),
        sent => sent?,
    }
    match exited(&waiting, Some(PATIENCE), WhenStopped::Wake) {
        Err(Silence::Late) => Err(not_ended(container)),
        Err(silence @ Silence::Stopped(_)) => Err(control::unanswered(container, &silence)),
        // As above.
        Ok(_) | Err(Silence::Gone) => Ok(()),
    }
}

/// Sends the container's own program a signal.
fn send(engine: &Engine, container: &Container, signal: i32) -> Result<(), Error> {
    let request = Request::Signal { program: 0, signal };
    match control::request(engine, container, &request, WhenStopped::Wake) {
        // Nobody else is there to do it; the kernel takes the container along.
        Err(Error::KeeperSilent { .. }) if signal == KILL => {
            control::kill_keeper(engine, container)
        }
        sent => sent.map(drop),
    }
}

/// The signal that stops a container, and how much time it has then; no limit if none is wanted.
pub(super) fn manner(container: &Container, stop: Stop) -> Result<(i32, Option<Duration>), Error> {
    let options = Settings::of(container)?.options;
    let config = ImageConfig::parse(container.image_config.as_bytes())?.config;
    let named = options.stop_signal.unwrap_or(config.stop_signal);
    let signal = stop.signal.or_else(|| signal_number(&named)).unwrap_or(TERM);
    let seconds = stop.seconds.or(options.stop_timeout).unwrap_or(GRACE);
    Ok((signal, u64::try_from(seconds).ok().map(Duration::from_secs)))
}

/// Waits until the keeper says that the container has ended, so long in all.
fn exited(
    stream: &UnixStream,
    limit: Option<Duration>,
    when_stopped: WhenStopped,
) -> Result<i32, Silence> {
    let begun = Instant::now();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
        if let Answer::Exited(code) = control::next_answer(stream, left, when_stopped)? {
            return Ok(code);
        }
    }
}

/// Waits until nobody keeps the container.
fn wait_until_gone(engine: &Engine, container: &Container) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    while engine.store().is_container_kept(&container.id)? {
        if Instant::now() > deadline {
            return Err(not_ended(container));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn not_ended(container: &Container) -> Error {
    Error::NotEnded { name: container.name.clone(), seconds: PATIENCE.as_secs() }
}
