//! What a template says. Displayed, a node is what Go shows of it in an error.

use std::fmt;

use crate::{data::Value, print};

/// A piece of a template that does something.
#[derive(Debug)]
pub(crate) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    Range(Branch),
    With(Branch),
    Break,
    Continue,
}

/// `if`, `range` or `with`.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) pipe: Pipe,
    pub(crate) body: Vec<Node>,
    pub(crate) otherwise: Vec<Node>,
}

/// Commands, each of which gets what the one before it returns.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// The variables that take the result.
    pub(crate) variables: Vec<String>,
    /// Whether they are there already.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
    pub(crate) at: usize,
}

/// A value, or a function with its arguments.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) words: Vec<Operand>,
    pub(crate) at: usize,
}

/// A word of a command.
#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) kind: OperandKind,
    pub(crate) at: usize,
}

#[derive(Debug)]
pub(crate) enum OperandKind {
    Dot,
    Nil,
    /// `.A.B`.
    Field(Vec<String>),
    /// `$x.A.B`.
    Variable(String, Vec<String>),
    /// `(…).A.B`.
    Chain(Box<Operand>, Vec<String>),
    Pipe(Pipe),
    Function(String),
    /// A constant, as written and as it is.
    Constant(String, Value),
}

impl Node {
    /// Whether a field of the document is named.
    pub(crate) fn mentions(&self, field: &str) -> bool {
        self.has_word(&|kind| match kind {
            OperandKind::Field(names) => names.first().is_some_and(|name| name == field),
            OperandKind::Variable(name, names) => {
                name == "$" && names.first().is_some_and(|name| name == field)
            }
            _ => false,
        })
    }

    /// Whether the document is named as a whole.
    pub(crate) fn mentions_all(&self) -> bool {
        self.has_word(&|kind| match kind {
            OperandKind::Dot => true,
            OperandKind::Variable(name, names) => name == "$" && names.is_empty(),
            _ => false,
        })
    }

    fn has_word(&self, is_it: &dyn Fn(&OperandKind) -> bool) -> bool {
        match self {
            Self::Text(_) | Self::Break | Self::Continue => false,
            Self::Action(pipe) => pipe.has_word(is_it),
            Self::If(branch) | Self::Range(branch) | Self::With(branch) => {
                let mut nodes = branch.body.iter().chain(&branch.otherwise);
                branch.pipe.has_word(is_it) || nodes.any(|node| node.has_word(is_it))
            }
        }
    }
}

impl Pipe {
    fn has_word(&self, is_it: &dyn Fn(&OperandKind) -> bool) -> bool {
        let mut words = self.commands.iter().flat_map(|command| &command.words);
        words.any(|word| match &word.kind {
            OperandKind::Pipe(pipe) => pipe.has_word(is_it),
            OperandKind::Chain(inner, _) => match &inner.kind {
                OperandKind::Pipe(pipe) => pipe.has_word(is_it),
                kind => is_it(kind),
            },
            kind => is_it(kind),
        })
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            let before = if index > 0 { " | " } else { "" };
            write!(f, "{before}{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            let before = if index > 0 { " " } else { "" };
            write!(f, "{before}{word}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |f: &mut fmt::Formatter<'_>, names: &[String]| {
            names.iter().try_for_each(|name| write!(f, ".{name}"))
        };
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Field(names) => fields(f, names),
            OperandKind::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            OperandKind::Chain(operand, names) => {
                write!(f, "{operand}")?;
                fields(f, names)
            }
            OperandKind::Pipe(pipe) => write!(f, "({pipe})"),
            OperandKind::Function(name) => f.write_str(name),
            OperandKind::Constant(_, Value::Text(text)) => f.write_str(&print::quote(text)),
            OperandKind::Constant(written, _) => f.write_str(written),
        }
    }
}
