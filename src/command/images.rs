//! `kiln images`.

use std::collections::BTreeSet;

use engine::Engine;
use jiff::Timestamp;
use oci::{ImageId, Reference};
use serde_json::json;
use store::Image;
use template::Data;

use super::output;
use crate::{
    listing::Listing,
    report::{Exit, Failure},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Images {
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Digests of the manifests too
    #[arg(long)]
    pub(crate) digests: bool,
    /// `json`, `table TEMPLATE`, or a Go template for each image
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Only this repository, or this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
}

const HEADINGS: &[(&str, &str)] = &[
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

/// Lists the images by name, the newest first, and those without a name.
pub(super) fn run(engine: &Engine, images: &Images) -> Result<Exit, Failure> {
    let wanted = images.name.as_deref().map(Reference::parse).transpose()?;
    let mut rows = rows(engine, wanted.as_ref())?;
    rows.sort_by(|a, b| {
        b.image.config.created.cmp(&a.image.config.created).then(a.name.cmp(&b.name))
    });
    let table = match (images.quiet, images.digests) {
        (true, _) => "{{.ID}}",
        (false, true) => {
            "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
        }
        (false, false) => "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    };
    let format = images.format.as_deref();
    if images.quiet {
        let mut seen = BTreeSet::new();
        rows.retain(|row| seen.insert(row.image.id));
    }
    let format = if images.quiet { format.or(Some(table)) } else { format };
    let listing = Listing::parse(format, table, HEADINGS)?;
    let now = Timestamp::now();
    let rows: Vec<Data> = rows
        .iter()
        .map(|row| data(engine, images, &listing, row, now))
        .collect::<Result<_, _>>()?;
    output::print(&listing.render(rows)?)?;
    Ok(Exit::Done)
}

/// An image under one of its names.
struct Row {
    name: Option<Reference>,
    image: Image,
}

fn rows(engine: &Engine, wanted: Option<&Reference>) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let mut named = BTreeSet::new();
    for (name, id) in engine.store().tags()? {
        named.insert(id);
        if wanted.is_none_or(|wanted| is_called(&name, wanted)) {
            rows.push(Row { name: Some(name), image: engine.image(&id)? });
        }
    }
    if wanted.is_none() {
        let unnamed =
            engine.store().images()?.into_iter().filter(|image| !named.contains(&image.id));
        rows.extend(unnamed.map(|image| Row { name: None, image }));
    }
    Ok(rows)
}

fn is_called(name: &Reference, wanted: &Reference) -> bool {
    let same_repository = name.host() == wanted.host() && name.path() == wanted.path();
    same_repository && wanted.tag().is_none_or(|tag| name.tag() == Some(tag))
}

fn id(id: &ImageId, whole: bool) -> String {
    let id = id.to_string();
    if whole { id } else { text::short_id(&id).to_owned() }
}

/// Returns the fields of a row, as Docker has them.
fn data(
    engine: &Engine,
    images: &Images,
    listing: &Listing,
    row: &Row,
    now: Timestamp,
) -> Result<Data, Failure> {
    let none = || "<none>".to_owned();
    let (repository, tag) = match &row.name {
        Some(name) => (name.familiar_name(), name.tag().map_or_else(none, str::to_owned)),
        None => (none(), none()),
    };
    let digest =
        row.image.manifest.as_ref().map_or_else(none, |manifest| manifest.digest.to_string());
    let created = row.image.config.created.as_deref();
    let has_size = ["Size", "VirtualSize"].iter().any(|field| listing.mentions(field));
    let size = if has_size { engine.image_size(&row.image)? } else { 0 };
    Ok(Data::row(&json!({
        "Containers": "N/A",
        "CreatedAt": text::time(created),
        "CreatedSince": text::age(created, now),
        "Digest": digest,
        "ID": id(&row.image.id, images.no_trunc),
        "Repository": repository,
        "SharedSize": "N/A",
        "Size": text::size(size),
        "Tag": tag,
        "UniqueSize": "N/A",
        "VirtualSize": text::exact_size(size),
    })))
}
