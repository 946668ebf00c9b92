//! `VOLUME path…` or `VOLUME ["path"…]`.

use crate::diagnostic::Diagnostic;
use crate::fragment::Fragment;
use crate::operand::List;
use crate::parts::Parts;
use crate::source::Word;

/// Declares directories whose contents outlive a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// The paths; at least one, none blank.
    pub paths: Vec<Word>,
}

impl Volume {
    pub(super) fn parse(parts: &Parts<'_>, list: List<'_>) -> Result<Self, Diagnostic> {
        let words = match list {
            List::Json(words) => words,
            List::Words(fragments) => fragments.into_iter().map(Fragment::word).collect(),
        };
        if words.is_empty() {
            return Err(parts.needs_an_operand());
        }
        parts.check_no_flags()?;
        let paths = words.into_iter().map(volume).collect::<Result<_, _>>()?;
        Ok(Self { paths })
    }
}

/// A path without white space at its ends, which a string of an array may have.
fn volume(word: Word) -> Result<Word, Diagnostic> {
    match word.text.trim() {
        "" => Err(Diagnostic::new("VOLUME specified can not be an empty string").at(word.span)),
        path => Ok(Word::new(path, word.span)),
    }
}
