//! Ignore files: which paths of a context are hidden, and by which line.
//!
//! The rules of `.dockerignore`, also used by `--exclude` and `--parents`: patterns are anchored at the root, the last one
//! that matches a path or one of its parents decides, `!` makes an exception. How a single pattern matches is in
//! [`crate::glob`]; `finder` keeps long lists fast. Unlike in `.gitignore`, `foo` names only the entry at the root.

mod finder;
#[cfg(test)]
mod tests;

use thiserror::Error;

use self::finder::Finder;
use crate::{
    Exclusion,
    glob::{BadPattern, Glob, Language},
};

/// How long a pattern may be, in bytes: as long as a path may be.
const LONGEST: usize = 4096;

/// A line of an ignore file (or a flag) that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadPatternLine {
    /// An exception without a pattern.
    #[error("illegal exclusion pattern: \"!\"")]
    LoneException {
        /// The line, counted from 1.
        line: usize,
    },
    /// A pattern longer than any path.
    #[error("pattern longer than {LONGEST} bytes")]
    TooLong {
        /// The line, counted from 1.
        line: usize,
    },
    /// A malformed pattern.
    #[error("{fault}: `{pattern}`")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The pattern as written, cleaned.
        pattern: String,
        /// What is wrong.
        fault: BadPattern,
    },
}

impl BadPatternLine {
    /// Returns the line, counted from 1.
    pub fn line(&self) -> usize {
        match self {
            Self::LoneException { line } | Self::TooLong { line } | Self::Syntax { line, .. } => {
                *line
            }
        }
    }
}

/// An ordered list of patterns.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
    /// Of a long list.
    finder: Option<Finder>,
    /// What messages call the file they are from.
    file: String,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// Cleaned, without `!`.
    text: String,
    line: usize,
    exception: bool,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    Exact,
    /// `dir/**`: everything that begins so.
    Prefix(Vec<u8>),
    /// `**/name` and `**name`: everything that ends so.
    Suffix(Vec<u8>),
    Glob(Glob),
}

/// The numbers of the patterns that a directory matches, in ascending order: what its entries need to be decided without
/// looking at all parents again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matched(Vec<usize>);

impl Patterns {
    /// Parses an ignore file. A byte order mark, comments (`#` in the first column) and empty lines are skipped, blanks at
    /// both ends are cut, paths are cleaned, one leading `/` is dropped.
    pub fn parse(file: &[u8]) -> Result<Self, BadPatternLine> {
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        let text = String::from_utf8_lossy(file);
        let mut patterns = Vec::new();
        for (index, line) in text.split('\n').enumerate() {
            if let Some(pattern) = file_line(line) {
                patterns.extend(Pattern::parse(&pattern, index + 1)?);
            }
        }
        Ok(Self::of(patterns))
    }

    /// The same, with the name of the file they are from for messages.
    #[must_use]
    pub fn named(self, file: &str) -> Self {
        Self { file: file.to_owned(), ..self }
    }

    /// Parses a list of patterns, as several `--exclude` give it. Lines in errors count the list's elements.
    pub fn from_lines<S: AsRef<str>>(lines: &[S]) -> Result<Self, BadPatternLine> {
        let mut patterns = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            patterns.extend(Pattern::parse(line.as_ref(), index + 1)?);
        }
        Ok(Self::of(patterns))
    }

    fn of(patterns: Vec<Pattern>) -> Self {
        let finder = Finder::of(&patterns);
        Self { patterns, finder, file: String::new() }
    }

    /// The numbers of the patterns that may match `path` or a parent of it, in ascending order.
    fn candidates(&self, path: &[u8]) -> Vec<usize> {
        match &self.finder {
            Some(finder) => finder.candidates(path),
            None => (0..self.patterns.len()).collect(),
        }
    }

    /// Says whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns the patterns as they are matched, exceptions with their `!`.
    pub fn texts(&self) -> impl Iterator<Item = String> + '_ {
        self.patterns.iter().map(Pattern::full_text)
    }

    /// Says whether `path` (relative to the root, without `./`) is hidden, by itself or by a parent.
    pub fn excludes(&self, path: &str) -> bool {
        self.decide(path).is_some()
    }

    /// Returns the pattern that hides `path`.
    pub fn explain(&self, path: &str) -> Option<Exclusion> {
        Some(self.exclusion(self.decide(path)?))
    }

    /// Says whether a line makes an exception.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Returns the pattern that hides `path` with everything below it, so that nothing of it can be copied. `.` is the
    /// root, which only a pattern for everything hides.
    pub fn hides_all(&self, path: &str) -> Option<Exclusion> {
        let pattern = if path == "." {
            let is_everything = |it: &&Pattern| matches!(it.text.as_str(), "*" | "**" | "**/*");
            let everything =
                self.patterns.iter().rev().find(|it| !it.exception && is_everything(it));
            everything.filter(|_| !self.has_exceptions())?
        } else {
            self.decide(path).filter(|_| !self.can_except_below(path.as_bytes()))?
        };
        Some(self.exclusion(pattern))
    }

    fn exclusion(&self, pattern: &Pattern) -> Exclusion {
        Exclusion { pattern: pattern.full_text(), line: pattern.line, file: self.file.clone() }
    }

    fn decide(&self, path: &str) -> Option<&Pattern> {
        let mut excluded: Option<&Pattern> = None;
        for number in self.candidates(path.as_bytes()) {
            let pattern = &self.patterns[number];
            if pattern.exception == excluded.is_some() && pattern.matches_or_parent(path.as_bytes())
            {
                excluded = (!pattern.exception).then_some(pattern);
            }
        }
        excluded
    }

    /// Decides on `path`, given what its parent directory matched, and returns what it matches itself, for its entries.
    ///
    /// The parent's result stands for a pattern only where it was looked at: BuildKit's walk behaves so, and a pattern
    /// that was skipped for the parent is not looked up later.
    pub(crate) fn descend(&self, path: &[u8], parent: &Matched) -> (bool, Matched) {
        let mut excluded = false;
        let mut matched = Vec::new();
        let mut by_parent = parent.0.iter().copied().peekable();
        for number in merged(self.candidates(path), &parent.0) {
            let pattern = &self.patterns[number];
            let by_parent = by_parent.next_if_eq(&number).is_some();
            if !by_parent && (pattern.exception != excluded || !pattern.matches(path)) {
                continue;
            }
            matched.push(number);
            excluded = !pattern.exception;
        }
        (excluded, Matched(matched))
    }

    /// Says whether an exception can bring back something below the hidden directory `dir`.
    pub(crate) fn can_except_below(&self, dir: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception && pattern.can_match_below(dir))
    }

    /// Says whether something below `dir` can match one of the patterns.
    pub(crate) fn can_match_below(&self, dir: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| !pattern.exception && pattern.can_match_below(dir))
    }
}

impl Pattern {
    fn parse(text: &str, line: usize) -> Result<Option<Self>, BadPatternLine> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let text = clean(text);
        let (exception, text) = match text.strip_prefix('!') {
            Some("") => return Err(BadPatternLine::LoneException { line }),
            Some(rest) => (true, rest.to_owned()),
            None => (false, text),
        };
        if text.len() > LONGEST {
            return Err(BadPatternLine::TooLong { line });
        }
        let matcher = Matcher::parse(&text).map_err(|fault| BadPatternLine::Syntax {
            line,
            pattern: text.clone(),
            fault,
        })?;
        Ok(Some(Self { text, line, exception, matcher }))
    }

    /// A text that is in every path that matches; empty where there is none.
    fn needed(&self) -> &[u8] {
        match &self.matcher {
            Matcher::Exact => self.text.as_bytes(),
            Matcher::Prefix(prefix) => prefix,
            // The slash in front is not there at the root.
            Matcher::Suffix(suffix) => suffix.strip_prefix(b"/").unwrap_or(suffix),
            Matcher::Glob(glob) => glob.needed(),
        }
    }

    fn full_text(&self) -> String {
        format!("{}{}", if self.exception { "!" } else { "" }, self.text)
    }

    fn matches(&self, path: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Exact => path == self.text.as_bytes(),
            Matcher::Prefix(prefix) => path.starts_with(prefix),
            Matcher::Suffix(suffix) => {
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            Matcher::Glob(glob) => glob.matches(path),
        }
    }

    fn matches_or_parent(&self, path: &[u8]) -> bool {
        let parents = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        self.matches(path) || parents.map(|(end, _)| &path[..end]).any(|dir| self.matches(dir))
    }

    fn can_match_below(&self, dir: &[u8]) -> bool {
        let begins_with_dir =
            |text: &[u8]| text.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"));
        match &self.matcher {
            Matcher::Exact => begins_with_dir(self.text.as_bytes()),
            Matcher::Prefix(prefix) => {
                let dir = [dir, b"/"].concat();
                dir.starts_with(prefix) || prefix.starts_with(&dir)
            }
            Matcher::Suffix(_) => true,
            Matcher::Glob(glob) => glob.can_match_below(dir),
        }
    }
}

impl Matcher {
    fn parse(text: &str) -> Result<Self, BadPattern> {
        // The whole text is checked even where a simpler test does: a malformed bracket is an error anywhere.
        let glob = Glob::parse(text, Language::Ignore)?;
        let plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
        if plain(text) {
            return Ok(Self::Exact);
        }
        if let Some(suffix) = text.strip_prefix("**").filter(|suffix| plain(suffix)) {
            return Ok(Self::Suffix(suffix.into()));
        }
        if let Some(prefix) = text.strip_suffix("**").filter(|prefix| plain(prefix)) {
            return Ok(Self::Prefix(prefix.into()));
        }
        Ok(Self::Glob(glob))
    }
}

/// Both lists in one, in ascending order, each number once.
fn merged(mut one: Vec<usize>, other: &[usize]) -> Vec<usize> {
    if !other.is_empty() {
        one.extend(other);
        one.sort_unstable();
        one.dedup();
    }
    one
}

/// Reads one line of a file: the pattern with its `!`, or nothing.
fn file_line(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let (exception, path) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    if path.is_empty() {
        return Some(exception.to_owned());
    }
    let path = clean(path);
    let path = path.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&path);
    Some(format!("{exception}{path}"))
}

/// Cleans a path as Go's `filepath.Clean` does: no empty, `.` and (where possible) `..` components.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            ".." if rooted => {}
            name => names.push(name),
        }
    }
    match (rooted, names.is_empty()) {
        (true, _) => format!("/{}", names.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => names.join("/"),
    }
}
