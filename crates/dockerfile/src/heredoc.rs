//! Heredocs: the `<<NAME` words of a line, and the bodies that follow it.
//!
//! A `<<NAME` word is found by splitting the line as a shell does, with `\` as the escape character whatever the
//! directive says. A line that cannot be split, since a quote is open, has no heredocs.

mod shell;

use nom::bytes::complete::{tag, take_while};
use nom::character::complete::digit0;
use nom::combinator::{opt, rest, verify};
use nom::{IResult, Parser};

use crate::fragment::Fragment;
use crate::source::Span;

/// A text in the Dockerfile, named on the line of an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heredoc {
    /// The name, without quotes; also the line that ends the body.
    pub name: String,
    /// The lines between, byte for byte, each with its line end.
    pub body: String,
    /// True unless any part of the name is quoted: variables in the body are expanded by `COPY` and `ADD`.
    pub expand: bool,
    /// True for `<<-`: leading tabs do not count.
    pub chomp: bool,
    /// The number before `<<`, which only a shell has a use for.
    pub fd: Option<u32>,
    /// Where the body is.
    pub span: Span,
}

impl Heredoc {
    /// The body as it is meant: for `<<-`, without the leading tabs of each line.
    pub fn contents(&self) -> String {
        if !self.chomp {
            return self.body.clone();
        }
        self.body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }

    /// Where in the body a byte of the contents is.
    pub(crate) fn offset(&self, mut at: usize) -> usize {
        if !self.chomp {
            return at;
        }
        let mut start = 0;
        for line in self.body.split_inclusive('\n') {
            let kept = line.trim_start_matches('\t').len();
            if at < kept {
                return start + line.len() - kept + at;
            }
            at -= kept;
            start += line.len();
        }
        start
    }
}

/// A `<<NAME` word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Marker {
    pub(crate) name: String,
    pub(crate) expand: bool,
    pub(crate) chomp: bool,
    pub(crate) fd: Option<u32>,
}

/// The heredocs that the words of `line` call for, each with its word.
pub(crate) fn markers(line: Fragment<'_>) -> Vec<(Fragment<'_>, Marker)> {
    // Looking costs less than splitting, and most lines have none.
    if !line.text().contains("<<") {
        return Vec::new();
    }
    shell::words(line.text())
        .unwrap_or_default()
        .into_iter()
        .filter_map(|word| Some((line.of(word), marker(word)?)))
        .collect()
}

/// True if `line` looks as if it called for a heredoc, but cannot be split, since a quote is open.
pub(crate) fn is_lost(line: &str) -> bool {
    line.contains("<<") && line.contains(['\'', '"']) && shell::words(line).is_none()
}

/// True if the whole of `text` is one `<<NAME` word.
pub(crate) fn is_heredoc(text: &str) -> bool {
    marker(text).is_some()
}

/// Reads one word; `None` if it is not `<<NAME`, or the name has an open quote.
fn marker(word: &str) -> Option<Marker> {
    let (_, (digits, chomp, name)) = marker_parts(word).ok()?;
    let (name, quoted) = unquote(name)?;
    // Like a number too large for a file descriptor, which no shell accepts either.
    let fd = digits.parse().ok();
    Some(Marker { name, expand: !quoted, chomp, fd })
}

/// `[digits]<<[-][blanks]name`, the name still quoted.
fn marker_parts(word: &str) -> IResult<&str, (&str, bool, &str)> {
    let blanks = take_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{c}'));
    let name = verify(rest, |name: &str| !name.is_empty() && !name.contains('<'));
    (digit0, tag("<<"), opt(tag("-")), blanks, name)
        .map(|(digits, _, dash, _, name): (_, _, Option<&str>, _, _)| {
            (digits, dash.is_some(), name)
        })
        .parse(word)
}

/// The name without quotes and escapes, and whether it had quotes. `None` if it is empty or more than one word, or if
/// a quote is open.
fn unquote(text: &str) -> Option<(String, bool)> {
    let mut name = String::new();
    let mut quoted = false;
    let mut rest = text.trim_end();
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\'' => {
                let (inside, next) = after.split_once('\'')?;
                name.push_str(inside);
                quoted = true;
                rest = next;
            }
            '"' => {
                rest = unquote_double(after, &mut name)?;
                quoted = true;
            }
            '\\' => {
                let mut chars = after.chars();
                name.extend(chars.next());
                rest = chars.as_str();
            }
            '$' => {
                let next = shell::skip_dollar(rest)?;
                name.push_str(&rest[..rest.len() - next.len()]);
                rest = next;
            }
            c if c.is_whitespace() => return None,
            c => {
                name.push(c);
                rest = after;
            }
        }
    }
    (!name.is_empty()).then_some((name, quoted))
}

/// Reads up to the closing `"`, and returns what is behind it.
fn unquote_double<'a>(text: &'a str, name: &mut String) -> Option<&'a str> {
    let mut rest = text;
    loop {
        let c = rest.chars().next()?;
        let after = &rest[c.len_utf8()..];
        match c {
            '"' => return Some(after),
            '$' => {
                let next = shell::skip_dollar(rest)?;
                name.push_str(&rest[..rest.len() - next.len()]);
                rest = next;
            }
            '\\' if after.starts_with(['"', '$', '\\']) => {
                name.push_str(&after[..1]);
                rest = &after[1..];
            }
            c => {
                name.push(c);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_heredoc, marker, markers};
    use crate::fragment::Joined;

    /// The names of the heredocs on a line.
    fn check(line: &str, expect: &[&str]) {
        let mut joined = Joined::new(None);
        joined.push(line, 0);
        let names: Vec<_> = markers(joined.whole()).into_iter().map(|(_, m)| m.name).collect();
        assert_eq!(names, expect, "{line}");
    }

    #[test]
    fn names_on_a_line() {
        check("RUN <<EOF", &["EOF"]);
        check("RUN <<A cat > x && <<B cat > y", &["A", "B"]);
        check("RUN <<- EOF > foo", &["EOF"]);
        check("RUN << -EOF", &["-EOF"]);
        check("RUN echo '<<A' \"<<B\" \\<<C x<<D", &[]);
        check("RUN cat <<<x", &[]);
        check("RUN cat <<", &[]);
        check("RUN cat <<'one two' x", &["one two"]);
        check("RUN cat <<$A <<${B:-c}", &["$A", "${B:-c}"]);
        check("RUN echo ${a:-'x y'} ${a#b} ${a/b/c} <<EOF", &["EOF"]);
    }

    #[test]
    fn lines_that_cannot_be_split_have_none() {
        check("RUN echo it's <<EOF", &[]);
        check("RUN echo \" <<EOF", &[]);
        check("RUN echo ${a <<EOF", &[]);
        check("RUN echo ${a=b} <<EOF", &[]);
        check(&format!("RUN {} <<EOF", "${a:-".repeat(10_000)), &[]);
        check(&format!("RUN {}{} <<EOF", "${a:-".repeat(10_000), "}".repeat(10_000)), &[]);
    }

    #[test]
    fn forms() {
        let found = marker("3<<-'E O'\\'F").unwrap();
        assert_eq!(
            (found.name.as_str(), found.expand, found.chomp, found.fd),
            ("E O'F", false, true, Some(3))
        );
        assert_eq!(marker("<<eo\\'f").map(|m| (m.name, m.expand)), Some(("eo'f".into(), true)));
        assert_eq!(marker("<<\"a\\\"b\\c\"").map(|m| m.name), Some("a\"b\\c".into()));
        for none in
            ["", "EOF", "<<", "<<-", "<EOF", "<<<EOF", "<<EOF sh", "<<''", "<<'EOF", "<<EOF\""]
        {
            assert!(!is_heredoc(none), "{none}");
        }
    }
}
