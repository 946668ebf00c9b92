//! Patterns of `${name#…}`, `${name%…}` and `${name/…/…}`: `*` is any run of characters, `?` is one, and neither
//! matches a line end; there are no classes.

use super::Reason;

/// A parsed pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token {
    Literal(char),
    One,
    Any,
}

/// The numbers of tokens that may be behind a match so far, in ascending order, before and after a character. One pair of
/// lists for all positions of a value: there may be many.
#[derive(Default)]
struct States {
    now: Vec<usize>,
    next: Vec<usize>,
}

/// Takes `count` steps from what is left of them.
pub(super) fn spend(steps: &mut usize, count: usize) -> Result<(), Reason> {
    *steps = steps.checked_sub(count).ok_or(Reason::Steps)?;
    Ok(())
}

impl Pattern {
    /// A backslash stands before `*`, `?` and itself, and before `}` and `/`, which would end the form.
    pub(super) fn parse(text: &str) -> Result<Self, Reason> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(escaped),
                    other => {
                        let escaped = other.map(String::from).unwrap_or_default();
                        return Err(Reason::Pattern { pattern: text.to_owned(), escaped });
                    }
                },
                other => Token::Literal(other),
            });
        }
        // A run of stars is one star.
        tokens.dedup_by(|a, b| *a == Token::Any && *b == Token::Any);
        Ok(Self(tokens))
    }

    /// The pattern that matches backwards what this one matches forwards.
    pub(super) fn reversed(mut self) -> Self {
        self.0.reverse();
        self
    }

    /// Removes the shortest or the longest match at the start of `value`.
    pub(super) fn trim_prefix<'a>(
        &self,
        value: &'a str,
        longest: bool,
        steps: &mut usize,
    ) -> Result<&'a str, Reason> {
        let end = self.match_at(&mut States::default(), value, longest, steps)?;
        Ok(&value[end.unwrap_or(0)..])
    }

    /// Replaces the first or every longest match. Where all are replaced, `replacement` is a template as in Go's
    /// regexp package: `$0` is the match, other references are empty, `$$` is a dollar.
    pub(super) fn replace(
        &self,
        value: &str,
        replacement: &str,
        all: bool,
        steps: &mut usize,
    ) -> Result<String, Reason> {
        let mut states = States::default();
        let mut result = String::new();
        let mut copied = 0;
        let mut at = 0;
        while at <= value.len() {
            let rest = &value[at..];
            let width = rest.chars().next().map_or(1, char::len_utf8);
            let Some(length) = self.match_at(&mut states, rest, true, steps)? else {
                at += width;
                continue;
            };
            if !all {
                return Ok(format!("{}{replacement}{}", &value[..at], &rest[length..]));
            }
            // An empty match right behind another match is not one.
            if length > 0 || at == 0 || at > copied {
                // A template may be long and come to nothing.
                spend(steps, replacement.len())?;
                result.push_str(&value[copied..at]);
                push_template(&mut result, replacement, &rest[..length]);
                copied = at + length;
            }
            if result.len() > super::MAX_RESULT {
                return Err(Reason::Length);
            }
            at += if length == 0 { width } else { length };
        }
        result.push_str(&value[copied..]);
        Ok(result)
    }

    /// The length of the shortest or the longest match at the start of `value`.
    ///
    /// All ways to match are followed at once, so the time is bounded by pattern times value, whatever the stars.
    fn match_at(
        &self,
        States { now, next }: &mut States,
        value: &str,
        longest: bool,
        steps: &mut usize,
    ) -> Result<Option<usize>, Reason> {
        let tokens = &self.0;
        now.clear();
        self.enter(now, 0);
        let mut found = None;
        let mut chars = value.char_indices();
        loop {
            spend(steps, now.len() + 1)?;
            let char = chars.next();
            if now.last() == Some(&tokens.len()) {
                found = Some(char.map_or(value.len(), |(at, _)| at));
                if !longest {
                    return Ok(found);
                }
            }
            let Some((_, c)) = char else { return Ok(found) };
            next.clear();
            for &state in now.iter() {
                match tokens.get(state) {
                    Some(Token::Any) if c != '\n' => self.enter(next, state),
                    Some(Token::One) if c != '\n' => self.enter(next, state + 1),
                    Some(Token::Literal(literal)) if *literal == c => self.enter(next, state + 1),
                    Some(Token::Any | Token::One | Token::Literal(_)) | None => {}
                }
            }
            if next.is_empty() {
                return Ok(found);
            }
            std::mem::swap(now, next);
        }
    }

    /// Adds a state, and the next one if a star may match nothing. States come in ascending order.
    fn enter(&self, states: &mut Vec<usize>, state: usize) {
        if states.last().is_none_or(|last| *last < state) {
            states.push(state);
        }
        if self.0.get(state) == Some(&Token::Any) {
            self.enter(states, state + 1);
        }
    }
}

fn push_template(result: &mut String, template: &str, matched: &str) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            result.push('$');
            rest = after;
            continue;
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        // A name is read to its end, and what follows is looked at once: of very many `${` none may search for its `}`.
        let open = after.strip_prefix('{');
        let text = open.unwrap_or(after);
        let (name, behind) = text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()));
        let behind = if open.is_some() { behind.strip_prefix('}') } else { Some(behind) };
        let Some(behind) = behind.filter(|_| !name.is_empty()) else {
            result.push('$');
            rest = after;
            continue;
        };
        if name == "0" {
            result.push_str(matched);
        }
        rest = behind;
    }
    result.push_str(rest);
}
