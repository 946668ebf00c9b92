//! What the rules about sources are told of the build context, which they cannot look at.

use std::fmt;

/// What is known of the build context.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContextFacts<'a> {
    /// Its ignore file, if it has one.
    pub ignore_file: Option<IgnoreFile<'a>>,
    /// What would be copied from it that `.gitignore` excludes.
    pub git_ignored: &'a [GitIgnored],
}

/// An ignore file.
#[derive(Clone, Copy)]
pub struct IgnoreFile<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// True if a line of it makes an exception (`!`).
    pub has_exceptions: bool,
    /// Returns the number and the pattern of the line that hides a path and everything below it. The path is relative to
    /// the context and clean; `.` is all of the context.
    pub hides: &'a dyn Fn(&str) -> Option<(usize, String)>,
}

impl fmt::Debug for IgnoreFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IgnoreFile")
            .field("name", &self.name)
            .field("has_exceptions", &self.has_exceptions)
            .finish_non_exhaustive()
    }
}

/// A file or directory of the context that `.gitignore` excludes and the ignore file of the build does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GitIgnored {
    /// Where it is, relative to the context; with a `/` at the end if it is a directory.
    pub path: String,
    /// The pattern that excludes it.
    pub pattern: String,
}
