//! What is wrong with a Dockerfile, where, and what to write instead.
//!
//! A [`Diagnostic`] is data: who prints it draws the line and the caret with the help of the
//! [`Source`]. Its texts are those BuildKit uses for the same mistake, since people search for them; that is
//! why some of them start with a capital.

use std::error::Error;
use std::fmt;

use crate::source::{Source, Span};

/// One mistake in a Dockerfile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// The exact place, where there is one.
    pub span: Option<Span>,
    /// The first and the last physical line of the instruction, counted from 1 over the whole [`Source`].
    pub lines: Option<(usize, usize)>,
    /// What to write instead, or why it is wrong; a sentence of its own.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A mistake whose place the caller adds.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, lines: None, hint: None }
    }

    /// Adds the place, unless a more precise one is known already.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = self.span.or(Some(span));
        self
    }

    /// Adds the physical lines of the instruction, unless they are known already.
    #[must_use]
    pub fn on_lines(mut self, lines: (usize, usize)) -> Self {
        self.lines = self.lines.or(Some(lines));
        self
    }

    /// Adds a hint, replacing an earlier one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the hint `did you mean X?`, where there is such an X.
    #[must_use]
    pub(crate) fn did_you_mean(mut self, nearest: Option<&str>) -> Self {
        self.hint = self.hint.or_else(|| nearest.map(|name| format!("did you mean {name}?")));
        self
    }

    /// Adds to the hint what there is to choose from.
    #[must_use]
    pub(crate) fn choices<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        let list = match names.split_last() {
            Some((last, [])) => format!("there is {last}"),
            Some((last, rest)) => format!("there are {} and {last}", rest.join(", ")),
            None => return self,
        };
        self.hint = Some(match self.hint {
            Some(hint) => format!("{hint} {list}"),
            None => list,
        });
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Diagnostic {}

/// A Dockerfile that cannot be parsed: the first mistake, and the text to show it in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// The text that was parsed.
    pub source: Source,
    /// The first mistake in it.
    pub diagnostic: Diagnostic,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.diagnostic.lines.map(|(first, _)| self.source.line_in_words(first));
        match line {
            Some(line) => write!(f, "dockerfile parse error on {line}: {}", self.diagnostic),
            None => write!(f, "dockerfile parse error: {}", self.diagnostic),
        }
    }
}

impl Error for Failed {}
