//! The `--chmod` of COPY and ADD: octal (`0644`) or symbolic (`u=rwX,go=rX`).

use crate::Error;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// A change of mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// These bits, whatever was there.
    Octal(u32),
    /// Clauses that are applied one after another, as `chmod` does.
    Symbolic(Vec<Clause>),
}

/// One clause of a symbolic mode: who, what to do, and which permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// The bits that may change: `0o4700` for `u`, `0o2070` for `g`, `0o7` for `o`, all for `a` or nothing.
    who: u32,
    actions: Vec<(Operator, Permissions)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permissions {
    /// `rwxst`, and whether `X` was among them: execution where the entry is a directory or already executable.
    Bits { bits: u32, conditional: bool },
    /// `u`, `g` or `o`: as these have it; the shift of their three bits.
    CopyOf(u32),
}

impl Chmod {
    /// Parses `--chmod`.
    ///
    /// # Errors
    /// [`Error::Chmod`] with BuildKit's text, for octal numbers above 7777 and for what is neither form.
    pub fn parse(value: &str) -> Result<Self, Error> {
        let wrong = || Error::Chmod { value: value.to_owned() };
        if value.starts_with(|char: char| char.is_ascii_digit()) {
            let octal = value.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            let bits = u32::from_str_radix(value, 8).ok().filter(|bits| octal && *bits <= 0o7777);
            return bits.map(Self::Octal).ok_or_else(wrong);
        }
        let clauses: Option<Vec<Clause>> = value.split(',').map(Clause::parse).collect();
        clauses.map(Self::Symbolic).ok_or_else(wrong)
    }

    /// Returns the mode (12 bits) of an entry that had `mode` before.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, is_dir))
            }
        }
    }

    /// Returns the bits of an octal mode, which also shape the parents that COPY makes.
    pub fn octal(&self) -> Option<u32> {
        match self {
            Self::Octal(bits) => Some(*bits),
            Self::Symbolic(_) => None,
        }
    }
}

impl Clause {
    fn parse(text: &str) -> Option<Self> {
        let start = text.find(['+', '-', '='])?;
        let (who_text, mut rest) = text.split_at(start);
        let mut who = 0;
        for char in who_text.chars() {
            who |= match char {
                'u' => SET_UID | 0o700,
                'g' => SET_GID | 0o070,
                'o' => 0o007,
                'a' => 0o7777,
                _ => return None,
            };
        }
        // No umask here: without a letter everybody is meant, as in a build with umask 0.
        if who_text.is_empty() {
            who = 0o7777;
        }
        let mut actions = Vec::new();
        while let Some(operator) = rest.chars().next() {
            let operator = match operator {
                '+' => Operator::Add,
                '-' => Operator::Remove,
                _ => Operator::Set,
            };
            let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
            actions.push((operator, Permissions::parse(&rest[1..end])?));
            rest = &rest[end..];
        }
        Some(Self { who, actions })
    }

    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        self.actions.iter().fold(mode, |mode, (operator, permissions)| {
            // The sticky bit belongs to nobody in particular.
            let bits = permissions.bits(mode, is_dir) & (self.who | STICKY);
            match operator {
                Operator::Add => mode | bits,
                Operator::Remove => mode & !bits,
                Operator::Set => {
                    // `chmod` leaves the set-id bits of a directory alone unless they are named.
                    let kept = if is_dir { SET_UID | SET_GID | STICKY } else { 0 };
                    mode & !(self.who & !kept) | bits
                }
            }
        })
    }
}

impl Permissions {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "u" => return Some(Self::CopyOf(6)),
            "g" => return Some(Self::CopyOf(3)),
            "o" => return Some(Self::CopyOf(0)),
            _ => {}
        }
        let (mut bits, mut conditional) = (0, false);
        for char in text.chars() {
            match char {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                's' => bits |= SET_UID | SET_GID,
                't' => bits |= STICKY,
                'X' => conditional = true,
                _ => return None,
            }
        }
        Some(Self::Bits { bits, conditional })
    }

    fn bits(self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Bits { bits, conditional } => {
                let execute = conditional && (is_dir || mode & 0o111 != 0);
                bits | if execute { 0o111 } else { 0 }
            }
            Self::CopyOf(shift) => {
                let three = mode >> shift & 0o7;
                three << 6 | three << 3 | three
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(chmod: &str, mode: u32, is_dir: bool, expected: u32) {
        let actual = Chmod::parse(chmod).unwrap().apply(mode, is_dir);
        assert_eq!(actual, expected, "{chmod} on {mode:o}: {actual:o} instead of {expected:o}");
    }

    #[test]
    fn octal() {
        check("0", 0o755, false, 0);
        check("0644", 0o755, true, 0o644);
        check("4755", 0o644, false, 0o4755);
        check("07777", 0, false, 0o7777);
    }

    #[test]
    fn symbolic() {
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("u=rwX,go=rX", 0o700, false, 0o755);
        check("u=rwX,go=rX", 0o600, true, 0o755);
        check("+x", 0o644, false, 0o755);
        check("a+X", 0o644, false, 0o644);
        check("a+X", 0o744, false, 0o755);
        check("g=u", 0o740, false, 0o770);
        check("o=g", 0o640, false, 0o644);
        check("g-w,o=", 0o777, false, 0o750);
        check("u+s", 0o755, false, 0o4755);
        check("ug+s", 0o755, false, 0o6755);
        check("+t", 0o755, true, 0o1755);
        check("a=", 0o6755, false, 0);
        check("a=r", 0o2755, true, 0o2444);
        check("u+r-w+x", 0o200, false, 0o500);
        check("=rw", 0o777, false, 0o666);
    }

    #[test]
    fn wrong() {
        for value in
            ["", "foo", "8", "77777", "10000", "64x", "u", "u~r", "u=rwz", ",", "u=r,", "-1x"]
        {
            let error = Chmod::parse(value).unwrap_err();
            let text = format!(
                "invalid chmod parameter: '{value}'. it should be octal string and between 0 and 07777"
            );
            assert_eq!(error.to_string(), text);
        }
    }
}
