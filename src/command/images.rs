//! `kiln images`.

use std::collections::BTreeSet;

use engine::Engine;
use jiff::Timestamp;
use oci::{ImageId, Reference};
use store::Image;

use super::output;
use crate::{
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
    /// Only this repository, or this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
}

/// Lists the images by name, the newest first, and those without a name.
pub(super) fn run(engine: &Engine, images: &Images) -> Result<Exit, Failure> {
    let wanted = images.name.as_deref().map(Reference::parse).transpose()?;
    let mut rows = rows(engine, wanted.as_ref())?;
    rows.sort_by(|a, b| {
        b.image.config.created.cmp(&a.image.config.created).then(a.name.cmp(&b.name))
    });
    if images.quiet {
        let mut seen = BTreeSet::new();
        rows.retain(|row| seen.insert(row.image.id));
        let ids: String =
            rows.iter().map(|row| format!("{}\n", id(&row.image.id, images.no_trunc))).collect();
        output::print(&ids)?;
        return Ok(Exit::Done);
    }
    output::print(&text::table(&table(engine, images, &rows)?))?;
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

fn table(engine: &Engine, images: &Images, rows: &[Row]) -> Result<Vec<Vec<String>>, Failure> {
    let now = Timestamp::now();
    let mut table =
        vec![columns(images, ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"])];
    for row in rows {
        let none = || "<none>".to_owned();
        let (repository, tag) = match &row.name {
            Some(name) => (name.familiar_name(), name.tag().map_or_else(none, str::to_owned)),
            None => (none(), none()),
        };
        let digest =
            row.image.manifest.as_ref().map_or_else(none, |manifest| manifest.digest.to_string());
        let size = engine.image_size(&row.image)?;
        let created = text::age(row.image.config.created.as_deref(), now);
        let id = id(&row.image.id, images.no_trunc);
        table.push(columns(images, [repository, tag, digest, id, created, text::size(size)]));
    }
    Ok(table)
}

/// The cells of a row; the digest only if it was asked for.
fn columns<T: Into<String>>(images: &Images, cells: [T; 6]) -> Vec<String> {
    const DIGEST: usize = 2;
    let cells = cells.into_iter().enumerate();
    cells.filter(|(i, _)| images.digests || *i != DIGEST).map(|(_, cell)| cell.into()).collect()
}
