//! Comments that describe stages and arguments: `# name what it is for`.

use super::{Findings, Place, table::Rule};
use crate::ast::Statement;
use crate::instruction::{Arg, From};

pub(super) static INVALID_DEFINITION_DESCRIPTION: Rule = Rule::of_buildkit(
    "InvalidDefinitionDescription",
    "invalid-definition-description",
    "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not \
     intended to be a description comment, add an empty line or comment between the instruction and the comment.",
)
.experimental();

/// The comment above a stage with a name.
pub(super) fn check_from(from: &Statement<From>, findings: &mut Findings) {
    if let Some(name) = &from.instruction.name {
        check("FROM", &[&name.value], Place::of(from), findings);
    }
}

/// The comment above an `ARG`, be it in a stage or not.
pub(super) fn check_arg(arg: &Arg, place: Place<'_>, findings: &mut Findings) {
    let names: Vec<&str> =
        arg.declarations.iter().map(|declaration| declaration.name.text.as_str()).collect();
    check("ARG", &names, place, findings);
}

/// Only the last line above the instruction has to begin with one of its names.
fn check(keyword: &str, names: &[&str], place: Place<'_>, findings: &mut Findings) {
    let Some(comment) = place.comments.last() else { return };
    if names.contains(&comment.split(' ').next().unwrap_or_default()) {
        return;
    }
    let name = match names {
        [name] => name,
        _ => "<arg_key>",
    };
    let message =
        format!("Comment for {keyword} should follow the format: `# {name} <description>`");
    findings.add(&INVALID_DEFINITION_DESCRIPTION, place, message);
}
