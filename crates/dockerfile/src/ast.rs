//! The tree of a Dockerfile: directives, global `ARG`s, stages and their instructions, all with their places.
//!
//! It is what was written, and nothing is expanded, resolved or decided yet. The types of the instructions are in
//! [`crate::instruction`].

use crate::extension::Dialect;
use crate::instruction::{Arg, From, Instruction};
use crate::source::{Source, Span};

/// A parsed Dockerfile.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// The text, for messages.
    pub source: Source,
    /// The parser directives on top of the file.
    pub directives: Directives,
    /// The `ARG`s before the first `FROM`, which are visible in `FROM` lines only.
    pub global_args: Vec<Statement<Arg>>,
    /// The stages in their order; at least one.
    pub stages: Vec<Stage>,
    /// The instructions with a blank line inside of a continuation, by first and last physical line.
    pub empty_continuations: Vec<(usize, usize)>,
    /// The lines that include other files, of this file and of those; what they include is in the place of the line.
    pub includes: Vec<(usize, usize)>,
}

impl Dockerfile {
    /// The line of `# syntax=kiln`, if the file asks for the extensions of the language.
    pub(crate) fn extended_by(&self) -> Option<usize> {
        let is_extended = Dialect::of(&self.directives) == Dialect::Kiln;
        self.syntax_line().filter(|_| is_extended)
    }

    /// The line of `# syntax=`, whatever it names.
    pub(crate) fn syntax_line(&self) -> Option<usize> {
        self.directives.syntax.as_ref()?;
        // Above it there can be other directives only.
        let index = self.source.text().lines().position(|line| line.contains("syntax"))?;
        Some(index + 1)
    }
}

/// The parser directives: `# name=value` on the very first lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directives {
    /// The character that continues lines and escapes others: `\` or `` ` ``.
    pub escape: char,
    /// The value of `syntax`, with whatever follows the image reference. It has no effect, but for the one that asks for
    /// extensions of the language.
    pub syntax: Option<String>,
    /// The first word of the value of `check`: which checks to skip, and whether findings are errors.
    pub check: Option<String>,
}

/// A stage: `FROM`, and all up to the next one.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The instruction that opens it.
    pub from: Statement<From>,
    /// The instructions in it; never a `FROM`.
    pub steps: Vec<Statement>,
}

/// An instruction and its place in the file.
#[derive(Clone, Debug)]
pub struct Statement<T = Instruction> {
    /// What was written.
    pub instruction: T,
    /// From the first byte of the keyword to the end of the last line, the heredocs' lines included.
    pub span: Span,
    /// The first and the last physical line, counted from 1.
    pub lines: (usize, usize),
    /// The whole instruction in one line, as it was written, for progress: keyword, flags and arguments, continuations
    /// joined, without the bodies of heredocs.
    pub text: String,
    /// The texts of the comment lines between the instruction before and this one, without the `#`. A comment with no
    /// text clears those above it.
    pub comments: Vec<String>,
}

impl<T> Statement<T> {
    /// What the comments above say about `name`: the rest of the first comment that starts with the name and a blank.
    ///
    /// This is how a stage or an `ARG` is described.
    pub fn description(&self, name: &str) -> Option<&str> {
        self.comments.iter().find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' '))
    }

    /// The same place with another instruction.
    pub(crate) fn with<U>(self, instruction: U) -> Statement<U> {
        Statement {
            instruction,
            span: self.span,
            lines: self.lines,
            text: self.text,
            comments: self.comments,
        }
    }
}
