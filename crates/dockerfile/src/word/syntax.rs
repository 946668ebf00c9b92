//! The grammar of a word: quotes, escapes and `$` forms, read into parts without any value in sight.

use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::recognize;
use nom::error::{ErrorKind, ParseError};

use super::Reason;

/// How deep `${` may stand inside of `${`. Each level is a few frames of the stack.
pub(super) const MAX_DEPTH: usize = 64;

/// A piece of a word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Unquoted text: its blanks separate words.
    Plain(String),
    /// Text that was escaped or in single quotes.
    Solid(String),
    /// What was in double quotes.
    Quoted(Vec<Part>),
    /// A variable.
    Variable(Variable),
}

/// `$name` or `${name…}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) braced: bool,
    pub(super) form: Form,
    /// How many bytes the word has from its `$` on.
    pub(super) left: usize,
}

/// What stands behind the name. `colon` means that an empty value is as good as none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Plain,
    Default { colon: bool, word: Vec<Part> },
    Alternate { colon: bool, word: Vec<Part> },
    Required { colon: bool, word: Vec<Part> },
    Trim { suffix: bool, pattern: Vec<Part> },
    Replace { all: bool, pattern: Vec<Part>, replacement: Vec<Part> },
}

/// How a word is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Syntax {
    pub(super) escape: char,
    pub(super) quotes: Quotes,
}

/// What quotes mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Quotes {
    /// They quote, and go.
    Removed,
    /// They quote, and stay.
    Kept,
    /// They are characters like any other.
    Plain,
}

/// Reads a whole word. What cannot be read is told with the byte that it begins with.
pub(super) fn parse(word: &str, syntax: Syntax) -> Result<Vec<Part>, (Reason, Option<usize>)> {
    let reader = Reader { syntax, escapes: Escapes::Removed, depth: 0 };
    match reader.parts(word, None) {
        Ok((_, parts)) => Ok(parts),
        Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => {
            Err((fault.reason, fault.left.map(|left| word.len() - left)))
        }
        // Complete parsers never ask for more.
        Err(nom::Err::Incomplete(_)) => Err((Reason::Brace, None)),
    }
}

/// An error of nom that carries ours: a plain mismatch of a lexeme is never the end of a parse here.
#[derive(Debug)]
struct Fault {
    reason: Reason,
    /// How many bytes the word has from where it begins.
    left: Option<usize>,
}

impl ParseError<&str> for Fault {
    fn from_error_kind(_: &str, _: ErrorKind) -> Self {
        Self { reason: Reason::Substitution, left: None }
    }

    fn append(_: &str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

type Read<'a, T> = IResult<&'a str, T, Fault>;

fn fail<T>(reason: Reason) -> Read<'static, T> {
    Err(nom::Err::Failure(Fault { reason, left: None }))
}

/// Says where a mistake begins, if that is not known yet: so many bytes before the end of the word.
fn from<T>(left: usize, result: Read<'_, T>) -> Read<'_, T> {
    result.map_err(|error| error.map(|fault| Fault { left: fault.left.or(Some(left)), ..fault }))
}

/// What becomes of the escape character in front of another one: patterns keep it, for they have escapes of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Removed,
    Kept,
}

#[derive(Clone, Copy)]
struct Reader {
    syntax: Syntax,
    escapes: Escapes,
    depth: usize,
}

impl Reader {
    /// Reads up to `stop`, which is consumed, or to the end of the word where there is none.
    fn parts<'a>(self, input: &'a str, stop: Option<char>) -> Read<'a, Vec<Part>> {
        let mut parts = Vec::new();
        let mut input = input;
        let escape = self.syntax.escape;
        let quotes = self.syntax.quotes != Quotes::Plain;
        let special = |c: char| {
            Some(c) == stop || c == '$' || c == escape || (quotes && (c == '\'' || c == '"'))
        };
        loop {
            let (rest, plain) = take_while(|c| !special(c)).parse(input)?;
            if !plain.is_empty() {
                parts.push(Part::Plain(plain.to_owned()));
            }
            let Some(c) = rest.chars().next() else {
                return if stop.is_some() { fail(Reason::Brace) } else { Ok((rest, parts)) };
            };
            let behind = &rest[c.len_utf8()..];
            let (after, part) = if Some(c) == stop {
                return Ok((behind, parts));
            } else if c == '$' {
                self.dollar(behind)?
            } else if c == '\'' && quotes {
                from(rest.len(), self.single_quoted(behind))?
            } else if c == '"' && quotes {
                from(rest.len(), self.double_quoted(behind))?
            } else {
                self.escaped(behind)
            };
            parts.push(part);
            input = after;
        }
    }

    fn escaped(self, input: &str) -> (&str, Part) {
        let mut text = String::new();
        if self.escapes == Escapes::Kept {
            text.push(self.syntax.escape);
        }
        let mut chars = input.chars();
        text.extend(chars.next());
        (chars.as_str(), Part::Solid(text))
    }

    fn single_quoted<'a>(self, input: &'a str) -> Read<'a, Part> {
        let Some((text, rest)) = input.split_once('\'') else {
            return fail(Reason::SingleQuote);
        };
        let text = match self.syntax.quotes {
            Quotes::Kept => format!("'{text}'"),
            Quotes::Removed | Quotes::Plain => text.to_owned(),
        };
        Ok((rest, Part::Solid(text)))
    }

    /// In double quotes the escape character means something before `"`, `$` and itself only.
    fn double_quoted<'a>(self, input: &'a str) -> Read<'a, Part> {
        let escape = self.syntax.escape;
        let mut text = String::new();
        let mut parts = Vec::new();
        if self.syntax.quotes == Quotes::Kept {
            text.push('"');
        }
        let mut input = input;
        loop {
            let mut chars = input.chars();
            let Some(c) = chars.next() else { return fail(Reason::DoubleQuote) };
            input = chars.as_str();
            if c == '"' {
                if self.syntax.quotes == Quotes::Kept {
                    text.push('"');
                }
                parts.push(Part::Solid(text));
                return Ok((input, Part::Quoted(parts)));
            } else if c == '$' {
                parts.push(Part::Solid(std::mem::take(&mut text)));
                let (rest, part) = self.dollar(input)?;
                parts.push(part);
                input = rest;
            } else if c == escape {
                match chars.next() {
                    Some(next) if next == '"' || next == '$' || next == escape => {
                        if self.escapes == Escapes::Kept {
                            text.push(c);
                        }
                        text.push(next);
                        input = chars.as_str();
                    }
                    _ => text.push(c),
                }
            } else {
                text.push(c);
            }
        }
    }

    /// What follows a `$`; one that introduces no variable is itself.
    fn dollar<'a>(self, input: &'a str) -> Read<'a, Part> {
        let left = input.len() + 1;
        if let Some(rest) = input.strip_prefix('{') {
            return from(left, self.braced(rest));
        }
        match name(input) {
            Ok((rest, name)) => {
                let (name, form) = (name.to_owned(), Form::Plain);
                Ok((rest, Part::Variable(Variable { name, braced: false, form, left })))
            }
            Err(_) => Ok((input, Part::Plain("$".to_owned()))),
        }
    }

    fn braced<'a>(mut self, input: &'a str) -> Read<'a, Part> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return fail(Reason::Depth);
        }
        if input.is_empty() {
            return fail(Reason::Brace);
        }
        if input.starts_with(['{', '}', ':']) {
            return fail(Reason::Substitution);
        }
        let (rest, name) = name(input).unwrap_or((input, ""));
        let (name, left) = (name.to_owned(), input.len() + 2);
        let (rest, form) = self.form(rest)?;
        Ok((rest, Part::Variable(Variable { name, braced: true, form, left })))
    }

    fn form<'a>(self, input: &'a str) -> Read<'a, Form> {
        let mut chars = input.chars();
        let (colon, sign) = match chars.next() {
            Some(':') => (true, chars.next()),
            sign => (false, sign),
        };
        let rest = chars.as_str();
        let Some(sign) = sign else { return fail(Reason::Brace) };
        match sign {
            '}' if !colon => Ok((rest, Form::Plain)),
            '/' if !colon => self.replace(rest),
            '#' | '%' if !colon => {
                let (rest, pattern) = self.operand(rest, '}', Escapes::Kept)?;
                Ok((rest, Form::Trim { suffix: sign == '%', pattern }))
            }
            '-' | '+' | '?' => {
                let (rest, word) = self.operand(rest, '}', Escapes::Removed)?;
                let form = match sign {
                    '-' => Form::Default { colon, word },
                    '+' => Form::Alternate { colon, word },
                    _ => Form::Required { colon, word },
                };
                Ok((rest, form))
            }
            _ => {
                let modifier = if colon { format!(":{sign}") } else { sign.to_string() };
                fail(Reason::Modifier { modifier })
            }
        }
    }

    fn replace<'a>(self, input: &'a str) -> Read<'a, Form> {
        let (all, input) = match input.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (false, input),
        };
        let (rest, pattern) = self.operand(input, '/', Escapes::Kept)?;
        let (rest, replacement) = self.operand(rest, '}', Escapes::Kept)?;
        Ok((rest, Form::Replace { all, pattern, replacement }))
    }

    /// A word inside of `${}`. Whatever is open at the end of the text, it is the brace or slash that is missed.
    fn operand<'a>(mut self, input: &'a str, stop: char, escapes: Escapes) -> Read<'a, Vec<Part>> {
        self.escapes = escapes;
        match self.parts(input, Some(stop)) {
            Err(nom::Err::Failure(Fault {
                reason: Reason::Brace | Reason::SingleQuote | Reason::DoubleQuote,
                ..
            })) => fail(if stop == '/' { Reason::Slash } else { Reason::Brace }),
            other => other,
        }
    }
}

/// A name: digits, one of the shell's special parameters, or letters, digits and `_`.
fn name(input: &str) -> Read<'_, &str> {
    alt((
        take_while1(|c: char| c.is_ascii_digit()),
        recognize(one_of("@*#?-$!")),
        recognize((
            alt((char('_').map(|_| ()), take_while1(char::is_alphabetic).map(|_| ()))),
            take_while(|c: char| c.is_alphanumeric() || c == '_'),
        )),
    ))
    .parse(input)
}
