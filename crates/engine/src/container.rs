//! Containers: commands that run in the root file system of an image, by the executor that also runs RUN.
//!
//! There is no daemon. A container that runs has one process of its own that keeps it, this binary started again; it
//! holds the store's lock on the container (`store::Kept`), the ends of its pipes or its terminal, writes its log, and
//! answers at a socket in the container's directory to whoever wants to attach, to send a signal or to run another
//! command there. The rooms:
//!
//! - [`options`]: what a container can be asked to be like; it is kept with the container. `spec`, `mounts`, `network`: what
//!   the sandbox is told then.
//! - `create`: the record. `name`: what a container is called that was given no name.
//! - `merged`: its config, the image's with what was said over it.
//! - `keeper`: the process that keeps a container. `restart`: when it starts the program again. `program`, `streams`: a
//!   program there, and its output to everyone who listens. `log`: what is kept of that.
//! - `wire`: what commands and keeper say to each other. `control`: the commands' side of the socket.
//! - `session`: start, attach, exec. `stop`: stop, kill, wait, remove, pause. `exec`: what another program there is like.
//! - `moment`: what it has written, seen from outside; `diff` and `export`. `commit`: that as an image; `change`: how its
//!   config is changed then.
//! - `transfer`: files in and out. `pipe`: an archive from one tree into another.
//! - [`volumes`]: directories that outlive it.
//! - `size`: how much it has written. `root`: its root file system, from outside.

pub mod options;
pub mod volumes;

pub(crate) mod change;
mod commit;
mod control;
mod create;
mod exec;
mod keeper;
mod log;
mod merged;
mod moment;
mod mounts;
mod name;
mod network;
mod pipe;
mod program;
mod restart;
mod root;
mod session;
mod size;
mod spec;
mod stop;
mod streams;
mod transfer;
mod wire;

use store::Container;

pub use self::{
    commit::{CommitRequest, commit},
    create::{CreateRequest, Settings, create},
    exec::ExecRequest,
    keeper::keep,
    log::{Entry, LogFollower, LogReader},
    merged::merged,
    moment::{changes, export},
    network::warnings,
    restart::RestartPolicy,
    root::{ContainerRoot, root},
    session::{Event, Handle, Input, Session, attach, exec, start, start_or_attach},
    size::{image_size, written_size},
    stop::{
        Removal, Stop, kill, pause, processes, remove, stop, stop_to_restart, unpause, usage, wait,
    },
    streams::OutputStream,
    transfer::{End, TransferOptions, transfer},
    wire::{Attach, Size},
};
use crate::{Engine, Error, rootfs};

/// Returns an error where no container can be started, whatever it runs.
pub fn ensure_starts(engine: &Engine) -> Result<(), Error> {
    rootfs::ensure_mounts(engine, "a container")
}

/// Returns what a container runs: ENTRYPOINT and CMD of the image, as far as the options do not replace them.
pub fn command_line(
    options: &options::ContainerOptions,
    config: &oci::Config,
) -> Result<Vec<String>, Error> {
    let argv = spec::argv(options, config)?;
    Ok(argv.iter().map(|word| word.to_string_lossy().into_owned()).collect())
}

/// Opens what a container has written to its output; `None` if it was never started.
pub fn log(engine: &Engine, container: &Container) -> Result<Option<LogReader>, Error> {
    LogReader::open(&engine.store().container_directory(&container.id).log())
}
