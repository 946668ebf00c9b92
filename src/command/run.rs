//! `kiln run`.

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

use super::runtime;
use crate::{
    args::Network,
    environment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Remove the container when it ends; containers are not kept yet, so this is always so
    #[arg(long)]
    pub(crate) rm: bool,
    /// Pass standard input on
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Set a variable; without `=VALUE` to that of the environment variable
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User, with an optional group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Replace the image's ENTRYPOINT
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Host name
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// What the command reaches
    #[arg(long, value_enum, default_value = "default")]
    pub(crate) network: Network,
    /// The image, and a command with its arguments instead of the image's CMD; options stand before the image
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "IMAGE [COMMAND]"
    )]
    pub(crate) image_and_command: Vec<String>,
}

/// Status of a command that could not be started, as Docker's.
const NOT_FOUND: u8 = 127;
/// Status of a command that may not be executed, as Docker's.
const NOT_EXECUTABLE: u8 = 126;

/// Runs a command to its end and exits as it does.
pub(super) fn run(engine: &Engine, run: Run) -> Result<Exit, Failure> {
    let mut words = run.image_and_command.into_iter();
    let image = words.next().unwrap_or_default();
    if image.starts_with('-') {
        return Err(Failure::usage(format!(
            "unknown option `{image}`; `kiln run --help` lists them"
        )));
    }
    let request = RunRequest {
        image: find(engine, &image)?,
        command: words.collect(),
        entrypoint: run.entrypoint,
        env: run.env.iter().filter_map(|variable| environment::name_value(variable)).collect(),
        workdir: run.workdir,
        user: run.user,
        hostname: run.hostname,
        network: run.network.into(),
        interactive: run.interactive,
        terminal: run.tty,
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

/// Returns the image, from its registry if the store does not have it.
fn find(engine: &Engine, name: &str) -> Result<Image, Failure> {
    match (engine.store().find(name), Reference::parse(name)) {
        (Err(store::Error::NoSuchImage { .. }), Ok(reference)) => {
            let client = Client::new(environment::registry_options()?)?;
            let platform = Platform::host();
            let pulled = pull::pull(engine, &client, &reference, &platform);
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
