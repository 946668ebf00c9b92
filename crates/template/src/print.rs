//! How values are written, after Go's `fmt`: plainly, and by `printf`.

use crate::data::{ObjectKind, Value};

/// Returns a value as an action shows it: `%v`, but for what is not there at all.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        value => inner(value),
    }
}

/// Returns a value as it stands in another one.
fn inner(value: &Value) -> String {
    match value {
        Value::Null | Value::Nil => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => float(*value, EXPONENT),
        Value::Text(text) => text.clone(),
        Value::NoList => "[]".to_owned(),
        Value::List(values) => {
            let values: Vec<String> = values.iter().map(inner).collect();
            format!("[{}]", values.join(" "))
        }
        Value::Object(object) if object.kind == ObjectKind::Type => {
            let values: Vec<String> = object.fields.iter().map(|f| inner(&f.value)).collect();
            format!("{{{}}}", values.join(" "))
        }
        Value::Object(object) => {
            let pairs = object.sorted().into_iter();
            let pairs: Vec<String> =
                pairs.map(|field| format!("{}:{}", field.name, inner(&field.value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// Returns values as `print` joins them: with a blank between two of which neither is a text.
pub(crate) fn spaced(values: &[Value]) -> String {
    let mut text = String::new();
    let mut before: Option<&Value> = None;
    for value in values {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        if before.is_some_and(|before| !is_text(before) && !is_text(value)) {
            text.push(' ');
        }
        text.push_str(&inner(value));
        before = Some(value);
    }
    text
}

/// Returns values as `println` joins them.
pub(crate) fn line(values: &[Value]) -> String {
    let values: Vec<String> = values.iter().map(inner).collect();
    values.join(" ") + "\n"
}

/// Returns a text in double quotes, with Go's escapes.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            c => escape(c, &mut quoted),
        }
    }
    quoted.push('"');
    quoted
}

fn escape(c: char, out: &mut String) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push(c),
    }
}

/// From this exponent on, and below -4, Go writes one, if the digits are as many as are needed.
const EXPONENT: i32 = 6;

/// Returns the shortest digits that mean this number, with an exponent if that is `limit` or more.
fn float(value: f64, limit: i32) -> String {
    if !value.is_finite() {
        let infinite = if value > 0.0 { "+Inf" } else { "-Inf" };
        return if value.is_nan() { "NaN" } else { infinite }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..limit).contains(&exponent) {
        return value.to_string();
    }
    format!("{digits}{}", with_sign(exponent))
}

/// Writes an exponent as C and Go do: with a sign, and two digits at least.
fn with_sign(exponent: i32) -> String {
    format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// What stands between `%` and the verb.
#[derive(Debug, Default, Clone, Copy)]
struct Flags {
    minus: bool,
    plus: bool,
    space: bool,
    zero: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats as `printf`. What does not fit is shown in its place, as `%!d(string=x)`, and is no error.
pub(crate) fn format(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some((flags, wrong)) = flags(&mut chars, &mut values) else {
            out.push_str("%!(NOVERB)");
            break;
        };
        out.push_str(wrong);
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match values.next() {
                None => out.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => out.push_str(&one(&flags, verb, value)),
            },
        }
    }
    let extra: Vec<String> = values.map(typed).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

/// Reads the flags, the width and the precision; `None` at the end of the format. With it comes what is wrong.
fn flags<'v>(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    values: &mut impl Iterator<Item = &'v Value>,
) -> Option<(Flags, &'static str)> {
    let mut flags = Flags::default();
    let mut wrong = "";
    loop {
        match chars.peek()? {
            '-' => flags.minus = true,
            '+' => flags.plus = true,
            ' ' => flags.space = true,
            '0' => flags.zero = true,
            '#' => flags.sharp = true,
            _ => break,
        }
        chars.next();
    }
    match size(chars, values) {
        Size::Given(width) => flags.width = width.unsigned_abs(),
        Size::Absent => {}
        Size::Wrong => wrong = "%!(BADWIDTH)",
    }
    if chars.peek() == Some(&'.') {
        chars.next();
        match size(chars, values) {
            Size::Given(precision) => flags.precision = usize::try_from(precision).ok(),
            Size::Absent => flags.precision = Some(0),
            Size::Wrong => wrong = "%!(BADPREC)",
        }
    }
    Some((flags, wrong))
}

enum Size {
    Given(isize),
    Absent,
    Wrong,
}

fn size<'v>(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    values: &mut impl Iterator<Item = &'v Value>,
) -> Size {
    /// Go's bound.
    const LARGEST: isize = 1_000_000;
    if chars.next_if_eq(&'*').is_some() {
        return match values.next() {
            Some(Value::Int(size)) if size.unsigned_abs() <= LARGEST as u128 => {
                Size::Given(*size as isize)
            }
            _ => Size::Wrong,
        };
    }
    let mut size: Option<isize> = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        size = Some(size.unwrap_or(0).saturating_mul(10).saturating_add(digit as isize));
    }
    match size {
        None => Size::Absent,
        Some(size) if size > LARGEST => Size::Wrong,
        Some(size) => Size::Given(size),
    }
}

fn typed(value: &Value) -> String {
    match value {
        Value::Null | Value::Nil => "<nil>".to_owned(),
        value => format!("{}={}", value.type_name(), inner(value)),
    }
}

/// Formats one value by one verb.
fn one(flags: &Flags, verb: char, value: &Value) -> String {
    let is_number = matches!(value, Value::Int(_) | Value::Float(_));
    let text = match (verb, value) {
        ('T', value) => value.type_name().to_owned(),
        ('v', Value::Text(text)) if flags.sharp => quote(text),
        ('v' | 'd', Value::Int(number)) => integer(flags, *number),
        ('v' | 'g' | 'G', Value::Float(number)) if flags.precision.is_none() => {
            signed(flags, *number, float(number.abs(), EXPONENT))
        }
        ('v', Value::Text(text)) | ('s', Value::Text(text)) => cut(flags, text),
        ('v', value) => inner(value),
        ('t', Value::Bool(value)) => value.to_string(),
        ('q', Value::Text(text)) => quote(&cut(flags, text)),
        ('q', Value::Int(number)) => {
            character(*number).map_or_else(|| "'\u{fffd}'".to_owned(), quote_character)
        }
        ('c', Value::Int(number)) => character(*number).unwrap_or('\u{fffd}').to_string(),
        ('U', Value::Int(number)) => format!("U+{number:04X}"),
        ('b' | 'o' | 'x' | 'X' | 'O', Value::Int(number)) => radix(flags, verb, *number),
        ('x' | 'X', Value::Text(text)) => bytes(flags, verb, text),
        ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Float(number)) => {
            signed(flags, *number, digits(verb, flags.precision, number.abs()))
        }
        ('s' | 'q' | 'd' | 'x' | 'X' | 't', Value::List(values)) => {
            let values: Vec<String> = values.iter().map(|value| one(flags, verb, value)).collect();
            return format!("[{}]", values.join(" "));
        }
        ('s' | 'q' | 'd' | 'x' | 'X' | 't', Value::NoList) => "[]".to_owned(),
        (verb, value) => format!("%!{verb}({})", typed(value)),
    };
    padded(flags, text, is_number)
}

fn padded(flags: &Flags, text: String, is_number: bool) -> String {
    let missing = flags.width.saturating_sub(text.chars().count());
    if flags.minus {
        return text + &" ".repeat(missing);
    }
    if flags.zero && is_number {
        let sign = text.len() - text.trim_start_matches(['+', '-', ' ']).len();
        return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
    }
    " ".repeat(missing) + &text
}

fn cut(flags: &Flags, text: &str) -> String {
    text.chars().take(flags.precision.unwrap_or(usize::MAX)).collect()
}

fn integer(flags: &Flags, number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let zeros = flags.precision.unwrap_or(0).saturating_sub(digits.len());
    sign(flags, number < 0) + &"0".repeat(zeros) + &digits
}

fn radix(flags: &Flags, verb: char, number: i128) -> String {
    let magnitude = number.unsigned_abs();
    let (prefix, digits) = match verb {
        'b' => ("0b", format!("{magnitude:b}")),
        'o' => ("0", format!("{magnitude:o}")),
        'O' => ("0o", format!("{magnitude:o}")),
        'x' => ("0x", format!("{magnitude:x}")),
        _ => ("0X", format!("{magnitude:X}")),
    };
    let prefix = if flags.sharp || verb == 'O' { prefix } else { "" };
    sign(flags, number < 0) + prefix + &digits
}

fn bytes(flags: &Flags, verb: char, text: &str) -> String {
    let prefix = if flags.sharp && !text.is_empty() { "0x" } else { "" };
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let hex = prefix.to_owned() + &digits;
    if verb == 'X' { hex.to_uppercase() } else { hex }
}

fn digits(verb: char, precision: Option<usize>, number: f64) -> String {
    let precision = precision.unwrap_or(6);
    match verb {
        'f' | 'F' => format!("{number:.precision$}"),
        'e' | 'E' => {
            let text = format!("{number:.precision$e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let text = format!("{digits}{}", with_sign(exponent.parse().unwrap_or(0)));
            if verb == 'E' { text.to_uppercase() } else { text }
        }
        _ => {
            // So many digits in all, without the zeros at the end.
            let places = precision.max(1) - 1;
            let text = format!("{number:.places$e}");
            let rounded: f64 = text.parse().unwrap_or(number);
            float(rounded, i32::try_from(precision.max(1)).unwrap_or(i32::MAX))
        }
    }
}

fn signed(flags: &Flags, number: f64, digits: String) -> String {
    sign(flags, number.is_sign_negative()) + &digits
}

fn sign(flags: &Flags, negative: bool) -> String {
    match (negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    }
    .to_owned()
}

fn character(number: i128) -> Option<char> {
    u32::try_from(number).ok().and_then(char::from_u32)
}

fn quote_character(c: char) -> String {
    let mut quoted = "'".to_owned();
    match c {
        '\'' => quoted.push_str("\\'"),
        c => escape(c, &mut quoted),
    }
    quoted + "'"
}
