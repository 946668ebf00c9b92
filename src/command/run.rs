//! `kiln run`.

use std::io;

use engine::{
    Cancel, Engine,
    container::{self, Output, RunRequest},
};

use super::{cancel_on_signal, runtime};
use crate::{
    args::{self, Run},
    report::{Exit, Failure},
};

/// Status of a command that could not be started, as Docker's.
const NOT_FOUND: u8 = 127;
/// Status of a command that may not be executed, as Docker's.
const NOT_EXECUTABLE: u8 = 126;

/// Runs a command to its end and exits as it does.
pub(super) fn run(engine: &Engine, run: Run) -> Result<Exit, Failure> {
    let request = RunRequest {
        image: engine.store().find(&run.image)?,
        command: run.command,
        entrypoint: run.entrypoint,
        env: run.env.iter().filter_map(|variable| args::name_value(variable)).collect(),
        workdir: run.workdir,
        user: run.user,
        hostname: run.hostname,
        network: run.network.into(),
        interactive: run.interactive,
        terminal: run.tty,
        cancel: Cancel::default(),
    };
    let output = Output { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) };
    let cancel = request.cancel.clone();
    let result = runtime()?.block_on(async {
        tokio::spawn(cancel_on_signal(cancel));
        // The command has a process of its own; this thread only passes its output on.
        tokio::task::block_in_place(|| container::run(engine, request, output))
    });
    match result {
        Ok(code) => Ok(Exit::Command(u8::try_from(code).unwrap_or(u8::MAX))),
        Err(error) => match not_started(&error) {
            Some(code) => {
                crate::report::print(&error.into());
                Ok(Exit::Command(code))
            }
            None => Err(error.into()),
        },
    }
}

fn not_started(error: &engine::Error) -> Option<u8> {
    let engine::Error::Sandbox(sandbox::Error::Exec { source, .. }) = error else { return None };
    match source.kind() {
        io::ErrorKind::NotFound => Some(NOT_FOUND),
        _ => Some(NOT_EXECUTABLE),
    }
}
