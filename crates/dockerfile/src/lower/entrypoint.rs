//! `ENTRYPOINT`, which takes an inherited `CMD` away.

use super::cmd::{argv, non_empty};
use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Entrypoint;
use crate::quoted::quoted_list;

impl Lower for Entrypoint {
    /// The `CMD` of a base is made for its entry point; one of the stage itself stays.
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let argv = argv(&self.command, stage);
        let created_by = format!("ENTRYPOINT {}", quoted_list(&argv));
        stage.config.config.entrypoint = non_empty(argv);
        if !stage.own_cmd {
            stage.config.config.cmd = None;
        }
        stage.edit(command, created_by)
    }
}
