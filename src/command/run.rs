//! `kiln run`.

pub(super) mod image;
pub(super) mod options;
mod refused;

use std::io;

use engine::{
    Engine,
    container::{self, Output, RunRequest, Signals},
};
use tokio::signal::unix::{SignalKind, signal};

use self::options::ContainerArgs;
use super::runtime;
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Remove the container when it ends; containers are not kept yet, so this is always so
    #[arg(long)]
    pub(crate) rm: bool,
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}

/// Status of a command that could not be started, as Docker's.
const NOT_FOUND: u8 = 127;
/// Status of a command that may not be executed, as Docker's.
const NOT_EXECUTABLE: u8 = 126;

/// Runs a command to its end and exits as it does.
pub(super) fn run(engine: &Engine, run: Run) -> Result<Exit, Failure> {
    let image = run.container.image()?.to_owned();
    if run.container.cidfile.is_some() {
        let feature = "--cidfile".to_owned();
        return Err(engine::Error::Unsupported { feature }.into());
    }
    let pull = run.container.pull;
    let platform = run.container.platform.clone();
    let options = run.container.into_options()?;
    let request = RunRequest {
        image: image::find(engine, &image, pull, platform.as_deref())?,
        options,
        signals: Signals::default(),
    };
    let output = Output { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) };
    let signals = request.signals.clone();
    let result = runtime()?.block_on(async {
        tokio::spawn(pass_signals_on(signals));
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

/// The command gets the signals that are sent to this process; one who interrupts twice wants an end.
async fn pass_signals_on(signals: Signals) {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ];
    let interrupt = SignalKind::interrupt();
    for kind in kinds {
        let Ok(mut incoming) = signal(kind) else { continue };
        let signals = signals.clone();
        tokio::spawn(async move {
            let mut received = 0;
            while incoming.recv().await.is_some() {
                received += 1;
                match kind == interrupt && received > 1 {
                    true => signals.kill(),
                    false => signals.send(kind.as_raw_value()),
                }
            }
        });
    }
}
