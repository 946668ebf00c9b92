//! Arguments of the build that the file has under another name.

use super::{Findings, Place, table::Rule};
use crate::ast::Dockerfile;
use crate::instruction::{Arg, Instruction};
use crate::lower::Request;
use crate::nearest::nearest;

pub(super) static MISSPELT_BUILD_ARG: Rule = Rule::of_kiln(
    "MisspeltBuildArg",
    "A value is given for an argument that no ARG declares, and one is called nearly the same",
);

/// What is given without being declared: proxies, and what steers the builder.
const UNDECLARED: [&str; 7] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SOURCE_DATE_EPOCH",
    "BUILDKIT_",
];

/// The names given on the command line.
///
/// Those that are near to no declared one are nobody's mistake: many Dockerfiles are built with the same arguments. BuildKit
/// is silent about all of them for that reason.
pub(super) fn check(file: &Dockerfile, request: &Request, findings: &mut Findings) {
    let in_stages =
        file.stages.iter().flat_map(|stage| &stage.steps).filter_map(|step| {
            match &step.instruction {
                Instruction::Arg(arg) => Some((arg, Place::of(step))),
                _ => None,
            }
        });
    let global =
        file.global_args.iter().map(|statement| (&statement.instruction, Place::of(statement)));
    let args: Vec<(&Arg, Place<'_>)> = global.chain(in_stages).collect();
    let names = || {
        args.iter().flat_map(|(arg, place)| {
            arg.declarations.iter().map(move |declaration| (declaration.name.text.as_str(), *place))
        })
    };
    for given in request.build_args.keys() {
        let is_known = UNDECLARED.iter().any(|known| {
            given.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known))
        });
        if is_known || names().any(|(name, _)| name == given) {
            continue;
        }
        let others = names().map(|(name, _)| name);
        let others = others.filter(|name| !request.build_args.contains_key(*name));
        let Some(meant) = nearest(given, others) else { continue };
        let place = names().find(|(name, _)| *name == meant).map(|(_, place)| place);
        let message = format!("--build-arg {given} is used by no ARG (did you mean {meant}?)");
        if let Some(place) = place {
            findings.add(&MISSPELT_BUILD_ARG, place, message);
        }
    }
}
