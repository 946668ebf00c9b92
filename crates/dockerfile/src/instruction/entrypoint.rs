//! `ENTRYPOINT command` or `ENTRYPOINT ["argument"…]`.

use crate::diagnostic::Diagnostic;
use crate::instruction::CommandLine;
use crate::parts::Parts;

/// Sets the entry point of the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entrypoint {
    /// The command; an empty array removes an inherited entry point.
    pub command: CommandLine,
}

impl Entrypoint {
    pub(super) fn parse(parts: &Parts<'_>, command: CommandLine) -> Result<Self, Diagnostic> {
        parts.check_no_flags()?;
        Ok(Self { command })
    }
}
