//! `eq`, `lt` and their like, after Go's `text/template`: a number is equal to a number of the same value, a text to a text,
//! and what cannot be compared is an error. Whole numbers are compared with others too, unlike in Go: Docker tries a
//! template a second time on the plain JSON, where all numbers are of one type, so that old scripts have `ne 0.0` in them.

use std::cmp::Ordering;

use crate::data::Value;

type Result<T = bool> = std::result::Result<T, String>;

const INCOMPATIBLE: &str = "incompatible types for comparison";
const INVALID: &str = "invalid type for comparison";

/// Whether a value is equal to one of the others.
pub(crate) fn equal_any(value: &Value, others: &[Value]) -> Result {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(value, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether two values are equal.
pub(crate) fn equal(a: &Value, b: &Value) -> Result {
    if let Some((a, b)) = mixed(a, b) {
        return equal(&Value::Float(a), &Value::Float(b));
    }
    match (a, b) {
        (Value::Null | Value::Nil, b) => Ok(matches!(b, Value::Null | Value::Nil)),
        (_, Value::Null | Value::Nil) => Ok(false),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        #[expect(clippy::float_cmp, reason = "as Go compares")]
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (Value::List(_) | Value::NoList | Value::Object(_), _)
        | (_, Value::List(_) | Value::NoList | Value::Object(_)) => {
            let one =
                if matches!(a, Value::List(_) | Value::NoList | Value::Object(_)) { a } else { b };
            Err(format!("non-comparable type {}", one.type_name()))
        }
        _ => Err(INCOMPATIBLE.to_owned()),
    }
}

/// Numbers of the two types, as one.
#[expect(clippy::cast_precision_loss, reason = "as in JSON")]
fn mixed(a: &Value, b: &Value) -> Option<(f64, f64)> {
    match (a, b) {
        (Value::Int(a), Value::Float(b)) => Some((*a as f64, *b)),
        (Value::Float(a), Value::Int(b)) => Some((*a, *b as f64)),
        _ => None,
    }
}

/// Whether a value is less than another one.
pub(crate) fn less(a: &Value, b: &Value) -> Result {
    if let Some((a, b)) = mixed(a, b) {
        return less(&Value::Float(a), &Value::Float(b));
    }
    let ordering = match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (
            Value::Int(_) | Value::Float(_) | Value::Text(_),
            Value::Int(_) | Value::Float(_) | Value::Text(_),
        ) => {
            return Err(INCOMPATIBLE.to_owned());
        }
        _ => return Err(INVALID.to_owned()),
    };
    Ok(ordering == Some(Ordering::Less))
}
