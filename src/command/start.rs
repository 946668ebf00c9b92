//! `kiln start`.

use engine::{
    Engine,
    container::{Attach, Settings},
};

use super::{
    containers,
    run::ending,
    session::{self, DetachKeys, Show},
};
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    /// Show the output, pass signals on, and end as the container ends
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Keys that detach from the container
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Starts containers; those that run are left alone.
pub(super) fn run(engine: &Engine, start: &Start) -> Result<Exit, Failure> {
    if !start.attach && !start.interactive {
        return containers::each(engine, &start.containers, |container| {
            Ok(containers::start(engine, container, None).map(drop)?)
        });
    }
    let [name] = start.containers.as_slice() else {
        return Err(Failure::usage("you cannot start and attach multiple containers at once"));
    };
    let container = engine.store().find_container(name)?;
    let options = Settings::of(&container)?.options;
    let attach = Attach {
        stdin: start.interactive && options.interactive,
        stdout: true,
        stderr: true,
        size: if options.terminal { session::terminal_size() } else { None },
    };
    let keys = start.detach_keys.clone().unwrap_or_default();
    let show = Show { attach, terminal: options.terminal, keys, signals: true, own: true };
    let session = containers::start(engine, &container, Some(attach))?;
    Ok(ending(session::show(session, &show)?))
}
