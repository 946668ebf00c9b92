//! `kiln inspect`.

use engine::Engine;
use serde_json::{Value, json};
use store::Image;

use super::output;
use crate::report::{self, Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Prints what is known about images, as a JSON list in the shape of Docker's. What is missing is told at the end.
pub(super) fn run(engine: &Engine, inspect: &Inspect) -> Result<Exit, Failure> {
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    for name in &inspect.images {
        match engine.store().find(name) {
            Ok(image) => documents.push(document(engine, &image)?),
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    output::print(&format!("{:#}\n", Value::Array(documents)))?;
    failures.iter().for_each(report::print);
    if failures.is_empty() { Ok(Exit::Done) } else { Err(Failure::Told) }
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
