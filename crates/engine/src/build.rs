//! The story of one build: read, plan, execute, commit, tag.

use std::{collections::BTreeMap, sync::Arc};

use dockerfile::{Diagnostic, Dockerfile, Failed};
use oci::ImageId;
use plan::Plan;
use store::{Image, Lease};

use crate::{
    BuildRequest, Engine, Error, Events, Mistake, Times, check, commit,
    context::Contexts,
    resolve,
    schedule::{self, Build},
    times::Undated,
};

/// What a build made.
#[derive(Debug)]
pub struct Built {
    /// The image.
    pub id: ImageId,
    /// The image as the store holds it.
    pub image: Image,
    times: Times,
    undated: Undated,
    lease: Lease,
}

impl Built {
    /// `SOURCE_DATE_EPOCH` of the build, in seconds since 1970.
    pub fn epoch(&self) -> Option<i64> {
        self.undated.epoch
    }

    /// Returns the image with other times in it, which is not put into the store. Its layers are, and are held as long as
    /// this is there.
    pub fn with_times(&self, engine: &Engine, times: Times) -> Result<Image, Error> {
        if times == self.times {
            return Ok(self.image.clone());
        }
        self.undated.image(engine, &self.lease, times)
    }

    /// The same, put into the store.
    pub fn put_with_times(&self, engine: &Engine, times: Times) -> Result<Image, Error> {
        commit::put(engine, &self.with_times(engine, times)?)
    }
}

/// Builds the image that `request` asks for, and gives it its tags.
///
/// Steps that were done stay in the cache, whatever happens later; the image and its tags appear together at the end, or
/// not at all.
pub async fn build(engine: &Engine, request: BuildRequest, events: Events) -> Result<Built, Error> {
    let contexts = Contexts::open(engine, &request, &events)?;
    let file = read(engine, &contexts, &request, &events)?;
    let source = file.source.clone();
    let mut known = BTreeMap::new();
    let plan = resolve::plan(engine, &file, &request, &contexts, &mut known, &events).await;
    let linted = check::of_build(engine, &file, &request, &contexts, known)?;

    let mistake = |diagnostic: &Diagnostic| {
        Box::new(Mistake { source: source.clone(), diagnostic: diagnostic.clone() })
    };
    let built = match (plan, &linted.mistake, &linted.violation) {
        (Err(error), _, _) => Err(error),
        // With a plan, only the options of the checks are left to be wrong.
        (Ok(_), Some(diagnostic), _) => Err(Error::Dockerfile(mistake(diagnostic))),
        (Ok(_), None, Some(violation)) => Err(Error::Checks(mistake(violation))),
        (Ok(plan), None, None) => {
            execute(engine, &file, plan, contexts, request, events.clone()).await
        }
    };
    // At the end, where it is not scrolled away by what the steps say.
    check::tell(&linted, &source, &events);
    built
}

/// Parses the Dockerfile. Of one with a mistake the findings above it are told.
fn read(
    engine: &Engine,
    contexts: &Contexts,
    request: &BuildRequest,
    events: &Events,
) -> Result<Dockerfile, Error> {
    let (file, mistake) = contexts.parse(engine);
    let Some(diagnostic) = mistake else { return Ok(file) };
    let request = resolve::lower_request(request);
    let linted = dockerfile::lint::lint_above(&file, diagnostic.clone(), &request);
    check::tell(&linted, &file.source, events);
    Err(Failed { source: file.source, diagnostic }.into())
}

async fn execute(
    engine: &Engine,
    file: &Dockerfile,
    plan: Plan,
    contexts: Contexts,
    request: BuildRequest,
    events: Events,
) -> Result<Built, Error> {
    let build = Arc::new(Build::new(engine, file.source.clone(), plan, contexts, request, events)?);
    let target = schedule::run(&build).await?;

    let undated = commit::finish(&build, &target).await?;
    let lease = engine.store.lease()?;
    let times = build.request.times;
    let image = commit::put(engine, &undated.image(engine, &lease, times)?)?;
    lease.hold_image(&image.id)?;
    for tag in &build.request.tags {
        engine.store.tag(&tag.tagged(), &image.id)?;
    }
    build.contexts.save_stat_caches();
    Ok(Built { id: image.id, image, times, undated, lease })
}
