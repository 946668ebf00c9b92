//! A line of a Dockerfile with its number, and a caret below what is wrong. Passwords in it are not shown.

use dockerfile::{Diagnostic, Source};
use engine::Place;

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
    let blanks: String = text
        .chars()
        .take(column.saturating_sub(1))
        .map(|c| if c == '\t' { c } else { ' ' })
        .collect();
    let carets = "^".repeat(length.max(1));
    let mut excerpt = format!(
        "{margin} --> {place}\n{margin} |\n{number} | {text}\n{margin} | {blanks}{carets}\n"
    );
    let mut above = named.included_by;
    while let Some(line) = above {
        let named = source.place(line);
        excerpt.push_str(&format!("{margin} = included by {}:{}\n", named.name, named.line));
        above = named.included_by;
    }
    excerpt
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

    use super::of;

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
}
