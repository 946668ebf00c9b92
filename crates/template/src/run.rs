//! Doing what a template says, after Go's `text/template`.

use crate::{
    data::{Data, Field, Object, ObjectKind, Value},
    error::{Error, Result},
    functions::{self, Mode},
    node::{Branch, Command, Node, Operand, OperandKind, Pipe},
    print,
};

/// Fills in a template.
pub(crate) fn run(text: &str, nodes: &[Node], data: &Data, mode: Mode) -> Result<String> {
    let variables = vec![("$".to_owned(), data.root.clone())];
    let mut state = State { text, data, mode, variables, out: String::new() };
    state.nodes(nodes, &data.root)?;
    Ok(state.out)
}

/// Where a list of nodes was left.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    End,
    Break,
    Continue,
}

struct State<'a> {
    text: &'a str,
    data: &'a Data,
    mode: Mode,
    /// The innermost last.
    variables: Vec<(String, Value)>,
    out: String,
}

impl State<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::End
                }
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.out.push_str(&print::plain(&value));
                    }
                    Flow::End
                }
                Node::If(branch) => self.branch(branch, dot, false)?,
                Node::With(branch) => self.branch(branch, dot, true)?,
                Node::Range(branch) => self.range(branch, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::End {
                return Ok(flow);
            }
        }
        Ok(Flow::End)
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, moves_dot: bool) -> Result<Flow> {
        let declared = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = match value.is_true() {
            true => self.nodes(&branch.body, if moves_dot { &value } else { dot }),
            false => self.nodes(&branch.otherwise, dot),
        };
        self.variables.truncate(declared);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow> {
        let declared = self.variables.len();
        let over = self.pipe(&branch.pipe, dot)?;
        // The range's own variables are set for each item.
        if !branch.pipe.assigns {
            self.variables.truncate(declared);
        }
        let items = match &over {
            Value::List(values) => values
                .iter()
                .enumerate()
                .map(|(i, value)| (Value::Int(i as i128), value.clone()))
                .collect(),
            Value::Object(object) if object.kind != ObjectKind::Type => {
                let item = |field: &Field| (Value::Text(field.name.clone()), field.value.clone());
                object.sorted().into_iter().map(item).collect()
            }
            Value::Int(count) => (0..*count).map(|i| (Value::Int(i), Value::Int(i))).collect(),
            Value::Null | Value::Nil | Value::NoList => Vec::new(),
            Value::Bool(_) | Value::Float(_) | Value::Text(_) | Value::Object(_) => {
                let message = format!("range can't iterate over {}", print::plain(&over));
                return Err(self.wrong(branch.pipe.at, &branch.pipe, message));
            }
        };
        if items.is_empty() {
            let flow = self.nodes(&branch.otherwise, dot);
            self.variables.truncate(declared);
            return flow;
        }
        for (key, value) in items {
            let taken = match branch.pipe.variables.as_slice() {
                [] => vec![],
                [one] => vec![(one, &value)],
                [first, second, ..] => vec![(first, &key), (second, &value)],
            };
            for (name, value) in taken {
                self.set(name, value.clone(), branch.pipe.assigns, &branch.pipe)?;
            }
            let flow = self.nodes(&branch.body, &value)?;
            self.variables.truncate(declared);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::End)
    }

    fn set(&mut self, name: &str, value: Value, assigns: bool, pipe: &Pipe) -> Result<()> {
        if !assigns {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, variable)) => *variable = value,
            None => return Err(self.wrong(pipe.at, pipe, format!("undefined variable: {name}"))),
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        let value = last.unwrap_or(Value::Null);
        for name in &pipe.variables {
            self.set(name, value.clone(), pipe.assigns, pipe)?;
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, dot: &Value, last: Option<Value>) -> Result<Value> {
        let Some((first, rest)) = command.words.split_first() else { return Ok(Value::Null) };
        if let OperandKind::Function(name) = &first.kind {
            return self.call(name, first, command, rest, dot, last);
        }
        if matches!(first.kind, OperandKind::Nil) {
            return Err(self.wrong(first.at, first, "nil is not a command"));
        }
        if rest.is_empty() && last.is_none() {
            return self.operand(first, dot);
        }
        match &first.kind {
            OperandKind::Field(_) | OperandKind::Variable(..) | OperandKind::Chain(..) => {
                self.method(first, rest, dot, last)
            }
            _ => Err(self.wrong(
                first.at,
                first,
                format!("can't give argument to non-function {first}"),
            )),
        }
    }

    /// A field with an argument: the key of a map that is no part of the document.
    fn method(
        &mut self,
        first: &Operand,
        rest: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value> {
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        if self.mode == Mode::Headings
            && let (".Label", [Value::Text(key)]) = (first.to_string().as_str(), &arguments[..])
        {
            return Ok(Value::Text(heading_of_label(key)));
        }
        let value = self.operand(first, dot)?;
        match (&value, arguments.as_slice()) {
            (Value::Object(map), [Value::Text(key)]) if map.kind == ObjectKind::Method => {
                Ok(map.get(key).cloned().unwrap_or_else(|| map.lacking()))
            }
            _ => {
                let name = first.to_string();
                let name = name.rsplit('.').next().unwrap_or_default();
                let message = format!("{name} has arguments but cannot be invoked as function");
                Err(self.wrong(first.at, first, message))
            }
        }
    }

    fn call(
        &mut self,
        name: &str,
        function: &Operand,
        command: &Command,
        rest: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value> {
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
            // These two look at no more than they need.
            let value = arguments.last().map(Value::is_true);
            if (name == "and" && value == Some(false)) || (name == "or" && value == Some(true)) {
                return Ok(arguments.pop().unwrap_or(Value::Null));
            }
        }
        arguments.extend(last);
        if let Some(message) = functions::wrong_count(name, arguments.len()) {
            return Err(self.wrong(function.at, function, message));
        }
        if name == "json" && self.data.is_row && self.mode == Mode::Values {
            return Ok(Value::Text(functions::json_of_row(&arguments[0])));
        }
        functions::call(name, &arguments, self.mode).map_err(|message| match message.as_str() {
            // Found out before the call.
            wrong if wrong.starts_with("wrong type") => self.wrong(command.at, command, message),
            _ => self.wrong(command.at, command, format!("error calling {name}: {message}")),
        })
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Null),
            OperandKind::Constant(_, value) => Ok(value.clone()),
            OperandKind::Field(names) => self.fields(operand, dot, names),
            OperandKind::Variable(name, names) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = found.map(|(_, value)| value.clone());
                let missing =
                    || self.wrong(operand.at, operand, format!("undefined variable: {name}"));
                let value = value.ok_or_else(missing)?;
                self.fields(operand, &value, names)
            }
            OperandKind::Chain(inner, names) => {
                let value = self.operand(inner, dot)?;
                self.fields(operand, &value, names)
            }
            OperandKind::Pipe(pipe) => self.pipe(pipe, dot),
            OperandKind::Function(name) => {
                let words =
                    vec![Operand { kind: OperandKind::Function(name.clone()), at: operand.at }];
                let command = Command { words, at: operand.at };
                self.call(name, operand, &command, &[], dot, None)
            }
        }
    }

    fn fields(&self, operand: &Operand, from: &Value, names: &[String]) -> Result<Value> {
        let mut value = from;
        let mut made;
        for name in names {
            made = self.field(operand, value, name)?;
            value = match made {
                Some(value) => value,
                None => return Ok(Value::Null),
            };
        }
        Ok(value.clone())
    }

    /// Returns a field; nothing for a key that a map lacks, which Go shows as `<no value>`.
    fn field<'v>(
        &self,
        operand: &Operand,
        value: &'v Value,
        name: &str,
    ) -> Result<Option<&'v Value>> {
        let wrong = |message: String| Err(self.wrong(operand.at, operand, message));
        match value {
            Value::Object(object) => match object.get(name) {
                Some(value) => Ok(Some(value)),
                None if object.kind != ObjectKind::Type => Ok(None),
                None if self.data.is_row => {
                    wrong(format!("can't evaluate field {name}: there are {}", known(object)))
                }
                None => wrong(format!("map has no entry for key {}", print::quote(name))),
            },
            Value::Null | Value::Nil => {
                wrong(format!("nil pointer evaluating interface {{}}.{name}"))
            }
            other => wrong(format!("can't evaluate field {name} in type {}", other.type_name())),
        }
    }

    fn wrong(&self, at: usize, part: &impl ToString, message: impl Into<String>) -> Error {
        let before = &self.text[..at.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Error::Run {
            line: 1 + before.matches('\n').count(),
            column: before.len() - line_start,
            part: part.to_string(),
            message: message.into(),
        }
    }
}

fn known(object: &Object) -> String {
    let names: Vec<String> =
        object.sorted().iter().map(|field| format!(".{}", field.name)).collect();
    names.join(", ")
}

/// A label's column is called like the last part of its name: `com.example.my-part` is `my part`.
fn heading_of_label(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ")
}
