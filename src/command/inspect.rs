//! `kiln inspect`.

use engine::Engine;
use serde_json::{Value, json};
use store::Image;
use template::{Absent, Data, Template};

use super::output;
use crate::report::{self, Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// `json`, or a Go template for each image
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Prints what is known about images, as a JSON list in the shape of Docker's. What is missing is told at the end.
pub(super) fn run(engine: &Engine, inspect: &Inspect) -> Result<Exit, Failure> {
    let format = inspect.format.as_deref().filter(|format| !format.is_empty());
    let template = format.filter(|format| *format != "json").map(Template::parse).transpose()?;
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    for name in &inspect.images {
        match engine.store().find(name) {
            Ok(image) => documents.push(document(engine, &image)?),
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    match (&template, format) {
        (Some(template), _) => failures.extend(print_each(template, &documents)?),
        (None, Some(_)) => output::print(&format!("{}\n", Value::Array(documents)))?,
        (None, None) => output::print(&indented(&Value::Array(documents)))?,
    }
    failures.iter().for_each(report::print);
    if failures.is_empty() { Ok(Exit::Done) } else { Err(Failure::Told) }
}

/// Prints the template filled in for each document, up to the first that it does not go with; returns that failure.
fn print_each(template: &Template, documents: &[Value]) -> Result<Option<Failure>, Failure> {
    let mut text = String::new();
    let mut failure = None;
    for document in documents {
        match template.render(&data(document)) {
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

/// Says what Docker's types know of an image that its JSON leaves out.
fn data(document: &Value) -> Data {
    let lists = ["Cmd", "Entrypoint", "Env", "OnBuild", "Shell"];
    let maps = ["ExposedPorts", "Labels", "Volumes"];
    let mut data = Data::document(document).absent("Config.Healthcheck", Absent::Pointer);
    for (names, absent) in [(lists.as_slice(), Absent::List), (&maps, Absent::Map)] {
        for name in names {
            data = data.absent(&format!("Config.{name}"), absent);
        }
    }
    data.absent("Config.StopSignal", Absent::Text).absent("Variant", Absent::Text)
}

/// Returns JSON as Docker indents it.
fn indented(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing to memory cannot fail, and what was read as JSON or made of texts and numbers can be written.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    String::from_utf8_lossy(&bytes).into_owned() + "\n"
}

fn document(engine: &Engine, image: &Image) -> Result<Value, Failure> {
    let tags = engine.store().tags()?.into_iter().filter(|(_, id)| *id == image.id);
    let names: Vec<String> = tags.map(|(name, _)| name.familiar()).collect();
    let mut layers = Vec::with_capacity(image.snapshots.len());
    for snapshot in &image.snapshots {
        layers.push(engine.store().snapshot_dir(snapshot).display().to_string());
    }
    Ok(json!({
        "Id": image.id.to_string(),
        "RepoTags": names,
        "Created": image.config.created,
        "Author": image.config.author,
        "Config": image.config.config,
        "Architecture": image.config.architecture,
        "Variant": image.config.variant,
        "Os": image.config.os,
        "Size": engine.image_size(image)?,
        "RootFS": { "Type": "layers", "Layers": image.config.rootfs.diff_ids },
        "GraphDriver": { "Name": "overlay", "Data": { "Layers": layers } },
    }))
}
