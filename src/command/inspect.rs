//! `kiln inspect`. What is known about an image is in `image`, about a container in `container`.

mod container;
mod image;

use clap::ValueEnum;
use engine::Engine;
use serde::Serialize;
use serde_json::Value;
use template::{Data, Template};

use super::output;
use crate::report::{self, Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// `json`, or a Go template for each
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// How much a container has written, too
    #[arg(short, long)]
    pub(crate) size: bool,
    /// Of images for several platforms the one for this [default: this machine]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Only what is of this kind
    #[arg(long = "type", value_enum)]
    pub(crate) kind: Option<Kind>,
    /// What to show, by name or id
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A container
    Container,
    /// An image
    Image,
}

/// Something that was found.
pub(super) struct Found {
    /// In the shape of Docker's.
    pub(super) document: Value,
    /// The same for templates.
    pub(super) data: Data,
}

/// Prints what is known, as a JSON list in the shape of Docker's. What is missing is told at the end.
pub(super) fn run(engine: &Engine, inspect: &Inspect) -> Result<Exit, Failure> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in &inspect.names {
        match find(engine, inspect, name) {
            Ok(one) => found.push(one),
            Err(failure) => failures.push(failure),
        }
    }
    show(inspect.format.as_deref(), found, failures)
}

/// Prints what was found as `--format` wants it, and tells what was not.
pub(super) fn show(
    format: Option<&str>,
    found: Vec<Found>,
    mut failures: Vec<Failure>,
) -> Result<Exit, Failure> {
    let format = format.filter(|format| !format.is_empty());
    match format.filter(|format| *format != "json").map(Template::parse).transpose()? {
        Some(template) => failures.extend(print_each(&template, &found)?),
        None => {
            let documents: Value = found.into_iter().map(|found| found.document).collect();
            let text = if format.is_some() { documents.to_string() } else { indented(&documents) };
            output::print(&(text + "\n"))?;
        }
    }
    report::tell(failures)
}

/// Finds what has this name: a container before an image, if the kind does not say otherwise.
fn find(engine: &Engine, inspect: &Inspect, name: &str) -> Result<Found, Failure> {
    let container = || container::find(engine, name, inspect.size);
    let image = || image::find(engine, name, inspect.platform.as_deref());
    match inspect.kind {
        Some(Kind::Container) => container(),
        Some(Kind::Image) => image(),
        None => match container() {
            Err(Failure::Store(store::Error::NoSuchContainer { .. })) => match image() {
                Err(Failure::Store(store::Error::NoSuchImage { name })) => {
                    Err(Failure::NoSuchObject { name })
                }
                found => found,
            },
            found => found,
        },
    }
}

/// Prints the template filled in for each, up to the first that it does not go with; returns that failure.
fn print_each(template: &Template, found: &[Found]) -> Result<Option<Failure>, Failure> {
    let mut text = String::new();
    let mut failure = None;
    for found in found {
        match template.render(&found.data) {
            Ok(line) => text.push_str(&(line + "\n")),
            Err(error) => {
                failure = Some(error.into());
                break;
            }
        }
    }
    // One line at least, as Docker has it.
    output::print(if text.is_empty() { "\n" } else { &text })?;
    Ok(failure)
}

/// Returns JSON as Docker indents it.
fn indented(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing to memory cannot fail, and the keys of a JSON value are texts.
    let _ = value.serialize(&mut serializer);
    String::from_utf8_lossy(&bytes).into_owned()
}
