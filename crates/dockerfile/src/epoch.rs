//! `SOURCE_DATE_EPOCH`: the number it is, or whose time it stands for.
//!
//! It is the build argument, or the global `ARG` of that name. Besides a number of seconds it can be `context`, a named
//! context, or a stage that does nothing but fetch one file or repository: then the one who builds has to find out how
//! old that is ([`EpochSource`]), and says so in [`Request::epoch`].

use std::collections::BTreeMap;

use plan::{Copy, Origin};

use crate::ast::{Dockerfile, Stage};
use crate::diagnostic::Diagnostic;
use crate::instruction::{Add, Arg, CopySource, Instruction};
use crate::lower::{Kind, Request, check_checksum, named_context};
use crate::scope::Globals;
use crate::source::Word;
use crate::word;

/// The argument that fixes all times of a build.
pub(crate) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Whose time the epoch is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EpochSource {
    /// The build context: of a commit its time, of a file of the web when it was modified, or else the newest of the
    /// files if it is an archive. A directory has no time.
    Context,
    /// A named context, by its key in [`Request::contexts`]; the same rules.
    Named(String),
    /// What a stage adds, which has one source: an address. The same rules.
    Added(Box<Copy>),
}

/// What an argument says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Epoch {
    /// Nothing, or that there is none.
    None,
    /// Seconds since 1970.
    At(i64),
    /// The time of something.
    Of(EpochSource),
}

/// What `SOURCE_DATE_EPOCH` stands for if it is no number. Fails for a value that is nothing at all.
pub fn epoch_source(
    file: &Dockerfile,
    request: &Request,
) -> Result<Option<EpochSource>, Diagnostic> {
    Globals::of(file, request).map(Globals::into_epoch_source)
}

/// Reads the value of the argument; `globals` are those that a stage sees.
pub(crate) fn read(
    value: &str,
    file: &Dockerfile,
    request: &Request,
    globals: &BTreeMap<String, String>,
) -> Result<Epoch, Diagnostic> {
    if value.is_empty() {
        return Ok(Epoch::None);
    }
    if let Ok(seconds) = value.parse() {
        return Ok(Epoch::At(seconds));
    }
    if value == "context" {
        return Ok(Epoch::Of(EpochSource::Context));
    }
    if let Some((name, _)) = named_context(request, value, &request.platform) {
        return Ok(Epoch::Of(EpochSource::Named(name)));
    }
    let is_named = |stage: &&Stage| {
        let name = stage.from.instruction.name.as_ref();
        name.is_some_and(|name| name.value.eq_ignore_ascii_case(value))
    };
    match file.stages.iter().find(is_named) {
        Some(stage) => {
            let copy = added(stage, file, request, globals)?;
            Ok(Epoch::Of(EpochSource::Added(Box::new(copy))))
        }
        None => Err(invalid(value, file)),
    }
}

fn invalid(value: &str, file: &Dockerfile) -> Diagnostic {
    let error = Diagnostic::new(format!("invalid {SOURCE_DATE_EPOCH}: {value}")).hint(
        "it is a number of seconds since 1970, `context`, a named context, or a stage with nothing but an ADD of an address",
    );
    let declaration = file.global_args.iter().find(|statement| {
        let mut declarations = statement.instruction.declarations.iter();
        declarations.any(|declaration| declaration.name.text == SOURCE_DATE_EPOCH)
    });
    match declaration {
        Some(statement) => error.at(statement.span).on_lines(statement.lines),
        None => error,
    }
}

/// What a stage adds; it may have arguments, and nothing else.
fn added(
    stage: &Stage,
    file: &Dockerfile,
    request: &Request,
    globals: &BTreeMap<String, String>,
) -> Result<Copy, Diagnostic> {
    let from = &stage.from;
    let mut scope = Scope {
        escape: file.directives.escape,
        build_args: &request.build_args,
        values: globals.clone(),
    };
    // A stage cannot tell what it is asked for.
    scope.values.remove(SOURCE_DATE_EPOCH);
    let mistake = |message: &str| Diagnostic::new(message).at(from.span).on_lines(from.lines);
    if scope.expand(&from.instruction.image)? != "scratch" {
        return Err(mistake("SOURCE_DATE_EPOCH stage must use FROM scratch"));
    }
    let mut found = None;
    for statement in &stage.steps {
        match &statement.instruction {
            Instruction::Arg(arg) => scope.declare(arg)?,
            Instruction::Add(_) if found.is_some() => {
                let message = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD";
                return Err(Diagnostic::new(message).at(statement.span).on_lines(statement.lines));
            }
            Instruction::Add(add) => {
                let copy = scope.remote(add);
                found =
                    Some(copy.map_err(|error| error.at(statement.span).on_lines(statement.lines))?);
            }
            other => {
                let message = format!(
                    "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported {} instruction",
                    other.keyword()
                );
                return Err(Diagnostic::new(message).at(statement.span).on_lines(statement.lines));
            }
        }
    }
    found.ok_or_else(|| mistake("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"))
}

/// What is visible in such a stage.
struct Scope<'a> {
    escape: char,
    build_args: &'a BTreeMap<String, String>,
    values: BTreeMap<String, String>,
}

impl Scope<'_> {
    fn expand(&self, word: &Word) -> Result<String, Diagnostic> {
        word::expand(&word.text, self.escape, &|name| self.values.get(name).cloned())
            .map_err(|error| error.diagnostic(word.span, self.escape))
    }

    fn declare(&mut self, arg: &Arg) -> Result<(), Diagnostic> {
        for declaration in &arg.declarations {
            let name = &declaration.name.text;
            let value = match (self.build_args.get(name), &declaration.value) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => self.expand(default)?,
                (None, None) => continue,
            };
            self.values.insert(name.clone(), value);
        }
        Ok(())
    }

    fn remote(&self, add: &Add) -> Result<Copy, Diagnostic> {
        let [CopySource::Path(word)] = &add.sources[..] else {
            let message = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source";
            return Err(Diagnostic::new(message));
        };
        let address = self.expand(word)?;
        let kind = Kind::of(&address)
            .map_err(|mistake| Diagnostic::new(mistake.to_string()).at(word.span))?;
        let source = match kind {
            Kind::Url => plan::CopySource::Url(address),
            Kind::Git => plan::CopySource::Git(address),
            Kind::Path => {
                let message = "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD";
                return Err(Diagnostic::new(message).at(word.span));
            }
        };
        let sources = vec![source];
        let checksum = match &add.checksum {
            Some(word) => Some((word, self.expand(word)?)).filter(|(_, text)| !text.is_empty()),
            None => None,
        };
        if let Some((word, checksum)) = &checksum {
            check_checksum(&sources, checksum).map_err(|error| error.at(word.span))?;
        }
        Ok(Copy {
            add: true,
            checksum: checksum.map(|(_, checksum)| checksum),
            keep_git_dir: add.keep_git_dir,
            ..Copy::new(Origin::Context, sources, "/")
        })
    }
}

#[cfg(test)]
mod tests;
