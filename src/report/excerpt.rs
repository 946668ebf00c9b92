//! A line of a Dockerfile with its number, and a caret below what is wrong. Passwords in it are not shown, a line is cut where
//! it is too long to be read, and it does not command the terminal: it may be anybody's Dockerfile.

use dockerfile::{Diagnostic, Source};
use engine::Place;

use crate::text;

/// How much of a line is shown, in characters.
const WIDTH: usize = 200;

/// How much of that is in front of what is marked.
const IN_FRONT: usize = 60;

/// Returns the line that a diagnostic is about; the name of the file if it is about none.
pub(super) fn of(source: &Source, diagnostic: &Diagnostic) -> String {
    let Some(span) = diagnostic.span else {
        let Some((first, _)) = diagnostic.lines else {
            return format!("  --> {}\n", source.name());
        };
        return excerpt(source, first, None);
    };
    let start = source.position(span.start);
    let length = source.slice(span).lines().next().map_or(0, |line| line.chars().count());
    excerpt(source, start.line, Some((start.column, length.max(1))))
}

/// Returns the first line of an instruction.
pub(super) fn of_place(place: &Place) -> String {
    excerpt(&place.source, place.lines.0, None)
}

/// One line of a Dockerfile with its number, and a caret below what is wrong; then what includes it, if it is in another file.
fn excerpt(source: &Source, line: usize, marked: Option<(usize, usize)>) -> String {
    let named = source.place(line);
    let number = named.line.to_string();
    let margin = " ".repeat(number.len());
    let written = source.line(line).unwrap_or_default().trim_end();
    let text = plan::redact(written);
    let (column, length) = match marked {
        Some(marked) => moved(written, marked),
        None => (
            1 + text.chars().take_while(|c| c.is_whitespace()).count(),
            text.trim().chars().count(),
        ),
    };
    let place = match marked {
        Some((column, _)) => format!("{}:{number}:{column}", named.name),
        None => format!("{}:{number}", named.name),
    };
    let (text, carets) = window(&text, column - 1, length);
    let mut excerpt =
        format!("{margin} --> {place}\n{margin} |\n{number} | {text}\n{margin} | {carets}\n");
    let mut above = named.included_by;
    while let Some(line) = above {
        let named = source.place(line);
        excerpt.push_str(&format!("{margin} = included by {}:{}\n", named.name, named.line));
        above = named.included_by;
    }
    excerpt
}

/// The part of a line around what is marked, and the carets for the line below it.
fn window(line: &str, column: usize, length: usize) -> (String, String) {
    let skipped = if column + length > WIDTH { column.saturating_sub(IN_FRONT) } else { 0 };
    let (mut text, mut carets) = (String::new(), String::new());
    if skipped > 0 {
        text.push('…');
        carets.push(' ');
    }
    let mut chars = line.chars().enumerate().skip(skipped);
    for (at, c) in chars.by_ref().take(WIDTH) {
        let visible = text::visible(c.encode_utf8(&mut [0; 4])).into_owned();
        let below = match at {
            at if at >= column && at < column + length => '^',
            _ if c == '\t' => c,
            _ => ' ',
        };
        carets.extend(visible.chars().map(|_| below));
        text.push_str(&visible);
    }
    if chars.next().is_some() {
        text.push('…');
    }
    // What is behind the end, such as a missing word, is shown there.
    if !carets.contains('^') {
        carets.push('^');
    }
    (text, carets.trim_end().to_owned())
}

/// Returns a line without marks, cut where it is too long.
pub(crate) fn plain(line: &str) -> String {
    let line = plan::redact(line);
    let end = line.char_indices().nth(WIDTH).map(|(end, _)| end);
    match end {
        Some(end) => format!("{}…", text::visible(&line[..end])),
        None => text::visible(&line).into_owned(),
    }
}

/// Where the characters `start` (counted from 1) and some more are in a line whose passwords are masked.
fn moved(line: &str, (start, length): (usize, usize)) -> (usize, usize) {
    let byte =
        |character: usize| line.char_indices().nth(character).map_or(line.len(), |(at, _)| at);
    let new = |character: usize| {
        let at = byte(character);
        let mut moved = line[..at].chars().count();
        for redaction in plan::redactions(line) {
            let shown = redaction.shown.chars().count();
            // What is in the middle of something masked is at the end of what is shown for it.
            let hidden = line
                [redaction.range.start..at.clamp(redaction.range.start, redaction.range.end)]
                .chars()
                .count();
            if at > redaction.range.start {
                moved = moved - hidden + shown;
            }
        }
        moved
    };
    let (from, to) = (new(start - 1), new(start - 1 + length));
    (from + 1, to.saturating_sub(from).max(1))
}

#[cfg(test)]
mod tests {
    use dockerfile::{Diagnostic, Source, Span};

    use super::{of, plain};

    #[track_caller]
    fn check(text: &str, wrong: &str, expected: &str) {
        let source = Source::new("Dockerfile", text.as_bytes());
        let start = text.find(wrong).unwrap();
        let span = Span::new(start, start + wrong.len());
        assert_eq!(of(&source, &Diagnostic::new("x").at(span)), expected);
    }

    #[test]
    fn carets_stand_below_what_is_wrong() {
        check("FROM a\n\tRUM é b", "é", "  --> Dockerfile:2:6\n  |\n2 | \tRUM é b\n  | \t    ^\n");
    }

    #[test]
    fn passwords_are_masked_and_carets_stay_with_their_words() {
        let line = "ADD https://me:secret@h/x https://longer-name:pw@h y";
        let head = |column| format!("  --> Dockerfile:1:{column}\n  |\n");
        let shown = "1 | ADD https://xxxxx:xxxxx@h/x https://xxxxx:xxxxx@h y\n";
        for (wrong, column, carets) in [
            ("ADD", 1, "^^^"),
            ("https://me:secret@h/x", 5, "    ^^^^^^^^^^^^^^^^^^^^^^^"),
            ("@h/x", 22, "                       ^^^^"),
            ("https://longer-name:pw@h", 27, "                            ^^^^^^^^^^^^^^^^^^^^^"),
            ("y", 52, "                                                  ^"),
            // In the middle of a password.
            ("ecret", 17, "                       ^"),
        ] {
            let expected = format!("{}{shown}  | {carets}\n", head(column));
            check(line, wrong, &expected);
        }
    }

    #[test]
    fn a_line_cannot_command_the_terminal() {
        let shown = "A\\u{1b}[2J\\u{202e}B";
        let expected = format!(
            "  --> Dockerfile:1:7\n  |\n1 | {shown}\n  | {}^\n",
            " ".repeat(shown.len() - 1)
        );
        check("A\x1b[2J\u{202e}B\n", "B", &expected);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("{}HERE{}\n", "x".repeat(50_000), "y".repeat(15_000));
        let expected = format!(
            "  --> Dockerfile:1:50001\n  |\n1 | …{}HERE{}…\n  | {}^^^^\n",
            "x".repeat(60),
            "y".repeat(136),
            " ".repeat(61)
        );
        check(&text, "HERE", &expected);
        assert!(plain(&text).len() < 1000);
    }
}
