//! `kiln rmi`.

use engine::Engine;
use store::{CacheRule, Collect, ImageRule};

use super::{output, room};
use crate::{
    removal::{Manner, Removal, Removed},
    report::{self, Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Rmi {
    /// Remove an image with all its names, and though containers of it are there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Leave what an image was made on, if that has no name
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Removes names, and each image that has lost its last one. What cannot be removed is told; the others are removed all the same.
pub(super) fn run(engine: &Engine, rmi: &Rmi) -> Result<Exit, Failure> {
    let manner = Manner { force: rmi.force, parents: !rmi.no_prune };
    let mut removal = Removal::begin(engine, manner)?;
    let failures: Vec<Failure> =
        rmi.images.iter().filter_map(|name| removal.remove(name).err()).collect();
    let mut ended = removal.end();
    print(ended.take_removed())?;
    let garbage = Collect { images: ImageRule::Keep, cache: CacheRule::Keep, mounts: false };
    ended.collect(&garbage)?;
    print(ended.take_removed())?;
    // In force, what is not there is as good as removed.
    let is_absent =
        |failure: &Failure| matches!(failure, Failure::Store(store::Error::NoSuchImage { .. }));
    let done = failures.iter().all(|failure| rmi.force && is_absent(failure));
    failures.into_iter().for_each(|failure| report::print(&room::explain(engine, failure)));
    match done {
        true => Ok(Exit::Done),
        false => Err(Failure::Told),
    }
}

fn print(removed: Vec<Removed>) -> Result<(), Failure> {
    let line = |removed| match removed {
        Removed::Name(name) => format!("Untagged: {name}\n"),
        Removed::Object(id) => format!("Deleted: {id}\n"),
    };
    output::print(&removed.into_iter().map(line).collect::<String>())
}
