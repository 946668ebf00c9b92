//! `kiln stop` and `kiln restart`.

use engine::{
    Engine,
    container::{self, Stop as How},
};

use super::{containers, signal};
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) how: StopArgs,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(crate) how: StopArgs,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// How a container is stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// Seconds until it is killed, -1 for never [default: 10, or the container's]
    #[arg(
        short,
        long,
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub(crate) time: Option<i64>,
    /// The signal that asks it to end [default: the image's STOPSIGNAL, or the container's]
    #[arg(short, long, value_name = "SIGNAL", value_parser = signal)]
    pub(crate) signal: Option<i32>,
}

impl StopArgs {
    fn how(&self) -> How {
        How { signal: self.signal, seconds: self.time }
    }
}

/// Stops containers: by their signal, and by force if they do not end by that.
pub(super) fn stop(engine: &Engine, stop: &Stop) -> Result<Exit, Failure> {
    containers::each(engine, &stop.containers, |container| {
        Ok(container::stop(engine, container, stop.how.how())?)
    })
}

/// Stops containers, and starts them again.
pub(super) fn restart(engine: &Engine, restart: &Restart) -> Result<Exit, Failure> {
    containers::each(engine, &restart.containers, |container| {
        container::stop_to_restart(engine, container, restart.how.how())?;
        Ok(containers::start(engine, container, None).map(drop)?)
    })
}
