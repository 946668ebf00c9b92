//! `WORKDIR path`.

use crate::diagnostic::Diagnostic;
use crate::parts::Parts;
use crate::source::Word;

/// Sets the working directory, and creates it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workdir {
    /// The path; relative to the working directory so far.
    pub path: Word,
}

impl Workdir {
    pub(super) fn parse(parts: &Parts<'_>) -> Result<Self, Diagnostic> {
        let path = parts.only_operand()?.word();
        parts.check_no_flags()?;
        Ok(Self { path })
    }
}
