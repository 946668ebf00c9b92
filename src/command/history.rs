//! `kiln history`.

use engine::Engine;
use jiff::Timestamp;
use serde_json::json;
use template::Data;

use super::output;
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

    let image = engine.store().find(&history.image)?;
    let now = Timestamp::now();
    let mut layers = image.snapshots.iter();
    let mut rows = Vec::new();
    for entry in &image.config.history {
        let snapshot = if entry.empty_layer { None } else { layers.next() };
        let size = match snapshot {
            Some(snapshot) => engine.layer_size(snapshot)?,
            None => 0,
        };
        let created_by = match history.no_trunc {
            true => entry.created_by.clone(),
            false => text::shortened(&entry.created_by, CREATED_BY),
        };
        rows.push(json!({
            "Comment": entry.comment,
            "CreatedAt": entry.created.clone().unwrap_or_default(),
            "CreatedBy": created_by,
            "CreatedSince": text::age(entry.created.as_deref(), now),
            "ID": "<missing>",
            "Size": if history.human { text::size(size) } else { size.to_string() },
        }));
    }
    if let Some(top) = rows.last_mut() {
        let id = image.id.to_string();
        top["ID"] = if history.no_trunc { id.into() } else { text::short_id(&id).into() };
    }
    output::print(&listing.render(rows.iter().rev().map(Data::row))?)?;
    Ok(Exit::Done)
}
