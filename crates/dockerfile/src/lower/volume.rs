//! `VOLUME`.

use oci::config::Empty;

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Volume;

impl Lower for Volume {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let mut paths = Vec::new();
        for word in &self.paths {
            let path = stage.expand(word)?;
            if path.is_empty() {
                let message = "VOLUME specified can not be an empty string";
                return Err(Diagnostic::new(message).at(word.span));
            }
            paths.push(path);
        }
        let created_by = format!("VOLUME [{}]", paths.join(" "));
        let volumes = &mut stage.config.config.volumes;
        volumes.extend(paths.into_iter().map(|path| (path, Empty {})));
        stage.edit(command, created_by)
    }
}
