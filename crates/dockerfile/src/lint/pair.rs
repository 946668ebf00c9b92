//! The old form of `ENV` and `LABEL`.

use super::{Findings, Place, keyword, table::Rule};
use crate::instruction::{Instruction, Pair};
use crate::lower::Seen;

pub(super) static LEGACY_KEY_VALUE_FORMAT: Rule = Rule::of_buildkit(
    "LegacyKeyValueFormat",
    "legacy-key-value-format",
    "Legacy key/value format with whitespace separator should not be used",
);

/// `ENV key value` and `LABEL key value`.
pub(super) fn check(seen: &Seen<'_>, findings: &mut Findings) {
    let pairs: &[Pair] = match seen.instruction {
        Instruction::Env(env) => &env.pairs,
        Instruction::Label(label) => &label.pairs,
        _ => return,
    };
    if pairs.iter().any(|pair| pair.legacy) {
        let name = keyword(seen.text);
        let message = format!(
            "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
        );
        let place = Place { lines: seen.lines, comments: seen.comments };
        findings.add(&LEGACY_KEY_VALUE_FORMAT, place, message);
    }
}
