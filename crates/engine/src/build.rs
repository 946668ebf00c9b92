//! The story of one build: read, plan, execute, commit, tag.

use std::{collections::BTreeMap, sync::Arc};

use dockerfile::{Diagnostic, Dockerfile, Failed};
use oci::ImageId;
use plan::Joint;
use sandbox::Rung;
use store::{Image, Lease};
use tokio::task::spawn_blocking;

use crate::{
    BuildRequest, Engine, Error, Event, Events, Mistake, Target, Times, check, commit,
    context::Contexts,
    resolve, room,
    schedule::{self, Build},
    times::Undated,
};

/// What a build made of one target.
#[derive(Debug)]
pub struct BuiltTarget {
    /// What was asked for.
    pub target: Target,
    /// The images: one for each platform, in the order in which they were asked for.
    pub images: Vec<Built>,
}

/// An image that was built.
#[derive(Debug)]
pub struct Built {
    /// The image as the store holds it.
    pub image: Image,
    times: Times,
    undated: Undated,
    lease: Arc<Lease>,
}

impl Built {
    /// Puts what was made into the store, held by the lease of the build.
    fn put(
        engine: &Engine,
        undated: Undated,
        times: Times,
        lease: Arc<Lease>,
    ) -> Result<Self, Error> {
        let image = commit::put(&lease, &undated.image(engine, &lease, times)?)?;
        Ok(Self { image, times, undated, lease })
    }

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
        commit::put(&self.lease, &self.with_times(engine, times)?)
    }
}

/// Builds the images that `request` asks for, and gives them their tags. They are returned in the order of the targets.
///
/// What the targets and the platforms have in common is done once. Steps that were done stay in the cache, whatever
/// happens later; the images and their tags appear together at the end, or not at all.
pub async fn build(
    engine: &Engine,
    request: BuildRequest,
    events: Events,
) -> Result<Vec<BuiltTarget>, Error> {
    let filter = request.no_cache_filter.clone();
    tell_isolation(engine, &events);
    let contexts = Contexts::open(engine, &request, &events)?;
    let file = read(engine, &contexts, &request, &events)?;
    let source = file.source.clone();
    let mut known = BTreeMap::new();
    let plan = resolve::plan(engine, &file, &request, &contexts, &mut known, &events).await;
    // Before anything reads the context, of which it is a part.
    if let (Ok(_), Some(lock)) = (&plan, &engine.lock) {
        lock.save()?;
    }
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
    tell_unknown_stages(&file, &filter, &events);
    check::tell(&linted, &source, &events);
    built
}

/// Tells once how steps are isolated, if that is not as well as it can be.
fn tell_isolation(engine: &Engine, events: &Events) {
    let rung = engine.rung();
    if !matches!(rung, Rung::Root | Rung::UserNamespace) {
        events.send(Event::Note(format!("isolation: `{}`, {rung}", rung.name())));
    }
}

/// Tells of stages that were to be built anew and are not there.
fn tell_unknown_stages(file: &Dockerfile, wanted: &[String], events: &Events) {
    let names = file.stages.iter().filter_map(|stage| stage.from.instruction.name.as_ref());
    let names: Vec<&str> = names.map(|name| name.value.as_str()).collect();
    for name in wanted.iter().filter(|wanted| !names.iter().any(|n| n.eq_ignore_ascii_case(wanted)))
    {
        let nearest = dockerfile::nearest(name, names.iter().copied());
        let meant = nearest.map_or(String::new(), |name| format!(" (did you mean {name}?)"));
        let text = format!("warning: --no-cache-filter: no stage is called {name}{meant}");
        events.send(Event::Warning(text));
    }
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
    let linted = check::above_mistake(&file, &diagnostic, &resolve::lower_requests(request));
    check::tell(&linted, &file.source, events);
    Err(Failed { source: file.source, diagnostic }.into())
}

async fn execute(
    engine: &Engine,
    file: &Dockerfile,
    plan: Joint,
    contexts: Contexts,
    request: BuildRequest,
    events: Events,
) -> Result<Vec<BuiltTarget>, Error> {
    let build = Arc::new(Build::new(engine, file.source.clone(), plan, contexts, request, events)?);
    let ran = schedule::run(&build).await;
    build.trails.save(engine, ran.is_err());
    ran?;

    // What only RUNs need goes while the image is put together.
    build.starter.rest();
    let going = build.stubs.take().map(|stubs| spawn_blocking(move || drop(stubs)));
    build.packing.finish().await?;
    let mut stages = build.plan.targets.iter();
    let mut built = Vec::with_capacity(build.request.targets.len());
    for target in &build.request.targets {
        let mut images = Vec::with_capacity(build.request.platforms.len());
        for stage in stages.by_ref().take(build.request.platforms.len()) {
            let (made, lease) = (commit::finish(&build, stage)?, Arc::clone(&build.lease));
            images.push(Built::put(engine, made, target.times, lease)?);
        }
        built.push(BuiltTarget { target: target.clone(), images });
    }
    for BuiltTarget { target, images } in &built {
        let ids: Vec<ImageId> = images.iter().map(|built| built.image.id).collect();
        for tag in &target.tags {
            engine.store.tag_all(&tag.tagged(), &ids)?;
        }
    }
    build.contexts.save_stat_caches();
    if let Some(limit) = build.request.storage_limit {
        // What was built stays, even if it is more than that: the next step is told.
        room::keep(engine, limit)?;
    }
    if let Some(going) = going {
        // What cannot be removed stays, with a warning.
        let _ = going.await;
    }
    Ok(built)
}
