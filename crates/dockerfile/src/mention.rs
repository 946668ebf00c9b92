//! Where a Dockerfile names an image, for who finds that it cannot be had.

use oci::Reference;

use crate::{
    ast::{Dockerfile, Statement},
    diagnostic::Diagnostic,
    instruction::Instruction,
    nearest::nearest,
    source::Word,
};

/// Returns `message` at the first place where `file` names the image, with the nearest name of a stage or of `others`, which
/// are named contexts and images, as a hint: a mistyped one is taken for an image.
///
/// Returns `None` for an image whose name is put together from variables or comes from a trigger.
pub fn at_mention(
    file: &Dockerfile,
    image: &Reference,
    others: &[&str],
    message: &str,
) -> Option<Diagnostic> {
    let (word, lines) = words(file).find(|(word, _)| {
        Reference::parse(&word.text).is_ok_and(|named| named.tagged() == image.tagged())
    })?;
    let stages = file.stages.iter().filter_map(|stage| stage.from.instruction.name.as_ref());
    let names = stages.map(|name| name.value.as_str()).chain(others.iter().copied());
    let others = names.filter(|name| *name != word.text);
    let diagnostic = Diagnostic::new(message).at(word.span).on_lines(lines);
    Some(diagnostic.did_you_mean(nearest(&word.text, others)))
}

/// Every word of a Dockerfile that may name an image.
fn words(file: &Dockerfile) -> impl Iterator<Item = (&Word, (usize, usize))> {
    file.stages.iter().flat_map(|stage| {
        let from = (&stage.from.instruction.image, stage.from.lines);
        std::iter::once(from).chain(stage.steps.iter().flat_map(in_step))
    })
}

fn in_step(step: &Statement) -> Vec<(&Word, (usize, usize))> {
    let words: Vec<&Word> = match &step.instruction {
        Instruction::Copy(copy) => copy.from.iter().collect(),
        Instruction::Run(run) => {
            let options = run.mounts.iter().flat_map(|mount| &mount.options);
            options
                .filter(|option| option.key == "from")
                .filter_map(|option| option.value.as_ref())
                .collect()
        }
        _ => Vec::new(),
    };
    words.into_iter().map(|word| (word, step.lines)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    type Told = (Option<(usize, usize)>, Option<String>);

    fn mention(text: &str, image: &str) -> Option<Told> {
        let file = parse("Dockerfile", text.as_bytes()).unwrap();
        let image = Reference::parse(image).unwrap();
        let found = at_mention(&file, &image, &["assets"], "not found")?;
        Some((found.lines, found.hint))
    }

    #[test]
    fn a_mistyped_stage_or_context_is_met_with_the_right_one() {
        for (text, image, lines, hint) in [
            ("FROM a AS build\nFROM bild\n", "bild", (2, 2), Some("did you mean build?")),
            (
                "FROM a AS build\nFROM a\nCOPY --from=buidl /x /\n",
                "buidl",
                (3, 3),
                Some("did you mean build?"),
            ),
            (
                "FROM a\nRUN --mount=from=asets,target=/m true\n",
                "asets",
                (2, 2),
                Some("did you mean assets?"),
            ),
            ("FROM debian:12 AS x\n", "debian:12", (1, 1), None),
        ] {
            let found = mention(text, image).unwrap();
            assert_eq!(found, (Some(lines), hint.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn what_the_file_does_not_name_has_no_place() {
        assert_eq!(mention("ARG X=b\nFROM $X\n", "b"), None);
    }
}
