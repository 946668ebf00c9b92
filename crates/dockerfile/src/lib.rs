//! From the text of a Dockerfile to a plan. Pure: no files, no network, no clock, no environment.
//!
//! The way of a file, in reading order:
//!
//! 1. `source`: the text, and places in it; `diagnostic`: what is said about a place.
//! 2. `directive`: `# escape=` and the others on top of the file.
//! 3. `line`: physical lines are joined to instructions, and heredocs are read; `fragment`: text that knows its place.
//! 4. `parts`: keyword, flags (`flag`), operands (`operand` has their shapes), heredocs (`heredoc`).
//! 5. [`instruction`]: the keyword table, and a file for each instruction.
//! 6. `parse`: all of this in order, and the tree that comes out (`ast`). `extension`: what `# syntax=kiln` adds to the
//!    language; `include`: other files in the place of a line.
//! 7. [`word`]: the only place that expands variables; `scope`: which are visible; `epoch`: one that is the
//!    time of something.
//! 8. `lower`: stages and steps, or what has to be known before there can be any.
//! 9. [`lint`](mod@lint): what is legal and better written otherwise; [`outline`]: what a build can be given.
//!
//! Invariants: every word carries its place up to the plan; an instruction's `parse` sees its own text only; the errors
//! of both halves are [`Diagnostic`]s, worded as BuildKit does.

mod ast;
mod diagnostic;
mod directive;
mod epoch;
mod extension;
mod flag;
mod fragment;
mod heredoc;
mod include;
pub mod instruction;
mod limits;
mod line;
pub mod lint;
pub mod lower;
mod mention;
mod nearest;
mod operand;
pub mod outline;
mod parse;
mod parts;
mod quoted;
#[cfg(test)]
mod reference;
mod scope;
mod source;
pub mod word;

pub use self::ast::{Directives, Dockerfile, Stage, Statement};
pub use self::diagnostic::{Diagnostic, Failed};
pub use self::epoch::{EpochSource, epoch_source};
pub use self::heredoc::Heredoc;
pub use self::include::{Includes, NoIncludes, Unreadable};
pub use self::instruction::Instruction;
pub use self::limits::MAX_FILE;
pub use self::lint::{Finding, Linted, lint};
pub use self::lower::{BaseImage, BaseRef, ContextKind, Lowered, Request, lower};
pub use self::mention::at_mention;
pub use self::nearest::nearest;
pub use self::parse::{parse, parse_as_far_as_possible, parse_trigger};
pub use self::source::{NamedLine, Position, Source, SourceFile, Span, Spanned, Word};
