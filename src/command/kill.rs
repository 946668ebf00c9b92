//! `kiln kill`.

use engine::{Engine, container};

use super::{containers, signal};
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Kill {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = signal)]
    pub(crate) signal: i32,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Sends the programs of containers a signal.
pub(super) fn run(engine: &Engine, kill: &Kill) -> Result<Exit, Failure> {
    containers::each(engine, &kill.containers, |container| {
        Ok(container::kill(engine, container, kill.signal)?)
    })
}
