//! `WORKDIR`: the directory for what follows, made at once.

use std::collections::BTreeSet;

use plan::Op;

use super::graph::Command;
use super::path;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Workdir;

/// No process can be in a directory with a longer path. Relative ones could make it grow without end.
const LONGEST: usize = 4095;

impl Lower for Workdir {
    /// Nothing, as an unset variable leaves it, is the directory so far.
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let written = stage.expand(&self.path)?;
        let title = stage.title(command, &BTreeSet::new());
        let workdir = path::resolve(stage.workdir(), &written);
        if workdir.len() > LONGEST {
            let message = format!("the working directory is longer than {LONGEST} bytes");
            return Err(Diagnostic::new(message).at(self.path.span));
        }
        let created_by = format!("WORKDIR {workdir}");
        let path = path::join("/", &workdir);
        stage.config.config.working_dir = workdir;
        let user = stage.config.config.user.clone();
        let created = stage.globals.epoch();
        let op = Op::Workdir(plan::Workdir { path, user, created });
        stage.push(command, op, title, Some(created_by))
    }
}
