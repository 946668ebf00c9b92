//! `kiln pause` and `kiln unpause`.

use engine::{Engine, container};

use super::containers;
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Lets every process of containers stand still.
pub(super) fn pause(engine: &Engine, pause: &Pause) -> Result<Exit, Failure> {
    containers::each(engine, &pause.containers, |container| {
        Ok(container::pause(engine, container)?)
    })
}

/// Lets them go on.
pub(super) fn unpause(engine: &Engine, pause: &Pause) -> Result<Exit, Failure> {
    containers::each(engine, &pause.containers, |container| {
        Ok(container::unpause(engine, container)?)
    })
}
