//! Lines: what a blank one in an instruction means.

use super::{Findings, Place, table::Rule};
use crate::ast::Dockerfile;

pub(super) static NO_EMPTY_CONTINUATION: Rule = Rule::of_buildkit(
    "NoEmptyContinuation",
    "no-empty-continuation",
    "Empty continuation lines will become errors in a future release",
);

/// Blank lines in the middle of an instruction; said of its last line, as BuildKit does.
pub(super) fn check(file: &Dockerfile, findings: &mut Findings) {
    for (_, last) in &file.empty_continuations {
        let place = Place { lines: (*last, *last), comments: &[] };
        findings.add(&NO_EMPTY_CONTINUATION, place, "Empty continuation line");
    }
}
