//! Numbers and times in headers: octal, base-256 and decimal, none of which may overflow.

use crate::root::Timestamp;

/// Times beyond this are set to it: some 34 000 years, more than any file system keeps.
const MAX_SECONDS: i64 = 1 << 40;

const NANOSECONDS: usize = 9;

/// Returns the number in a header field: octal digits with spaces and NULs around them, or base-256 (a GNU extension) if
/// the first bit is set. An empty field is 0; `None` for what is neither, and for more than 63 bits.
pub(super) fn field(bytes: &[u8]) -> Option<i64> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base_256(bytes),
        _ => octal(bytes),
    }
}

fn octal(bytes: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0i64, |number, byte| match byte {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// Two's complement, big endian, where the first bit is the mark and the second the sign.
fn base_256(bytes: &[u8]) -> Option<i64> {
    let first = *bytes.first()?;
    let negative = first & 0x40 != 0;
    let head = if negative { i128::from(first & 0x3f) - 0x40 } else { i128::from(first & 0x3f) };
    let number = bytes[1..].iter().try_fold(head, |number, byte| {
        // More than 63 bits are refused in the end; this keeps 128 from overflowing on the way.
        (number.unsigned_abs() < 1 << 100).then_some((number << 8) | i128::from(*byte))
    })?;
    i64::try_from(number).ok()
}

/// Returns a decimal number of a PAX record.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Returns a decimal number of a PAX record that counts something.
pub(super) fn count(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// Returns the time of a header field.
pub(super) fn seconds(seconds: i64) -> Timestamp {
    Timestamp { seconds: seconds.clamp(-MAX_SECONDS, MAX_SECONDS), nanoseconds: 0 }
}

/// Returns the time of a PAX record: decimal seconds, with a fraction or without. Numbers out of range are brought into
/// it, whatever their notation; what is no number (`NaN` too) is `None`.
pub(super) fn time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let Ok(whole_seconds) = whole.parse::<i64>() else {
        let number = text.parse::<f64>().ok().filter(|number| !number.is_nan())?;
        return Some(seconds(number as i64));
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(NANOSECONDS);
    let nanoseconds = digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let mut time = seconds(whole_seconds);
    if whole.starts_with('-') && nanoseconds > 0 {
        time.seconds -= 1;
        time.nanoseconds = 1_000_000_000 - nanoseconds;
    } else {
        time.nanoseconds = nanoseconds;
    }
    Some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let cases: &[(&[u8], Option<i64>)] = &[
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"8\0", None),
            (b"-1\0", None),
            (b"7777777777777777777777777", None),
            (b"\x80\0\0\0\0\0\0\x10", Some(16)),
            (b"\x80\0\0\0\x40\0\0\0\0\0\0\0", Some(1 << 62)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", None),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(field(bytes), *wanted, "{bytes:?}");
        }
    }

    #[test]
    fn times() {
        let at = |seconds, nanoseconds| Some(Timestamp { seconds, nanoseconds });
        for (text, wanted) in [
            ("0", at(0, 0)),
            ("12.5", at(12, 500_000_000)),
            ("12.", at(12, 0)),
            ("1.0000000019", at(1, 1)),
            ("-1", at(-1, 0)),
            ("-0.5", at(-1, 500_000_000)),
            ("-1.5", at(-2, 500_000_000)),
            ("9999999999999", at(MAX_SECONDS, 0)),
            ("1e30", at(MAX_SECONDS, 0)),
            ("-1e30", at(-MAX_SECONDS, 0)),
            ("inf", at(MAX_SECONDS, 0)),
            ("99999999999999999999", at(MAX_SECONDS, 0)),
            ("NaN", None),
            ("nan", None),
            ("", None),
            ("x", None),
            ("1.x", None),
            ("1.5e3x", None),
        ] {
            assert_eq!(time(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn counts_are_digits_only() {
        assert_eq!(count(b"12"), Some(12));
        for text in [&b""[..], b"+1", b"-1", b" 1", b"1 ", b"99999999999999999999999"] {
            assert_eq!(count(text), None, "{text:?}");
        }
    }
}
