//! One record of CSV, as `--mount` and `--device` have it: a quoted field may have commas in it.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till};
use nom::character::complete::{char, none_of};
use nom::combinator::{all_consuming, consumed, map, value};
use nom::multi::{fold_many0, separated_list1};
use nom::sequence::delimited;
use nom::{IResult, Parser};

use crate::diagnostic::Diagnostic;
use crate::flag::FlagValue;
use crate::source::Span;

/// A field and where it is.
pub(super) struct Field {
    pub(super) text: String,
    pub(super) span: Span,
    /// Where the value behind the first `=` is, if the field has one.
    pub(super) value_span: Span,
}

/// The fields of the value of a flag; `what` names them in the error.
pub(super) fn fields(flag: &FlagValue<'_>, what: &str) -> Result<Vec<Field>, Diagnostic> {
    let record: IResult<&str, Vec<(&str, String)>> =
        all_consuming(separated_list1(char(','), consumed(alt((quoted, plain))))).parse(&flag.text);
    match record {
        Ok((_, fields)) if !flag.text.is_empty() => {
            Ok(fields.into_iter().map(|(written, text)| field(flag, written, text)).collect())
        }
        Ok(_) | Err(_) => {
            let reason = if flag.text.is_empty() { "it is empty" } else { "a quote is misplaced" };
            let message = format!("failed to parse csv {what}: {reason}");
            Err(Diagnostic::new(message).at(flag.fragment.span()))
        }
    }
}

fn field(flag: &FlagValue<'_>, written: &str, text: String) -> Field {
    let span = flag.span_of(written);
    let value_span = match written.split_once('=') {
        Some((_, value)) if *written == text => flag.span_of(value),
        Some(_) | None => span,
    };
    Field { text, span, value_span }
}

/// `"…"`, in which `""` is a quote.
fn quoted(input: &str) -> IResult<&str, String> {
    let inside = alt((value('"', tag("\"\"")), none_of("\"")));
    let text = fold_many0(inside, String::new, |mut text, c| {
        text.push(c);
        text
    });
    delimited(char('"'), text, char('"')).parse(input)
}

/// A field without quotes, which may not have any inside either.
fn plain(input: &str) -> IResult<&str, String> {
    map(take_till(|c| c == ',' || c == '"'), str::to_owned).parse(input)
}
