//! Working directories that depend on the base image.

use super::{Findings, Place, table::Rule};
use crate::instruction::Instruction;
use crate::lower::Seen;
use crate::quoted::quoted;

pub(super) static WORKDIR_RELATIVE_PATH: Rule = Rule::of_buildkit(
    "WorkdirRelativePath",
    "workdir-relative-path",
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image \
     changes",
);

/// The first `WORKDIR` of a stage and those it starts from. `is_set` is whether there was one. A base that is not known may
/// be of Windows.
pub(super) fn check(
    seen: &Seen<'_>,
    is_base_known: bool,
    is_set: &mut bool,
    findings: &mut Findings,
) {
    let Instruction::Workdir(workdir) = seen.instruction else { return };
    let path = seen.expansions.text(&workdir.path.text);
    let is_absolute = path.starts_with('/') || (!is_base_known && has_drive(path));
    if !*is_set && !is_absolute && !seen.is_trigger {
        let message = format!(
            "Relative workdir {} can have unexpected results if the base image changes",
            quoted(path)
        );
        let place = Place { lines: seen.lines, comments: seen.comments };
        findings.add(&WORKDIR_RELATIVE_PATH, place, message);
    }
    *is_set = true;
}

/// `C:\…` or `C:/…`
fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic())
}
