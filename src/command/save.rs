//! `kiln save`.

use std::io::{self, IsTerminal};

use std::path::PathBuf;

use engine::Engine;
use oci::Reference;

use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Save {
    /// Where to; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Writes images and their names to an archive that docker, podman and skopeo read too.
pub(super) fn run(engine: &Engine, save: &Save) -> Result<Exit, Failure> {
    if save.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::usage("cowardly refusing to save to a terminal; use -o or redirect"));
    }
    let mut images = Vec::with_capacity(save.images.len());
    for name in &save.images {
        let found = engine.store().find_all(name)?;
        // An image that was named by its id is saved without a name.
        let id = name.trim_start_matches("sha256:");
        let is_id = found.iter().any(|image| image.id.as_digest().to_hex().starts_with(id));
        let names = match Reference::parse(name) {
            Ok(reference) if !is_id => vec![reference.tagged()],
            _ => Vec::new(),
        };
        images.push((found, names));
    }
    export::save(engine.store(), engine.flavour(), &images, save.output.as_deref())?;
    Ok(Exit::Done)
}
