//! The text of a Dockerfile, and places in it: [`Source`], [`Span`], [`Position`].
//!
//! Not here: what the text means. Everything downstream carries [`Span`]s, and only this room turns one
//! into a line and a column.

use std::fmt;
use std::sync::Arc;

/// A stretch of a [`Source`], in bytes: `start` is the first, `end` the one after the last.
///
/// The span of something that is continued over several physical lines covers them all, with the escape
/// characters and the comments in between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span {
    /// The offset of the first byte.
    pub start: usize,
    /// The offset after the last byte.
    pub end: usize,
}

impl Span {
    /// A span from `start` up to, but not including, `end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// A value and the place where it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spanned<T> {
    /// What was written there.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value`, written at `span`.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// One word of an instruction as it was written: quotes, escapes and variables are still in it.
///
/// The only way from a word to the text it stands for is expansion. Words of a JSON array hold the decoded
/// string, which is expanded like any other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// The characters of the word, continuations already joined.
    pub text: String,
    /// Where it was written.
    pub span: Span,
}

impl Word {
    /// The word `text`, written at `span`.
    pub fn new(text: impl Into<String>, span: Span) -> Self {
        Self { text: text.into(), span }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A place as people name it: both numbers count from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The physical line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

/// The text of one Dockerfile and the name to show for it. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Source(Arc<Contents>);

#[derive(PartialEq, Eq)]
struct Contents {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Takes the bytes of a file called `name`.
    ///
    /// A byte order mark is dropped, and bytes that are not UTF-8 become U+FFFD, so that an old comment in another
    /// encoding does not stop a build. Spans are offsets into what [`Source::text`] returns.
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self(Arc::new(Contents { name: name.to_owned(), text, line_starts }))
    }

    /// The name to show for the file, as the caller gave it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The text at `span`; empty where the span is not inside of this source.
    pub fn slice(&self, span: Span) -> &str {
        self.0.text.get(span.start..span.end).unwrap_or("")
    }

    /// The line and column of the byte at `offset`; the end of the text where there is no such byte.
    pub fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.0.text.len());
        let index = self.0.line_starts.partition_point(|start| *start <= offset) - 1;
        let before = self.0.text.get(self.0.line_starts[index]..offset).unwrap_or("");
        Position { line: index + 1, column: before.chars().count() + 1 }
    }

    /// The text of a physical line, counted from 1, without its line end; `None` past the end.
    pub fn line(&self, number: usize) -> Option<&str> {
        let start = *self.0.line_starts.get(number.checked_sub(1)?)?;
        let end = self.0.line_starts.get(number).copied().unwrap_or(self.0.text.len());
        self.0.text.get(start..end).map(|line| line.trim_end_matches(['\r', '\n']))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.0.name)
            .field("bytes", &self.0.text.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Position, Source, Span};

    #[test]
    fn position_counts_characters_and_lines() {
        let source = Source::new("Dockerfile", "FROM a\r\nLABEL é=1\n".as_bytes());
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(8), Position { line: 2, column: 1 });
        assert_eq!(source.position(16), Position { line: 2, column: 8 });
        assert_eq!(source.position(999), Position { line: 3, column: 1 });
        assert_eq!(source.line(1), Some("FROM a"));
        assert_eq!(source.line(2), Some("LABEL é=1"));
        assert_eq!(source.line(3), Some(""));
        assert_eq!(source.line(4), None);
        assert_eq!(source.line(0), None);
        assert_eq!(source.slice(Span::new(5, 6)), "a");
    }

    #[test]
    fn byte_order_mark_and_foreign_bytes() {
        let source = Source::new("Dockerfile", b"\xef\xbb\xbf# caf\xe9\nFROM a");
        assert_eq!(source.text(), "# caf\u{fffd}\nFROM a");
    }
}
