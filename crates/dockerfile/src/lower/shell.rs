//! `SHELL`: what shell forms below are given to.

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Shell;

impl Lower for Shell {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        stage.config.config.shell.clone_from(&self.argv);
        stage.edit(command, format!("SHELL [{}]", self.argv.join(" ")))
    }
}
