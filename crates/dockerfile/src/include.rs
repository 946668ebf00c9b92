//! `INCLUDE path`: the text of another file in the place of the line, in files with `# syntax=kiln`.
//!
//! The path is relative to the file that the line is in, and has no variables: what a Dockerfile says does not depend on how
//! it is built. Everything may be in such a file: `ARG`s before the first `FROM`, whole stages, steps of a stage that began
//! before, further `INCLUDE`s. It is parsed by itself, so a heredoc or a continuation ends where the file does. What comes
//! out is the same as if the text were there, and so are the keys; only places are in the file that has the text.
//!
//! Directives are those of the Dockerfile. `# syntax=` and `# check=` on top of an included file are comments; another
//! escape character than the Dockerfile's is an error, since the file would be read wrongly.
//!
//! Not here: where the bytes come from. Who calls the parser says so by [`Includes`].

use crate::diagnostic::Diagnostic;
use crate::directive;
use crate::limits::MAX_FILE;
use crate::parts::Parts;
use crate::source::{Beginning, Source, Word};
use crate::word;

/// The keyword.
pub(crate) const KEYWORD: &str = "INCLUDE";

/// How many files may be between the Dockerfile and one that it includes: far more than anybody can follow.
const DEEPEST: usize = 16;

/// How many files may be included in all. A few that include each other twice would be very many otherwise.
const MOST_FILES: usize = 1000;

/// The files that a Dockerfile may include.
pub trait Includes {
    /// Returns the contents of a file. The path is relative to the directory of the Dockerfile, and clean: `..` is only at its
    /// beginning, and the implementation decides how far up that may lead.
    fn read(&self, path: &str) -> Result<Vec<u8>, Unreadable>;
}

/// Why a file cannot be included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// What is wrong, to be put behind ``cannot include `path`: ``.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// No file at all: for text that is in no directory.
#[derive(Clone, Copy, Debug)]
pub struct NoIncludes;

impl Includes for NoIncludes {
    fn read(&self, _: &str) -> Result<Vec<u8>, Unreadable> {
        let reason = "the Dockerfile is in no directory that it could be in".to_owned();
        Err(Unreadable { reason, hint: None })
    }
}

/// The path of an `INCLUDE`, if the instruction is one.
pub(crate) fn operand(parts: &Parts<'_>) -> Result<Option<Word>, Diagnostic> {
    if !parts.keyword.text().eq_ignore_ascii_case(KEYWORD) {
        return Ok(None);
    }
    parts.check_no_flags()?;
    let operand = parts.only_operand()?.word();
    let wrong = |message: &str, hint: &str| {
        Err(Diagnostic::new(format!("{KEYWORD} {message}")).at(operand.span).hint(hint))
    };
    if operand.text.contains('$') {
        return wrong(
            "cannot have variables",
            "what a Dockerfile is made of does not depend on arguments; choose between stages by FROM instead",
        );
    }
    let path = word::expand(&operand.text, parts.escape, &|_| None)
        .map_err(|error| Diagnostic::new(error.to_string()).at(operand.span))?;
    if path.starts_with('/') || path.contains("://") {
        return wrong(
            "requires a relative path",
            "the path is relative to the file that the line is in",
        );
    }
    Ok(Some(Word::new(path, operand.span)))
}

/// The files that are being read: the Dockerfile's path is empty, then each is included by the one before.
#[derive(Debug, Default)]
pub(crate) struct Open {
    paths: Vec<String>,
}

impl Open {
    /// Reads the file that an `INCLUDE` on `line` names, and adds it to the source. It is [closed](Self::close) when it
    /// has been parsed.
    pub(crate) fn open(
        &mut self,
        source: &mut Source,
        operand: &Word,
        line: usize,
        escape: char,
        includes: &dyn Includes,
    ) -> Result<(String, Beginning), Diagnostic> {
        let from = self.paths.last().map_or("", String::as_str);
        let path = beside(from, &operand.text);
        self.check(source, &path).map_err(|error| error.at(operand.span))?;
        let bytes = includes.read(&path).map_err(|unreadable| {
            let message = format!("cannot include `{path}`: {}", unreadable.reason);
            let error = Diagnostic::new(message).at(operand.span);
            Diagnostic { hint: unreadable.hint, ..error }
        })?;
        let size: usize = source.files().map(|file| file.text.len()).sum();
        if size + bytes.len() > MAX_FILE {
            let message = format!(
                "the Dockerfile and what it includes are larger than {MAX_FILE} bytes together"
            );
            return Err(Diagnostic::new(message).at(operand.span));
        }
        let name = beside(source.name(), &path);
        let beginning = source.include(name, path.clone(), &bytes, line);
        let text = source.files().last().map_or("", |file| file.text).to_owned();
        check_escape(&text, beginning, escape)?;
        self.paths.push(path);
        Ok((text, beginning))
    }

    pub(crate) fn close(&mut self) {
        self.paths.pop();
    }

    fn check(&self, source: &Source, path: &str) -> Result<(), Diagnostic> {
        // The Dockerfile itself may have come from elsewhere, and be called like one that is here. If it is the same after
        // all, that shows when it comes to include the same again.
        if self.paths.iter().any(|open| open == path) {
            let mut circle = vec![source.name()];
            circle.extend(self.paths.iter().map(String::as_str).chain([path]));
            let message = format!("{KEYWORD} goes in a circle: {}", circle.join(" -> "));
            return Err(Diagnostic::new(message));
        }
        if self.paths.len() >= DEEPEST {
            return Err(Diagnostic::new(format!("{KEYWORD} is nested more than {DEEPEST} deep")));
        }
        if source.files().count() > MOST_FILES {
            return Err(Diagnostic::new(format!("more than {MOST_FILES} files are included")));
        }
        Ok(())
    }
}

/// An included file that says that it is written with another escape character cannot be read with the Dockerfile's.
fn check_escape(text: &str, beginning: Beginning, escape: char) -> Result<(), Diagnostic> {
    let Some((wanted, line)) = directive::escape(text) else { return Ok(()) };
    if wanted.starts_with(escape) {
        return Ok(());
    }
    let line = beginning.lines + line;
    let message = format!(
        "an included file cannot have another escape character than the Dockerfile, `{escape}`"
    );
    Err(Diagnostic::new(message).on_lines((line, line)))
}

/// The path of what a file calls `path`: relative to what that of the file is relative to.
fn beside(file: &str, path: &str) -> String {
    let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
    let root = if file.starts_with('/') { "/" } else { "" };
    let mut names: Vec<&str> = Vec::new();
    for name in directory.split('/').chain(path.split('/')) {
        match (name, names.last()) {
            ("" | ".", _) => {}
            ("..", Some(last)) if *last != ".." => drop(names.pop()),
            // Nothing is above the root.
            ("..", None) if !root.is_empty() => {}
            (name, _) => names.push(name),
        }
    }
    format!("{root}{}", names.join("/"))
}

#[cfg(test)]
mod tests;
