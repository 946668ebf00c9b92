//! From tokens to nodes, after Go's `text/template/parse`, whose messages these are.

use crate::{
    constant,
    data::Value,
    error::{Error, Result},
    functions,
    lex::{self, Kind, Token},
    node::{Branch, Command, Node, Operand, OperandKind, Pipe},
    print,
};

/// How deep parentheses and blocks may stand inside each other: more than anybody writes, less than the stack holds.
const DEEPEST: usize = 100;

/// Reads a template.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>> {
    let tokens = lex::tokens(text);
    let variables = vec!["$".to_owned()];
    let mut parser = Parser { text, tokens, at: 0, variables, ranges: 0, depth: 0 };
    let (nodes, end) = parser.list()?;
    match end {
        Stop::Text => Ok(nodes),
        Stop::End => Err(parser.wrong("unexpected {{end}}")),
        Stop::Else => Err(parser.wrong("unexpected {{else}}")),
    }
}

/// What ended a list of nodes.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Text,
    End,
    Else,
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    /// The variables that are declared here.
    variables: Vec<String>,
    /// How many ranges are around.
    ranges: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // The last token is the end, and is never taken.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn next_word(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    fn wrong(&self, message: impl Into<String>) -> Error {
        let at = self.tokens[self.at.saturating_sub(1).min(self.tokens.len() - 1)].at;
        let line = 1 + self.text[..at.min(self.text.len())].matches('\n').count();
        Error::Syntax { line, message: message.into() }
    }

    fn unexpected(&self, token: &Token, context: &str) -> Error {
        match token.kind {
            Kind::Wrong => self.wrong(token.text.clone()),
            _ => self.wrong(format!("unexpected {} in {context}", shown(token))),
        }
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(format!("more than {DEEPEST} levels stand inside each other")));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn list(&mut self) -> Result<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::Text => nodes.push(Node::Text(token.text)),
                Kind::Left => match self.action()? {
                    Ok(node) => nodes.push(node),
                    Err(end) => return Ok((nodes, end)),
                },
                Kind::End => return Ok((nodes, Stop::Text)),
                _ => return Err(self.unexpected(&token, "input")),
            }
        }
    }

    /// Reads an action behind its `{{`; an `else` stays to be read on by who it belongs to.
    fn action(&mut self) -> Result<std::result::Result<Node, Stop>> {
        self.skip_space();
        let token = self.peek().clone();
        if token.kind != Kind::Keyword {
            return Ok(Ok(Node::Action(self.pipe("command", Kind::Right)?)));
        }
        self.next();
        Ok(Ok(match token.text.as_str() {
            "if" => Node::If(self.branch("if")?),
            "with" => Node::With(self.branch("with")?),
            "range" => {
                self.ranges += 1;
                let branch = self.branch("range");
                self.ranges -= 1;
                Node::Range(branch?)
            }
            "break" | "continue" => self.loop_word(&token.text)?,
            "end" => {
                self.right("end")?;
                return Ok(Err(Stop::End));
            }
            "else" => return Ok(Err(Stop::Else)),
            name => {
                return Err(self.wrong(format!(
                    "{{{{{name}}}}} is not known here: a format has one template"
                )));
            }
        }))
    }

    fn loop_word(&mut self, name: &str) -> Result<Node> {
        let token = self.next_word();
        if token.kind != Kind::Right {
            return Err(self.unexpected(&token, &format!("{{{{{name}}}}}")));
        }
        if self.ranges == 0 {
            return Err(self.wrong(format!("{{{{{name}}}}} outside {{{{range}}}}")));
        }
        Ok(if name == "break" { Node::Break } else { Node::Continue })
    }

    fn right(&mut self, context: &str) -> Result<()> {
        let token = self.next_word();
        match token.kind {
            Kind::Right => Ok(()),
            _ => Err(self.unexpected(&token, context)),
        }
    }

    fn branch(&mut self, context: &'static str) -> Result<Branch> {
        self.nested(|parser| {
            let declared = parser.variables.len();
            let pipe = parser.pipe(context, Kind::Right)?;
            let (body, end) = parser.list()?;
            let otherwise = match end {
                Stop::End => Vec::new(),
                Stop::Else => parser.otherwise(context)?,
                Stop::Text => return Err(parser.wrong("unexpected EOF")),
            };
            parser.variables.truncate(declared);
            Ok(Branch { pipe, body, otherwise })
        })
    }

    /// Reads what stands behind `{{else`, up to the end: `{{else if …}}` is another `if` inside, which shares it.
    fn otherwise(&mut self, context: &'static str) -> Result<Vec<Node>> {
        self.skip_space();
        let next = self.peek();
        if next.kind == Kind::Keyword && next.text == context && context != "range" {
            self.next();
            let branch = self.branch(context)?;
            return Ok(vec![if context == "if" { Node::If(branch) } else { Node::With(branch) }]);
        }
        self.right("else")?;
        let (nodes, end) = self.list()?;
        match end {
            Stop::End => Ok(nodes),
            Stop::Else => Err(self.wrong("expected end; found {{else}}")),
            Stop::Text => Err(self.wrong("unexpected EOF")),
        }
    }

    fn pipe(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        self.skip_space();
        let at = self.peek().at;
        let (variables, assigns) = self.declarations(context)?;
        let mut pipe = Pipe { variables, assigns, commands: Vec::new(), at };
        loop {
            self.skip_space();
            let token = self.peek().clone();
            if token.kind == end {
                self.next();
                self.check(&pipe, context)?;
                return Ok(pipe);
            }
            match token.kind {
                Kind::Bool
                | Kind::Char
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::Raw
                | Kind::Quoted
                | Kind::Variable
                | Kind::LeftParen => {
                    pipe.commands.push(self.command()?);
                }
                _ => {
                    self.next();
                    return Err(self.unexpected(&token, context));
                }
            }
        }
    }

    fn check(&self, pipe: &Pipe, context: &str) -> Result<()> {
        if pipe.commands.is_empty() {
            return Err(self.wrong(format!("missing value for {context}")));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if let OperandKind::Dot | OperandKind::Nil | OperandKind::Constant(..) =
                command.words[0].kind
            {
                let stage = index + 1;
                return Err(self.wrong(format!("non executable command in pipeline stage {stage}")));
            }
        }
        Ok(())
    }

    /// Reads `$x :=`, `$x =` or, of a range, `$i, $x :=`. A variable that no sign follows is an argument and stays.
    fn declarations(&mut self, context: &str) -> Result<(Vec<String>, bool)> {
        let start = self.at;
        let mut variables = Vec::new();
        loop {
            self.skip_space();
            if self.peek().kind != Kind::Variable {
                break;
            }
            let name = self.next().text;
            self.skip_space();
            let sign = self.peek().clone();
            match sign.kind {
                Kind::Declare | Kind::Assign => {
                    self.next();
                    variables.push(name);
                    self.variables.extend(variables.iter().cloned());
                    return Ok((variables, sign.kind == Kind::Assign));
                }
                Kind::Other if sign.text == "," => {
                    self.next();
                    variables.push(name);
                    if context != "range" || variables.len() > 1 {
                        return Err(self.wrong(format!("too many declarations in {context}")));
                    }
                    self.skip_space();
                    if self.peek().kind != Kind::Variable {
                        return Err(self.wrong("range can only initialize variables"));
                    }
                }
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self) -> Result<Command> {
        let at = self.peek().at;
        let mut words = Vec::new();
        loop {
            self.skip_space();
            words.extend(self.operand()?);
            let token = self.next();
            match token.kind {
                Kind::Space => {}
                Kind::Right | Kind::RightParen => {
                    self.at -= 1;
                    break;
                }
                Kind::Pipe => {
                    self.skip_space();
                    if matches!(self.peek().kind, Kind::Right | Kind::RightParen) {
                        return Err(self.wrong("missing value for command"));
                    }
                    break;
                }
                _ => return Err(self.unexpected(&token, "operand")),
            }
        }
        if words.is_empty() {
            return Err(self.wrong("empty command"));
        }
        Ok(Command { words, at })
    }

    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let at = self.peek().at;
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(field_name(&self.next()));
        }
        let kind = match term.kind {
            OperandKind::Field(mut first) => {
                first.append(&mut names);
                OperandKind::Field(first)
            }
            OperandKind::Variable(name, mut first) => {
                first.append(&mut names);
                OperandKind::Variable(name, first)
            }
            OperandKind::Dot | OperandKind::Nil | OperandKind::Constant(..) => {
                let term = print::quote(&term.to_string());
                return Err(self.wrong(format!("unexpected . after term {term}")));
            }
            OperandKind::Chain(..) | OperandKind::Pipe(_) | OperandKind::Function(_) => {
                OperandKind::Chain(Box::new(term), names)
            }
        };
        Ok(Some(Operand { kind, at }))
    }

    fn term(&mut self) -> Result<Option<Operand>> {
        let token = self.next_word();
        let at = token.at;
        let constant = |value| OperandKind::Constant(token.text.clone(), value);
        let kind = match token.kind {
            Kind::Identifier if functions::is_known(&token.text) => {
                OperandKind::Function(token.text)
            }
            Kind::Identifier => {
                let name = print::quote(&token.text);
                return Err(self.wrong(format!("function {name} not defined")));
            }
            Kind::Dot => OperandKind::Dot,
            Kind::Nil => OperandKind::Nil,
            Kind::Variable if self.variables.contains(&token.text) => {
                OperandKind::Variable(token.text, Vec::new())
            }
            Kind::Variable => {
                let name = print::quote(&token.text);
                return Err(self.wrong(format!("undefined variable {name}")));
            }
            Kind::Field => OperandKind::Field(vec![field_name(&token)]),
            Kind::Bool => constant(Value::Bool(token.text == "true")),
            Kind::Number => match constant::number(&token.text) {
                Some(number) => constant(number),
                None => {
                    return Err(
                        self.wrong(format!("bad number syntax: {}", print::quote(&token.text)))
                    );
                }
            },
            Kind::Char => match constant::character(&token.text) {
                Some(character) => constant(Value::Int(u32::from(character).into())),
                None => {
                    return Err(self.wrong(format!("malformed character constant: {}", token.text)));
                }
            },
            Kind::Quoted => match constant::unquote(&token.text) {
                Some(text) => constant(Value::Text(text)),
                None => return Err(self.wrong("invalid syntax")),
            },
            Kind::Raw => constant(Value::Text(token.text.trim_matches('`').replace('\r', ""))),
            Kind::LeftParen => {
                let pipe =
                    self.nested(|parser| parser.pipe("parenthesized pipeline", Kind::RightParen))?;
                OperandKind::Pipe(pipe)
            }
            _ => {
                self.at -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand { kind, at }))
    }
}

fn field_name(token: &Token) -> String {
    token.text.trim_start_matches('.').to_owned()
}

/// Shows a token as Go does.
fn shown(token: &Token) -> String {
    match token.kind {
        Kind::End => "EOF".to_owned(),
        Kind::Keyword => format!("<{}>", token.text),
        _ if token.text.chars().count() > 10 => {
            let beginning: String = token.text.chars().take(10).collect();
            format!("{}...", print::quote(&beginning))
        }
        _ => print::quote(&token.text),
    }
}
