//! Variables that nothing defines.

use super::{Findings, Place, table::Rule};
use crate::instruction::Instruction;
use crate::lower::Seen;
use crate::nearest::distance;

pub(super) static UNDEFINED_VAR: Rule = Rule::of_buildkit(
    "UndefinedVar",
    "undefined-var",
    "Variables should be defined before their use",
);

/// From this many differences on, two names have nothing to do with each other.
const TOO_FAR: usize = 3;

/// The names in the words of an instruction that neither `ENV`, `ARG` nor the base image defines.
///
/// Of a base that is not known no variable is known either; then only those names are said that are nearly the same as
/// one that is.
pub(super) fn check(seen: &Seen<'_>, is_base_known: bool, findings: &mut Findings) {
    if seen.expansions.unset.is_empty() {
        return;
    }
    let declared = |name: &str| seen.scope.argument_names().any(|other| other == name);
    let above = seen.scope.variables().iter().take(seen.variables_above);
    for name in &seen.expansions.unset {
        if declared(name) && only_declaration(seen.instruction) != Some(name) {
            continue;
        }
        let hint = suggestion(name, above.clone().map(|(name, _)| name.as_str()));
        if hint.is_none() && !is_base_known {
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
pub(super) fn suggestion<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let mut best = (TOO_FAR, None);
    for other in names {
        let distance = distance(name, other);
        if distance == 0 {
            return None;
        }
        if distance < best.0 {
            best = (distance, Some(other));
        }
    }
    best.1
}
