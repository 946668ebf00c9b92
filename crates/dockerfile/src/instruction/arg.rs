//! `ARG name[=default]…`.

use crate::diagnostic::Diagnostic;
use crate::fragment::Fragment;
use crate::parts::Parts;
use crate::source::Word;

/// Declares build arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arg {
    /// The arguments in their order; at least one. Later ones see earlier ones.
    pub declarations: Vec<Declaration>,
}

/// One argument of an `ARG`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Declaration {
    /// The name; it may be quoted.
    pub name: Word,
    /// The default, if there is an `=`.
    pub value: Option<Word>,
}

impl Arg {
    pub(super) fn parse(parts: &Parts<'_>, words: Vec<Fragment<'_>>) -> Result<Self, Diagnostic> {
        // Flags are not looked at, as in BuildKit: whatever they are, they are dropped.
        if words.is_empty() {
            return Err(parts.needs_an_operand());
        }
        let declarations = words.into_iter().map(Declaration::parse).collect::<Result<_, _>>()?;
        Ok(Self { declarations })
    }
}

impl Declaration {
    fn parse(word: Fragment<'_>) -> Result<Self, Diagnostic> {
        let (name, value) = word.cut('=');
        if name.is_empty() {
            return Err(Diagnostic::new("ARG names can not be blank").at(word.span()));
        }
        Ok(Self { name: name.word(), value: value.map(Fragment::word) })
    }
}
