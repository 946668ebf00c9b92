//! `RUN --mount=type=ssh`: a socket for the command behind which the caller's ssh agent answers.
//!
//! The agent's own socket stays outside: the command gets one with the owner and the mode that the mount asks for, which is
//! gone when the step ends, and what is said on it is passed on.

use std::{
    io,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use rustix::fs::Mode;
use store::{Store, TempDir};

use crate::Error;

/// A socket that leads to an agent, until it is dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    listener: UnixListener,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Agent {
    /// Makes a socket that leads to the agent at `upstream`.
    pub(crate) fn start(
        store: &Store,
        upstream: &Path,
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<Self, Error> {
        let directory = store.temp_dir()?;
        let path = directory.path().join("agent");
        let listener = UnixListener::bind(&path).map_err(Error::io("make the socket", &path))?;
        filetree::chown(&path, uid, gid).map_err(Error::errno("change the owner of", &path))?;
        rustix::fs::chmod(&path, Mode::from_raw_mode(mode))
            .map_err(Error::errno("change the mode of", &path))?;
        let accepting = listener.try_clone().map_err(Error::io("use the socket", &path))?;
        let upstream = upstream.to_owned();
        let thread = thread::spawn(move || accept(&accepting, &upstream));
        Ok(Self { listener, path, thread: Some(thread), _directory: directory })
    }

    /// Where the socket is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ends the thread that waits for the next caller; those that are served end with the command's processes.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves every caller in a thread of its own, until the socket is shut down.
fn accept(listener: &UnixListener, upstream: &Path) {
    while let Ok((inside, _)) = listener.accept() {
        // An agent that does not answer looks to the command like one that hangs up.
        if let Ok(outside) = UnixStream::connect(upstream) {
            thread::spawn(move || pass_on(&inside, &outside));
        }
    }
}

fn pass_on(inside: &UnixStream, outside: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(|| one_way(inside, outside));
        one_way(outside, inside);
    });
}

/// Copies until one end is closed, and tells the other.
fn one_way(mut from: &UnixStream, mut to: &UnixStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Read, Write},
        os::unix::fs::MetadataExt,
    };

    use super::*;

    #[test]
    fn what_is_said_is_passed_on_and_the_socket_goes() {
        let scratch = std::env::temp_dir().join(format!("kiln-agent-{}", std::process::id()));
        fs::create_dir_all(&scratch).unwrap();
        let upstream = scratch.join("real");
        let listener = UnixListener::bind(&upstream).unwrap();
        let answering = thread::spawn(move || {
            let (mut caller, _) = listener.accept().unwrap();
            let mut question = [0; 4];
            caller.read_exact(&mut question).unwrap();
            caller.write_all(&[&question[..], b"!"].concat()).unwrap();
        });

        let store = Store::open(&scratch.join("store")).unwrap();
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let agent = Agent::start(&store, &upstream, 0o640, ids).unwrap();
        assert_eq!(fs::metadata(agent.path()).unwrap().mode() & 0o7777, 0o640);
        let mut inside = UnixStream::connect(agent.path()).unwrap();
        inside.write_all(b"who?").unwrap();
        let mut answer = String::new();
        inside.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "who?!");
        answering.join().unwrap();

        let path = agent.path().to_owned();
        drop(agent);
        assert!(!path.exists());
        fs::remove_dir_all(&scratch).unwrap();
    }
}
