//! `kiln rename`.

use engine::Engine;

use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Rename {
    /// The container
    pub(crate) container: String,
    /// Its new name
    pub(crate) name: String,
}

/// Gives a container another name.
pub(super) fn run(engine: &Engine, rename: &Rename) -> Result<Exit, Failure> {
    let container = engine.store().find_container(&rename.container)?;
    engine.store().rename_container(&container.id, &rename.name)?;
    Ok(Exit::Done)
}
