//! `MAINTAINER`: the author of the image.

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Maintainer;

impl Lower for Maintainer {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        stage.config.author.clone_from(&self.name);
        stage.edit(command, format!("MAINTAINER {}", self.name))
    }
}
