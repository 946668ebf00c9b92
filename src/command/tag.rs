//! `kiln tag`.

use engine::Engine;
use oci::Reference;

use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Tag {
    /// The image
    pub(crate) source: String,
    /// Its further name, `name[:tag]`
    pub(crate) target: String,
}

/// Gives an image a further name; the name is taken from the image that had it before.
pub(super) fn run(engine: &Engine, tag: &Tag) -> Result<Exit, Failure> {
    let target = Reference::parse(&tag.target)?;
    let image = engine.store().find(&tag.source)?;
    engine.store().tag(&target.tagged(), &image.id)?;
    Ok(Exit::Done)
}
