//! The story of one build: read, plan, execute, commit, tag.

use std::sync::Arc;

use oci::ImageId;
use store::Image;

use crate::{
    BuildRequest, Engine, Error, Events, commit,
    context::Contexts,
    resolve,
    schedule::{self, Build},
};

/// What a build made.
#[derive(Debug)]
pub struct Built {
    /// The image.
    pub id: ImageId,
    /// The image as the store holds it.
    pub image: Image,
}

/// Builds the image that `request` asks for, and gives it its tags.
///
/// Steps that were done stay in the cache, whatever happens later; the image and its tags appear together at the end, or
/// not at all.
pub async fn build(engine: &Engine, request: BuildRequest, events: Events) -> Result<Built, Error> {
    let contexts = Contexts::open(engine, &request)?;
    let file = dockerfile::parse(contexts.dockerfile_name(), contexts.dockerfile_text())?;
    let plan = resolve::plan(engine, &file, &request, &contexts, &events).await?;

    let build = Arc::new(Build::new(engine, file.source.clone(), plan, contexts, request, events)?);
    let target = schedule::run(&build).await?;

    let image = commit::image(&build, &target).await?;
    for tag in &build.request.tags {
        engine.store.tag(&tag.tagged(), &image.id)?;
    }
    build.contexts.save_stat_caches();
    Ok(Built { id: image.id, image })
}
