//! `CMD command` or `CMD ["argument"…]`.

use crate::diagnostic::Diagnostic;
use crate::instruction::CommandLine;
use crate::parts::Parts;

/// Sets the command of the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cmd {
    /// The command; an empty array is allowed.
    pub command: CommandLine,
}

impl Cmd {
    pub(super) fn parse(parts: &Parts<'_>, command: CommandLine) -> Result<Self, Diagnostic> {
        parts.check_no_flags()?;
        Ok(Self { command })
    }
}
