//! `LABEL`.

use super::env::{describe, expand_pairs};
use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Label;

impl Lower for Label {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let pairs = expand_pairs(&self.pairs, stage)?;
        let created_by = describe("LABEL", &pairs);
        stage.config.config.labels.extend(pairs);
        stage.edit(command, created_by)
    }
}
