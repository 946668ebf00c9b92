//! `kiln rm`.

use engine::{
    Engine,
    container::{self, Removal},
};

use super::{output, room};
use crate::report::{self, Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// Kill containers that run
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove the volumes that were made for the containers alone
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Removes containers with everything they have written. What cannot be removed is told; the others are removed all the same.
pub(super) fn run(engine: &Engine, rm: &Rm) -> Result<Exit, Failure> {
    let mut failed = false;
    for name in &rm.containers {
        match remove(engine, name, rm) {
            Ok(()) => output::print(&format!("{name}\n"))?,
            Err(failure) => {
                // With --force it is as wanted, as for Docker.
                let is_gone =
                    matches!(failure, Failure::Store(store::Error::NoSuchContainer { .. }));
                report::print(&room::explain(engine, failure));
                failed |= !(is_gone && rm.force);
            }
        }
    }
    if failed { Err(Failure::Told) } else { Ok(Exit::Done) }
}

fn remove(engine: &Engine, name: &str, rm: &Rm) -> Result<(), Failure> {
    let container = engine.store().find_container(name)?;
    Ok(container::remove(engine, &container, Removal { force: rm.force, volumes: rm.volumes })?)
}
