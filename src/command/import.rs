//! `kiln import`.

use std::{fs::File, io};

use engine::{Engine, load};
use oci::Reference;

use super::output;
use crate::{
    args::{self, Import},
    report::{Exit, Failure},
};

/// Makes an image of one layer from a tar of a root file system, and prints its id.
pub(super) fn run(engine: &Engine, import: &Import) -> Result<Exit, Failure> {
    let name = import.name.as_deref().map(Reference::parse).transpose()?;
    let id = if args::is_stream(&import.source) {
        load::import(engine, io::stdin().lock(), name.as_ref())?
    } else {
        let path = import.source.display();
        let file = File::open(&import.source).map_err(Failure::io("open", path))?;
        load::import(engine, file, name.as_ref())?
    };
    output::print(&format!("{id}\n"))?;
    Ok(Exit::Done)
}
