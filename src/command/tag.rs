//! `kiln tag`.

use engine::Engine;
use oci::{ImageId, Reference};

use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Tag {
    /// The image
    pub(crate) source: String,
    /// Its further name, `name[:tag]`
    pub(crate) target: String,
}

/// Gives an image, or the images of a name for several platforms, a further name; it is taken from the image that had it
/// before.
pub(super) fn run(engine: &Engine, tag: &Tag) -> Result<Exit, Failure> {
    let target = Reference::parse(&tag.target)?;
    if target.digest().is_some() {
        let message = format!(
            "cannot tag `{}`: refusing to create a tag with a digest reference",
            tag.target
        );
        return Err(Failure::usage(message));
    }
    let images = engine.store().find_all(&tag.source)?;
    let ids: Vec<ImageId> = images.iter().map(|image| image.id).collect();
    engine.store().tag_all(&target.tagged(), &ids)?;
    Ok(Exit::Done)
}
