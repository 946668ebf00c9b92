//! The shapes that the operands of an instruction have: words, quoted words, pairs, JSON arrays and shell texts.
//!
//! Quotes and escapes are seen only to find the ends of words; they stay in them until they are expanded.

use nom::branch::alt;
use nom::bytes::complete::{take_till, take_while, take_while1};
use nom::character::complete::{anychar, char, none_of, satisfy};
use nom::combinator::{opt, recognize};
use nom::multi::{many0, many0_count, many1_count};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

use crate::diagnostic::Diagnostic;
use crate::fragment::Fragment;
use crate::instruction::{CommandLine, Pair};
use crate::quoted::quoted;
use crate::source::Word;

/// The operands of `ADD`, `COPY` and `VOLUME`.
#[derive(Debug)]
pub(crate) enum List<'a> {
    /// The strings of a JSON array.
    Json(Vec<Word>),
    /// Words between blanks.
    Words(Vec<Fragment<'a>>),
}

/// What separates words without quotes, and the keyword from the rest.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Words between blanks, without quoting.
pub(crate) fn words(operands: Fragment<'_>) -> Vec<Fragment<'_>> {
    let blanks = || take_while(is_blank);
    let word = take_while1(|c| !is_blank(c));
    let mut grammar = preceded(blanks(), many0(terminated(word, blanks())));
    let words: IResult<&str, Vec<&str>> = grammar.parse(operands.text());
    // The grammar takes any input, so there is no error to report.
    words
        .map(|(_, words)| words.into_iter().map(|word| operands.of(word)).collect())
        .unwrap_or_default()
}

/// Words that may have quoted and escaped parts. A lone escape character at the end is dropped.
pub(crate) fn quoted_words(operands: Fragment<'_>, escape: char) -> Vec<Fragment<'_>> {
    let word = recognize(many1_count(|input| quoted_piece(input, escape)));
    let mut grammar = many0(preceded(take_while(char::is_whitespace), word));
    let words: IResult<&str, Vec<&str>> = grammar.parse(operands.text());
    words
        .map(|(_, words)| words.into_iter().map(|word| operands.of(word)).collect())
        .unwrap_or_default()
}

/// A quoted text, closed or not, an escaped character, or a run of plain ones.
fn quoted_piece(input: &str, escape: char) -> IResult<&str, &str> {
    let plain = move |c: char| !c.is_whitespace() && c != '\'' && c != '"' && c != escape;
    let escaped = || recognize((char(escape), anychar));
    let inside = alt((escaped(), recognize(satisfy(move |c| c != '"' && c != escape))));
    alt((
        recognize((char('\''), take_till(|c| c == '\''), opt(char('\'')))),
        recognize((char('"'), many0_count(inside), opt(char('"')))),
        escaped(),
        take_while1(plain),
    ))
    .parse(input)
}

/// `key=value…`, or the old form `key rest of the line`, which is used when the first word has no `=`.
pub(crate) fn pairs(
    operands: Fragment<'_>,
    escape: char,
    keyword: &str,
) -> Result<Vec<Pair>, Diagnostic> {
    let words = quoted_words(operands, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.text().contains('=') {
        return legacy_pair(operands, keyword).map(|pair| vec![pair]);
    }
    words.into_iter().map(|word| pair(word, keyword)).collect()
}

fn pair(word: Fragment<'_>, keyword: &str) -> Result<Pair, Diagnostic> {
    let (key, Some(value)) = word.cut('=') else {
        let message = format!(
            "Syntax error - can't find = in {}. Must be of the form: name=value",
            quoted(word.text())
        );
        return Err(Diagnostic::new(message)
            .at(word.span())
            .hint("quote the value if it has blanks in it: name=\"a value\""));
    };
    if key.is_empty() {
        let message = format!("{keyword} names can not be blank");
        return Err(Diagnostic::new(message).at(word.span()));
    }
    Ok(Pair { key: key.word(), value: value.word(), legacy: false })
}

fn legacy_pair(operands: Fragment<'_>, keyword: &str) -> Result<Pair, Diagnostic> {
    let Some((key, value)) = operands.text().split_once(is_blank) else {
        let message = format!("{keyword} must have two arguments");
        return Err(Diagnostic::new(message)
            .at(operands.span())
            .hint(format!("write {keyword} {}=value", operands.text())));
    };
    let value = operands.of(value.trim_start_matches(is_blank));
    Ok(Pair { key: operands.of(key).word(), value: value.word(), legacy: true })
}

/// A JSON array, or words between blanks.
pub(crate) fn list(operands: Fragment<'_>) -> Result<List<'_>, Diagnostic> {
    Ok(match json_array(operands)? {
        Some(strings) => List::Json(strings),
        None => List::Words(words(operands)),
    })
}

/// A JSON array, or a text for the shell.
pub(crate) fn command_line(operands: Fragment<'_>) -> Result<CommandLine, Diagnostic> {
    Ok(match json_array(operands)? {
        Some(strings) => CommandLine::Exec(strings.into_iter().map(|word| word.text).collect()),
        None => CommandLine::Shell(operands.text().to_owned()),
    })
}

/// The strings of a JSON array; `None` for anything that is no array, which then is no JSON at all. An array with
/// something else than strings is an error.
pub(crate) fn json_array(operands: Fragment<'_>) -> Result<Option<Vec<Word>>, Diagnostic> {
    let text = operands.text();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    let places = json_strings(text);
    let mut words = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let serde_json::Value::String(string) = item else {
            let message = "when using JSON array syntax, arrays must be comprised of strings only";
            let hint = "put each element in double quotes";
            return Err(Diagnostic::new(message).at(operands.span()).hint(hint));
        };
        let place = places.get(index).map_or(operands, |place| operands.of(place));
        words.push(Word::new(string, place.span()));
    }
    Ok(Some(words))
}

/// The string literals of a JSON text, with their quotes.
fn json_strings(text: &str) -> Vec<&str> {
    let inside = alt((recognize((char('\\'), anychar)), recognize(none_of("\"\\"))));
    let literal = recognize((char('"'), many0_count(inside), char('"')));
    let strings: IResult<&str, Vec<&str>> =
        many0(preceded(take_till(|c| c == '"'), literal)).parse(text);
    strings.map(|(_, strings)| strings).unwrap_or_default()
}

#[cfg(test)]
mod tests;
