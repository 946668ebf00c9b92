//! What can be wrong with a word, where, and what to write instead.

use super::{MAX_RESULT, MAX_STEPS, syntax};
use crate::diagnostic::Diagnostic;
use crate::limits;
use crate::quoted::visible;
use crate::source::Span;

/// Why a word cannot be expanded. Its text is BuildKit's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("failed to process {}: {reason}", crate::quoted::quoted(.word))]
pub struct WordError {
    /// The word as written.
    pub word: String,
    /// What is wrong with it.
    pub reason: Reason,
    /// The byte of the word that it begins with, such as the quote that is not closed, where that can be told.
    pub at: Option<usize>,
}

impl WordError {
    /// The mistake as one of a Dockerfile, for a word at `span`, with a hint.
    ///
    /// The place is exact where the word stands in the file as it is; where a line is continued within it, or where it was
    /// unquoted, it is all of the word.
    pub(crate) fn diagnostic(self, span: Span, escape: char) -> Diagnostic {
        let verbatim = span.end - span.start == self.word.len();
        let at = self.at.filter(|_| verbatim).unwrap_or(0);
        self.diagnostic_at(Span::new(span.start + at, span.end), escape)
    }

    /// The mistake with this place.
    pub(crate) fn diagnostic_at(self, span: Span, escape: char) -> Diagnostic {
        let diagnostic = Diagnostic::new(self.to_string()).at(span);
        match self.hint(escape) {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    }

    fn hint(&self, escape: char) -> Option<String> {
        let written = self.at.and_then(|at| self.word.get(at..)).unwrap_or_default();
        let literally = |sign: char| format!("for a mere `{sign}` write `{escape}{sign}`");
        Some(match &self.reason {
            Reason::SingleQuote => {
                format!("a second `'` must close the quote; {}", literally('\''))
            }
            Reason::DoubleQuote => {
                format!("a second `\"` must close the quote; {}", literally('"'))
            }
            Reason::Brace => {
                let blanks = match written.contains([':', '-', '+', '?']) {
                    true => ", and with blanks in it the word needs quotes around it",
                    false => "",
                };
                format!("a `}}` must close it{blanks}; {}", literally('$'))
            }
            Reason::Slash => "write ${name/pattern/replacement}".to_owned(),
            Reason::Substitution => {
                format!("behind `${{` stands the name of a variable; {}", literally('$'))
            }
            Reason::Modifier { modifier } if modifier.contains('=') => {
                "nothing can be set within a word; ${name:-default} has a default".to_owned()
            }
            Reason::Modifier { modifier } if modifier.contains(char::is_whitespace) => {
                format!("a `}}` must stand behind the name; {}", literally('$'))
            }
            Reason::Modifier { .. } => "there are ${name:-default}, ${name:+other}, \
                 ${name:?message}, ${name#prefix}, ${name%suffix} and \
                 ${name/pattern/replacement}"
                .to_owned(),
            Reason::Pattern { .. } => {
                "in a pattern a backslash stands before `*`, `?` and another one".to_owned()
            }
            Reason::Required { name, .. } => format!(
                "`{name}` needs a value: by `ENV {name}=…`, or by `ARG {name}` and --build-arg {name}=…"
            ),
            Reason::Depth | Reason::Length | Reason::Steps | Reason::Budget => return None,
        })
    }

    /// How much work it was at most to find out, as in [`Expansion::steps`].
    pub(crate) fn steps(&self) -> usize {
        match self.reason {
            Reason::Length | Reason::Steps => MAX_STEPS,
            _ => self.word.len(),
        }
    }
}

/// What is wrong with a word.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// A `'` without the second one.
    #[error("unexpected end of statement while looking for matching single-quote")]
    SingleQuote,
    /// A `"` without the second one.
    #[error("unexpected end of statement while looking for matching double-quote")]
    DoubleQuote,
    /// `${` without `}`.
    #[error("syntax error: missing '}}'")]
    Brace,
    /// `${name/pattern` without the second `/`.
    #[error("syntax error: missing '/' in ${{}}")]
    Slash,
    /// `${}`, `${:…` or `${{`.
    #[error("syntax error: bad substitution")]
    Substitution,
    /// What stands behind the name is none of the forms.
    #[error("unsupported modifier ({}) in substitution", visible(.modifier))]
    Modifier {
        /// What stands there.
        modifier: String,
    },
    /// A pattern with an escape that means nothing.
    #[error(
        "invalid pattern ({}) in substitution: invalid escape '\\{}'",
        visible(.pattern),
        visible(.escaped)
    )]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The escaped character; empty at the end.
        escaped: String,
    },
    /// `${name?message}` of a variable without a value.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message, or what BuildKit says where there is none.
        message: String,
    },
    /// `${` inside of `${`, again and again.
    #[error("variables are nested more than {} deep", syntax::MAX_DEPTH)]
    Depth,
    /// A result longer than [`MAX_RESULT`].
    #[error("the result is longer than {MAX_RESULT} bytes")]
    Length,
    /// A word that would take too long, such as long patterns tried against long values.
    #[error("the expansion takes more than {MAX_STEPS} steps")]
    Steps,
    /// A file whose words would take too long together.
    #[error("the words take more than {} steps to expand", limits::MAX_STEPS)]
    Budget,
}
