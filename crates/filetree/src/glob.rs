//! Wildcard patterns, matched in linear time: the language of COPY sources and the one of ignore files.
//!
//! Both share `*`, `?`, `[…]` and `\` (Go's `filepath.Match`); ignore files add `**`. A pattern is a list of tokens, and a
//! match walks the name once with the set of tokens that may come next, so no pattern can be made slow. What an *ignore
//! file* means (order, exceptions, parents) is in [`crate::ignore`].

#[cfg(test)]
mod tests;

use thiserror::Error;

/// A pattern that cannot be parsed: a `[` without end, a range without bounds, a `\` at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Matches `name` against `pattern` as Go's `filepath.Match` does on Unix: `*` and `?` stop at `/`, the whole name must
/// match.
///
/// ```
/// # use filetree::glob::go_match;
/// assert_eq!(go_match("src/*.rs", "src/main.rs"), Ok(true));
/// assert_eq!(go_match("*", "src/main.rs"), Ok(false));
/// ```
pub fn go_match(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    Ok(Glob::parse(pattern, Language::Match)?.matches(name.as_bytes()))
}

/// Which of the two languages a pattern is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Go's `filepath.Match`: `**` is the same as `*`, a range that is upside down matches nothing.
    Match,
    /// Ignore files: `**` crosses directories, a range that is upside down is an error.
    Ignore,
}

/// One step of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Exactly this character.
    Char(char),
    /// `?`: one character but `/`.
    Any,
    /// `*`: any number of characters but `/`.
    Star,
    /// `[…]`: one character in (or, when negated, outside) the ranges.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// `**/`: any number of whole directories, none too.
    Dirs,
    /// `**` at the end: everything.
    Rest,
}

/// A parsed pattern.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
    /// The bytes every match begins with: most names are turned away here.
    prefix: Vec<u8>,
    /// The bytes every match ends with.
    suffix: Vec<u8>,
    /// The longest run of bytes that is in every match.
    needed: Vec<u8>,
    /// How long a match is at least.
    least: usize,
}

impl Glob {
    /// Parses a pattern.
    pub(crate) fn parse(pattern: &str, language: Language) -> Result<Self, BadPattern> {
        let mut tokens = Parser { rest: pattern.chars().peekable(), language }.parse()?;
        tokens.dedup_by(|a, b| (&*a, &*b) == (&Token::Dirs, &Token::Dirs));
        let literal = |token: &Token| match token {
            Token::Char(char) => Some(*char),
            Token::Any | Token::Star | Token::Class { .. } | Token::Dirs | Token::Rest => None,
        };
        let prefix: String = tokens.iter().map_while(literal).collect();
        let mut suffix: Vec<char> = tokens.iter().rev().map_while(literal).collect();
        suffix.reverse();
        let suffix: String = suffix.into_iter().collect();
        let (prefix, suffix) = (prefix.into_bytes(), suffix.into_bytes());
        let needed = needed(&tokens);
        let skips = |token: &&Token| matches!(token, Token::Star | Token::Dirs | Token::Rest);
        let least = tokens.len() - tokens.iter().filter(skips).count();
        Ok(Self { tokens, prefix, suffix, needed, least })
    }

    /// Says whether the whole of `name` matches.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        if !name.starts_with(&self.prefix) || !name.ends_with(&self.suffix) {
            return false;
        }
        // A character has at least one byte.
        if name.len() < self.least {
            return false;
        }
        if self.prefix.len() == name.len() && self.is_literal() {
            return true;
        }
        self.run(name, |positions| positions.contains(self.tokens.len()))
    }

    /// Returns bytes that are in every match; empty where there are none.
    pub(crate) fn needed(&self) -> &[u8] {
        &self.needed
    }

    /// Says whether a name below the directory `dir` can match.
    pub(crate) fn can_match_below(&self, dir: &[u8]) -> bool {
        let common = self.prefix.len().min(dir.len());
        if self.prefix[..common] != dir[..common] {
            return false;
        }
        self.run(&[dir, b"/"].concat(), |positions| !positions.is_dead(self.tokens.len()))
    }

    /// Says whether the pattern has no wildcard.
    pub(crate) fn is_literal(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token, Token::Char(_)))
    }

    fn run(&self, name: &[u8], end: impl FnOnce(&Positions) -> bool) -> bool {
        let mut now = Positions::new(self.tokens.len());
        let mut next = Positions::new(self.tokens.len());
        now.insert(0);
        now.close(&self.tokens);
        let mut rest = name;
        while !rest.is_empty() {
            let (char, length) = decode(rest);
            rest = &rest[length..];
            next.clear();
            now.step(&self.tokens, char, &mut next);
            next.close(&self.tokens);
            if next.is_empty() {
                return false;
            }
            std::mem::swap(&mut now, &mut next);
        }
        end(&now)
    }
}

/// The longest run of characters that are matched as they are. What stands for a byte that is no text is not one of them.
fn needed(tokens: &[Token]) -> Vec<u8> {
    let literal = |token: &Token| match token {
        Token::Char(char::REPLACEMENT_CHARACTER) => None,
        Token::Char(char) => Some(*char),
        Token::Any | Token::Star | Token::Class { .. } | Token::Dirs | Token::Rest => None,
    };
    let runs = tokens.split(|token| literal(token).is_none());
    let longest = runs.max_by_key(|run| run.len()).unwrap_or_default();
    longest.iter().filter_map(literal).collect::<String>().into_bytes()
}

/// Says whether `text` has an unescaped wildcard character.
pub(crate) fn has_wildcard(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                chars.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// The tokens that may come next, and the `**/` that are being read.
struct Positions {
    next: Bits,
    dirs: Bits,
}

impl Positions {
    fn new(tokens: usize) -> Self {
        Self { next: Bits::new(tokens + 1), dirs: Bits::new(tokens + 1) }
    }

    fn insert(&mut self, position: usize) {
        self.next.insert(position);
    }

    fn contains(&self, position: usize) -> bool {
        self.next.contains(position)
    }

    fn clear(&mut self) {
        self.next.clear();
        self.dirs.clear();
    }

    fn is_empty(&self) -> bool {
        self.next.is_empty() && self.dirs.is_empty()
    }

    /// Says whether nothing more can follow: only the end of the pattern (`end`) is left.
    fn is_dead(&self, end: usize) -> bool {
        self.dirs.is_empty() && self.next.iter().all(|position| position == end)
    }

    /// Adds what can be reached without reading a character. Positions only grow, so one pass does.
    fn close(&mut self, tokens: &[Token]) {
        for (position, token) in tokens.iter().enumerate() {
            if !self.next.contains(position) {
                continue;
            }
            match token {
                Token::Star | Token::Rest => self.next.insert(position + 1),
                Token::Dirs => {
                    self.next.insert(position + 1);
                    self.dirs.insert(position);
                }
                Token::Char(_) | Token::Any | Token::Class { .. } => {}
            }
        }
    }

    /// Reads one character.
    fn step(&self, tokens: &[Token], char: char, into: &mut Self) {
        for position in self.next.iter().filter(|&position| position < tokens.len()) {
            match &tokens[position] {
                Token::Char(wanted) if *wanted == char => into.insert(position + 1),
                Token::Any if char != '/' => into.insert(position + 1),
                Token::Star if char != '/' => into.insert(position),
                Token::Class { negated, ranges } => {
                    let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&char));
                    if inside != *negated {
                        into.insert(position + 1);
                    }
                }
                Token::Rest => into.insert(position),
                Token::Char(_) | Token::Any | Token::Star | Token::Dirs => {}
            }
        }
        for position in self.dirs.iter() {
            into.dirs.insert(position);
            if char == '/' {
                into.insert(position + 1);
            }
        }
    }
}

/// A set of small numbers, on the stack for patterns of usual length.
struct Bits {
    few: [u64; 2],
    many: Vec<u64>,
}

impl Bits {
    fn new(count: usize) -> Self {
        let many = if count > 128 { vec![0; count.div_ceil(64)] } else { Vec::new() };
        Self { few: [0; 2], many }
    }

    fn words(&self) -> &[u64] {
        if self.many.is_empty() { &self.few } else { &self.many }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        if self.many.is_empty() { &mut self.few } else { &mut self.many }
    }

    fn insert(&mut self, number: usize) {
        self.words_mut()[number / 64] |= 1 << (number % 64);
    }

    fn contains(&self, number: usize) -> bool {
        self.words()[number / 64] & (1 << (number % 64)) != 0
    }

    fn clear(&mut self) {
        self.words_mut().fill(0);
    }

    fn is_empty(&self) -> bool {
        self.words().iter().all(|word| *word == 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words().iter().enumerate().flat_map(|(index, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

/// Reads one character; a byte that is not UTF-8 counts as one replacement character, as in Go.
fn decode(bytes: &[u8]) -> (char, usize) {
    let length = match bytes[0] {
        0..0x80 => return (bytes[0] as char, 1),
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    };
    let char = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    match char.and_then(|text| text.chars().next()) {
        Some(char) => (char, length),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

struct Parser<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    language: Language,
}

impl Parser<'_> {
    fn parse(mut self) -> Result<Vec<Token>, BadPattern> {
        let mut tokens = Vec::new();
        while let Some(char) = self.rest.next() {
            let token = match char {
                '*' if self.language == Language::Ignore
                    && self.rest.next_if_eq(&'*').is_some() =>
                {
                    self.rest.next_if_eq(&'/');
                    if self.rest.peek().is_none() { Token::Rest } else { Token::Dirs }
                }
                '*' => Token::Star,
                '?' => Token::Any,
                '[' => self.class()?,
                '\\' => Token::Char(self.rest.next().ok_or(BadPattern)?),
                char => Token::Char(char),
            };
            tokens.push(token);
        }
        Ok(tokens)
    }

    /// Parses what follows `[`: at least one character or range, then `]`.
    fn class(&mut self) -> Result<Token, BadPattern> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        loop {
            if !ranges.is_empty() && self.rest.next_if_eq(&']').is_some() {
                return Ok(Token::Class { negated, ranges });
            }
            let low = self.bound()?;
            let high = if self.rest.next_if_eq(&'-').is_some() { self.bound()? } else { low };
            if low > high && self.language == Language::Ignore {
                return Err(BadPattern);
            }
            ranges.push((low, high));
        }
    }

    /// Parses one bound of a range, which something must follow.
    fn bound(&mut self) -> Result<char, BadPattern> {
        let char = match self.rest.next().ok_or(BadPattern)? {
            '-' | ']' => return Err(BadPattern),
            '\\' => self.rest.next().ok_or(BadPattern)?,
            char => char,
        };
        if self.rest.peek().is_none() { Err(BadPattern) } else { Ok(char) }
    }
}
