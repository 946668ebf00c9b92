//! `ENV name=value…` or `ENV name value`.

use crate::diagnostic::Diagnostic;
use crate::parts::Parts;
use crate::source::Word;

/// Sets environment variables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Env {
    /// The variables in their order; at least one.
    pub pairs: Vec<Pair>,
}

/// One `key=value` of `ENV` or `LABEL`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// What is left of the first `=`.
    pub key: Word,
    /// What is right of it.
    pub value: Word,
    /// True for the old form without `=`, where the value is the rest of the line.
    pub legacy: bool,
}

impl Env {
    pub(super) fn parse(parts: &Parts<'_>, pairs: Vec<Pair>) -> Result<Self, Diagnostic> {
        parts.check_no_flags()?;
        if pairs.is_empty() {
            return Err(parts.needs_an_operand());
        }
        Ok(Self { pairs })
    }
}
