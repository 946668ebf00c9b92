//! `kiln wait`.

use engine::{Engine, container};

use super::containers;
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Waits until each container has ended, and prints its exit code.
pub(super) fn run(engine: &Engine, wait: &Wait) -> Result<Exit, Failure> {
    containers::each_printing(engine, &wait.containers, |container, _| {
        Ok(container::wait(engine, container)?.to_string())
    })
}
