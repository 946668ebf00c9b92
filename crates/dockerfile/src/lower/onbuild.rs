//! `ONBUILD`: stored for children. What a trigger does when it is set off is in [`super::graph`].

use plan::Op;

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Onbuild;

impl Lower for Onbuild {
    /// The only instruction without a trace in the history.
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        stage.config.config.on_build.push(self.trigger.clone());
        let title = format!("ONBUILD {}", self.trigger.lines().next().unwrap_or_default());
        stage.push(command, Op::Config, title, None)
    }
}
