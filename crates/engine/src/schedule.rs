//! Stages side by side: each starts when the stages it refers to are done, and none that is not needed runs.

mod jobs;
mod starter;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use dockerfile::Source;
use oci::{History, ImageId, Platform};
use plan::{Base, Joint, Stage, StageId, StepKey};
use sandbox::BuildNetwork;
use store::{Ancestor, Lease, Record, SnapshotId};
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinSet, block_in_place, spawn_blocking},
};

pub(crate) use self::jobs::processors;
use self::{jobs::Jobs, starter::Starter};
use crate::{
    BuildRequest, Engine, Error, Event, Events, Heading, Place, StepNumber,
    commit::{self, Packing},
    context::Contexts,
    remote::Asker,
    rootfs::Stubs,
    step,
    times::Span,
    trail::Trails,
};

/// Everything that the steps of one build share.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) engine: Engine,
    pub(crate) plan: Joint,
    pub(crate) contexts: Contexts,
    pub(crate) request: BuildRequest,
    pub(crate) events: Events,
    /// Holds what the build uses, so that no other process removes it.
    pub(crate) lease: Arc<Lease>,
    /// The layers that are being packed.
    pub(crate) packing: Packing,
    /// What starts the RUNs.
    pub(crate) starter: Starter,
    /// How many steps are done side by side.
    pub(crate) jobs: Jobs,
    /// What is mounted on in them.
    pub(crate) stubs: Stubs,
    /// The network of the RUNs, once one needs it; none inside if there can be none of the build's own.
    pub(crate) network: Mutex<Option<Option<Arc<BuildNetwork>>>>,
    /// What each key has made in this build, so that equal steps are done once.
    pub(crate) made: Mutex<HashMap<StepKey, Arc<Mutex<Option<Made>>>>>,
    /// The cache mounts that this build has started anew, as `--no-cache` asks.
    started_caches: Mutex<BTreeSet<String>>,
    /// Why a step is not in the cache.
    pub(crate) trails: Trails,
    /// The results of the stages that are done.
    pub(crate) results: Mutex<BTreeMap<StageId, Arc<Tip>>>,
    source: Source,
    /// The number of each stage's first step.
    first_numbers: Vec<StepNumber>,
    /// The stages whose layers are layers of an image.
    image_stages: BTreeSet<StageId>,
    /// What people call the platform of each stage, if there are several.
    platforms_in_words: BTreeMap<StageId, String>,
    /// The stages of which nothing is taken from the cache.
    uncached: BTreeSet<StageId>,
}

/// What a step made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) snapshot: SnapshotId,
    pub(crate) created: String,
    pub(crate) span: Option<Span>,
}

impl Made {
    /// What a record says.
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            snapshot: record.snapshot,
            created: record.created.clone(),
            span: Span::parse(record.began.as_deref(), &record.created),
        }
    }
}

/// Where a stage has come to: everything that the next step builds on.
#[derive(Debug, Clone)]
pub(crate) struct Tip {
    pub(crate) key: StepKey,
    /// The snapshots, the bottom first.
    pub(crate) snapshots: Vec<SnapshotId>,
    /// When the snapshots above those of the base image were made.
    pub(crate) made: Vec<Option<Span>>,
    /// When the last layer of a step was made; none before the first one.
    pub(crate) created: Option<String>,
    /// How many entries of the history are those of the base image.
    pub(crate) inherited: usize,
    /// When the base image was made.
    pub(crate) base_created: Option<String>,
    /// The base image, if there is one.
    pub(crate) base: Option<ImageId>,
    /// How the stage itself came here.
    pub(crate) past: Past,
}

/// What the steps of one stage have added. That of the stage below is in its own tip: a file may have very many stages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// How many entries of the history are below, in other stages.
    pub(crate) below: usize,
    /// The history, that of a base image included; a metadata entry gets its time when the image is committed.
    pub(crate) history: Vec<History>,
    /// What the image is after each step.
    pub(crate) ancestors: Vec<Ancestor>,
}

impl Tip {
    /// What a stage begins with that starts from this one.
    pub(crate) fn as_base(&self) -> Self {
        let Self { key, snapshots, made, created, inherited, base_created, base, past } = self;
        let below = past.below + past.history.len();
        Self {
            key: *key,
            snapshots: snapshots.clone(),
            made: made.clone(),
            created: created.clone(),
            inherited: *inherited,
            base_created: base_created.clone(),
            base: *base,
            past: Past { below, ..Past::default() },
        }
    }
}

impl Build {
    pub(crate) fn new(
        engine: &Engine,
        source: Source,
        plan: Joint,
        contexts: Contexts,
        request: BuildRequest,
        events: Events,
    ) -> Result<Self, Error> {
        let mut next = 1;
        let mut first_numbers = Vec::with_capacity(plan.stages.len());
        for stage in &plan.stages {
            first_numbers.push(next);
            next += positions(stage);
        }
        Ok(Self {
            engine: engine.clone(),
            trails: Trails::new(&request, &contexts, &plan),
            contexts,
            events,
            lease: Arc::new(engine.store.lease()?),
            packing: Packing::default(),
            starter: Starter::new(&plan),
            jobs: Jobs::new(request.jobs),
            stubs: Stubs::default(),
            network: Mutex::new(None),
            made: Mutex::new(HashMap::new()),
            started_caches: Mutex::default(),
            results: Mutex::new(BTreeMap::new()),
            source,
            first_numbers,
            image_stages: image_stages(&plan),
            platforms_in_words: platforms_in_words(&plan, &request.platforms),
            uncached: uncached(&plan, &request),
            request,
            plan,
        })
    }

    /// Whether the layers of a stage are layers of the image, and so have to be packed.
    pub(crate) fn is_in_image(&self, stage: StageId) -> bool {
        self.image_stages.contains(&stage)
    }

    /// Whether nothing of a stage is taken from the cache.
    pub(crate) fn is_uncached(&self, stage: StageId) -> bool {
        self.uncached.contains(&stage)
    }

    /// Who asks for files that are not on this machine.
    pub(crate) fn asker(&self) -> Asker<'_> {
        Asker {
            engine: &self.engine,
            request: &self.request,
            events: &self.events,
            remotes: self.contexts.remotes(),
        }
    }

    /// The cache mounts that this build has started anew.
    pub(crate) fn started_caches(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.started_caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of a stage that is done.
    pub(crate) fn result(&self, stage: StageId) -> Result<Arc<Tip>, Error> {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.get(&stage).cloned().ok_or(Error::Lost { what: "a stage" })
    }

    fn place(&self, lines: (usize, usize)) -> Place {
        Place { source: self.source.clone(), lines }
    }

    fn heading(&self, stage: &Stage, position: usize, title: String) -> Heading {
        // A stage with others around it has a name even if none of them is needed.
        let label = self.plan.stages.len() > 1 || stage.index > 0 || stage.name.is_some();
        Heading {
            platform: self.platforms_in_words.get(&stage.id).cloned(),
            stage: label.then(|| stage.label()),
            position: Some((position, positions(stage))),
            title,
        }
    }
}

/// How many steps of a stage people see: those that touch the root file system, and FROM unless it is of nothing or of
/// another stage.
fn positions(stage: &Stage) -> usize {
    usize::from(is_from_shown(&stage.base))
        + stage.steps.iter().filter(|step| is_shown(step)).count()
}

fn is_from_shown(base: &Base) -> bool {
    matches!(base, Base::Image { .. } | Base::Context { .. })
}

fn is_shown(step: &plan::Step) -> bool {
    !matches!(step.op, plan::Op::Config)
}

fn image_stages(plan: &Joint) -> BTreeSet<StageId> {
    let mut stages = BTreeSet::new();
    for target in &plan.targets {
        let mut stage = target.stage;
        while stages.insert(stage) {
            match plan.stage(stage).base {
                Base::Stage(below) => stage = below,
                Base::Scratch | Base::Image { .. } | Base::Context { .. } => break,
            }
        }
    }
    stages
}

/// The platform of each stage, and the one that it works for where that is another one: `linux/amd64->arm64`.
fn platforms_in_words(plan: &Joint, platforms: &[Platform]) -> BTreeMap<StageId, String> {
    if platforms.len() < 2 {
        return BTreeMap::new();
    }
    let mut users: BTreeMap<StageId, Vec<&Platform>> = BTreeMap::new();
    for (target, platform) in plan.targets.iter().zip(platforms.iter().cycle()) {
        for stage in plan.needed(target.stage) {
            let users = users.entry(stage).or_default();
            if !users.contains(&platform) {
                users.push(platform);
            }
        }
    }
    let in_words = |(id, users): (StageId, Vec<&Platform>)| {
        let own = &plan.stage(id).platform;
        let text = match users[..] {
            [user] if user != own => format!("{own}->{}", beside(user, own)),
            _ => own.to_string(),
        };
        (id, text)
    };
    users.into_iter().map(in_words).collect()
}

/// A platform without what it has in common with another one.
fn beside(platform: &Platform, other: &Platform) -> String {
    let text = platform.to_string();
    match text.split_once('/') {
        Some((_, rest)) if platform.os == other.os => rest.to_owned(),
        _ => text,
    }
}

/// The stages that `--no-cache` and `--no-cache-filter` mean: what starts from such a stage starts from something new.
fn uncached(plan: &Joint, request: &BuildRequest) -> BTreeSet<StageId> {
    let mut uncached = BTreeSet::new();
    for stage in &plan.stages {
        let is_named = |name: &String| {
            request.no_cache_filter.iter().any(|filter| filter.eq_ignore_ascii_case(name))
        };
        let starts_anew = matches!(stage.base, Base::Stage(base) if uncached.contains(&base));
        if request.no_cache || starts_anew || stage.name.as_ref().is_some_and(is_named) {
            uncached.insert(stage.id);
        }
    }
    uncached
}

/// Runs every stage of the plan.
///
/// The first failure ends the others: running commands are killed, waiting steps do not start.
pub(crate) async fn run(build: &Arc<Build>) -> Result<(), Error> {
    if let [stage] = &build.plan.stages[..] {
        // Beside it nothing is to be done here: to start a thread takes longer than to find a step in the cache.
        let work = AssertUnwindSafe(|| stage_here(build, stage));
        let ended = block_in_place(|| catch_unwind(work));
        return ended.unwrap_or(Err(Error::Lost { what: "a stage" }));
    }
    let (senders, receivers): (Vec<_>, Vec<_>) =
        build.plan.stages.iter().map(|_| watch::channel(false)).unzip();
    let limit = Arc::new(Semaphore::new(build.jobs.most()));
    let mut tasks = JoinSet::new();
    for (stage, done) in build.plan.stages.iter().zip(senders) {
        let waits = stage.needs().into_iter().map(|id| receivers[id.0].clone()).collect();
        tasks.spawn(run_stage(Arc::clone(build), stage.id, waits, done, Arc::clone(&limit)));
    }

    let mut failure = None;
    while let Some(ended) = tasks.join_next().await {
        let result = ended.unwrap_or(Err(Error::Lost { what: "a stage" }));
        if let Err(error) = result {
            build.request.cancel.cancel();
            // What fails after the first failure fails because of it.
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn run_stage(
    build: Arc<Build>,
    id: StageId,
    waits: Vec<watch::Receiver<bool>>,
    done: watch::Sender<bool>,
    limit: Arc<Semaphore>,
) -> Result<(), Error> {
    for mut stage in waits {
        // The sender goes away without a word only if its stage failed, which the caller reports.
        if stage.wait_for(|done| *done).await.is_err() {
            return Err(Error::Cancelled);
        }
    }
    let _permit = limit.acquire().await.map_err(|_| Error::Lost { what: "the step limit" })?;
    let worker = Arc::clone(&build);
    let ended = spawn_blocking(move || stage_here(&worker, worker.plan.stage(id))).await;
    ended.unwrap_or(Err(Error::Lost { what: "a stage" }))?;
    // Nobody waits for a target.
    let _ = done.send(true);
    Ok(())
}

/// Runs a stage on this thread.
fn stage_here(build: &Arc<Build>, stage: &Stage) -> Result<(), Error> {
    let tip = steps(build, stage)?;
    build.results.lock().unwrap_or_else(PoisonError::into_inner).insert(stage.id, Arc::new(tip));
    Ok(())
}

/// Does the steps of one stage, one after another.
fn steps(build: &Arc<Build>, stage: &Stage) -> Result<Tip, Error> {
    let first = build.first_numbers[stage.id.0];
    let mut tip = start(build, stage, first)?;
    let mut position = usize::from(is_from_shown(&stage.base));
    // Each step begins with a copy of the tip.
    let mut past = std::mem::take(&mut tip.past);
    for step in &stage.steps {
        build.request.cancel.check()?;
        if is_shown(step) {
            let number = first + position;
            position += 1;
            let heading = build.heading(stage, position, step.title.clone());
            tip =
                shown(build, number, heading, |number| step::run(build, stage, step, number, &tip))
                    .map_err(|source| located(build, stage, step, source))?;
        }
        if let Some(created_by) = &step.created_by {
            past.history.push(commit::entry(created_by, step.makes_layer(), &tip));
            let (history, layers) = (past.below + past.history.len(), tip.snapshots.len());
            let ancestor = step.config.clone();
            let ancestor = ancestor.map(|config| Ancestor { history, layers, config, id: None });
            past.ancestors.extend(ancestor);
        }
    }
    tip.past = past;
    Ok(tip)
}

fn located(build: &Build, stage: &Stage, step: &plan::Step, source: Error) -> Error {
    locator(build, stage, step)(source)
}

/// Returns what says of an error in which step it happened.
pub(crate) fn locator(
    build: &Build,
    stage: &Stage,
    step: &plan::Step,
) -> impl FnOnce(Error) -> Error + Clone + Send + 'static {
    let title = match build.platforms_in_words.get(&stage.id) {
        Some(platform) => format!("[{platform}] {}", step.title),
        None => step.title.clone(),
    };
    let place = build.place(step.lines);
    move |source| match source {
        Error::Cancelled | Error::Dockerfile(_) | Error::Step { .. } => source,
        source => Error::Step { title, place, source: Box::new(source) },
    }
}

/// The result of FROM.
fn start(build: &Arc<Build>, stage: &Stage, number: StepNumber) -> Result<Tip, Error> {
    if !is_from_shown(&stage.base) {
        return step::base(build, stage).map(|(tip, _)| tip);
    }
    let heading = build.heading(stage, 1, format!("FROM {}", stage.base));
    shown(build, number, heading, |_| step::base(build, stage))
}

/// Whether a step was found in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Executed,
    Cached,
}

/// Tells of a step's beginning and end.
fn shown(
    build: &Build,
    step: StepNumber,
    heading: Heading,
    work: impl FnOnce(StepNumber) -> Result<(Tip, Outcome), Error>,
) -> Result<Tip, Error> {
    build.events.send(Event::Started { step, heading });
    let began = Instant::now();
    match work(step) {
        Ok((tip, Outcome::Cached)) => {
            build.events.send(Event::Cached { step });
            Ok(tip)
        }
        Ok((tip, Outcome::Executed)) => {
            build.events.send(Event::Done { step, elapsed: began.elapsed() });
            Ok(tip)
        }
        Err(error) => {
            build.events.send(Event::Failed { step, message: error.to_string() });
            Err(error)
        }
    }
}
