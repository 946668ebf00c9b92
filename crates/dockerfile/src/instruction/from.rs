//! `FROM [--platform=platform] image [AS name]`.

use crate::diagnostic::Diagnostic;
use crate::flag::Takes;
use crate::fragment::Fragment;
use crate::parts::Parts;
use crate::quoted::quoted;
use crate::source::{Spanned, Word};

/// Opens a stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct From {
    /// `--platform`.
    pub platform: Option<Word>,
    /// The base: a stage, a named context, an image or `scratch`.
    pub image: Word,
    /// The stage's name in lower case.
    pub name: Option<Spanned<String>>,
}

impl From {
    pub(super) fn parse(parts: &Parts<'_>, words: Vec<Fragment<'_>>) -> Result<Self, Diagnostic> {
        let (image, name) = match words.as_slice() {
            [image] => (image, None),
            [image, keyword, name] if keyword.text().eq_ignore_ascii_case("as") => {
                (image, Some(stage_name(*name)?))
            }
            _ => return Err(wrong_operands(parts)),
        };
        let flags = parts.check_flags(&[("platform", Takes::Value)])?;
        Ok(Self { platform: flags.word("platform"), image: image.word(), name })
    }
}

fn wrong_operands(parts: &Parts<'_>) -> Diagnostic {
    let place = if parts.operands.is_empty() { parts.line } else { parts.operands };
    Diagnostic::new("FROM requires either one or three arguments")
        .at(place.span())
        .hint("write FROM image, or FROM image AS name")
}

/// `^[a-z][a-z0-9-_.]*$`, in lower case.
fn stage_name(word: Fragment<'_>) -> Result<Spanned<String>, Diagnostic> {
    let name = word.text().to_lowercase();
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let legal = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    if starts_well && name.chars().all(legal) {
        return Ok(Spanned::new(name, word.span()));
    }
    let message = format!(
        "invalid name for build stage: {}, name can't start with a number or contain symbols",
        quoted(word.text())
    );
    Err(Diagnostic::new(message).at(word.span()))
}
