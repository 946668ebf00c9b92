//! Durations as Go writes them: `1m30s`, `1.5h`, `500ms`.

use nom::bytes::complete::{tag, take_till};
use nom::character::complete::{digit0, one_of};
use nom::combinator::{all_consuming, opt, verify};
use nom::multi::many1;
use nom::sequence::preceded;
use nom::{IResult, Parser};

use crate::quoted::quoted;

/// The units, longer names before those they begin with, in nanoseconds.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The nanoseconds of `text`, or what Go says is wrong with it.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quoted(text));
    let (negative, unsigned) = unsigned(text);
    if unsigned == "0" {
        return Ok(0);
    }
    let terms: IResult<&str, Vec<Term<'_>>> = all_consuming(many1(term)).parse(unsigned);
    let (_, terms) = terms.map_err(|_| invalid())?;
    let mut sum: i128 = 0;
    for term in terms {
        if term.unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quoted(text)));
        }
        let unit = UNITS.iter().find(|(name, _)| *name == term.unit).ok_or_else(|| {
            format!("time: unknown unit {} in duration {}", quoted(term.unit), quoted(text))
        })?;
        sum = nanoseconds(&term, unit.1)
            .and_then(|nanoseconds| sum.checked_add(nanoseconds))
            .ok_or_else(invalid)?;
    }
    let signed = if negative { -sum } else { sum };
    i64::try_from(signed).map_err(|_| invalid())
}

fn unsigned(text: &str) -> (bool, &str) {
    let sign: IResult<&str, Option<char>> = opt(one_of("+-")).parse(text);
    sign.map_or((false, text), |(rest, sign)| (sign == Some('-'), rest))
}

/// A number and its unit.
struct Term<'a> {
    whole: &'a str,
    fraction: &'a str,
    unit: &'a str,
}

fn term(input: &str) -> IResult<&str, Term<'_>> {
    let fraction = opt(preceded(tag("."), digit0)).map(Option::unwrap_or_default);
    let number = verify((digit0, fraction), |(whole, fraction): &(&str, &str)| {
        !whole.is_empty() || !fraction.is_empty()
    });
    let unit = take_till(|c: char| c == '.' || c.is_ascii_digit());
    (number, unit).map(|((whole, fraction), unit)| Term { whole, fraction, unit }).parse(input)
}

/// `None` if it is out of range.
fn nanoseconds(term: &Term<'_>, unit: i128) -> Option<i128> {
    let whole: i128 = if term.whole.is_empty() { 0 } else { term.whole.parse().ok()? };
    // An hour has 13 digits of nanoseconds; what is behind them is less than one.
    let digits = &term.fraction[..term.fraction.len().min(18)];
    let fraction: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let scale = 10_i128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(fraction * unit / scale)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations() {
        for (text, expect) in [
            ("0", 0),
            ("+0", 0),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-3ms", -3_000_000),
            ("1us1µs1μs1ns", 3_001),
            ("0.000000000000000000000001h", 0),
            ("2562047h47m16.854775807s", i64::MAX),
        ] {
            assert_eq!(parse(text), Ok(expect), "{text}");
        }
    }

    #[test]
    fn errors() {
        for (text, expect) in [
            ("", "time: invalid duration \"\""),
            ("soon", "time: invalid duration \"soon\""),
            (".s", "time: invalid duration \".s\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5s3", "time: missing unit in duration \"5s3\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("9999999999h", "time: invalid duration \"9999999999h\""),
            (
                "99999999999999999999999999999999999999999h",
                "time: invalid duration \"99999999999999999999999999999999999999999h\"",
            ),
        ] {
            assert_eq!(parse(text), Err(expect.to_owned()), "{text}");
        }
    }
}
