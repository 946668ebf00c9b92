//! `kiln run`.

pub(super) mod options;
mod refused;

use std::io;

use engine::{
    Engine,
    container::{self, Output, RunRequest, Signals},
    pull,
};
use oci::{Platform, Reference};
use registry::Client;
use store::Image;
use tokio::signal::unix::{SignalKind, signal};

use self::options::{ContainerArgs, Pull};
use super::runtime;
use crate::{
    environment,
    report::{Exit, Failure},
};

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
    let platform = environment::platform(run.container.platform.as_deref())?;
    let options = run.container.into_options()?;
    let request = RunRequest {
        image: find(engine, &image, pull, &platform)?,
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

/// Returns the image, from its registry if that is wanted.
fn find(engine: &Engine, name: &str, pull: Pull, platform: &Platform) -> Result<Image, Failure> {
    match (engine.store().find(name), Reference::parse(name)) {
        (Ok(found), _) if pull != Pull::Always => Ok(found),
        (Ok(_) | Err(store::Error::NoSuchImage { .. }), Ok(reference)) if pull != Pull::Never => {
            let client = Client::new(environment::registry_options()?)?;
            let pulled = pull::pull(engine, &client, &reference, platform);
            let pulled = runtime()?.block_on(pulled).map_err(|source| engine::Error::NotPulled {
                name: name.to_owned(),
                source: Box::new(source),
            });
            Ok(pulled?.image)
        }
        (found, _) => Ok(found?),
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
