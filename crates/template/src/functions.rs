//! The functions that a template can call: Go's, and those that Docker adds.

use serde_json::Value as Json;

use crate::{
    compare,
    data::{Object, ObjectKind, Value},
    print,
};

/// What the values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What they say.
    Values,
    /// Headings of a table, which functions leave alone.
    Headings,
}

/// Each function with the least and the greatest number of arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("and", 1, MANY),
    ("call", 1, MANY),
    ("eq", 1, MANY),
    ("ge", 2, 2),
    ("gt", 2, 2),
    ("html", 0, MANY),
    ("index", 1, MANY),
    ("join", 2, 2),
    ("js", 0, MANY),
    ("json", 1, 1),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lower", 1, 1),
    ("lt", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("or", 1, MANY),
    ("pad", 3, 3),
    ("print", 0, MANY),
    ("printf", 1, MANY),
    ("println", 0, MANY),
    ("slice", 1, 4),
    ("split", 2, 2),
    ("title", 1, 1),
    ("truncate", 2, 2),
    ("upper", 1, 1),
    ("urlquery", 0, MANY),
];

const MANY: usize = usize::MAX;

/// What a function says if it cannot.
type Result<T = Value> = std::result::Result<T, String>;

pub(crate) fn is_known(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, ..)| *known == name)
}

/// Returns what is wrong with a number of arguments, if anything is.
pub(crate) fn wrong_count(name: &str, given: usize) -> Option<String> {
    let (_, least, most) = FUNCTIONS.iter().find(|(known, ..)| *known == name)?;
    let want = match (least, most) {
        _ if (least..=most).contains(&&given) => return None,
        (least, &MANY) => format!("at least {least}"),
        (least, _) => least.to_string(),
    };
    Some(format!("wrong number of args for {name}: want {want} got {given}"))
}

/// Calls a function; the number of arguments is right.
pub(crate) fn call(name: &str, arguments: &[Value], mode: Mode) -> Result {
    let changes = ["json", "split", "join", "title", "lower", "upper", "truncate"];
    if mode == Mode::Headings && changes.contains(&name) {
        return Ok(arguments[0].clone());
    }
    let text = |index: usize| text(&arguments[index]);
    Ok(match name {
        "and" | "or" => arguments.last().cloned().unwrap_or(Value::Null),
        "not" => Value::Bool(!arguments[0].is_true()),
        "eq" => Value::Bool(compare::equal_any(&arguments[0], &arguments[1..])?),
        "ne" => Value::Bool(!compare::equal(&arguments[0], &arguments[1])?),
        "lt" => Value::Bool(compare::less(&arguments[0], &arguments[1])?),
        "le" => Value::Bool(!compare::less(&arguments[1], &arguments[0])?),
        "gt" => Value::Bool(compare::less(&arguments[1], &arguments[0])?),
        "ge" => Value::Bool(!compare::less(&arguments[0], &arguments[1])?),
        "call" => {
            return Err(format!(
                "non-function {} of type {}",
                print::plain(&arguments[0]),
                arguments[0].type_name()
            ));
        }
        "html" => Value::Text(html(&print::spaced(arguments))),
        "js" => Value::Text(js(&print::spaced(arguments))),
        "urlquery" => Value::Text(url(&print::spaced(arguments))),
        "index" => {
            arguments[1..].iter().try_fold(arguments[0].clone(), |value, key| index(&value, key))?
        }
        "slice" => slice(&arguments[0], &arguments[1..])?,
        "len" => Value::Int(length(&arguments[0])? as i128),
        "json" => Value::Text(json(&arguments[0].to_json())),
        "lower" => Value::Text(text(0)?.to_lowercase()),
        "upper" => Value::Text(text(0)?.to_uppercase()),
        "title" => Value::Text(title(text(0)?)),
        "split" => Value::List(split(text(0)?, text(1)?)),
        "join" => Value::Text(join(&arguments[0], text(1)?)?),
        "pad" => Value::Text(pad(text(0)?, number(&arguments[1])?, number(&arguments[2])?)),
        "truncate" => Value::Text(truncate(text(0)?, number(&arguments[1])?).to_owned()),
        "print" => Value::Text(print::spaced(arguments)),
        "println" => Value::Text(print::line(arguments)),
        "printf" => Value::Text(print::format(text(0)?, &arguments[1..])),
        // The table and this list are compared by a test.
        name => return Err(format!("{name} is not known")),
    })
}

/// Returns JSON as Docker's `json` writes it: in one line.
fn json(value: &Json) -> String {
    // Always escaped, since JavaScript takes them for ends of lines.
    value.to_string().replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// Returns the JSON of a part of a listing's row; the whole row is made safe for HTML.
pub(crate) fn json_of_row(value: &Value) -> String {
    let text = json(&value.to_json());
    match value {
        Value::Object(_) => {
            text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
        }
        _ => text,
    }
}

fn text(value: &Value) -> Result<&str> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
    }
}

fn number(value: &Value) -> Result<i128> {
    match value {
        Value::Int(number) => Ok(*number),
        other => Err(format!("wrong type for value; expected int; got {}", other.type_name())),
    }
}

fn length(value: &Value) -> Result<usize> {
    match value {
        Value::Text(text) => Ok(text.len()),
        Value::List(values) => Ok(values.len()),
        Value::NoList => Ok(0),
        Value::Object(Object { kind: ObjectKind::Map | ObjectKind::NoMap, fields }) => {
            Ok(fields.len())
        }
        Value::Null | Value::Nil => Err("len of nil pointer".to_owned()),
        other => Err(format!("len of type {}", other.type_name())),
    }
}

fn index(value: &Value, key: &Value) -> Result {
    let at = |values: &[Value], position: i128| {
        let found = usize::try_from(position).ok().and_then(|position| values.get(position));
        found.cloned().ok_or_else(|| format!("index out of range: {position}"))
    };
    match (value, key) {
        (Value::List(values), Value::Int(position)) => at(values, *position),
        (Value::NoList, Value::Int(position)) => at(&[], *position),
        (Value::Text(text), Value::Int(position)) => {
            let byte = usize::try_from(*position).ok().and_then(|at| text.as_bytes().get(at));
            let byte = byte.ok_or_else(|| format!("index out of range: {position}"))?;
            Ok(Value::Int((*byte).into()))
        }
        (Value::List(_) | Value::NoList | Value::Text(_), other) => {
            Err(format!("cannot index slice/array with type {}", other.type_name()))
        }
        (Value::Object(object), Value::Text(key)) => {
            Ok(object.get(key).cloned().unwrap_or_else(|| object.lacking()))
        }
        (Value::Object(_), other) => {
            Err(format!("value has type {}; should be string", other.type_name()))
        }
        (Value::Null | Value::Nil, _) => Err("index of untyped nil".to_owned()),
        (other, _) => Err(format!("can't index item of type {}", other.type_name())),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result {
    let size = match value {
        Value::Text(_) if bounds.len() > 2 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::Text(_) | Value::List(_) | Value::NoList => length(value)?,
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut edges = [0, size];
    for (edge, bound) in edges.iter_mut().zip(bounds) {
        let bound = number(bound)?;
        *edge = usize::try_from(bound)
            .ok()
            .filter(|bound| *bound <= size)
            .ok_or_else(|| format!("index out of range: {bound}"))?;
    }
    let [from, to] = edges;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match value {
        Value::Text(text) => {
            Value::Text(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned())
        }
        Value::List(values) => Value::List(values[from..to].to_vec()),
        other => other.clone(),
    })
}

fn split(text: &str, separator: &str) -> Vec<Value> {
    if separator.is_empty() {
        return text.chars().map(|c| Value::Text(c.to_string())).collect();
    }
    text.split(separator).map(|part| Value::Text(part.to_owned())).collect()
}

fn join(value: &Value, separator: &str) -> Result<String> {
    match value {
        Value::List(values) => {
            let parts: Vec<String> = values.iter().map(print::plain).collect();
            Ok(parts.join(separator))
        }
        Value::NoList => Ok(String::new()),
        other => Err(format!("wrong type for value; expected []string; got {}", other.type_name())),
    }
}

/// Makes the first letter of each word large.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if before.is_alphanumeric() || before == '_' {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        before = c;
    }
    titled
}

fn pad(text: &str, before: i128, behind: i128) -> String {
    /// More than any terminal shows.
    const WIDEST: i128 = 10_000;
    let blanks = |count: i128| " ".repeat(usize::try_from(count.clamp(0, WIDEST)).unwrap_or(0));
    if text.is_empty() { String::new() } else { blanks(before) + text + &blanks(behind) }
}

/// Cuts a text to so many bytes, but not through a character.
fn truncate(text: &str, length: i128) -> &str {
    let length = usize::try_from(length.max(0)).unwrap_or(usize::MAX).min(text.len());
    let end = (0..=length).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => escaped.push('\u{fffd}'),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => escaped.extend(['\\', c]),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c.is_control() => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

fn url(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte.into())
            }
            b' ' => escaped.push('+'),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_table_is_there() {
        for (name, least, _) in FUNCTIONS {
            let arguments = vec![Value::Null; *least];
            let result = call(name, &arguments, Mode::Values);
            assert_ne!(result, Err(format!("{name} is not known")));
        }
    }
}
