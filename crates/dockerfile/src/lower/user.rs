//! `USER`: looked up in the root file system when something is run.

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::User;

impl Lower for User {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let user = stage.expand(&self.user)?;
        let created_by = format!("USER {user}");
        stage.config.config.user = user;
        stage.edit(command, created_by)
    }
}
