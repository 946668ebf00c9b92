//! `RUN --device=name[,required]`.

use super::csv;
use super::mount::parse_bool;
use crate::diagnostic::Diagnostic;
use crate::flag::FlagValue;
use crate::nearest::nearest;
use crate::source::Spanned;

/// A CDI device for a `RUN`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Such as `vendor1.com/device=foo`.
    pub name: String,
    /// True if the build fails without it.
    pub required: bool,
}

impl Device {
    pub(super) fn parse(flag: &FlagValue<'_>) -> Result<Spanned<Self>, Diagnostic> {
        let mut name = String::new();
        let mut required = false;
        for field in csv::fields(flag, "devices")? {
            let fail = |message: String| Diagnostic::new(message).at(field.span);
            let (key, value) = match field.text.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.text.to_lowercase(), None),
            };
            match (key.as_str(), value) {
                ("required", None) => required = true,
                ("required", Some(value)) => {
                    required = parse_bool(value)
                        .ok_or_else(|| fail(format!("invalid value for required: {value}")))?;
                }
                ("name", Some(_)) if !name.is_empty() => {
                    return Err(fail(format!("device name already set to {name}")));
                }
                ("name", Some(value)) => value.clone_into(&mut name),
                // The first field may be the name, which has an `=` in it itself.
                (_, _) if name.is_empty() => name.clone_from(&field.text),
                (_, None) => {
                    let message =
                        format!("invalid field '{}' must be a key=value pair", field.text);
                    return Err(fail(message));
                }
                (key, Some(_)) => {
                    let message = format!("unexpected key '{key}' in '{}'", field.text);
                    return Err(fail(message).did_you_mean(nearest(key, ["name", "required"])));
                }
            }
        }
        Ok(Spanned::new(Self { name, required }, flag.fragment.span()))
    }
}
