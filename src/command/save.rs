//! `kiln save`.

use std::io::{self, IsTerminal};

use std::path::PathBuf;

use engine::Engine;
use oci::Reference;
use store::Image;

use super::{output, platform};
use crate::{
    mending::{Again, mending},
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Save {
    /// Where to; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Of images for several platforms the one for this [default: all]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// The images; a repository without a tag means all its tags
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Docker refuses images with more: its storage stacks no more (moby, `layer/layer_store.go`, `maxLayerDepth`).
const MOST_LAYERS: usize = 125;

/// An image, or one for each of several platforms, and the names that it is saved with.
type Named = (Vec<Image>, Vec<Reference>);

/// Writes images and their names to an archive that docker, podman and skopeo read too.
pub(super) fn run(engine: &Engine, save: &Save) -> Result<Exit, Failure> {
    if save.output.is_none() && io::stdout().is_terminal() {
        let message = "cowardly refusing to save to a terminal. Use the -o flag or redirect";
        return Err(Failure::usage(message));
    }
    let attempt = || {
        let mut all: Vec<Named> = Vec::with_capacity(save.images.len());
        for given in &save.images {
            for (images, names) in find(engine, given)? {
                let images = platform::select(given, images, save.platform.as_deref())?;
                add(&mut all, (images, names));
            }
        }
        all.iter().for_each(warn_of_layers);
        export::save(engine.store(), engine.flavour(), &all, save.output.as_deref())?;
        Ok(Exit::Done)
    };
    let again = if save.output.is_some() { Again::WithImages } else { Again::Never };
    mending(engine, again, attempt)
}

/// Returns what a name or an id means: of a repository without a tag all its tags; what is named by an id has no name.
fn find(engine: &Engine, given: &str) -> Result<Vec<Named>, Failure> {
    let store = engine.store();
    let mut tags: Vec<Reference> = store.tags()?.into_iter().map(|(name, _)| name).collect();
    tags.retain(|name| name.digest().is_none());
    tags.dedup();
    let reference = Reference::parse(given).ok();
    let is_bare = |name: &&Reference| name.tag().is_none() && name.digest().is_none();
    if let Some(wanted) = reference.as_ref().filter(is_bare) {
        let is_of =
            |name: &&Reference| (name.host(), name.path()) == (wanted.host(), wanted.path());
        let names = tags.iter().filter(is_of);
        let found = names.map(|name| Ok((store.find_named(name)?, vec![name.clone()])));
        let found: Vec<_> = found.collect::<Result<_, store::Error>>()?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let name = reference.map(|reference| reference.tagged()).filter(|name| tags.contains(name));
    Ok(vec![(store.find_all(given)?, name.into_iter().collect())])
}

/// What was asked for under several names is saved once, with all of them.
fn add(all: &mut Vec<Named>, (images, names): Named) {
    let ids = |images: &[Image]| images.iter().map(|image| image.id).collect::<Vec<_>>();
    let wanted = ids(&images);
    let known = all.iter_mut().find(|(known, _)| ids(known) == wanted);
    let Some((_, known)) = known else { return all.push((images, names)) };
    for name in names {
        if !known.contains(&name) {
            known.push(name);
        }
    }
}

fn warn_of_layers((images, names): &Named) {
    for image in images.iter().filter(|image| image.snapshots.len() > MOST_LAYERS) {
        let name = names.first().map_or_else(|| image.id.to_string(), Reference::familiar);
        let layers = image.snapshots.len();
        output::tell(&format!(
            "warning: `{name}` has {layers} layers, and Docker loads no more than {MOST_LAYERS}"
        ));
    }
}
