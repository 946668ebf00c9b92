//! What starts the RUNs of a build: a zygote that makes the process for the next one while the one before runs.

use std::sync::atomic::{AtomicUsize, Ordering};

use plan::{Joint, Op};
use sandbox::{Child, Spec, Zygote};

/// Starts the RUNs of one build.
#[derive(Debug)]
pub(crate) struct Starter {
    zygote: Zygote,
    /// How many RUNs no stage has come to yet.
    ahead: AtomicUsize,
}

impl Starter {
    pub(crate) fn new(plan: &Joint) -> Self {
        let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
        let runs = steps.filter(|step| matches!(step.op, Op::Run(_))).count();
        Self { zygote: Zygote::default(), ahead: AtomicUsize::new(runs) }
    }

    /// Takes note that a stage has come to a RUN, be it in the cache or not. Once for each.
    pub(crate) fn pass(&self) {
        self.ahead.fetch_sub(1, Ordering::Relaxed);
    }

    /// To be called when a RUN will be spawned soon.
    pub(crate) fn prepare(&self) {
        self.zygote.prepare();
    }

    /// To be called when no RUN will be spawned any more.
    pub(crate) fn rest(&self) {
        self.zygote.rest();
    }

    /// As [`sandbox::spawn`]; prepares for the next one if there may be one.
    pub(crate) fn spawn(&self, spec: Spec) -> Result<Child, sandbox::Error> {
        let child = self.zygote.spawn(spec)?;
        if self.ahead.load(Ordering::Relaxed) > 0 {
            self.prepare();
        }
        Ok(child)
    }
}
