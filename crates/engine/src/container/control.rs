//! The commands' side of a container's socket.
//!
//! The path of a store may be longer than a socket's address can be, so the socket is reached through a descriptor of
//! its directory.

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

use store::{Container, ContainerDirectory};

use super::wire::{self, Answer, Kind, Request};
use crate::{Engine, Error};

/// How long somebody may take to start a container, or to end with it, before this is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before the socket is tried again.
const PAUSE: Duration = Duration::from_millis(5);

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
pub(super) fn ask(stream: UnixStream, request: &Request) -> io::Result<(Answer, UnixStream)> {
    wire::write_json(&stream, Kind::Request, request)?;
    let answer = read_answer(&stream)?;
    Ok((answer, stream))
}

/// Reads the next answer; a keeper that is gone is an error.
pub(super) fn read_answer(stream: &UnixStream) -> io::Result<Answer> {
    match wire::read(stream)? {
        Some((Kind::Answer, bytes)) => wire::parse(&bytes),
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Asks the keeper of a container that runs.
pub(super) fn request(
    engine: &Engine,
    container: &Container,
    request: &Request,
) -> Result<(Answer, UnixStream), Error> {
    let stream = connect(engine, container)?;
    match ask(stream, request) {
        Ok((Answer::Failed(failure), _)) => Err(failure.into()),
        Ok(answered) => Ok(answered),
        // It ended between the two.
        Err(_) => Err(Error::NotRunning { name: container.name.clone() }),
    }
}

/// Returns the root directory of a container that runs, as its program sees it.
pub(super) fn request_root(engine: &Engine, container: &Container) -> Result<OwnedFd, Error> {
    let stream = connect(engine, container)?;
    let asked = wire::write_json(&stream, Kind::Request, &Request::Root);
    match asked.and_then(|()| wire::read_answer_with(&stream)) {
        Ok((Answer::Failed(failure), _)) => Err(failure.into()),
        Ok((_, Some(root))) => Ok(root),
        // It ended between the two.
        Ok((_, None)) | Err(_) => Err(Error::NotRunning { name: container.name.clone() }),
    }
}

fn try_connect(directory: &ContainerDirectory) -> Result<Option<UnixStream>, Error> {
    let Ok((_open, path)) = reach(directory) else { return Ok(None) };
    match UnixStream::connect(&path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            // Not there yet, or nobody behind it any more.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(Error::io("connect to", directory.path().join(directory.control()))(error)),
        },
    }
}

/// Returns a short path of the socket; it leads there as long as the file is open.
fn reach(directory: &ContainerDirectory) -> Result<(File, PathBuf), Error> {
    let path = directory.path();
    let open = File::open(path).map_err(Error::io("open", path))?;
    let short = Path::new("/proc/self/fd").join(open.as_raw_fd().to_string());
    Ok((open, short.join(directory.control())))
}
