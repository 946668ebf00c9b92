//! `EXPOSE port[-port][/protocol]…`.

use crate::diagnostic::Diagnostic;
use crate::fragment::Fragment;
use crate::parts::Parts;
use crate::source::Word;

/// Declares the ports the image listens on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expose {
    /// The words, sorted as text; at least one. Each may expand to several ports.
    pub ports: Vec<Word>,
}

impl Expose {
    pub(super) fn parse(parts: &Parts<'_>, words: Vec<Fragment<'_>>) -> Result<Self, Diagnostic> {
        if words.is_empty() {
            return Err(parts.needs_an_operand());
        }
        parts.check_no_flags()?;
        let mut ports: Vec<Word> = words.into_iter().map(Fragment::word).collect();
        ports.sort_by(|left, right| left.text.cmp(&right.text));
        Ok(Self { ports })
    }
}
