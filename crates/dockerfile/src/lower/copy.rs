//! `COPY`, and what it has in common with `ADD`.

use std::collections::BTreeSet;

use plan::{Op, Origin, Script};

use super::graph::Command;
use super::mode::is_mode;
use super::path;
use super::remote::Kind;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::{Copy, CopySource};
use crate::source::Word;

impl Lower for Copy {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let origin = match command.links.first().and_then(Option::as_ref) {
            None => Origin::Context,
            Some(link) => {
                let label = &stage.label;
                let mistake = format!(
                    "cannot copy from stage {{}}, it needs to be defined before current stage \"{label}\""
                );
                let from = self.from.as_ref().map_or(command.place.span, |from| from.span);
                stage.origin(link, &mistake).map_err(|error| error.at(from))?
            }
        };
        let operands = Operands {
            chown: self.chown.as_ref(),
            chmod: self.chmod.as_ref(),
            link: self.link,
            exclude: &self.exclude,
            sources: &self.sources,
            destination: &self.destination,
        };
        let mut copy = operands.lower(stage, origin)?;
        for (source, word) in copy.sources.iter().zip(&self.sources) {
            let what = match source {
                plan::CopySource::Url(_) => "a URL",
                plan::CopySource::Git(_) => "a git ref",
                plan::CopySource::Path(_) | plan::CopySource::Heredoc(_) => continue,
            };
            let error = Diagnostic::new(format!("source can't be {what} for COPY"))
                .hint("ADD fetches files from addresses, and git repositories");
            return Err(match word {
                CopySource::Path(word) => error.at(word.span),
                CopySource::Heredoc(_) => error,
            });
        }
        copy.parents = self.parents;
        copy.if_exists = self.if_exists;
        push(stage, command, copy, &self.destination)
    }
}

/// What `COPY` and `ADD` both have.
pub(super) struct Operands<'a> {
    pub(super) chown: Option<&'a Word>,
    pub(super) chmod: Option<&'a Word>,
    pub(super) link: bool,
    pub(super) exclude: &'a [Word],
    pub(super) sources: &'a [CopySource],
    pub(super) destination: &'a Word,
}

impl Operands<'_> {
    /// Expands everything but `--exclude`, and reads what has been expanded.
    pub(super) fn lower(
        &self,
        stage: &StageState<'_>,
        origin: Origin,
    ) -> Result<plan::Copy, Diagnostic> {
        let expand = |word: Option<&Word>| match word {
            Some(word) => stage.expand(word).map(|text| Some(text).filter(|text| !text.is_empty())),
            None => Ok(None),
        };
        let chmod = expand(self.chmod)?;
        if let (Some(mode), Some(word)) = (&chmod, self.chmod)
            && !is_mode(mode)
        {
            return Err(Diagnostic::new(format!(
                "invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777"
            ))
            .at(word.span)
            .hint("write an octal mode such as 0755, or a symbolic one such as u=rwX,go=rX"));
        }
        let mut sources = Vec::new();
        for source in self.sources {
            sources.push(match source {
                CopySource::Path(word) => {
                    let source = stage.expand(word)?;
                    let wrong = |mistake: plan::GitMistake| {
                        Diagnostic::new(mistake.to_string()).at(word.span)
                    };
                    match Kind::of(&source).map_err(wrong)? {
                        Kind::Path => plan::CopySource::Path(source),
                        Kind::Url => plan::CopySource::Url(source),
                        Kind::Git => plan::CopySource::Git(source),
                    }
                }
                CopySource::Heredoc(heredoc) => {
                    let body = match heredoc.expand {
                        true => stage.expand_heredoc(heredoc)?,
                        false => heredoc.contents(),
                    };
                    plan::CopySource::Heredoc(Script { name: heredoc.name.clone(), body })
                }
            });
        }
        let destination = stage.expand(self.destination)?;
        let dest = path::join_destination(stage.workdir(), &destination);
        Ok(plan::Copy {
            chown: expand(self.chown)?,
            // An independent layer cannot have the modes of directories that are in layers below.
            link: self.link && chmod.is_none(),
            chmod,
            exclude: self.exclude.iter().map(|word| word.text.clone()).collect(),
            created: stage.globals.epoch(),
            ..plan::Copy::new(origin, sources, dest)
        })
    }
}

/// Adds the step. The history shows the destination as it was expanded, not joined.
pub(super) fn push(
    stage: &mut StageState<'_>,
    command: &Command<'_>,
    copy: plan::Copy,
    destination: &Word,
) -> Result<(), Diagnostic> {
    let mut created_by = if copy.add { "ADD" } else { "COPY" }.to_owned();
    if copy.parents {
        created_by.push_str(" --parents");
    }
    for (flag, value) in [("chown", &copy.chown), ("chmod", &copy.chmod)] {
        if let Some(value) = value {
            created_by.push_str(&format!(" --{flag}={value}"));
        }
    }
    for source in &copy.sources {
        let (mark, text) = match source {
            plan::CopySource::Path(text)
            | plan::CopySource::Url(text)
            | plan::CopySource::Git(text) => ("", text),
            plan::CopySource::Heredoc(script) => ("<<", &script.name),
        };
        created_by.push_str(&format!(" {mark}{text}"));
    }
    let destination = stage.expand(destination)?;
    created_by.push_str(&format!(" {destination} # buildkit"));
    let title = stage.title(command, &BTreeSet::new());
    stage.push(command, Op::Copy(copy), title, Some(created_by))
}
