//! `STOPSIGNAL`: a signal by name or number.

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Stopsignal;

impl Lower for Stopsignal {
    /// The signal is stored as it was written.
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let signal = stage.expand(&self.signal)?;
        Self::check(&signal).map_err(|diagnostic| diagnostic.at(self.signal.span))?;
        let created_by = format!("STOPSIGNAL {signal}");
        stage.config.config.stop_signal = signal;
        stage.edit(command, created_by)
    }
}
