//! The text of one instruction, continuations joined, in which every stretch still knows its place in the file.
//!
//! [`Joined`] is the text with the map, [`Fragment`] a stretch of it. Grammars take and return plain `&str` slices of a
//! fragment's text; [`Fragment::of`] turns such a slice back into a fragment, and so into a [`Span`] or a [`Word`].

use nom::Offset;

use crate::source::{Span, Word};

/// The text of an instruction in one line, and where each piece of it was.
#[derive(Debug)]
pub(crate) struct Joined {
    text: String,
    pieces: Vec<Piece>,
    /// Where everything is said to be, for text that is in no file: the trigger of a base image.
    fixed: Option<Span>,
}

/// From `joined` on, the text was at `file` and after.
#[derive(Debug)]
struct Piece {
    joined: usize,
    file: usize,
}

impl Joined {
    /// No text yet. With `fixed`, every place is that one.
    pub(crate) fn new(fixed: Option<Span>) -> Self {
        Self { text: String::new(), pieces: Vec::new(), fixed }
    }

    /// Appends what is at `file` in the file.
    pub(crate) fn push(&mut self, text: &str, file: usize) {
        self.pieces.push(Piece { joined: self.text.len(), file });
        self.text.push_str(text);
    }

    /// How long the text is, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Fragment<'_> {
        Fragment { joined: self, start: 0, end: self.text.len() }
    }

    fn file_offset(&self, joined: usize) -> usize {
        let after = self.pieces.partition_point(|piece| piece.joined <= joined);
        match after.checked_sub(1).and_then(|index| self.pieces.get(index)) {
            Some(piece) => piece.file + (joined - piece.joined),
            None => joined,
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let first = self.file_offset(start);
        // The end is found from the last byte, since the byte after it may belong to the next physical line.
        let last = if end > start { self.file_offset(end - 1) + 1 } else { first };
        Span::new(first, last)
    }
}

/// A stretch of a [`Joined`] text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    joined: &'a Joined,
    start: usize,
    end: usize,
}

impl<'a> Fragment<'a> {
    /// The characters.
    pub(crate) fn text(self) -> &'a str {
        self.joined.text.get(self.start..self.end).unwrap_or("")
    }

    /// Where they are.
    pub(crate) fn span(self) -> Span {
        self.joined.span(self.start, self.end)
    }

    /// The characters with their place.
    pub(crate) fn word(self) -> Word {
        Word::new(self.text(), self.span())
    }

    /// True if there are no characters.
    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The fragment that `slice`, a slice of [`Fragment::text`], stands for.
    pub(crate) fn of(self, slice: &str) -> Fragment<'a> {
        let start = self.start + self.text().offset(slice);
        Fragment { joined: self.joined, start, end: start + slice.len() }
    }

    /// Without the white space at both ends.
    pub(crate) fn trim(self) -> Fragment<'a> {
        self.of(self.text().trim())
    }

    /// The part before the first `separator` and the part after it, if there is one.
    pub(crate) fn cut(self, separator: char) -> (Fragment<'a>, Option<Fragment<'a>>) {
        match self.text().split_once(separator) {
            Some((before, after)) => (self.of(before), Some(self.of(after))),
            None => (self, None),
        }
    }

    /// The start and end in the joined text, to compare fragments of one text.
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start..self.end
    }
}

#[cfg(test)]
mod tests {
    use super::Joined;
    use crate::source::Span;

    #[test]
    fn spans_lead_back_to_the_file() {
        // As in "RUN ab\⏎cd": the continuation takes two bytes that are not in the joined text.
        let mut joined = Joined::new(None);
        joined.push("RUN ab", 10);
        joined.push("cd", 18);
        let whole = joined.whole();
        assert_eq!(whole.text(), "RUN abcd");
        assert_eq!(whole.span(), Span::new(10, 20));
        assert_eq!(whole.of(&whole.text()[4..6]).span(), Span::new(14, 16));
        assert_eq!(whole.of(&whole.text()[4..7]).span(), Span::new(14, 19));
        assert_eq!(whole.of(&whole.text()[6..8]).span(), Span::new(18, 20));
    }

    #[test]
    fn fixed_place() {
        let mut joined = Joined::new(Some(Span::new(3, 7)));
        joined.push("RUN a", 0);
        assert_eq!(joined.whole().span(), Span::new(3, 7));
    }
}
