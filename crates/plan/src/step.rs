//! Steps: one instruction of a stage, ready to be done.

use std::sync::Arc;

use oci::Config;

use crate::Op;

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub op: Op,
    /// The instruction as people see it while it runs: `RUN make`, `COPY a b /dst/`; `ONBUILD RUN …` for a trigger.
    pub title: String,
    /// The text in the image's history; a step without one (FROM, ONBUILD) leaves none.
    pub created_by: Option<String>,
    /// What the image says of itself once the step is done; nothing where noting that for each step took too much room.
    pub config: Option<Arc<Config>>,
    /// First and last line of the instruction in the Dockerfile, counted from 1; for a trigger those of FROM.
    pub lines: (usize, usize),
}

impl Step {
    /// Whether the step makes a layer: everything that touches the root file system does, even if nothing changes there.
    pub fn makes_layer(&self) -> bool {
        match &self.op {
            Op::Config => false,
            Op::Workdir(workdir) => workdir.path != "/",
            Op::Run(_) | Op::Copy(_) => true,
        }
    }
}
