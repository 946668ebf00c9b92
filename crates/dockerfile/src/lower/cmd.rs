//! `CMD`, and what becomes of a command in shell form.

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::{Cmd, CommandLine};
use crate::quoted::quoted_list;

impl Lower for Cmd {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let argv = argv(&self.command, stage);
        let created_by = format!("CMD {}", quoted_list(&argv));
        stage.config.config.cmd = non_empty(argv);
        stage.config.config.args_escaped = true;
        stage.own_cmd = true;
        stage.edit(command, created_by)
    }
}

/// The arguments of a command; the shell form is given to the shell of the stage.
pub(super) fn argv(command: &CommandLine, stage: &StageState<'_>) -> Vec<String> {
    match command {
        CommandLine::Exec(argv) => argv.clone(),
        CommandLine::Shell(text) => {
            let mut argv = stage.shell();
            argv.push(text.clone());
            argv
        }
    }
}

/// An image config has no empty lists of arguments: they are left out.
pub(super) fn non_empty(argv: Vec<String>) -> Option<Vec<String>> {
    if argv.is_empty() { None } else { Some(argv) }
}
