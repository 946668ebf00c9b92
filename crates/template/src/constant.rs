//! Constants: from how Go writes numbers, texts and characters to what they are.

use crate::data::Value;

/// Reads a number as Go writes one; `None` if it is none.
pub(crate) fn number(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let plain = digits.replace('_', "");
    let sign = |value: i128| Value::Int(if negative { -value } else { value });
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)] {
        if let Some(digits) = plain.strip_prefix(prefix) {
            return i128::from_str_radix(digits, radix).ok().map(sign);
        }
    }
    if plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|b| b.is_ascii_digit()) {
        return i128::from_str_radix(&plain, 8).ok().map(sign);
    }
    if let Ok(integer) = plain.parse::<i64>() {
        return Some(sign(integer.into()));
    }
    let is_decimal = plain.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    let float = plain.parse::<f64>().ok().filter(|_| is_decimal)?;
    Some(Value::Float(if negative { -float } else { float }))
}

/// Returns what is between quotes, without Go's escapes; `None` if one of them is none.
pub(crate) fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.get(1..quoted.len().checked_sub(1)?)?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(next) = chars.next() {
        if next != '\\' {
            bytes.extend(next.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let escape = chars.next()?;
        let mut code = |digits: usize, radix: u32| {
            let text: String = chars.by_ref().take(digits).collect();
            if text.len() == digits { u32::from_str_radix(&text, radix).ok() } else { None }
        };
        let character = match escape {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' | '\'' | '"' => escape,
            'x' => {
                bytes.push(u8::try_from(code(2, 16)?).ok()?);
                continue;
            }
            'u' => char::from_u32(code(4, 16)?)?,
            'U' => char::from_u32(code(8, 16)?)?,
            '0'..='7' => {
                let rest = code(2, 8)?;
                bytes.push(u8::try_from(escape.to_digit(8)? * 64 + rest).ok()?);
                continue;
            }
            _ => return None,
        };
        bytes.extend(character.encode_utf8(&mut [0; 4]).bytes());
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns what is between the quotes of a character constant.
pub(crate) fn character(quoted: &str) -> Option<char> {
    let text = unquote(quoted)?;
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}
