//! `kiln run`.

pub(super) mod image;
pub(super) mod options;
mod refused;
pub(super) mod volumes_from;

use std::io;

use engine::{
    Engine,
    container::{self, Attach, Settings},
};

use self::options::ContainerArgs;
use super::{
    create::{self, MadeArgs},
    keep, output, room,
    session::{self, DetachKeys, Ending, Show},
    sync,
};
use crate::report::{self, Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Leave it running, and print its id
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true)]
    pub(crate) detach: options::Flag,
    /// Show only these of its streams: stdin, stdout, stderr
    #[arg(short, long, value_enum, ignore_case = true, value_name = "STREAM")]
    pub(crate) attach: Vec<Stream>,
    /// Keys that detach from the container
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,
    /// Pass signals on, if it has no terminal
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", hide_default_value = true)]
    pub(crate) sig_proxy: options::Flag,
    #[command(flatten)]
    pub(crate) made: MadeArgs,
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}

/// A stream of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stream {
    /// What it reads
    Stdin,
    /// What it writes
    Stdout,
    /// What it complains about
    Stderr,
}

/// Exit codes of what did not come to running the command: for that reason, because the command may not be executed, because
/// it is not there; Docker's.
pub(crate) const NOT_RUN: u8 = 125;
pub(super) const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Makes a container and starts it; shows it to its end and exits as it does, or leaves it running.
pub(super) fn run(engine: &Engine, run: Run) -> Result<Exit, Failure> {
    match make_and_start(engine, run) {
        Err(Failure::BrokenPipe) => Err(Failure::BrokenPipe),
        Err(failure) => {
            let code = exit_code(&failure);
            report::print(&room::explain(engine, failure));
            Ok(Exit::Command(code))
        }
        done => done,
    }
}

fn make_and_start(engine: &Engine, run: Run) -> Result<Exit, Failure> {
    let detach = run.detach.0;
    if detach && !run.attach.is_empty() {
        return Err(Failure::usage("conflicting options: -a and -d"));
    }
    // Before anything is made, or said of what it would find.
    container::ensure_starts(engine)?;
    let container = create::make(engine, run.made, run.container, !detach)?;
    let keeper = keep::command(engine, &container.id);
    if detach {
        container::start(engine, &container, keeper, None)?;
        output::print(&format!("{}\n", container.id))?;
        return Ok(Exit::Done);
    }
    let Settings { options, auto_remove: run_once, .. } = Settings::of(&container)?;
    let attach = attach(&run.attach, options.interactive, options.terminal);
    let keys = run.detach_keys.unwrap_or_default();
    let (terminal, signals) = (options.terminal, run.sig_proxy.0);
    let show = Show { attach, terminal, keys, signals, own: true };
    let session = container::start(engine, &container, keeper, Some(attach))?;
    if !run_once {
        // This process may go on for long; what it made shall be on the disk before that.
        sync::in_background(engine);
    }
    Ok(ending(session::show(session, &show)?))
}

/// The streams that are shown: all, unless some were named.
fn attach(named: &[Stream], interactive: bool, terminal: bool) -> Attach {
    let is_named = |stream| named.is_empty() || named.contains(&stream);
    Attach {
        stdin: interactive && is_named(Stream::Stdin),
        stdout: is_named(Stream::Stdout),
        stderr: is_named(Stream::Stderr),
        size: if terminal { session::terminal_size() } else { None },
    }
}

/// How this process ends when there is nothing more to show.
pub(super) fn ending(ending: Ending) -> Exit {
    match ending {
        Ending::Exited(code) => Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)),
        Ending::Detached => Exit::Done,
        Ending::Signalled(signal) => Exit::Command(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
    }
}

/// The exit code for a program that could not be started.
pub(super) fn exit_code(failure: &Failure) -> u8 {
    let source = match failure {
        Failure::Engine(engine::Error::Sandbox(sandbox::Error::Exec { source, .. })) => source,
        _ => return NOT_RUN,
    };
    match source.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    }
}
