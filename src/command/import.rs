//! `kiln import`.

use std::{fs::File, io};

use std::path::PathBuf;

use engine::{Engine, load};
use oci::Reference;

use super::output;
use crate::{
    environment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// What the files are for [default: this machine]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// The tar, compressed or not; `-` for standard input
    #[arg(value_name = "TAR")]
    pub(crate) source: PathBuf,
    /// The image's name, `name[:tag]`
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Makes an image of one layer from a tar of a root file system, and prints its id.
pub(super) fn run(engine: &Engine, import: &Import) -> Result<Exit, Failure> {
    let platform = environment::platform(import.platform.as_deref())?;
    let name = import.name.as_deref().map(Reference::parse).transpose()?;
    let id = if environment::is_stream(&import.source) {
        load::import(engine, io::stdin().lock(), &platform, name.as_ref())?
    } else {
        let path = import.source.display();
        let file = File::open(&import.source).map_err(Failure::io("open", path))?;
        load::import(engine, file, &platform, name.as_ref())?
    };
    output::print(&format!("{id}\n"))?;
    Ok(Exit::Done)
}
