//! `kiln attach`.

use engine::{
    Engine,
    container::{self, Attach as Streams, Settings},
};
use store::Status;

use super::{
    output,
    run::ending,
    session::{self, DetachKeys, Ending, Show},
};
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Attach {
    /// Keys that detach from the container
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,
    /// Pass no input on
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Pass signals on, if it has no terminal
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", hide_default_value = true)]
    pub(crate) sig_proxy: super::run::options::Flag,
    /// The container
    pub(crate) container: String,
}

/// Shows what a container writes from now on, and passes on what it reads.
pub(super) fn run(engine: &Engine, attach: &Attach) -> Result<Exit, Failure> {
    let container = engine.store().find_container(&attach.container)?;
    match engine.store().container_state(&container.id)?.status {
        Status::Running | Status::Created => {}
        Status::Paused => {
            return Err(Failure::usage(
                "you cannot attach to a paused container, unpause it first",
            ));
        }
        Status::Exited | Status::Restarting => {
            return Err(Failure::usage("you cannot attach to a stopped container, start it first"));
        }
    }
    let options = Settings::of(&container)?.options;
    let streams = Streams {
        stdin: options.interactive && !attach.no_stdin,
        stdout: true,
        stderr: true,
        size: if options.terminal { session::terminal_size() } else { None },
    };
    let keys = attach.detach_keys.clone().unwrap_or_default();
    let signals = attach.sig_proxy.0;
    let show = Show { attach: streams, terminal: options.terminal, keys, signals, own: false };
    let session = container::attach(engine, &container, streams)?;
    let shown = session::show(session, &show)?;
    if shown == Ending::Detached {
        output::tell("read escape sequence");
    }
    Ok(ending(shown))
}
