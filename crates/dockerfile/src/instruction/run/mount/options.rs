//! The options of a mount: which there are, what values they take, and which go together.

use super::{Mount, MountKind, Sharing};
use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::quoted::quoted;

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

/// Those that are another one by another name.
const ALIASES: [&str; 6] = ["src", "dst", "destination", "ro", "readwrite", "rw"];

/// The keys that may be without a value.
const SWITCHES: [&str; 5] = ["readonly", "ro", "readwrite", "rw", "required"];

const SHARINGS: [&str; 3] = ["shared", "private", "locked"];

const TYPES: [(&str, Type); 5] = [
    ("bind", Type::Bind),
    ("cache", Type::Cache),
    ("tmpfs", Type::Tmpfs),
    ("secret", Type::Secret),
    ("ssh", Type::Ssh),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Type {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// The options read so far.
#[derive(Debug, Default)]
pub(super) struct Options {
    kind: Type,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    id: Option<String>,
    sharing: Option<Sharing>,
    required: bool,
    size: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    env: Option<String>,
}

/// What can be said of an option before its value is expanded: the key exists, a value is there where one is needed, and
/// `from` has no variables.
pub(super) fn check_key(key: &str, value: Option<&str>) -> Result<(), Diagnostic> {
    match value {
        Some(value) if !KEYS.contains(&key) => Err(unknown_key(key, value)),
        None if !SWITCHES.contains(&key) => {
            let message = format!("invalid field '{key}' must be a key=value pair");
            let diagnostic = Diagnostic::new(message);
            Err(match KEYS.contains(&key) {
                true => diagnostic.hint(format!("write {key}=VALUE")),
                false => diagnostic.did_you_mean(nearest(key, KEYS)),
            })
        }
        Some(value) if key == "from" && has_variable(value) => Err(Diagnostic::new(
            "'from' doesn't support variable expansion, define alias stage instead",
        )),
        Some(_) | None => Ok(()),
    }
}

fn has_variable(value: &str) -> bool {
    value.find('$').is_some_and(|dollar| dollar + 1 < value.len())
}

fn unknown_key(key: &str, value: &str) -> Diagnostic {
    let mistake = Diagnostic::new(format!("unexpected key '{key}' in '{key}={value}'"));
    match nearest(key, KEYS) {
        Some(near) => mistake.did_you_mean(Some(near)),
        None => mistake.choices(KEYS.into_iter().filter(|key| !ALIASES.contains(key))),
    }
}

impl Options {
    /// Adds one option. `type` should come first: `required` and `size` are judged by what it is so far.
    pub(super) fn add(&mut self, key: &str, value: Option<&str>) -> Result<(), Diagnostic> {
        check_key(key, value)?;
        let text = value.unwrap_or_default();
        let some = || (!text.is_empty()).then(|| text.to_owned());
        let switch = || match value {
            None => Ok(true),
            Some(value) => parse_bool(value).ok_or_else(|| invalid_value(key, value)),
        };
        match key {
            "type" => self.kind = parse_type(text)?,
            "from" => self.from = some(),
            "source" | "src" => self.source = some(),
            "target" | "dst" | "destination" => self.target = some(),
            "readonly" | "ro" => self.read_only = Some(switch()?),
            "readwrite" | "rw" => self.read_only = Some(!switch()?),
            "required" if matches!(self.kind, Type::Secret | Type::Ssh) => {
                self.required = switch()?;
            }
            "size" if self.kind == Type::Tmpfs => {
                self.size = Some(parse_size(text).ok_or_else(|| {
                    invalid_value(key, text).hint("a size is such as 1048576, 512k, 64m or 1g")
                })?);
            }
            "required" | "size" => return Err(self.not_for_type(key)),
            "id" => self.id = some(),
            "sharing" => self.sharing = Some(parse_sharing(text)?),
            "mode" => self.mode = Some(parse_number(key, text, 8)?),
            "uid" => self.uid = Some(parse_number(key, text, 10)?),
            "gid" => self.gid = Some(parse_number(key, text, 10)?),
            "env" => self.env = some(),
            _ => return Err(unknown_key(key, text)),
        }
        Ok(())
    }

    /// The mount, if the options go together.
    pub(super) fn finish(self) -> Result<Mount, Diagnostic> {
        self.check()?;
        let read_only = !matches!(self.kind, Type::Cache | Type::Tmpfs);
        let Self { mode, uid, gid, required, env, .. } = self;
        let mut source = self.source;
        let kind = match self.kind {
            Type::Bind => MountKind::Bind,
            Type::Tmpfs => MountKind::Tmpfs { size: self.size },
            Type::Cache => {
                let sharing = self.sharing.unwrap_or(Sharing::Shared);
                MountKind::Cache { id: self.id, sharing, mode, uid, gid }
            }
            Type::Secret => {
                let id = self.id.or_else(|| source.take());
                let id = id.or_else(|| base_name(self.target.as_deref())).unwrap_or_default();
                MountKind::Secret { id, env, required, mode, uid, gid }
            }
            Type::Ssh => {
                let id = self.id.unwrap_or_else(|| "default".to_owned());
                MountKind::Ssh { id, required, mode, uid, gid }
            }
        };
        let read_only = self.read_only.unwrap_or(read_only);
        Ok(Mount { kind, target: self.target, source, from: self.from, read_only })
    }

    fn check(&self) -> Result<(), Diagnostic> {
        let fail = |message: String| Err(Diagnostic::new(message));
        let name = self.type_name();
        let owned = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
        if let (Type::Bind | Type::Tmpfs, Some((key, _))) =
            (self.kind, owned.iter().find(|(_, value)| value.is_some()))
        {
            return fail(format!("{key} not allowed for {name:?} type mounts"));
        }
        if self.env.is_some() && self.kind != Type::Secret {
            return Err(self.not_for_type("env"));
        }
        match self.kind {
            Type::Secret if self.from.is_some() => {
                fail("secret mount should not have a from".to_owned())
            }
            Type::Secret if self.sharing.is_some() => {
                fail("secret mount should not define sharing".to_owned())
            }
            Type::Secret if self.source.is_some() && self.id.is_some() => {
                fail("both source and id can't be set".to_owned())
            }
            Type::Secret
                if base_name(self.target.as_deref()).is_none()
                    && self.source.is_none()
                    && self.id.is_none() =>
            {
                Err(Diagnostic::new("invalid secret mount. one of source, target required")
                    .hint("name the secret: --mount=type=secret,id=NAME"))
            }
            Type::Ssh if self.source.is_some() => {
                fail("ssh mount should not have a source".to_owned())
            }
            Type::Bind | Type::Tmpfs | Type::Secret | Type::Ssh if self.sharing.is_some() => {
                fail(format!("invalid cache sharing set for {name} mount"))
            }
            Type::Bind | Type::Cache | Type::Tmpfs | Type::Secret | Type::Ssh => Ok(()),
        }
    }

    fn type_name(&self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self.kind).map_or("bind", |(name, _)| name)
    }

    fn not_for_type(&self, key: &str) -> Diagnostic {
        Diagnostic::new(format!("unexpected key '{key}' for mount type '{}'", self.type_name()))
            .hint(format!("{key} is for other types of mounts, and behind type="))
    }
}

/// The last part of a path; `None` if it has none.
fn base_name(path: Option<&str>) -> Option<String> {
    path?.rsplit('/').find(|part| !part.is_empty()).map(str::to_owned)
}

fn invalid_value(key: &str, value: &str) -> Diagnostic {
    Diagnostic::new(format!("invalid value for {key}: {value}"))
}

fn parse_type(value: &str) -> Result<Type, Diagnostic> {
    TYPES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(value))
        .map(|(_, kind)| *kind)
        .ok_or_else(|| {
            Diagnostic::new(format!("unsupported mount type {}", quoted(value)))
                .did_you_mean(nearest(value, TYPES.iter().map(|(name, _)| *name)))
                .choices(TYPES.iter().map(|(name, _)| *name))
        })
}

fn parse_sharing(value: &str) -> Result<Sharing, Diagnostic> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        _ => Err(Diagnostic::new(format!("unsupported sharing value {}", quoted(value)))
            .did_you_mean(nearest(value, SHARINGS))
            .choices(SHARINGS)),
    }
}

fn parse_number(key: &str, value: &str, radix: u32) -> Result<u32, Diagnostic> {
    let digits_only = value.chars().all(|c| c.is_ascii_digit());
    let number = u32::from_str_radix(value, radix).ok().filter(|_| digits_only);
    let hint = match radix {
        8 => "a mode is octal, such as 0755",
        _ => "an id is a number: names are not known here",
    };
    number.ok_or_else(|| Diagnostic::new(format!("invalid value {value} for {key}")).hint(hint))
}

/// The words that Go takes for true and false.
pub(in crate::instruction::run) fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Bytes, such as `1024`, `64m`, `1.5GiB`: all units are powers of 1024.
fn parse_size(value: &str) -> Option<u64> {
    let digits = value.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit =
        unit.strip_suffix('b').map_or(unit.as_str(), |unit| unit.strip_suffix('i').unwrap_or(unit));
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let unit = 1024_u64.pow(power);
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    // More than nine digits behind the point do not matter to a size.
    let fraction = &fraction[..fraction.len().min(9)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u128>().ok()? * u128::from(unit) / scale;
    whole.checked_add(u64::try_from(part).ok()?)
}
