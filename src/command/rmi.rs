//! `kiln rmi`.

use engine::Engine;
use oci::{ImageId, Reference};

use super::output;
use crate::report::{self, Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Rmi {
    /// Remove an image with all its names
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Removes names, and each image that has lost its last one. What cannot be removed is told; the others are removed all the same.
pub(super) fn run(engine: &Engine, rmi: &Rmi) -> Result<Exit, Failure> {
    let mut failed = false;
    for name in &rmi.images {
        if let Err(failure) = remove(engine, name, rmi.force) {
            report::print(&failure);
            failed = true;
        }
    }
    if failed { Err(Failure::Told) } else { Ok(Exit::Done) }
}

fn remove(engine: &Engine, name: &str, force: bool) -> Result<(), Failure> {
    let image = engine.store().find(name)?;
    let names: Vec<Reference> = names(engine, &image.id)?;
    let asked = Reference::parse(name).map(|reference| reference.tagged()).ok();
    let untagged: Vec<Reference> = match asked.filter(|reference| names.contains(reference)) {
        Some(reference) => vec![reference],
        None if names.len() > 1 && !force => {
            return Err(Failure::usage(format!(
                "cannot remove `{name}`: the image has {} names; remove them one by one, or all by -f",
                names.len()
            )));
        }
        None => names.clone(),
    };
    for reference in &untagged {
        engine.store().untag(reference)?;
        output::print(&format!("Untagged: {}\n", reference.familiar()))?;
    }
    if untagged.len() == names.len() {
        engine.store().remove_image(&image.id)?;
        output::print(&format!("Deleted: {}\n", image.id))?;
    }
    Ok(())
}

fn names(engine: &Engine, id: &ImageId) -> Result<Vec<Reference>, Failure> {
    let tags = engine.store().tags()?;
    Ok(tags.into_iter().filter(|(_, tagged)| tagged == id).map(|(name, _)| name).collect())
}
