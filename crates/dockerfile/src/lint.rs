//! Build checks: what is legal in a Dockerfile and better written otherwise.
//!
//! The first part of the rules is BuildKit's, with its names, texts and places; the second part is about mistakes that it
//! does not look for. [`RULES`] is the table of both. Each room has a few rules with all that belongs to them:
//!
//! | room | what its rules look at |
//! |---|---|
//! | `casing`, `name`, `comment`, `line` | how the file is written |
//! | `front_end` | who is asked to read the file |
//! | `from` | base images and their platforms |
//! | `variable`, `secret`, `pair` | `ARG`, `ENV`, `LABEL` and what they define |
//! | `argument` | values given for an `ARG` |
//! | `workdir`, `command`, `expose` | what ends up in the image config |
//! | `copy` | sources in the build context |
//! | `install` (and `shell`, how it reads a `RUN`) | the order of steps, for the cache |
//!
//! [`options`] reads `# check=`; `walk` sees the instructions with the values of the build. [`portability`] is about other
//! builders. Like all of this crate the rules read no files: what they need to know of a build context comes as
//! [`ContextFacts`].

mod argument;
mod casing;
mod command;
mod comment;
mod copy;
mod expose;
mod facts;
mod from;
mod front_end;
mod install;
mod line;
mod name;
pub mod options;
mod pair;
pub mod portability;
mod secret;
mod shell;
mod table;
#[cfg(test)]
mod tests;
mod variable;
mod walk;
mod workdir;

use std::collections::BTreeMap;

pub use self::facts::{ContextFacts, GitIgnored, IgnoreFile};
pub use self::secret::is_name_of_secret;
pub use self::table::{RULES, Rule, RuleSource};

use self::options::Options;
use self::walk::Walk;
use crate::ast::{Dockerfile, Statement};
use crate::diagnostic::Diagnostic;
use crate::lower::{BaseImage, BaseRef, Request, Stages, lower_watched};
use crate::scope::Globals;
use crate::source::Source;

/// What one rule has to say about one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// What is wrong here.
    pub message: String,
    /// The first and the last physical line of the instruction, counted from 1.
    pub lines: (usize, usize),
    /// More than BuildKit says: the line of another file that is the reason, or what to write instead.
    pub detail: Option<String>,
}

/// What is examined, and with what in mind.
#[derive(Debug)]
pub struct Examination<'a> {
    /// The build that the values are of.
    pub request: &'a Request,
    /// The base images, as far as they are known. Rules that need one which is not are silent, or careful.
    pub known: &'a BTreeMap<BaseRef, BaseImage>,
    /// True to look at stages that the target does not need, too.
    pub all_stages: bool,
    /// What is known of the build context.
    pub context: ContextFacts<'a>,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Linted {
    /// What the rules say, in the order in which BuildKit says it.
    pub findings: Vec<Finding>,
    /// The first mistake that would stop the build; what is below it was not looked at.
    pub mistake: Option<Diagnostic>,
    /// The error that the findings are where the file asks for that: `# check=error=true`. Only BuildKit's rules count,
    /// so that a file that builds there builds here.
    pub violation: Option<Diagnostic>,
    /// The base images that were not known.
    pub unknown: Vec<BaseRef>,
}

/// Examines a whole Dockerfile.
pub fn lint(file: &Dockerfile, examination: &Examination<'_>) -> Linted {
    let (options, mistake) = Options::of(file, examination.request);
    if mistake.is_some() {
        return Linted { mistake, ..Linted::default() };
    }
    let mut findings = Findings::about(file, options);
    as_written(file, &mut findings);
    front_end::check(file, &mut findings);
    name::check(file, &mut findings);
    casing::check_majority(file, &mut findings);
    argument::check(file, examination.request, &mut findings);
    if let Ok(globals) = Globals::of(file, examination.request) {
        from::check(file, examination.request, &globals, &mut findings);
    }

    let stages = if examination.all_stages && examination.request.target.is_none() {
        Stages::All
    } else {
        Stages::OfTarget
    };
    let mut walk = Walk::new(file, &examination.context, &mut findings);
    let walked = lower_watched(file, examination.request, examination.known, stages, &mut walk);
    let unknown = walk.unknown();
    let violation = findings.violation();
    Linted { findings: findings.found, mistake: walked.err(), violation, unknown }
}

/// Examines what is above a mistake of [`parse_as_far_as_possible`](crate::parse_as_far_as_possible), which becomes the one of
/// the result.
pub fn lint_above(file: &Dockerfile, mistake: Diagnostic, request: &Request) -> Linted {
    let mut findings = Findings::about(file, Options::of(file, request).0);
    as_written(file, &mut findings);
    Linted { findings: findings.found, mistake: Some(mistake), ..Linted::default() }
}

/// The rules that need nothing but single instructions.
fn as_written(file: &Dockerfile, findings: &mut Findings) {
    line::check(file, findings);
    for statement in &file.global_args {
        comment::check_arg(&statement.instruction, Place::of(statement), findings);
    }
    for stage in &file.stages {
        casing::check_from(&stage.from, findings);
        comment::check_from(&stage.from, findings);
        for step in &stage.steps {
            command::check_maintainer(step, findings);
            if let crate::Instruction::Arg(arg) = &step.instruction {
                comment::check_arg(arg, Place::of(step), findings);
            }
        }
    }
}

/// Where a finding is, and what the comments above it switch off.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    lines: (usize, usize),
    comments: &'a [String],
}

impl<'a> Place<'a> {
    fn of<T>(statement: &'a Statement<T>) -> Self {
        Self { lines: statement.lines, comments: &statement.comments }
    }
}

/// Collects what is not switched off.
#[derive(Debug)]
struct Findings {
    source: Source,
    options: Options,
    /// The first line of the first instruction, and the directive of the file, which is no comment of that instruction.
    directive: (usize, Option<String>),
    found: Vec<Finding>,
}

impl Findings {
    fn about(file: &Dockerfile, options: Options) -> Self {
        let arg = file.global_args.first().map(|statement| statement.lines.0);
        let from = file.stages.first().map(|stage| stage.from.lines.0);
        let directive = (arg.or(from).unwrap_or_default(), file.directives.check.clone());
        Self { source: file.source.clone(), options, directive, found: Vec::new() }
    }

    fn add(&mut self, rule: &'static Rule, place: Place<'_>, message: impl Into<String>) {
        self.add_with(rule, place, message, None);
    }

    fn add_with(
        &mut self,
        rule: &'static Rule,
        place: Place<'_>,
        message: impl Into<String>,
        detail: Option<String>,
    ) {
        let (first, directive) = &self.directive;
        let directive = directive.as_deref().filter(|_| place.lines.0 == *first);
        if self.options.with_comments(place.comments, directive).wants(rule) {
            let (message, lines) = (message.into(), place.lines);
            self.found.push(Finding { rule, message, lines, detail });
        }
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.found.len()
    }

    /// The error that the findings are, if the file wants that.
    fn violation(&self) -> Option<Diagnostic> {
        let mut names: Vec<&str> = Vec::new();
        let mut first = None;
        for finding in &self.found {
            if finding.rule.source == RuleSource::BuildKit {
                first = first.or(Some(finding.lines));
                if !names.contains(&finding.rule.name) {
                    names.push(finding.rule.name);
                }
            }
        }
        let lines = first.filter(|_| self.options.error)?;
        let message = format!("lint violation found for rules: {}", names.join(", "));
        Some(Diagnostic::new(message).on_lines(lines))
    }
}

/// The keyword of an instruction as it was written.
fn keyword(text: &str) -> &str {
    text.split(crate::operand::is_blank).next().unwrap_or(text)
}
