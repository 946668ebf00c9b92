//! The text of a Dockerfile with the files that it includes, and places in it: [`Source`], [`Span`], [`Position`].
//!
//! All files are one text, the included ones behind the Dockerfile, each with the lines that it has. So a span, or the
//! number of a line, is enough to say where something is, whichever file that is in, and what carries one need not know
//! that there are several files. Only this room turns one into the name of a file, a line and a column:
//!
//! ```text
//! line 1   FROM a            Dockerfile, line 1
//!      2   INCLUDE b.df      Dockerfile, line 2
//!      3                     the end of the Dockerfile
//!      4   RUN b             b.df, line 1; included by line 2
//! ```
//!
//! Not here: what the text means.

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

/// A place in the text: both numbers count from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The physical line of the whole text; see [`Source::place`] for the one of its file.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

/// A line as people name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedLine<'a> {
    /// The name to show for the file.
    pub name: &'a str,
    /// Which of [`Source::files`] it is; 0 for the Dockerfile.
    pub file: usize,
    /// The line of the file, counted from 1.
    pub line: usize,
    /// The line of the whole text that includes the file; none for the Dockerfile.
    pub included_by: Option<usize>,
}

/// The text of one Dockerfile with what it includes, and the names to show for the files. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Source(Arc<Contents>);

#[derive(Clone, PartialEq, Eq)]
struct Contents {
    text: String,
    line_starts: Vec<usize>,
    /// At least one, in the order of their text.
    files: Vec<File>,
}

/// A file of the text.
#[derive(Clone, PartialEq, Eq)]
struct File {
    name: String,
    path: String,
    /// Its first byte, and the one after its last.
    bytes: (usize, usize),
    first_line: usize,
    included_by: Option<usize>,
}

/// One of the files that a text is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceFile<'a> {
    /// The name to show for it.
    pub name: &'a str,
    /// Where it is, relative to the directory of the Dockerfile; empty for the Dockerfile itself.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
    /// How many lines it has.
    pub lines: usize,
}

/// Where the text of a file begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Beginning {
    /// The bytes before it.
    pub(crate) bytes: usize,
    /// The lines before it.
    pub(crate) lines: usize,
}

impl Source {
    /// Takes the bytes of a file called `name`.
    ///
    /// A byte order mark is dropped, and bytes that are not UTF-8 become U+FFFD, so that an old comment in another
    /// encoding does not stop a build. Spans are offsets into what [`Source::text`] returns.
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        let (text, line_starts, files) = (String::new(), vec![0], Vec::new());
        let mut contents = Contents { text, line_starts, files };
        contents.push(name.to_owned(), String::new(), bytes, None);
        Self(Arc::new(contents))
    }

    /// Adds a file that the given line includes, and returns where it begins. `path` is relative to the directory of the
    /// Dockerfile.
    pub(crate) fn include(
        &mut self,
        name: String,
        path: String,
        bytes: &[u8],
        included_by: usize,
    ) -> Beginning {
        let contents = Arc::make_mut(&mut self.0);
        // So the offset of the end of one file is never that of the beginning of the next.
        contents.line_starts.push(contents.text.len() + 1);
        contents.text.push('\n');
        contents.push(name, path, bytes, Some(included_by))
    }

    /// The name to show for the Dockerfile, as the caller gave it.
    pub fn name(&self) -> &str {
        self.0.files.first().map_or("", |file| &file.name)
    }

    /// The text of the Dockerfile, without the files that it includes.
    pub fn text(&self) -> &str {
        self.files().next().map_or("", |file| file.text)
    }

    /// The Dockerfile, and then the files that it includes, in the order in which they are.
    pub fn files(&self) -> impl Iterator<Item = SourceFile<'_>> {
        let ends = self.0.files.iter().skip(1).map(|next| next.first_line);
        let ends = ends.chain(std::iter::once(self.0.line_starts.len() + 1));
        self.0.files.iter().zip(ends).map(|(file, end)| {
            let text = self.slice(Span::new(file.bytes.0, file.bytes.1));
            // There is nothing behind the last line end.
            let unended = usize::from(!text.is_empty() && !text.ends_with('\n'));
            let lines = end - file.first_line - 1 + unended;
            SourceFile { name: &file.name, path: &file.path, text, lines }
        })
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

    /// The file that a line of the whole text is in, and its number there.
    pub fn place(&self, line: usize) -> NamedLine<'_> {
        let after = self.0.files.partition_point(|file| file.first_line <= line);
        let index = after.saturating_sub(1);
        match self.0.files.get(index) {
            Some(file) => NamedLine {
                name: &file.name,
                file: index,
                line: (line + 1).saturating_sub(file.first_line),
                included_by: file.included_by,
            },
            None => NamedLine { name: "", file: 0, line, included_by: None },
        }
    }

    /// A line in words: `line 3`, and `line 3 of x` in a file that is included.
    pub fn line_in_words(&self, line: usize) -> String {
        let place = self.place(line);
        match place.included_by {
            None => format!("line {line}"),
            Some(_) => format!("line {} of {}", place.line, place.name),
        }
    }
}

impl Contents {
    fn push(
        &mut self,
        name: String,
        path: String,
        bytes: &[u8],
        included_by: Option<usize>,
    ) -> Beginning {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let start = self.text.len();
        let first_line = self.line_starts.len();
        self.line_starts.extend(text.match_indices('\n').map(|(at, _)| start + at + 1));
        self.text.push_str(text);
        let bytes = (start, self.text.len());
        self.files.push(File { name, path, bytes, first_line, included_by });
        Beginning { bytes: start, lines: first_line - 1 }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name())
            .field("files", &self.0.files.len())
            .field("bytes", &self.0.text.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Beginning, NamedLine, Position, Source, Span};

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

    #[test]
    fn lines_of_included_files_are_their_own() {
        for end in ["", "\n"] {
            let mut source =
                Source::new("Dockerfile", format!("FROM a\nINCLUDE b{end}").as_bytes());
            let lines = 2 + end.len();
            let bytes = source.text().len() + 1;
            let beginning =
                source.include("d/b".into(), "b".into(), b"\xef\xbb\xbfRUN b\nRUN c", 2);
            assert_eq!(beginning, Beginning { bytes, lines });
            source.include("d/c".into(), "c".into(), b"RUN d", lines + 1);

            assert_eq!(source.text(), format!("FROM a\nINCLUDE b{end}"));
            let place = |name, file, line, included_by| NamedLine { name, file, line, included_by };
            assert_eq!(source.place(2), place("Dockerfile", 0, 2, None));
            assert_eq!(source.place(lines + 1), place("d/b", 1, 1, Some(2)));
            assert_eq!(source.place(lines + 2), place("d/b", 1, 2, Some(2)));
            assert_eq!(source.line(lines + 2), Some("RUN c"));
            assert_eq!(source.line_in_words(lines + 2), "line 2 of d/b");
            assert_eq!(source.line_in_words(2), "line 2");
            assert_eq!(source.place(lines + 3).name, "d/c");
            assert_eq!(source.line(lines + 3), Some("RUN d"));
            assert_eq!(source.position(bytes), Position { line: lines + 1, column: 1 });
            assert_eq!(source.slice(Span::new(bytes, bytes + 5)), "RUN b");
            // The end of the Dockerfile is in the Dockerfile.
            let end = source.position(source.text().len()).line;
            assert_eq!(source.place(end).name, "Dockerfile");
            let files: Vec<_> =
                source.files().map(|file| (file.path, file.text, file.lines)).collect();
            assert_eq!(files[0].2, 2);
            assert_eq!(files[1..], [("b", "RUN b\nRUN c", 2), ("c", "RUN d", 1)]);
        }
    }
}
