//! The tables of `kiln df -v`.

use std::collections::BTreeMap;

use engine::Engine;
use jiff::Timestamp;
use serde_json::json;
use template::Data;

use super::usage::{ImageUsage, Usage};
use crate::{command::ps, listing::Listing, report::Failure, text};

/// How much of a step is shown.
const DESCRIPTION: usize = 60;

/// Returns all tables, one below the other.
pub(super) fn all(engine: &Engine, usage: &Usage) -> Result<String, Failure> {
    let now = Timestamp::now();
    let cache = text::exact_size(usage.cache().size);
    let blobs = text::exact_size(usage.blobs().size);
    Ok([
        format!("Images space usage:\n\n{}", images(usage, now)?),
        format!("Repositories space usage:\n\n{}", repositories(usage)?),
        format!("Containers space usage:\n\n{}", containers(engine)?),
        format!("Local Volumes space usage:\n\n{}", volumes(usage)?),
        format!("Build cache usage: {cache}\n\n{}", cached(usage, now)?),
        format!("Compressed layers usage: {blobs}\n"),
    ]
    .join("\n"))
}

/// Returns a table of columns, each with its heading and its cells.
fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<String, Failure> {
    let fields: Vec<String> = (0..columns.len()).map(|number| format!("Column{number}")).collect();
    let template: Vec<String> = fields.iter().map(|field| format!("{{{{.{field}}}}}")).collect();
    let headings: Vec<(&str, &str)> =
        fields.iter().map(String::as_str).zip(columns.iter().copied()).collect();
    let listing = Listing::parse(None, &template.join("\t"), &headings)?;
    let row = |cells: Vec<String>| {
        let cells: serde_json::Map<_, _> =
            fields.iter().cloned().zip(cells.into_iter().map(|cell| json!(cell))).collect();
        Data::row(&cells.into())
    };
    listing.render(rows.into_iter().map(row))
}

fn images(usage: &Usage, now: Timestamp) -> Result<String, Failure> {
    const COLUMNS: &[&str] = &[
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    ];
    let mut rows = Vec::new();
    for image in &usage.images {
        let id = image.image.id.to_string();
        let none = || "<none>".to_owned();
        let mut names: Vec<(String, String)> = image
            .names
            .iter()
            .map(|name| (name.familiar_name(), name.tag().map_or_else(none, str::to_owned)))
            .collect();
        if names.is_empty() {
            names.push((none(), none()));
        }
        for (repository, tag) in names {
            rows.push(vec![
                repository,
                tag,
                text::short_id(&id).to_owned(),
                text::age(image.image.config.created.as_deref(), now),
                text::exact_size(image.size),
                text::exact_size(image.shared),
                text::exact_size(image.size - image.shared),
                image.containers.to_string(),
            ]);
        }
    }
    table(COLUMNS, rows)
}

/// What the images of one repository take together: a project has its own.
fn repositories(usage: &Usage) -> Result<String, Failure> {
    let mut repositories: BTreeMap<String, Vec<&ImageUsage>> = BTreeMap::new();
    for image in &usage.images {
        let mut names: Vec<String> = image.names.iter().map(|name| name.familiar_name()).collect();
        names.dedup();
        if names.is_empty() {
            names.push("<none>".to_owned());
        }
        for name in names {
            repositories.entry(name).or_default().push(image);
        }
    }
    let mut owners: BTreeMap<_, usize> = BTreeMap::new();
    let layers_of = |images: &[&ImageUsage]| {
        let layers = images.iter().flat_map(|image| image.image.snapshots.iter().copied());
        layers.collect::<std::collections::BTreeSet<_>>()
    };
    for images in repositories.values() {
        for id in layers_of(images) {
            *owners.entry(id).or_default() += 1;
        }
    }
    let mut rows = Vec::new();
    for (name, images) in &repositories {
        let (mut size, mut shared) = (0, 0);
        for id in layers_of(images) {
            let bytes = usage.layers.get(&id).copied().unwrap_or(0);
            size += bytes;
            shared += if owners.get(&id).is_some_and(|owners| *owners > 1) { bytes } else { 0 };
        }
        rows.push(vec![
            name.clone(),
            images.len().to_string(),
            text::exact_size(size),
            text::exact_size(shared),
            text::exact_size(size - shared),
        ]);
    }
    table(&["REPOSITORY", "IMAGES", "SIZE", "SHARED SIZE", "UNIQUE SIZE"], rows)
}

fn containers(engine: &Engine) -> Result<String, Failure> {
    const COLUMNS: &[&str] = &[
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "LOCAL VOLUMES",
        "SIZE",
        "CREATED",
        "STATUS",
        "NAMES",
    ];
    const FIELDS: &[&str] =
        &["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"];
    let fields = ps::fields(engine)?;
    let cell = |row: &serde_json::Value, field: &str| {
        let text = row[field].as_str().unwrap_or_default();
        // Without what it has from its image.
        text.split(" (virtual").next().unwrap_or_default().to_owned()
    };
    let rows = fields.iter().map(|row| FIELDS.iter().map(|field| cell(row, field)).collect());
    table(COLUMNS, rows.collect::<Vec<Vec<String>>>())
}

fn volumes(usage: &Usage) -> Result<String, Failure> {
    let rows = usage.volumes.iter().map(|(volume, size, users)| {
        vec![volume.name.clone(), users.to_string(), text::exact_size(*size)]
    });
    table(&["VOLUME NAME", "LINKS", "SIZE"], rows)
}

fn cached(usage: &Usage, now: Timestamp) -> Result<String, Failure> {
    const COLUMNS: &[&str] = &[
        "CACHE ID",
        "CACHE TYPE",
        "SIZE",
        "CREATED",
        "LAST USED",
        "IN USE",
        "SHARED",
        "DESCRIPTION",
    ];
    let age = |time| {
        let time = Timestamp::try_from(time).ok().map(|time| time.to_string());
        text::age(time.as_deref(), now)
    };
    let rows = usage.cache.iter().map(|entry| {
        vec![
            text::short_id(&entry.name).to_owned(),
            if entry.snapshot.is_some() { "regular" } else { "exec.cachemount" }.to_owned(),
            text::exact_size(entry.size),
            age(entry.created),
            age(entry.used),
            usage.is_used(entry).to_string(),
            usage.is_shared(entry).to_string(),
            text::shortened(&entry.description, DESCRIPTION),
        ]
    });
    table(COLUMNS, rows)
}
