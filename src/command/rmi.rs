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
    let reference = match Reference::parse(name) {
        Ok(reference) if is_name(engine, &reference.tagged())? => reference.tagged(),
        _ => return remove_image(engine, &image.id, name, force),
    };
    // Of a name for several platforms, all of them.
    let ids = engine.store().untag(&reference)?;
    output::print(&format!("Untagged: {}\n", reference.familiar()))?;
    for id in ids {
        if names(engine, &id)?.is_empty() {
            engine.store().remove_image(&id)?;
            output::print(&format!("Deleted: {id}\n"))?;
        }
    }
    Ok(())
}

fn is_name(engine: &Engine, reference: &Reference) -> Result<bool, Failure> {
    Ok(engine.store().tags()?.iter().any(|(name, _)| name == reference))
}

/// Removes an image that was named by its id.
fn remove_image(engine: &Engine, id: &ImageId, given: &str, force: bool) -> Result<(), Failure> {
    let names = names(engine, id)?;
    if names.len() > 1 && !force {
        return Err(Failure::usage(format!(
            "cannot remove `{given}`: the image has {} names; remove them one by one, or all by -f",
            names.len()
        )));
    }
    for name in engine.store().remove_image(id)? {
        output::print(&format!("Untagged: {}\n", name.familiar()))?;
    }
    output::print(&format!("Deleted: {id}\n"))?;
    Ok(())
}

fn names(engine: &Engine, id: &ImageId) -> Result<Vec<Reference>, Failure> {
    let tags = engine.store().tags()?;
    Ok(tags.into_iter().filter(|(_, tagged)| tagged == id).map(|(name, _)| name).collect())
}
