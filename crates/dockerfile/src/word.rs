//! Variables: from a word as it was written to the text it stands for. Nothing else in the project expands.
//!
//! Expansion goes in two steps, each in a room of its own: `syntax` reads the word into parts without looking at
//! any value, and here the parts are put together with the values of an environment. `pattern` does what stands
//! behind `#`, `%` and `/`; `mistake` says what is wrong with a word. The grammar is BuildKit's: quotes and escapes of a POSIX shell, and of its parameter
//! expansion the forms `-`, `+`, `?`, `#`, `##`, `%`, `%%`, `/` and `//`.
//!
//! A Dockerfile may come from anyone: the length of a result, the depth of nesting and the work done for one word
//! are bounded.
//!
//! Not here: which variables are visible where, which is `scope`.

mod mistake;
mod pattern;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use self::mistake::{Reason, WordError};
use self::pattern::Pattern;
use self::syntax::{Form, Part, Syntax, Variable};

/// The most bytes a word may expand to. The kernel refuses a single argument or variable of 128 KiB, so that no
/// word of use is anywhere near.
pub const MAX_RESULT: usize = 1 << 20;

/// The most steps one expansion may take: bytes copied and pattern positions tried. Some ten milliseconds.
const MAX_STEPS: usize = 1 << 22;

/// What a word expands to, and what it asked the environment for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expansion {
    /// The text, quotes removed.
    pub text: String,
    /// The text split at its unquoted blanks; no word is empty.
    pub words: Vec<String>,
    /// The names that had a value.
    pub used: BTreeSet<String>,
    /// The names that had none.
    pub unset: BTreeSet<String>,
    /// How much work it was: bytes copied and pattern positions tried.
    pub steps: usize,
}

/// Expands a word: variables replaced, quotes and escapes removed.
pub fn expand(
    word: &str,
    escape: char,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, WordError> {
    expand_fully(word, escape, env).map(|expansion| expansion.text)
}

/// Expands a word and splits the result at blanks that were not quoted, those in values included (`EXPOSE`).
pub fn expand_to_words(
    word: &str,
    escape: char,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, WordError> {
    expand_fully(word, escape, env).map(|expansion| expansion.words)
}

/// Expands a word, and says which variables it used.
pub fn expand_fully(
    word: &str,
    escape: char,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Expansion, WordError> {
    run(word, Syntax { escape, quotes: syntax::Quotes::Removed }, Unset::Empty, env)
}

/// Expands the body of a heredoc: quotes are characters like any other, and the escape character is always `\`.
pub fn expand_heredoc(
    body: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, WordError> {
    expand_heredoc_fully(body, env).map(|expansion| expansion.text)
}

/// Expands the body of a heredoc, and says which variables it used.
pub(crate) fn expand_heredoc_fully(
    body: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Expansion, WordError> {
    let syntax = Syntax { escape: '\\', quotes: syntax::Quotes::Plain };
    run(body, syntax, Unset::Empty, env)
}

/// Expands the variables that have a value and leaves the others, and all quotes, as they are: for showing a command
/// that a shell is going to read.
pub fn expand_known(
    text: &str,
    escape: char,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, WordError> {
    expand_known_fully(text, escape, env).map(|expansion| expansion.text)
}

/// The same, and says which variables it used.
pub(crate) fn expand_known_fully(
    text: &str,
    escape: char,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Expansion, WordError> {
    let syntax = Syntax { escape, quotes: syntax::Quotes::Kept };
    run(text, syntax, Unset::AsWritten, env)
}

fn run(
    word: &str,
    syntax: Syntax,
    unset: Unset,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Expansion, WordError> {
    let failed = |reason, at| WordError { word: word.to_owned(), reason, at };
    // Most words have nothing in them to expand.
    let special = |c: char| c == '$' || c == '\'' || c == '"' || c == syntax.escape;
    if !word.contains(special) {
        let words = word.split_whitespace().map(str::to_owned).collect();
        let (text, steps) = (word.to_owned(), word.len());
        return Ok(Expansion { text, words, steps, ..Expansion::default() });
    }
    let parts = syntax::parse(word, syntax).map_err(|(reason, at)| failed(reason, at))?;
    let found = Expansion::default();
    let mut expander = Expander { env, unset, steps: MAX_STEPS, found, failed: None };
    let mut words = Words::default();
    let text = expander.join(&parts, Some(&mut words));
    let text =
        text.map_err(|reason| failed(reason, expander.failed.map(|left| word.len() - left)))?;
    let steps = word.len() + (MAX_STEPS - expander.steps);
    Ok(Expansion { text, words: words.finish(), steps, ..expander.found })
}

/// What becomes of a variable without a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unset {
    Empty,
    AsWritten,
}

/// Puts parts together. Every form is evaluated, needed or not, as in BuildKit: so a mistake in a default shows up
/// even if the default is not used, and nothing is ever evaluated twice.
struct Expander<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    unset: Unset,
    steps: usize,
    found: Expansion,
    /// Of the variable that could not be put together, the innermost: how much of the word begins with it.
    failed: Option<usize>,
}

impl Expander<'_> {
    fn join(&mut self, parts: &[Part], mut words: Option<&mut Words>) -> Result<String, Reason> {
        let mut text = String::new();
        for part in parts {
            let (piece, splits) = match part {
                Part::Plain(piece) => (piece.clone(), true),
                Part::Solid(piece) => (piece.clone(), false),
                Part::Quoted(parts) => (self.join(parts, None)?, false),
                Part::Variable(variable) => {
                    let value = self.variable(variable);
                    if value.is_err() {
                        self.failed.get_or_insert(variable.left);
                    }
                    (value?, true)
                }
            };
            if text.len() + piece.len() > MAX_RESULT {
                return Err(Reason::Length);
            }
            pattern::spend(&mut self.steps, piece.len())?;
            text.push_str(&piece);
            if let Some(words) = words.as_deref_mut() {
                words.add(&piece, splits);
            }
        }
        Ok(text)
    }

    fn variable(&mut self, variable: &Variable) -> Result<String, Reason> {
        let Variable { name, braced, form, .. } = variable;
        // The operands come first, so that their variables are found even if they are not needed.
        let operands = match form {
            Form::Plain => (String::new(), String::new()),
            Form::Default { word, .. }
            | Form::Alternate { word, .. }
            | Form::Required { word, .. } => (self.join(word, None)?, String::new()),
            Form::Trim { pattern, .. } => (self.join(pattern, None)?, String::new()),
            Form::Replace { pattern, replacement, .. } => {
                (self.join(pattern, None)?, self.join(replacement, None)?)
            }
        };
        let value = (self.env)(name);
        pattern::spend(&mut self.steps, value.as_ref().map_or(0, String::len))?;
        let found = if value.is_some() { &mut self.found.used } else { &mut self.found.unset };
        found.insert(name.clone());
        if value.is_none() && self.unset == Unset::AsWritten {
            return Ok(as_written(name, *braced, form, &operands));
        }
        self.apply(name, form, value, operands)
    }

    fn apply(
        &mut self,
        name: &str,
        form: &Form,
        value: Option<String>,
        (word, replacement): (String, String),
    ) -> Result<String, Reason> {
        let missing = |colon: bool| match &value {
            None => true,
            Some(value) => colon && value.is_empty(),
        };
        match form {
            Form::Plain => Ok(value.unwrap_or_default()),
            Form::Default { colon, .. } if missing(*colon) => Ok(word),
            Form::Default { .. } => Ok(value.unwrap_or_default()),
            Form::Alternate { colon, .. } if missing(*colon) => Ok(String::new()),
            Form::Alternate { .. } => Ok(word),
            Form::Required { colon, .. } if missing(*colon) => {
                let what = if value.is_none() { "unset" } else { "empty" };
                let message =
                    if word.is_empty() { format!("is not allowed to be {what}") } else { word };
                Err(Reason::Required { name: name.to_owned(), message })
            }
            Form::Required { .. } => Ok(value.unwrap_or_default()),
            Form::Trim { suffix, .. } => {
                self.trim(&value.unwrap_or_default(), &word, if *suffix { '%' } else { '#' })
            }
            Form::Replace { all, .. } => {
                let pattern = Pattern::parse(&word)?;
                let value = value.unwrap_or_default();
                pattern.replace(&value, &replacement, *all, &mut self.steps)
            }
        }
    }

    /// Whether the shortest or the longest match is meant shows in the expanded word: a second `#` or `%` may come
    /// from a variable.
    fn trim(&mut self, value: &str, word: &str, sign: char) -> Result<String, Reason> {
        let (word, longest) = match word.strip_prefix(sign) {
            Some(rest) => (rest, true),
            None => (word, false),
        };
        let pattern = Pattern::parse(word)?;
        if sign == '%' {
            let reversed: String = value.chars().rev().collect();
            let rest = pattern.reversed().trim_prefix(&reversed, longest, &mut self.steps)?;
            Ok(rest.chars().rev().collect())
        } else {
            pattern.trim_prefix(value, longest, &mut self.steps).map(str::to_owned)
        }
    }
}

fn as_written(name: &str, braced: bool, form: &Form, operands: &(String, String)) -> String {
    let (word, replacement) = operands;
    let colon = |colon: bool| if colon { ":" } else { "" };
    match form {
        Form::Plain if braced => format!("${{{name}}}"),
        Form::Plain => format!("${name}"),
        Form::Default { colon: c, .. } => format!("${{{name}{}-{word}}}", colon(*c)),
        Form::Alternate { colon: c, .. } => format!("${{{name}{}+{word}}}", colon(*c)),
        Form::Required { colon: c, .. } => format!("${{{name}{}?{word}}}", colon(*c)),
        Form::Trim { suffix, .. } => {
            format!("${{{name}{}{word}}}", if *suffix { "%" } else { "#" })
        }
        Form::Replace { all, .. } => {
            format!("${{{name}{}{word}/{replacement}}}", if *all { "//" } else { "/" })
        }
    }
}

/// Splits at blanks as the text comes in.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: String,
}

impl Words {
    fn add(&mut self, piece: &str, splits: bool) {
        if !splits {
            self.current.push_str(piece);
            return;
        }
        for c in piece.chars() {
            if c.is_whitespace() {
                self.end();
            } else {
                self.current.push(c);
            }
        }
    }

    fn end(&mut self) {
        if !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.end();
        self.done
    }
}
