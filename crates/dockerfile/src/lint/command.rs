//! What a container runs, and who made the image.

use super::{Findings, Place, keyword, table::Rule};
use crate::ast::Statement;
use crate::instruction::{CommandLine, Instruction};
use crate::lower::Seen;

pub(super) static JSON_ARGS_RECOMMENDED: Rule = Rule::of_buildkit(
    "JSONArgsRecommended",
    "json-args-recommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
);

pub(super) static MULTIPLE_INSTRUCTIONS_DISALLOWED: Rule = Rule::of_buildkit(
    "MultipleInstructionsDisallowed",
    "multiple-instructions-disallowed",
    "Multiple instructions of the same type should not be used in the same stage",
);

pub(super) static MAINTAINER_DEPRECATED: Rule = Rule::of_buildkit(
    "MaintainerDeprecated",
    "maintainer-deprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
);

/// Where a stage has the instructions of which the last one wins.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    cmd: Option<(usize, usize)>,
    entrypoint: Option<(usize, usize)>,
    healthcheck: Option<(usize, usize)>,
}

/// `CMD`, `ENTRYPOINT` and `HEALTHCHECK`: once each, and the first two better not for a shell.
pub(super) fn check(seen: &Seen<'_>, last: &mut Last, findings: &mut Findings) {
    let (place, command) = match seen.instruction {
        Instruction::Cmd(cmd) => (&mut last.cmd, Some(&cmd.command)),
        Instruction::Entrypoint(entrypoint) => (&mut last.entrypoint, Some(&entrypoint.command)),
        Instruction::Healthcheck(_) => (&mut last.healthcheck, None),
        _ => return,
    };
    let name = keyword(seen.text);
    if let Some(lines) = place.replace(seen.lines) {
        let message = format!(
            "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
        );
        let ignored = Place { lines, comments: seen.comments };
        findings.add(&MULTIPLE_INSTRUCTIONS_DISALLOWED, ignored, message);
    }
    if matches!(command, Some(CommandLine::Shell(_))) && !seen.has_shell {
        let message = format!(
            "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
        );
        let place = Place { lines: seen.lines, comments: seen.comments };
        findings.add(&JSON_ARGS_RECOMMENDED, place, message);
    }
}

/// `MAINTAINER`.
pub(super) fn check_maintainer(step: &Statement, findings: &mut Findings) {
    if matches!(step.instruction, Instruction::Maintainer(_)) {
        let message = "Maintainer instruction is deprecated in favor of using label";
        findings.add(&MAINTAINER_DEPRECATED, Place::of(step), message);
    }
}
