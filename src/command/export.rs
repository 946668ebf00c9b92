//! `kiln export`.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use engine::{Engine, container};
use export::Destination;
use oci::ImageConfig;

use crate::{
    environment,
    mending::{Again, mending},
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Where to; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// Writes the file system of a container as a tar, without what is mounted there.
pub(super) fn run(engine: &Engine, export: Export) -> Result<Exit, Failure> {
    let destination = match export.output.filter(|path| !environment::is_stream(path)) {
        Some(path) => Destination::Path(path),
        None if io::stdout().is_terminal() => {
            let message = "cowardly refusing to save to a terminal. Use the -o flag or redirect";
            return Err(Failure::usage(message));
        }
        None => Destination::Stdout,
    };
    // What lies below what the container has written; that itself has no digest.
    mending(engine, Again::WithImages, || {
        let container = engine.store().find_container(&export.container)?;
        let config = ImageConfig::parse(container.image_config.as_bytes());
        let diff_ids = config.map_err(engine::Error::from)?.rootfs.diff_ids;
        let layers = container.snapshots.into_iter().zip(diff_ids);
        Ok(export::check(engine.store(), engine.flavour(), layers)?)
    })?;
    let container = engine.store().find_container(&export.container)?;
    destination.write(|mut out: &mut dyn Write| -> Result<(), Failure> {
        container::export(engine, &container, &mut out).map_err(|error| match error {
            // Nobody reads it any more.
            engine::Error::Files(filetree::Error::WriteArchive { source }) => {
                Failure::io("write", "the archive")(source)
            }
            error => error.into(),
        })
    })?;
    Ok(Exit::Done)
}
