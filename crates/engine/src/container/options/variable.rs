//! `-e`, `--env-file`, `-l` and `--label-file`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BadOption;

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; without, the image's variable of this name is taken away.
    pub value: Option<String>,
}

impl FromStr for Variable {
    type Err = BadOption;

    /// Reads `NAME=VALUE`, or `NAME`, whose value somebody else has to know.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || text.contains('\0') {
            return Err(BadOption::new(format!("invalid environment variable: {text}")));
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

/// A label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Label {
    type Err = BadOption;

    /// Reads `NAME=VALUE`, or `NAME` for an empty value.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            return Err(BadOption::new(format!("invalid label '{text}': empty name")));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Reads a file of `NAME=VALUE` lines; a name alone has the value that `lookup` knows, or is skipped.
pub fn parse_env_file(
    text: &[u8],
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Variable>, BadOption> {
    let mut variables = Vec::new();
    for (name, value) in lines(text)? {
        match value.map(str::to_owned).or_else(|| lookup(name)) {
            Some(value) => variables.push(Variable { name: name.to_owned(), value: Some(value) }),
            None => continue,
        }
    }
    Ok(variables)
}

/// Reads a file of `NAME=VALUE` lines; a name alone has an empty value.
pub fn parse_label_file(text: &[u8]) -> Result<Vec<Label>, BadOption> {
    let label = |(name, value): (&str, Option<&str>)| Label {
        name: name.to_owned(),
        value: value.unwrap_or_default().to_owned(),
    };
    Ok(lines(text)?.into_iter().map(label).collect())
}

/// The lines that say something: blanks in front are dropped, `#` starts a comment, and nothing is quoted.
fn lines(text: &[u8]) -> Result<Vec<(&str, Option<&str>)>, BadOption> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = str::from_utf8(line)
            .map_err(|_| BadOption::new(format!("invalid utf8 bytes at line {number}")))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line.trim_end(), None),
        };
        if name.contains(char::is_whitespace) {
            return Err(BadOption::new(format!(
                "line {number}: variable '{name}' contains whitespaces"
            )));
        }
        if name.is_empty() || line.contains('\0') {
            return Err(BadOption::new(format!(
                "line {number}: no variable name on line '{line}'"
            )));
        }
        found.push((name, value));
    }
    Ok(found)
}
