//! `ARG`: a variable of the build that is not one of the image.

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Arg;

impl Lower for Arg {
    /// A default is expanded only if it is used, and sees the arguments in front of it in the same line.
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let mut created_by = "ARG".to_owned();
        for declaration in &self.declarations {
            let name = &declaration.name.text;
            let default = || match &declaration.value {
                Some(default) => stage.expand(default).map(Some),
                None => Ok(None),
            };
            let value = stage.globals.argument(name, default)?;
            created_by.push(' ');
            created_by.push_str(name);
            if let Some(value) = &value {
                created_by.push('=');
                created_by.push_str(value);
            }
            stage.scope.declare(name, value);
        }
        stage.edit(command, created_by)
    }
}
