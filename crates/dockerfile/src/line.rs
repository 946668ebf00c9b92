//! From physical lines to instructions: continuations, comments, blank lines and the bodies of heredocs.
//!
//! [`Reader`] is the hand-written step before the grammars. It knows no instruction, and keeps the place of each
//! character (see [`crate::fragment`]).

use crate::diagnostic::Diagnostic;
use crate::fragment::{Fragment, Joined};
use crate::limits::MAX_INSTRUCTION;
use crate::source::{Beginning, Span};

/// BuildKit reads lines into a buffer of this size, and a longer one is an error there.
const LONGEST_LINE: usize = 65535;

/// The instructions of a file, one after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    /// Where the text begins in that of the source.
    beginning: Beginning,
    offset: usize,
    number: usize,
    fixed: Option<Span>,
}

/// A line of the file.
#[derive(Clone, Copy, Debug)]
struct PhysicalLine<'a> {
    /// The line without its end.
    text: &'a str,
    /// The line with its end.
    raw: &'a str,
    start: usize,
    number: usize,
}

/// An instruction: one or more physical lines joined to one.
#[derive(Debug)]
pub(crate) struct LogicalLine {
    joined: Joined,
    /// First and last physical line, counted from 1; without heredocs.
    pub(crate) lines: (usize, usize),
    /// Where the lines are; without heredocs.
    pub(crate) span: Span,
    /// The comments above.
    pub(crate) comments: Vec<String>,
    /// True if a blank line is among the continuation lines.
    pub(crate) empty_continuation: bool,
}

/// The lines of a heredoc, up to the one that ends it.
#[derive(Debug)]
pub(crate) struct Body {
    /// The lines with their ends, as they are.
    pub(crate) text: String,
    /// Where they are.
    pub(crate) span: Span,
    /// The physical line that ends it.
    pub(crate) last_line: usize,
    /// The end of that line.
    pub(crate) end: usize,
}

impl LogicalLine {
    /// The text, without white space at its ends.
    pub(crate) fn text(&self) -> Fragment<'_> {
        self.joined.whole().trim()
    }
}

impl<'a> Reader<'a> {
    /// Reads `text`. With `fixed`, all is said to be at that place.
    pub(crate) fn new(text: &'a str, fixed: Option<Span>) -> Self {
        Self { text, beginning: Beginning::default(), offset: 0, number: 0, fixed }
    }

    /// Reads a file that is not the first one of its source.
    pub(crate) fn at(text: &'a str, beginning: Beginning) -> Self {
        Self { beginning, number: beginning.lines, ..Self::new(text, None) }
    }

    /// The next instruction, or `None` at the end. `escape` is the character that continues a line.
    pub(crate) fn next_line(&mut self, escape: char) -> Result<Option<LogicalLine>, Diagnostic> {
        let mut comments = Vec::new();
        while let Some(line) = self.next_physical()? {
            if let Some(comment) = comment(line.text) {
                if comment.is_empty() {
                    comments.clear();
                } else {
                    comments.push(comment.to_owned());
                }
                continue;
            }
            if line.text.trim().is_empty() {
                continue;
            }
            let logical = self.join(line, escape, std::mem::take(&mut comments))?;
            // Nothing but escape characters.
            if !logical.text().is_empty() {
                return Ok(Some(logical));
            }
        }
        Ok(None)
    }

    /// Joins the lines that continue `first`. At the end of the file the instruction just ends.
    fn join(
        &mut self,
        first: PhysicalLine<'a>,
        escape: char,
        comments: Vec<String>,
    ) -> Result<LogicalLine, Diagnostic> {
        let mut joined = Joined::new(self.fixed);
        let mut empty_continuation = false;

        let indent = first.text.len() - first.text.trim_start().len();
        let mut last = first;
        let (text, mut continues) = without_continuation(first.text.trim_start(), escape);
        joined.push(text, first.start + indent);

        while continues {
            let Some(line) = self.next_physical()? else { break };
            if comment(line.text).is_some() {
                continue;
            }
            if line.text.trim_start().is_empty() {
                empty_continuation = true;
                continue;
            }
            let (text, more) = without_continuation(line.text, escape);
            joined.push(text, line.start);
            continues = more;
            last = line;
            if joined.len() > MAX_INSTRUCTION {
                let message = format!("instruction longer than {MAX_INSTRUCTION} bytes");
                let lines = (first.number, last.number);
                return Err(Diagnostic::new(message).on_lines(lines));
            }
        }

        let span = self
            .fixed
            .unwrap_or(Span::new(first.start + indent, last.start + last.text.trim_end().len()));
        // Comments and blank lines after the last continued line belong to the instruction too.
        let lines = (first.number, self.number);
        Ok(LogicalLine { joined, lines, span, comments, empty_continuation })
    }

    /// The lines up to one that is `name`; with `chomp`, tabs before it do not count. `None` if there is no such line.
    pub(crate) fn read_body(
        &mut self,
        name: &str,
        chomp: bool,
    ) -> Result<Option<Body>, Diagnostic> {
        let start = self.beginning.bytes + self.offset;
        let mut text = String::new();
        while let Some(line) = self.next_physical()? {
            let candidate = if chomp { line.text.trim_start_matches('\t') } else { line.text };
            if candidate == name {
                return Ok(Some(Body {
                    text,
                    span: self.fixed.unwrap_or(Span::new(start, line.start)),
                    last_line: line.number,
                    end: line.start + line.text.len(),
                }));
            }
            text.push_str(line.raw);
        }
        Ok(None)
    }

    fn next_physical(&mut self) -> Result<Option<PhysicalLine<'a>>, Diagnostic> {
        let Some(rest) = self.text.get(self.offset..).filter(|rest| !rest.is_empty()) else {
            return Ok(None);
        };
        let raw = rest.split_inclusive('\n').next().unwrap_or(rest);
        let start = self.beginning.bytes + self.offset;
        self.offset += raw.len();
        self.number += 1;
        if raw.strip_suffix('\n').unwrap_or(raw).len() > LONGEST_LINE {
            let message =
                format!("dockerfile line greater than max allowed size of {LONGEST_LINE}");
            let span = Span::new(start, start + raw.len());
            return Err(Diagnostic::new(message).at(span).on_lines((self.number, self.number)));
        }
        let text = raw.trim_end_matches(['\r', '\n']);
        Ok(Some(PhysicalLine { text, raw, start, number: self.number }))
    }
}

/// The text of a comment line without `#` and blanks; `None` if it is no comment line.
fn comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix('#').map(str::trim)
}

/// The line without its continuation, and whether it has one: the escape character, alone or after any other character
/// than itself, with nothing but blanks behind it.
fn without_continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        Some(_) | None => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::Reader;

    /// The joined texts with first and last line.
    fn check(input: &str, expect: &[(&str, usize, usize)]) {
        check_escape('\\', input, expect);
    }

    fn check_escape(escape: char, input: &str, expect: &[(&str, usize, usize)]) {
        let mut reader = Reader::new(input, None);
        let mut found = Vec::new();
        while let Some(line) = reader.next_line(escape).unwrap() {
            found.push((line.text().text().to_owned(), line.lines.0, line.lines.1));
        }
        let expect: Vec<_> = expect.iter().map(|(text, a, b)| (text.to_string(), *a, *b)).collect();
        assert_eq!(found, expect, "{input:?}");
    }

    #[test]
    fn continuations() {
        check("RUN a \\\n  b\n", &[("RUN a   b", 1, 2)]);
        check("RUN a\\\nb", &[("RUN ab", 1, 2)]);
        check("RUN a \\  \t\n b", &[("RUN a  b", 1, 2)]);
        check("\\\nRUN a", &[("RUN a", 1, 2)]);
        check("\\\nRUN a\n\\", &[("RUN a", 1, 2)]);
        check_escape('`', "RUN a `\n b \\\nCMD c", &[("RUN a  b \\", 1, 2), ("CMD c", 3, 3)]);
    }

    #[test]
    fn doubled_escape_is_no_continuation() {
        check("ENV A=a\\\\\nCMD b", &[("ENV A=a\\\\", 1, 1), ("CMD b", 2, 2)]);
        check("ENV A=a\\\\\\\nCMD b", &[("ENV A=a\\\\\\", 1, 1), ("CMD b", 2, 2)]);
    }

    #[test]
    fn continuation_at_the_end_of_the_file() {
        check("RUN a \\", &[("RUN a", 1, 1)]);
        check("RUN a \\\n# only a comment\n", &[("RUN a", 1, 2)]);
    }

    #[test]
    fn comments_and_blank_lines() {
        check("# a\n\n  # b\nRUN c # d\n", &[("RUN c # d", 4, 4)]);
        check("RUN a \\\n# x \\\n  # y\n\n b", &[("RUN a  b", 1, 5)]);
        check("  RUN a", &[("RUN a", 1, 1)]);
        check("FROM a\r\nRUN b \\\r\n c\r\n", &[("FROM a", 1, 1), ("RUN b  c", 2, 3)]);
    }

    #[test]
    fn preceding_comments() {
        let mut reader = Reader::new("# a\n#\n# b\n\n  #c\nFROM x\n#d\nRUN y", None);
        assert_eq!(reader.next_line('\\').unwrap().unwrap().comments, ["b", "c"]);
        assert_eq!(reader.next_line('\\').unwrap().unwrap().comments, ["d"]);
    }

    #[test]
    fn empty_continuations_are_noticed() {
        let mut reader = Reader::new("RUN a \\\n\n b\nRUN c \\\n# d\n e", None);
        assert!(reader.next_line('\\').unwrap().unwrap().empty_continuation);
        assert!(!reader.next_line('\\').unwrap().unwrap().empty_continuation);
    }

    #[test]
    fn longest_line() {
        let fits = format!("RUN {}\n", "x".repeat(65531));
        assert!(Reader::new(&fits, None).next_line('\\').unwrap().is_some());
        let long = format!("RUN {}\n", "x".repeat(65532));
        let error = Reader::new(&long, None).next_line('\\').unwrap_err();
        assert_eq!(error.message, "dockerfile line greater than max allowed size of 65535");
        assert_eq!(error.lines, Some((1, 1)));
    }
}
