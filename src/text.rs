//! Sizes, ages and tables as people know them from Docker.

use std::borrow::Cow;

use jiff::Timestamp;

/// Returns a size as Docker writes it: decimal units, three significant digits.
pub(crate) fn size(bytes: u64) -> String {
    human(bytes, 3)
}

/// Returns a size with four significant digits, as Docker does where sizes are added up.
pub(crate) fn exact_size(bytes: u64) -> String {
    human(bytes, 4)
}

/// Returns an amount of memory: binary units, four significant digits.
pub(crate) fn memory(bytes: u64) -> String {
    scaled(bytes, 4, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

fn human(bytes: u64, digits: usize) -> String {
    scaled(bytes, digits, 1000.0, ["B", "kB", "MB", "GB", "TB", "PB"])
}

fn scaled(bytes: u64, digits: usize, base: f64, units: [&str; 6]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    // What would be rounded to 1000 is 1 of the next unit.
    let places = |value: f64| match value {
        value if value >= 100.0 => digits.saturating_sub(3),
        value if value >= 10.0 => digits.saturating_sub(2),
        _ => digits.saturating_sub(1),
    };
    let rounded = |value: f64| format!("{value:.0$}", places(value));
    while unit + 1 < units.len() && rounded(value).parse().is_ok_and(|value: f64| value >= base) {
        value /= base;
        unit += 1;
    }
    let text = if unit == 0 { bytes.to_string() } else { rounded(value) };
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

/// Returns how long ago a time was, as Docker writes it; `N/A` for what is no time.
pub(crate) fn age(created: Option<&str>, now: Timestamp) -> String {
    let Some(created) = created.and_then(|text| text.parse::<Timestamp>().ok()) else {
        return "N/A".to_owned();
    };
    let seconds = now.as_second() - created.as_second();
    format!("{} ago", duration(seconds.max(0)))
}

/// Returns a time as Go prints one; nothing for what is no time.
pub(crate) fn time(created: Option<&str>) -> String {
    let time = created.and_then(|text| text.parse::<Timestamp>().ok());
    time.map(|time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()).unwrap_or_default()
}

/// Returns a time to the second, RFC 3339; nothing for what is no time.
pub(crate) fn seconds(created: Option<&str>) -> String {
    let time = created.and_then(|text| text.parse::<Timestamp>().ok());
    time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// Returns a duration in the one unit that says enough.
pub(crate) fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// Returns rows as a table with columns as wide as what is in them and so many blanks, as Go's `text/tabwriter` does it:
/// an empty last cell has the blanks of the one before it in front.
pub(crate) fn table(rows: &[Vec<String>], between: usize) -> String {
    let lines: String = rows.iter().map(|row| row.join("\t") + "\n").collect();
    with_columns(&lines, Columns { least: 0, between })
}

/// Sets cells, each ended by a tab, below each other: as Go's `text/tabwriter` does it for Docker.
///
/// A column is made of cells in lines that follow each other, and is as wide as the widest of them and three blanks, but ten
/// at least. What stands behind the last tab of a line is in no column.
pub(crate) fn aligned(text: &str) -> String {
    with_columns(text, Columns { least: 10, between: 3 })
}

/// How wide columns are: as what is in them and so many blanks, but so much at least.
#[derive(Clone, Copy)]
struct Columns {
    least: usize,
    between: usize,
}

fn with_columns(text: &str, columns: Columns) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    align(&lines, columns, &mut Vec::new(), &mut out);
    out
}

fn align(lines: &[Vec<&str>], columns: Columns, widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let mut rest = lines;
    while let Some(first) = rest.first() {
        let is_in = |line: &Vec<&str>| column + 1 < line.len();
        if !is_in(first) {
            write_line(first, widths, out);
            rest = &rest[1..];
            continue;
        }
        let (block, behind) =
            rest.split_at(rest.iter().position(|line| !is_in(line)).unwrap_or(rest.len()));
        let width = |line: &Vec<&str>| line[column].chars().count() + columns.between;
        widths.push(block.iter().map(width).max().unwrap_or(0).max(columns.least));
        align(block, columns, widths, out);
        widths.pop();
        rest = behind;
    }
}

fn write_line(cells: &[&str], widths: &[usize], out: &mut String) {
    for (index, cell) in cells.iter().enumerate() {
        out.push_str(cell);
        let width = widths.get(index).copied().unwrap_or(0);
        out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
    }
    out.push('\n');
}

/// Returns the part of an id that is enough to name it.
pub(crate) fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// Returns the first `length` characters of a text in one line.
pub(crate) fn shortened(text: &str, length: usize) -> String {
    let line = visible(text).replace(['\n', '\t'], " ");
    if line.chars().count() <= length {
        return line;
    }
    let mut short: String = line.chars().take(length.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// How long a message may be, in characters.
const LONGEST_MESSAGE: usize = 2000;

/// Returns a text with every character that would command a terminal, or turn around how the others are read, as its
/// number: `\\u{1b}`. Line ends and tabs stay.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let commands = |c: char| match c {
        '\n' | '\t' => false,
        // What sets the direction of writing (Unicode, UAX #9).
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let show = |c: char| if commands(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(show).collect())
}

/// Returns what a line of a command's output says: what is left of it when a terminal has shown it, without its colours and
/// without any power over the terminal.
pub(crate) fn said(line: &str) -> String {
    let last = line.trim_end().rsplit('\r').next().unwrap_or_default();
    let mut parts = last.split("\u{1b}[");
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A colour is a list of numbers and an `m` (ECMA-48, "Select graphic rendition").
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == ':');
        match rest.strip_prefix('m') {
            Some(rest) => said.push_str(rest),
            None => said.extend(["\u{1b}[", part]),
        }
    }
    visible(&said).into_owned()
}

/// Returns a message that can be read on any terminal: visible, and without its middle where it is very long, since the
/// end often says what happened.
pub(crate) fn message(text: &str) -> String {
    let text = visible(text);
    let count = text.chars().count();
    if count <= LONGEST_MESSAGE {
        return text.into_owned();
    }
    let part = LONGEST_MESSAGE / 2;
    let front: String = text.chars().take(part).collect();
    let end: String = text.chars().skip(count - part).collect();
    format!("{front}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_command_the_terminal() {
        assert_eq!(visible("a\tb\nü"), "a\tb\nü");
        assert_eq!(visible("\x1b[31m\r\u{7f}\u{9b}\u{2066}"), {
            "\\u{1b}[31m\\u{d}\\u{7f}\\u{9b}\\u{2066}"
        });
    }

    #[test]
    fn lines_of_commands_are_what_a_terminal_would_show() {
        assert_eq!(said("\u{1b}[1;31merror\u{1b}[0m: x\u{1b}[m\r\n"), "error: x");
        assert_eq!(said("10%\r20%\u{1b}[2Jx\n"), "20%\\u{1b}[2Jx");
        assert_eq!(said("\u{1b}]0;title\u{7}\0b"), "\\u{1b}]0;title\\u{7}\\u{0}b");
    }

    #[test]
    fn long_messages_keep_their_end() {
        let long = message(&format!("{}: exit code: 1", "x".repeat(100_000)));
        assert!(long.len() < 5000 && long.ends_with(": exit code: 1"), "{long}");
        assert_eq!(message("short"), "short");
    }

    #[test]
    fn sizes_are_dockers() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_982_358, "1.98MB"),
            (77_800_000, "77.8MB"),
            (1_500_000_000, "1.5GB"),
            (999_499, "999kB"),
            (999_600, "1MB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(exact_size(1_982_358), "1.982MB");
        let gibibyte = 1 << 30;
        assert_eq!(memory(0) + &memory(1023) + &memory(1536), "0B1023B1.5KiB");
        assert_eq!(memory(gibibyte * 23 + gibibyte / 3), "23.33GiB");
        assert_eq!(exact_size(0) + &exact_size(999) + &exact_size(999_960), "0B999B1MB");
    }

    #[test]
    fn ages_are_dockers() {
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 21, "3 weeks"),
            (86_400 * 900, "2 years"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn times_are_gos() {
        assert_eq!(time(Some("2024-01-02T03:04:05.6Z")), "2024-01-02 03:04:05 +0000 UTC");
        assert_eq!(time(None), "");
        assert_eq!(seconds(Some("2024-01-02T03:04:05.6+01:00")), "2024-01-02T02:04:05Z");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["A".to_owned(), "BB".to_owned()], vec!["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(table(&rows, 3), "A     BB\nccc   d\n");
        let rows = [
            vec!["longer than ten".to_owned(), String::new()],
            vec!["…".to_owned(), "d".to_owned()],
        ];
        assert_eq!(table(&rows, 3), "longer than ten   \n…                 d\n");
    }

    #[test]
    fn a_column_ends_where_a_line_has_none() {
        let text = "a\tb\tc\nlonger than ten\tb\n\nx\ty\n";
        assert_eq!(
            aligned(text),
            "a                 b         c\nlonger than ten   b\n\nx         y\n"
        );
    }
}
