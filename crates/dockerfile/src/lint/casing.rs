//! Upper and lower case of keywords and stage names.

use super::{Findings, Place, keyword, table::Rule};
use crate::ast::{Dockerfile, Statement};
use crate::instruction::From;

pub(super) static STAGE_NAME_CASING: Rule =
    Rule::of_buildkit("StageNameCasing", "stage-name-casing", "Stage names should be lowercase");

pub(super) static FROM_AS_CASING: Rule = Rule::of_buildkit(
    "FromAsCasing",
    "from-as-casing",
    "The 'as' keyword should match the case of the 'from' keyword",
);

pub(super) static CONSISTENT_INSTRUCTION_CASING: Rule = Rule::of_buildkit(
    "ConsistentInstructionCasing",
    "consistent-instruction-casing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
);

/// `FROM image AS name`: the name, and the `AS`. A `FROM` in mixed case is a matter of its own.
pub(super) fn check_from(from: &Statement<From>, findings: &mut Findings) {
    if from.instruction.name.is_none() {
        return;
    }
    let words: Vec<&str> = from.text.split_whitespace().collect();
    let (Some(keyword), [.., r#as, name]) = (words.first(), words.as_slice()) else { return };
    if name.to_lowercase() != **name {
        let message = format!("Stage name '{name}' should be lowercase");
        findings.add(&STAGE_NAME_CASING, Place::of(from), message);
    }
    let matches = match Case::of(keyword) {
        Case::Lower => Case::of(r#as) == Case::Lower,
        Case::Upper => Case::of(r#as) == Case::Upper,
        Case::Mixed => true,
    };
    if !matches {
        let message = format!("'{as}' and '{keyword}' keywords' casing do not match", r#as = r#as);
        findings.add(&FROM_AS_CASING, Place::of(from), message);
    }
}

/// All keywords, against the case of most of them; those before the first stage do not count.
pub(super) fn check_majority(file: &Dockerfile, findings: &mut Findings) {
    let keywords: Vec<(&str, Place<'_>)> = file
        .stages
        .iter()
        .flat_map(|stage| {
            let from = std::iter::once((keyword(&stage.from.text), Place::of(&stage.from)));
            from.chain(stage.steps.iter().map(|step| (keyword(&step.text), Place::of(step))))
        })
        .collect();
    let count = |case| keywords.iter().filter(|(keyword, _)| Case::of(keyword) == case).count();
    let (majority, called) = match count(Case::Lower) > count(Case::Upper) {
        true => (Case::Lower, "lowercase"),
        false => (Case::Upper, "uppercase"),
    };
    for (keyword, place) in keywords {
        if Case::of(keyword) != majority {
            let message = format!(
                "Command '{keyword}' should match the case of the command majority ({called})"
            );
            findings.add(&CONSISTENT_INSTRUCTION_CASING, place, message);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
    Mixed,
}

impl Case {
    fn of(keyword: &str) -> Self {
        if keyword.to_lowercase() == keyword {
            Self::Lower
        } else if keyword.to_uppercase() == keyword {
            Self::Upper
        } else {
            Self::Mixed
        }
    }
}
