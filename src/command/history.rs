//! `kiln history`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::Engine;
use jiff::Timestamp;
use oci::ImageId;
use serde_json::json;
use store::{Image, Outline};
use template::Data;

use super::{output, platform};
use crate::{
    listing::Listing,
    report::{Exit, Failure},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// `json`, `table TEMPLATE`, or a Go template for each step
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Sizes and times for people
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) human: bool,
    /// Whole texts and ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Of images for several platforms the one for this [default: this machine]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image
    pub(crate) image: String,
}

/// How much of an instruction is shown.
const CREATED_BY: usize = 45;

const FOR_PEOPLE: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const FOR_PROGRAMS: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];

/// Lists the steps that made an image, the last one first.
pub(super) fn run(engine: &Engine, history: &History) -> Result<Exit, Failure> {
    let table = if history.human { FOR_PEOPLE } else { FOR_PROGRAMS };
    let format = history.format.as_deref().or(history.quiet.then_some("{{.ID}}"));
    let listing = Listing::parse(format, table, HEADINGS)?;

    let image = platform::find(engine, &history.image, history.platform.as_deref())?;
    let now = Timestamp::now();
    let ids = ids(engine, &image)?;
    let mut layers = image.snapshots.iter();
    let mut rows = Vec::new();
    for (index, entry) in image.config.history.iter().enumerate() {
        let snapshot = if entry.empty_layer { None } else { layers.next() };
        let size = match snapshot {
            Some(snapshot) if listing.mentions("Size") => engine.layer_size(snapshot)?,
            _ => 0,
        };
        let created_by = match history.no_trunc {
            true => entry.created_by.replace('\t', " "),
            false => text::shortened(&entry.created_by, CREATED_BY),
        };
        let id = match ids.get(&(index + 1)).map(ToString::to_string) {
            Some(id) if history.no_trunc => id,
            Some(id) => text::short_id(&id).to_owned(),
            None => "<missing>".to_owned(),
        };
        rows.push(json!({
            "Comment": entry.comment,
            "CreatedAt": text::seconds(entry.created.as_deref()),
            "CreatedBy": created_by,
            "CreatedSince": text::age(entry.created.as_deref(), now),
            "ID": id,
            "Size": sized(history.human, size),
        }));
    }
    output::print(&listing.render(rows.iter().rev().map(Data::row))?)?;
    Ok(Exit::Done)
}

fn sized(human: bool, size: u64) -> String {
    if human { text::size(size) } else { size.to_string() }
}

/// Returns the ids of an image and of all that it was before, by how many entries their histories have.
fn ids(engine: &Engine, image: &Image) -> Result<BTreeMap<usize, ImageId>, Failure> {
    let mut ids = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(Arc::new(image.clone()));
    while let Some(image) = next.filter(|image| seen.insert(image.id)) {
        // Of several with one history the youngest: a step without an entry has made it.
        ids.entry(image.config.history.len()).or_insert(image.id);
        for ancestor in Outline::of_ancestors(&image) {
            ids.entry(ancestor.steps()).or_insert(ancestor.id());
        }
        let base = image.ancestry.base;
        next = base.map_or(Ok(None), |base| engine.store().image(&base))?.map(Arc::new);
    }
    Ok(ids)
}
