//! Why a step was not in the cache: the steps of the last build of the same Dockerfile, and what differs.
//!
//! A key cannot be turned back into what it was made of. So the store keeps with each result what went into its key, and for
//! each Dockerfile the keys it has led to. Nothing here has an influence on what is built.

mod difference;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use plan::{Derived, Joint, Stage, StepKey};
use store::{Footprint, Trail};

use crate::{BuildRequest, ContextSource, Engine, contents::Contents, context::Contexts};

/// The trail of the last build, and that of this one.
#[derive(Debug)]
pub(crate) struct Trails {
    name: [u8; 32],
    /// What each stage is called in a trail.
    labels: Vec<String>,
    before: OnceLock<Trail>,
    now: Mutex<BTreeMap<String, Vec<Footprint>>>,
}

impl Trails {
    /// The trails of what `request` builds: the same for the same Dockerfile and context, whatever the options are.
    pub(crate) fn new(request: &BuildRequest, contexts: &Contexts, plan: &Joint) -> Self {
        let context = match &request.context {
            ContextSource::Directory(_) => format!("{:?}", contexts.main_directory()),
            ContextSource::Archive(_) => "archive".to_owned(),
            ContextSource::Git(source) => format!("{source:?}"),
            ContextSource::Web(address) => address.clone(),
            ContextSource::Nothing => String::new(),
        };
        let file = format!("{:?} {}", contexts.dockerfile_path(), contexts.dockerfile_name());
        let mut hasher = blake3::Hasher::new();
        for part in ["kiln trail 1", &context, &file] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let name = *hasher.finalize().as_bytes();
        Self { name, labels: labels(plan), before: OnceLock::new(), now: Mutex::default() }
    }

    /// Notes a step whose result is there. The steps of a stage come in their order.
    pub(crate) fn note(&self, stage: &Stage, title: &str, key: &StepKey) {
        let step = Footprint::new(title.to_owned(), key.as_bytes());
        self.now().entry(self.label(stage).to_owned()).or_default().push(step);
    }

    /// Says why the next step of a stage is not in the cache: what differs from the same step of the last build. `None` if
    /// there was none.
    pub(crate) fn explain(
        &self,
        engine: &Engine,
        stage: &Stage,
        title: &str,
        derived: &Derived,
        contents: &Contents,
    ) -> Option<String> {
        let label = self.label(stage);
        let position = self.now().get(label).map_or(0, Vec::len);
        let before = self.before(engine);
        if before.stages.is_empty() {
            return None;
        }
        let Some(step) = before.stages.get(label).and_then(|steps| same(steps, title, position))
        else {
            return Some("the last build had no such step".to_owned());
        };
        let known = step.key().and_then(|key| engine.store().ingredients(&key).ok().flatten());
        Some(match known {
            Some(known) if step.key() != Some(*derived.key.as_bytes()) => {
                difference::between(&known, derived, contents, position)
            }
            Some(_) | None => "what it made is not in the store any more".to_owned(),
        })
    }

    /// Keeps the trail for the next build. A stage that has `failed` keeps the steps behind the failure; one that was not
    /// needed keeps all. What cannot be written explains nothing next time, and does no other harm.
    pub(crate) fn save(&self, engine: &Engine, failed: bool) {
        let before = self.before(engine);
        let mut trail = before.clone();
        for (label, steps) in self.now().iter() {
            let kept = trail.stages.entry(label.clone()).or_default();
            let rest = if failed { kept.get(steps.len()..).unwrap_or_default() } else { &[] };
            *kept = [steps, rest].concat();
        }
        if trail != *before {
            let _ = engine.store().put_trail(&self.name, &trail);
        }
    }

    fn label(&self, stage: &Stage) -> &str {
        self.labels.get(stage.id.0).map_or("", String::as_str)
    }

    fn before(&self, engine: &Engine) -> &Trail {
        let load = || engine.store().trail(&self.name).ok().flatten().unwrap_or_default();
        self.before.get_or_init(load)
    }

    fn now(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Footprint>>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the stages of a plan are called, by their platform and name. Several of one name, as for several platforms that they
/// make something for, are told apart by their order.
fn labels(plan: &Joint) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let label = |stage: &Stage| {
        let label = format!("{} {}", stage.platform, stage.label());
        let count = seen.entry(label.clone()).or_default();
        *count += 1;
        if *count == 1 { label } else { format!("{label} {count}") }
    };
    plan.stages.iter().map(label).collect()
}

/// The step of the last build that a step is compared with: that of the same text which was nearest to its place; else the one
/// in its place, if it is the same instruction.
fn same<'a>(steps: &'a [Footprint], title: &str, position: usize) -> Option<&'a Footprint> {
    let alike = steps.iter().enumerate().filter(|(_, step)| step.title == title);
    let nearest = alike.min_by_key(|(index, _)| index.abs_diff(position)).map(|(_, step)| step);
    let keyword = |title: &str| title.split_whitespace().next().map(str::to_ascii_uppercase);
    let in_place = || steps.get(position).filter(|step| keyword(&step.title) == keyword(title));
    nearest.or_else(in_place)
}
