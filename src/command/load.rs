//! `kiln load`.

use std::io::{self, IsTerminal};

use std::path::PathBuf;

use engine::{Engine, load};

use super::output;
use crate::{
    environment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// The archive, or the directory of an OCI layout; standard input if not given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Load the images for this platform only [default: all that are in the archive]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Say nothing but what was loaded, which is so anyway
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Reads the images of an archive, and prints their names.
pub(super) fn run(engine: &Engine, load: &Load) -> Result<Exit, Failure> {
    let platform = load.platform.as_deref();
    let platform = platform.map(|given| environment::platform(Some(given))).transpose()?;
    let platform = platform.as_ref();
    let loaded = match load.input.as_deref().filter(|path| !environment::is_stream(path)) {
        Some(path) => load::load(engine, path, platform)?,
        None if io::stdin().is_terminal() => {
            return Err(Failure::usage(
                "standard input is a terminal; give the archive by -i or pass it in",
            ));
        }
        None => load::load_stream(engine, io::stdin().lock(), platform)?,
    };
    for image in loaded {
        let Some(name) = image.reference.map(|reference| reference.familiar()) else {
            output::print(&format!("Loaded image ID: {}\n", image.id))?;
            continue;
        };
        if let Some(replaced) = image.replaced {
            output::print(&format!(
                "The image {name} already exists, renaming the old one with ID {replaced} to empty string\n"
            ))?;
        }
        output::print(&format!("Loaded image: {name}\n"))?;
    }
    Ok(Exit::Done)
}
