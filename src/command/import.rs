//! `kiln import`.

use std::{fs::File, io};

use std::path::PathBuf;

use engine::{
    Engine,
    load::{self, ImportRequest},
};
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
    /// Instruction of a Dockerfile that changes the config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub(crate) changes: Vec<String>,
    /// Where the image comes from, or why it was made
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
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
    let request = ImportRequest {
        platform,
        name,
        message: import.message.clone(),
        changes: import.changes.clone(),
    };
    let id = if environment::is_stream(&import.source) {
        load::import(engine, io::stdin().lock(), &request)?
    } else {
        let path = import.source.display();
        let file = File::open(&import.source).map_err(Failure::io("open", path))?;
        load::import(engine, file, &request)?
    };
    output::print(&format!("{id}\n"))?;
    Ok(Exit::Done)
}
