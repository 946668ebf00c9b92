//! Variables that nothing defines.

use super::{Findings, Place, table::Rule};
use crate::instruction::Instruction;
use crate::lower::Seen;
use crate::nearest::nearest_by_letter;

pub(super) static UNDEFINED_VAR: Rule = Rule::of_buildkit(
    "UndefinedVar",
    "undefined-var",
    "Variables should be defined before their use",
);

/// With so many findings, no further name is looked for that was probably meant.
const MOST_HINTS: usize = 1000;

/// The names in the words of an instruction that neither `ENV`, `ARG` nor the base image defines.
///
/// Of a base that is not known no variable is known either; then only those names are said that are nearly the same as
/// one that is.
pub(super) fn check(seen: &Seen<'_>, is_base_known: bool, findings: &mut Findings) {
    if seen.expansions.unset.is_empty() {
        return;
    }
    let above = seen.scope.variables().iter().take(seen.variables_above);
    for name in &seen.expansions.unset {
        if seen.scope.declares(name) && only_declaration(seen.instruction) != Some(name) {
            continue;
        }
        let hint = suggestion(name, above.clone().map(|(name, _)| name.as_str()), findings);
        // `GOPATH` is no mistyped `PATH`: a base that has it is more likely.
        let is_mistyped = |hint: &str| !name.contains(hint);
        if !is_base_known && !hint.is_some_and(is_mistyped) {
            continue;
        }
        let hint = hint.map_or(String::new(), |hint| format!(" (did you mean ${hint}?)"));
        let message = format!("Usage of undefined variable '${name}'{hint}");
        let place = Place { lines: seen.lines, comments: seen.comments };
        findings.add(&UNDEFINED_VAR, place, message);
    }
}

/// What an `ARG` with one name declares: its default cannot mean that.
fn only_declaration(instruction: &Instruction) -> Option<&str> {
    match instruction {
        Instruction::Arg(arg) => match arg.declarations.as_slice() {
            [only] => Some(&only.name.text),
            _ => None,
        },
        _ => None,
    }
}

/// The name that was probably meant. Unlike in the hints of errors, upper and lower case are different letters here, and two
/// differences are allowed in the shortest name, as in BuildKit.
pub(super) fn suggestion<'n>(
    name: &str,
    names: impl Iterator<Item = &'n str>,
    findings: &Findings,
) -> Option<&'n str> {
    if findings.count() > MOST_HINTS {
        return None;
    }
    nearest_by_letter(name, names).filter(|(distance, _)| *distance > 0).map(|(_, name)| name)
}
