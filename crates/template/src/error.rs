//! What is wrong with a template, in Go's words.

use thiserror::Error;

/// An error of a template. Lines count from 1, columns are bytes counted from 0, as Go's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The template cannot be read.
    #[error("template: :{line}: {message}")]
    Syntax {
        /// Where.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The template does not go with the document.
    #[error("template: :{line}:{column}: executing \"\" at <{part}>: {message}")]
    Run {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
        /// The part of the template.
        part: String,
        /// What is wrong.
        message: String,
    },
}

/// A result of this crate.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
