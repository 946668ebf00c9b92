//! The commands' side of a container's socket.
//!
//! The path of a store may be longer than a socket's address can be, so the socket is reached through a descriptor of
//! its directory. A keeper may stand still, stopped by a signal or frozen from outside: nobody waits for an answer without
//! looking after it.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
        sockopt::{Timeout, set_socket_timeout},
    },
    time::Timespec,
};
use sandbox::Peer;
use store::{Container, ContainerDirectory};

use super::wire::{self, Answer, Kind, Request};
use crate::{Engine, Error};

/// How long somebody may take to start a container, or to end with it, before this is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before the socket is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a keeper may take to answer before one looks whether it stands still.
const GLANCE: Duration = Duration::from_millis(200);

/// What is done about a keeper that was stopped by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenStopped {
    /// It is let go on: who ends a container does not want it to stand still.
    Wake,
    /// Who asks is told.
    Tell,
    /// It is waited for, for ever: it has nothing to say but what it will say some day.
    Wait,
}

/// Why a keeper has not answered.
#[derive(Debug)]
pub(super) enum Silence {
    /// It has ended.
    Gone,
    /// It was stopped by a signal; its process id.
    Stopped(i32),
    /// It has not, in the time that it had.
    Late,
}

/// Makes the socket of a container; one that a killed keeper has left is replaced.
pub(super) fn listen(directory: &ContainerDirectory) -> Result<UnixListener, Error> {
    let (_open, path) = reach(directory)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(Error::io("remove", &path))?,
    }
    let shown = directory.path().join(directory.control());
    UnixListener::bind(&path).map_err(Error::io("make the socket", shown))
}

/// Connects to the keeper of a container; waits for one that is just starting or ending.
///
/// # Errors
/// [`Error::NotRunning`].
pub(super) fn connect(engine: &Engine, container: &Container) -> Result<UnixStream, Error> {
    let directory = engine.store().container_directory(&container.id);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(stream) = try_connect(&directory)? {
            return Ok(stream);
        }
        // Nobody keeps it: nobody will ever answer.
        if !engine.store().is_container_kept(&container.id)? || Instant::now() > deadline {
            return Err(Error::NotRunning { name: container.name.clone() });
        }
        thread::sleep(PAUSE);
    }
}

/// Sends a request, and returns the answer, with the connection for what comes after it.
pub(super) fn ask(
    stream: UnixStream,
    request: &Request,
    when_stopped: WhenStopped,
) -> Result<(Answer, UnixStream), Silence> {
    let limit = (when_stopped != WhenStopped::Wait).then_some(PATIENCE);
    wire::write_json(&stream, Kind::Request, request).map_err(|_| Silence::Gone)?;
    let answer = next_answer(&stream, limit, when_stopped)?;
    Ok((answer, stream))
}

/// Reads the next answer of a keeper that has so much time for it.
pub(super) fn next_answer(
    stream: &UnixStream,
    limit: Option<Duration>,
    when_stopped: WhenStopped,
) -> Result<Answer, Silence> {
    wait_for_answer(stream, limit, when_stopped)?;
    match wire::read(stream) {
        Ok(Some((Kind::Answer, bytes))) => wire::parse(&bytes).map_err(|_| Silence::Gone),
        Ok(_) | Err(_) => Err(Silence::Gone),
    }
}

/// Asks the keeper of a container that runs.
pub(super) fn request(
    engine: &Engine,
    container: &Container,
    request: &Request,
    when_stopped: WhenStopped,
) -> Result<(Answer, UnixStream), Error> {
    let stream = connect(engine, container)?;
    match ask(stream, request, when_stopped) {
        Ok((Answer::Failed(failure), _)) => Err(failure.into()),
        Ok(answered) => Ok(answered),
        Err(silence) => Err(unanswered(container, &silence)),
    }
}

/// Returns the root directory of a container that runs, as its program sees it.
pub(super) fn request_root(engine: &Engine, container: &Container) -> Result<OwnedFd, Error> {
    let stream = connect(engine, container)?;
    let gone = |_| Silence::Gone;
    let answered = wire::write_json(&stream, Kind::Request, &Request::Root)
        .map_err(gone)
        .and_then(|()| wait_for_answer(&stream, Some(PATIENCE), WhenStopped::Tell))
        .and_then(|()| wire::read_answer_with(&stream).map_err(gone));
    match answered {
        Ok((Answer::Failed(failure), _)) => Err(failure.into()),
        Ok((_, Some(root))) => Ok(root),
        Ok((_, None)) => Err(unanswered(container, &Silence::Gone)),
        Err(silence) => Err(unanswered(container, &silence)),
    }
}

/// Kills the keeper of a container, and with it all that it keeps; one that is gone already is no error.
pub(super) fn kill_keeper(engine: &Engine, container: &Container) -> Result<(), Error> {
    let directory = engine.store().container_directory(&container.id);
    let keeper = match try_connect(&directory)? {
        Some(stream) => Peer::of(&stream),
        None => Ok(None),
    };
    let killed = keeper.and_then(|keeper| keeper.map_or(Ok(()), |keeper| keeper.kill()));
    killed.map_err(Error::io("kill the keeper behind", directory.path().join(directory.control())))
}

/// The error for a keeper that has not answered.
pub(super) fn unanswered(container: &Container, silence: &Silence) -> Error {
    let name = container.name.clone();
    match silence {
        // It ended between the two.
        Silence::Gone => Error::NotRunning { name },
        Silence::Stopped(keeper) => Error::KeeperStopped { name, keeper: *keeper },
        Silence::Late => Error::KeeperSilent { name, seconds: PATIENCE.as_secs() },
    }
}

/// Waits until there is something to read, or nobody who could write it.
fn wait_for_answer(
    stream: &UnixStream,
    limit: Option<Duration>,
    when_stopped: WhenStopped,
) -> Result<(), Silence> {
    let begun = Instant::now();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
        let pause = match (left, when_stopped) {
            (left, WhenStopped::Wait) => left,
            (left, WhenStopped::Wake | WhenStopped::Tell) => {
                Some(left.map_or(GLANCE, |left| left.min(GLANCE)))
            }
        };
        if is_readable(stream, pause).map_err(|_| Silence::Gone)? {
            return Ok(());
        }
        if left.is_some_and(|left| left <= GLANCE) {
            return Err(Silence::Late);
        }
        // What cannot be found out is waited for.
        if when_stopped != WhenStopped::Wait
            && let Ok(Some(keeper)) = Peer::of(stream)
            && keeper.is_stopped()
            && (when_stopped == WhenStopped::Tell || keeper.go_on().is_err())
        {
            return Err(Silence::Stopped(keeper.pid()));
        }
    }
}

fn is_readable(stream: &UnixStream, pause: Option<Duration>) -> io::Result<bool> {
    let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
    let mut events = [PollFd::new(stream, PollFlags::IN)];
    match poll(&mut events, pause.as_ref()) {
        // One looks a little too early then.
        Err(rustix::io::Errno::INTR) => Ok(false),
        polled => Ok(polled? > 0),
    }
}

fn try_connect(directory: &ContainerDirectory) -> Result<Option<UnixStream>, Error> {
    let Ok((_open, path)) = reach(directory) else { return Ok(None) };
    let shown = || directory.path().join(directory.control());
    match connect_within(&path, PATIENCE) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            // Not there yet, or nobody behind it any more.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(Error::io("connect to", shown())(error)),
        },
    }
}

/// Connects; whoever has left thousands of connections unaccepted would let one wait for ever.
fn connect_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket.into())
}

/// Returns a short path of the socket; it leads there as long as the file is open.
fn reach(directory: &ContainerDirectory) -> Result<(File, PathBuf), Error> {
    let path = directory.path();
    let open = File::open(path).map_err(Error::io("open", path))?;
    let short = Path::new("/proc/self/fd").join(open.as_raw_fd().to_string());
    Ok((open, short.join(directory.control())))
}
