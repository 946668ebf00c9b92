//! `LABEL key=value…` or `LABEL key value`.

use crate::diagnostic::Diagnostic;
use crate::instruction::Pair;
use crate::parts::Parts;

/// Adds labels to the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// The labels in their order; at least one.
    pub pairs: Vec<Pair>,
}

impl Label {
    pub(super) fn parse(parts: &Parts<'_>, pairs: Vec<Pair>) -> Result<Self, Diagnostic> {
        parts.check_no_flags()?;
        if pairs.is_empty() {
            return Err(parts.needs_an_operand());
        }
        Ok(Self { pairs })
    }
}
