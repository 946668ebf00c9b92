//! `kiln keep`, which nobody types: the process that a running container has for itself.

use std::{
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    process::Command,
};

use engine::{Engine, container};
use rustix::fs::{Mode, OFlags};
use store::ContainerId;

use crate::{
    environment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Keep {
    /// The container's whole id
    pub(crate) id: String,
}

/// Keeps a container until its end. What goes wrong is told over the socket, which is the standard input.
pub(super) fn run(root: &Path, rung: sandbox::Rung, keep: &Keep) -> Result<Exit, Failure> {
    let absent = || store::Error::NoSuchContainer { name: keep.id.clone() };
    let id = ContainerId::parse(&keep.id).ok_or_else(absent)?;
    // Before any thread is there.
    let termination = sandbox::Termination::hold_back();
    let born = take_standard_input().map_err(Failure::io("use", "standard input"))?;
    let engine = Engine::new(environment::open_store(root)?, rung);
    container::keep(&engine, &id, born, termination)?;
    Ok(Exit::Done)
}

/// Leaves `/dev/null` in its place: as long as it is open anywhere, the other side waits for more.
fn take_standard_input() -> std::io::Result<UnixStream> {
    let born = std::io::stdin().as_fd().try_clone_to_owned()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(UnixStream::from(born))
}

/// Returns the command that becomes the keeper of a container.
pub(super) fn command(engine: &Engine, id: &ContainerId) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--isolation", engine.rung().name()]);
    command.arg("--root").arg(engine.store().root()).args(["keep", &id.to_string()]);
    // Nothing of the caller's environment stays in a process that may live for long; programs are found by PATH.
    command.env_clear().envs(crate::environment::search_path());
    command
}
