//! `USER user[:group]`.

use crate::diagnostic::Diagnostic;
use crate::parts::Parts;
use crate::source::Word;

/// Sets the user for the commands that follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The user and, after a colon, the group: names or numbers.
    pub user: Word,
}

impl User {
    pub(super) fn parse(parts: &Parts<'_>) -> Result<Self, Diagnostic> {
        let user = parts.only_operand()?.word();
        parts.check_no_flags()?;
        Ok(Self { user })
    }
}
