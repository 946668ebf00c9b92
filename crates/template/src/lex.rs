//! From text to tokens, as Go's `text/template/parse` cuts it. What is wrong becomes the last token, so that a mistake of
//! the parser that stands before it is told first.

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const LEFT_COMMENT: &str = "/*";
const RIGHT_COMMENT: &str = "*/";

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// As written.
    pub(crate) text: String,
    /// Where it begins, in bytes.
    pub(crate) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Outside of actions.
    Text,
    Left,
    Right,
    Space,
    Identifier,
    Keyword,
    Field,
    Variable,
    Dot,
    Nil,
    Bool,
    Quoted,
    Raw,
    Char,
    Number,
    Declare,
    Assign,
    Pipe,
    LeftParen,
    RightParen,
    /// Any other character.
    Other,
    End,
    /// The text is what is wrong.
    Wrong,
}

/// Cuts a template into tokens; the last one is [`Kind::End`] or [`Kind::Wrong`].
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, parens: 0, tokens: Vec::new() };
    let last = match lexer.all() {
        Ok(()) => Token { kind: Kind::End, text: String::new(), at: text.len() },
        Err(message) => Token { kind: Kind::Wrong, text: message, at: lexer.at },
    };
    lexer.tokens.push(last);
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    parens: usize,
    tokens: Vec<Token>,
}

type Result<T = ()> = std::result::Result<T, String>;

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes the next `length` bytes as a token.
    fn emit(&mut self, kind: Kind, length: usize) {
        let text = self.rest()[..length].to_owned();
        self.tokens.push(Token { kind, text, at: self.at });
        self.at += length;
    }

    fn all(&mut self) -> Result {
        while let Some(left) = self.rest().find(LEFT) {
            let action = &self.rest()[left + LEFT.len()..];
            let trims = trims_left(action);
            let before = &self.rest()[..left];
            let kept = if trims { before.trim_end_matches(is_space) } else { before };
            if !kept.is_empty() {
                self.emit(Kind::Text, kept.len());
            }
            self.at += left - kept.len();
            let marker = if trims { 2 } else { 0 };
            if action[marker.min(action.len())..].starts_with(LEFT_COMMENT) {
                self.at += LEFT.len() + marker;
                self.comment()?;
            } else {
                self.emit(Kind::Left, LEFT.len());
                self.at += marker;
                self.action()?;
            }
        }
        if !self.rest().is_empty() {
            self.emit(Kind::Text, self.rest().len());
        }
        Ok(())
    }

    fn comment(&mut self) -> Result {
        let end = self.rest().find(RIGHT_COMMENT).ok_or("unclosed comment")?;
        self.at += end + RIGHT_COMMENT.len();
        match self.right() {
            Some((length, trims)) => {
                self.at += length;
                self.trim(trims);
                Ok(())
            }
            None => Err("comment ends before closing delimiter".to_owned()),
        }
    }

    /// Returns the length of the end of an action, if one is here, and whether it trims what follows.
    fn right(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        let mut chars = rest.chars();
        if chars.next().is_some_and(is_space) && chars.as_str().starts_with("-}}") {
            return Some((1 + "-}}".len(), true));
        }
        rest.starts_with(RIGHT).then_some((RIGHT.len(), false))
    }

    fn trim(&mut self, trims: bool) {
        if trims {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(is_space).len();
        }
    }

    fn action(&mut self) -> Result {
        self.parens = 0;
        loop {
            if let Some((length, trims)) = self.right() {
                if self.parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.emit(Kind::Right, length);
                self.trim(trims);
                return Ok(());
            }
            let Some(next) = self.peek() else { return Err("unclosed action".to_owned()) };
            self.piece(next)?;
        }
    }

    fn piece(&mut self, next: char) -> Result {
        match next {
            next if is_space(next) => self.space(),
            '=' => self.emit(Kind::Assign, 1),
            ':' if self.rest().starts_with(":=") => self.emit(Kind::Declare, 2),
            ':' => return Err("expected :=".to_owned()),
            '|' => self.emit(Kind::Pipe, 1),
            '"' => return self.quoted(Kind::Quoted, '"', "unterminated quoted string"),
            '\'' => return self.quoted(Kind::Char, '\'', "unterminated character constant"),
            '`' => return self.raw(),
            '$' => return self.word(Kind::Variable),
            '.' if !self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                return self.word(Kind::Field);
            }
            '.' | '+' | '-' | '0'..='9' => return self.number(),
            '(' => {
                self.emit(Kind::LeftParen, 1);
                self.parens += 1;
            }
            ')' => {
                self.parens = self.parens.checked_sub(1).ok_or("unexpected right paren")?;
                self.emit(Kind::RightParen, 1);
            }
            next if is_word(next) => return self.identifier(),
            ' '..='~' => self.emit(Kind::Other, 1),
            _ => return Err(format!("unrecognized character in action: {}", unicode(next))),
        }
        Ok(())
    }

    /// Blanks, up to those that belong to the end of the action.
    fn space(&mut self) {
        let rest = self.rest();
        let mut length = rest.len() - rest.trim_start_matches(is_space).len();
        if rest[length..].starts_with("-}}") {
            length -= 1;
        }
        if length > 0 {
            self.emit(Kind::Space, length);
        }
    }

    fn quoted(&mut self, kind: Kind, quote: char, unterminated: &str) -> Result {
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, next)) = chars.next() {
            match next {
                '\\' if chars.next().is_some_and(|(_, escaped)| escaped != '\n') => {}
                '\\' | '\n' => break,
                next if next == quote => {
                    self.emit(kind, at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(unterminated.to_owned())
    }

    fn raw(&mut self) -> Result {
        let end = self.rest()[1..].find('`').ok_or("unterminated raw quoted string")?;
        self.emit(Kind::Raw, end + 2);
        Ok(())
    }

    /// A `.` or a `$` with the name behind it.
    fn word(&mut self, kind: Kind) -> Result {
        let length = 1 + word_length(&self.rest()[1..]);
        self.check_end(length)?;
        let kind = if kind == Kind::Field && length == 1 { Kind::Dot } else { kind };
        self.emit(kind, length);
        Ok(())
    }

    fn identifier(&mut self) -> Result {
        let length = word_length(self.rest());
        self.check_end(length)?;
        let kind = match &self.rest()[..length] {
            "if" | "else" | "end" | "range" | "with" | "break" | "continue" | "define"
            | "template" | "block" => Kind::Keyword,
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            _ => Kind::Identifier,
        };
        self.emit(kind, length);
        Ok(())
    }

    fn number(&mut self) -> Result {
        let rest = self.rest();
        let unsigned = rest.trim_start_matches(['+', '-']);
        let sign = (rest.len() - unsigned.len()).min(1);
        let is_part = |c: char| is_word(c) || c == '.';
        let mut length = sign;
        for (at, next) in rest.char_indices().skip(sign) {
            let after_exponent = matches!(next, '+' | '-')
                && rest[..at].ends_with(['e', 'E'])
                && !rest[..at].contains(['x', 'X']);
            if !is_part(next) && !after_exponent {
                break;
            }
            length = at + next.len_utf8();
        }
        if crate::constant::number(&rest[..length]).is_none() {
            return Err(format!("bad number syntax: {}", crate::print::quote(&rest[..length])));
        }
        self.emit(Kind::Number, length);
        Ok(())
    }

    /// A word must be followed by what ends one.
    fn check_end(&self, length: usize) -> Result {
        let rest = &self.rest()[length..];
        match rest.chars().next() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(next) if is_space(next) || rest.starts_with(RIGHT) => Ok(()),
            Some(next) => Err(format!("bad character {}", unicode(next))),
        }
    }
}

/// Whether an action begins with the mark that trims what stands before it.
fn trims_left(action: &str) -> bool {
    action.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn word_length(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// Names a character as Go does: `U+0040 '@'`.
fn unicode(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}
