//! The life of one step: its key, the probe of the cache, the work, the seal, the record.

use std::sync::{Arc, Mutex, PoisonError};

use filetree::{Files, RootDir};
use oci::{ImageId, Platform};
use plan::{Base, Derived, Op, Stage, Step, StepKey};
use store::{Open, Record, Snapshot};

use crate::{
    Error, Event, StepNumber,
    commit::{self, Early},
    contents::Contents,
    op::{self, copy::Laid},
    room, rootfs,
    schedule::{Build, Made, Outcome, Past, Tip, locator},
};

/// Does a step on top of `below`, or finds it done.
pub(crate) fn run(
    build: &Arc<Build>,
    stage: &Stage,
    step: &Step,
    number: StepNumber,
    below: &Tip,
) -> Result<(Tip, Outcome), Error> {
    let at = locator(build, stage, step);
    if matches!(step.op, Op::Run(_)) {
        build.starter.pass();
    }
    // What is in no layer may be of any size.
    let is_in_image = build.is_in_image(stage.id);
    let most = if is_in_image { build.engine.limits().layer.bytes } else { u64::MAX };
    let contents = Contents::of(build, &step.op, most, Some(number))?;
    let derived = StepKey::derive(&below.key, &step.op, contents.digests());
    let mut tip = Tip { key: derived.on_top, ..below.clone() };
    if !step.makes_layer() {
        return Ok((tip, Outcome::Executed));
    }

    let slot = slot(build, derived.key);
    let mut made = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let found = match made.take() {
        Some(made) => Some(made),
        None => probe(build, stage, step, &derived.key)?,
    };
    let (result, outcome) = match found {
        Some(found) => (found, Outcome::Cached),
        None => {
            explain(build, stage, step, number, &derived, &contents);
            rootfs::ensure_room(&build.engine, &below.snapshots)?;
            let _started = build.jobs.start(&build.request.cancel)?;
            room::make(build)?;
            let began = commit::now();
            let laid = execute(build, stage, step, number, contents, below)?;
            settle(build, step, &laid.snapshot, below)?;
            let (snapshot, early) = complete(build, stage, laid)?;
            let ingredients = derived.ingredients.into_iter().map(|i| (i.name, i.value)).collect();
            let record = record(build, step, began, ingredients, snapshot, below)?;
            if let Some(early) = early {
                build.packing.adopt(build, record.snapshot, early, at.clone())?;
            }
            build.lease.hold(&record.snapshot)?;
            build.engine.store().put_record(derived.key.as_bytes(), &record)?;
            build.packing.withhold(&build.engine, &record.snapshot, &below.snapshots)?;
            (Made::of(&record), Outcome::Executed)
        }
    };
    *made = Some(result.clone());
    drop(made);
    build.trails.note(stage, &step.title, &derived.key);

    if is_in_image {
        build.packing.begin(build, result.snapshot, at)?;
    }
    tip.snapshots.push(result.snapshot);
    tip.made.push(result.span);
    tip.created = Some(result.created);
    Ok((tip, outcome))
}

/// Tells why a step has to be done, if it was done before in some form.
fn explain(
    build: &Build,
    stage: &Stage,
    step: &Step,
    number: StepNumber,
    derived: &Derived,
    contents: &Contents,
) {
    if build.request.no_cache {
        return;
    }
    let reason = build.trails.explain(&build.engine, stage, &step.title, derived, contents);
    if let Some(reason) = reason {
        build.events.send(Event::Missed { step: number, reason });
    }
}

/// The place where steps of one key meet: the first does it, the others find it done.
fn slot(build: &Build, key: StepKey) -> Arc<Mutex<Option<Made>>> {
    let mut made = build.made.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(made.entry(key).or_default())
}

fn probe(build: &Build, stage: &Stage, step: &Step, key: &StepKey) -> Result<Option<Made>, Error> {
    if build.is_uncached(stage.id) && !matches!(step.op, Op::Workdir(_)) {
        return Ok(None);
    }
    let Some(record) = build.engine.store().record(key.as_bytes())? else {
        return Ok(None);
    };
    match build.lease.hold(&record.snapshot) {
        Ok(()) => Ok(Some(Made::of(&record))),
        // Another process removed it between the look and the hold: it was never made.
        Err(store::Error::NoSuchSnapshot { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn execute(
    build: &Arc<Build>,
    stage: &Stage,
    step: &Step,
    number: StepNumber,
    contents: Contents,
    below: &Tip,
) -> Result<Laid, Error> {
    match &step.op {
        Op::Config => Err(Error::Lost { what: "a step without files" }),
        Op::Workdir(workdir) => op::workdir::run(build, workdir, &below.snapshots).map(Laid::from),
        Op::Copy(copy) => op::copy::run(build, copy, contents, &below.snapshots),
        Op::Run(run) => {
            let place = op::run::Place { stage: stage.id, platform: platform_of(stage), number };
            op::run::run(build, run, &place, &below.snapshots).map(Laid::from)
        }
    }
}

/// Completes what a step has laid out. If it has large files and is to be a layer of an image, they are packed while they
/// are filled: at the end of a build, nothing else would be left to do.
fn complete(
    build: &Build,
    stage: &Stage,
    laid: Laid,
) -> Result<(Snapshot<Open>, Option<Early>), Error> {
    if laid.unfilled.is_empty() {
        return Ok((laid.snapshot, None));
    }
    let filling = Arc::new(laid.unfilled.open(RootDir::open(laid.snapshot.fs())?)?);
    let early = build.is_in_image(stage.id).then(|| commit::early(&build.engine, &filling));
    filling.fill()?;
    Ok((laid.snapshot, early))
}

/// What the commands of a stage are for: what the base says of itself counts, and not what was asked of it.
fn platform_of(stage: &Stage) -> Platform {
    let platform = stage.config.platform();
    if platform.architecture.is_empty() { stage.platform.clone() } else { platform }
}

/// Takes out of a snapshot what is no change. What stands alone was made on nothing.
fn settle(build: &Build, step: &Step, snapshot: &Snapshot<Open>, below: &Tip) -> Result<(), Error> {
    let files = match step.op {
        Op::Run(_) => Files::MaybeCopied,
        _ => Files::Put,
    };
    let unsettled = rootfs::unsettled(&build.engine, snapshot.fs(), files)?;
    // What was collected by comparing is settled.
    if !build.engine.rung().mounts() || unsettled.is_empty() || stands_alone(step) {
        return Ok(());
    }
    let merged = rootfs::readable(&build.engine, &below.snapshots)?;
    Ok(unsettled.settle(merged.root())?)
}

/// Whether a step's layer can lie on any root file system.
fn stands_alone(step: &Step) -> bool {
    matches!(&step.op, Op::Copy(copy) if copy.link)
}

/// Seals what a step has made.
fn record(
    build: &Build,
    step: &Step,
    began: String,
    ingredients: Vec<(String, String)>,
    snapshot: Snapshot<Open>,
    below: &Tip,
) -> Result<Record, Error> {
    Ok(Record {
        snapshot: rootfs::seal(&build.engine, snapshot)?,
        below: below.snapshots.last().copied().filter(|_| !stands_alone(step)),
        began: Some(began),
        created: commit::now(),
        description: step.title.clone(),
        ingredients,
    })
}

/// Returns what a stage starts with.
pub(crate) fn base(build: &Arc<Build>, stage: &Stage) -> Result<(Tip, Outcome), Error> {
    let history = stage.config.history.clone();
    let inherited = history.len();
    let on = |key, snapshots, base: Option<(ImageId, Option<String>)>| Tip {
        key,
        snapshots,
        made: Vec::new(),
        created: None,
        inherited,
        base: base.as_ref().map(|(id, _)| *id),
        past: Past { history, ..Past::default() },
        base_created: base.and_then(|(_, created)| created),
    };
    let tip = match &stage.base {
        Base::Stage(id) => build.result(*id)?.as_base(),
        Base::Scratch => on(StepKey::scratch(&stage.platform), Vec::new(), None),
        Base::Image { id, .. } | Base::Context { id: Some(id), .. } => {
            let image = build.lease.hold_image(id)?;
            on(StepKey::image(id), image.snapshots, Some((*id, image.config.created)))
        }
        Base::Context { name, id: None } => op::copy::context_as_base(build, stage, name)?,
    };
    Ok((tip, Outcome::Executed))
}
