//! Go templates, as far as `--format` of Docker's commands takes them: from a template and a JSON document to a text.
//!
//! Written after the documentation of Go's `text/template` and `fmt`, with the functions that Docker adds (`json`, `join`,
//! `split`, `upper`, `lower`, `title`, `pad`, `truncate`). The texts of errors are Go's, since people look them up.
//! Left out are named templates (`define`, `template`, `block`): nobody names a part of one line.
//!
//! Reading order: `data` (what a template looks at), `lex`, `constant`, `node` and `parse` (what it says), `run` (what it does with it),
//! `functions`, `compare` and `print` (what it calls).
//!
//! A document that Docker keeps in types has fields that JSON leaves out or shows as `null`. [`Data::absent`] says what they
//! are: an empty list prints `[]`, no pointer `<nil>`.

mod compare;
mod constant;
mod data;
mod error;
mod functions;
mod lex;
mod node;
mod parse;
mod print;
mod run;

#[cfg(test)]
mod tests;

pub use data::{Absent, Data};
pub use error::Error;

/// A template that was read.
#[derive(Debug)]
pub struct Template {
    text: String,
    nodes: Vec<node::Node>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`Error::Syntax`] with the line and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { text: text.to_owned(), nodes: parse::parse(text)? })
    }

    /// Fills in a template.
    ///
    /// # Errors
    /// [`Error::Run`] for a field that is not there or a function that gets the wrong thing. What was written before it is
    /// lost, as nobody has seen it.
    pub fn render(&self, data: &Data) -> Result<String, Error> {
        run::run(&self.text, &self.nodes, data, functions::Mode::Values)
    }

    /// Fills in a template for the head of a table: functions that would change a value leave a heading as it is.
    ///
    /// # Errors
    /// As for [`Template::render`].
    pub fn render_head(&self, data: &Data) -> Result<String, Error> {
        run::run(&self.text, &self.nodes, data, functions::Mode::Headings)
    }

    /// Whether the template names a field: `{{.Digest}}`, `{{json .Digest}}`.
    pub fn mentions(&self, field: &str) -> bool {
        self.nodes.iter().any(|node| node.mentions(field))
    }

    /// Whether the template shows all fields: `{{json .}}`.
    pub fn mentions_all(&self) -> bool {
        self.nodes.iter().any(node::Node::mentions_all)
    }
}
