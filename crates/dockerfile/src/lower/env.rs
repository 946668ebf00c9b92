//! `ENV`: variables of the build and of the image. Also the pairs that `ENV` and `LABEL` have in common.

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::{Env, Pair};

impl Lower for Env {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let pairs = expand_pairs(&self.pairs, stage)?;
        for (name, value) in &pairs {
            stage.set_env(name, value);
            stage.scope.set(name, value);
        }
        stage.edit(command, describe("ENV", &pairs))
    }
}

/// Expands keys and values, all of them with what was set before the instruction.
pub(super) fn expand_pairs(
    pairs: &[Pair],
    stage: &StageState<'_>,
) -> Result<Vec<(String, String)>, Diagnostic> {
    let expand = |pair: &Pair| Ok((stage.expand(&pair.key)?, stage.expand(&pair.value)?));
    pairs.iter().map(expand).collect()
}

/// The pairs as the history shows them.
pub(super) fn describe(keyword: &str, pairs: &[(String, String)]) -> String {
    let mut text = keyword.to_owned();
    for (key, value) in pairs {
        text.push(' ');
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    text
}
