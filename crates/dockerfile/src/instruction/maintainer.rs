//! `MAINTAINER name`, which is deprecated.

use crate::diagnostic::Diagnostic;
use crate::parts::Parts;

/// Sets the author of the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Maintainer {
    /// The whole rest of the line.
    pub name: String,
}

impl Maintainer {
    pub(super) fn parse(parts: &Parts<'_>) -> Result<Self, Diagnostic> {
        let name = parts.only_operand()?;
        parts.check_no_flags()?;
        Ok(Self { name: name.text().to_owned() })
    }
}
