//! Names of stages: used once, and not for something else.

use std::collections::BTreeSet;

use super::{Findings, Place, table::Rule};
use crate::ast::Dockerfile;
use crate::quoted::quoted;

pub(super) static DUPLICATE_STAGE_NAME: Rule =
    Rule::of_buildkit("DuplicateStageName", "duplicate-stage-name", "Stage names should be unique");

pub(super) static RESERVED_STAGE_NAME: Rule = Rule::of_buildkit(
    "ReservedStageName",
    "reserved-stage-name",
    "Reserved words should not be used as stage names",
);

/// The names that mean something in `FROM` and `--from`.
const RESERVED: [&str; 2] = ["scratch", "context"];

/// The names of all stages.
pub(super) fn check(file: &Dockerfile, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for stage in &file.stages {
        let Some(name) = &stage.from.instruction.name else { continue };
        let (name, place) = (name.value.as_str(), Place::of(&stage.from));
        if RESERVED.contains(&name) {
            let message = format!(
                "Stage name should not use the same name as reserved stage {}",
                quoted(name)
            );
            findings.add(&RESERVED_STAGE_NAME, place, message);
        }
        if !names.insert(name) {
            let message =
                format!("Duplicate stage name {}, stage names should be unique", quoted(name));
            findings.add(&DUPLICATE_STAGE_NAME, place, message);
        }
    }
}
