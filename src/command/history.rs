//! `kiln history`.

use engine::Engine;
use jiff::Timestamp;

use super::output;
use crate::{
    report::{Exit, Failure},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct History {
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

/// Lists the steps that made an image, the last one first.
pub(super) fn run(engine: &Engine, history: &History) -> Result<Exit, Failure> {
    let image = engine.store().find(&history.image)?;
    let id = image.id.to_string();
    let top = if history.no_trunc { id.as_str() } else { text::short_id(&id) };
    let now = Timestamp::now();
    let mut layers = image.snapshots.iter();
    let mut rows = Vec::new();
    for entry in &image.config.history {
        let snapshot = if entry.empty_layer { None } else { layers.next() };
        let size = match snapshot {
            Some(snapshot) => engine.store().layer(snapshot)?.map_or(0, |layer| layer.size),
            None => 0,
        };
        let created_by = match history.no_trunc {
            true => entry.created_by.clone(),
            false => text::shortened(&entry.created_by, CREATED_BY),
        };
        let created = text::age(entry.created.as_deref(), now);
        rows.push([created, created_by, text::size(size), entry.comment.clone()]);
    }
    let header = ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned).to_vec();
    let mut table = vec![header];
    for (index, row) in rows.into_iter().rev().enumerate() {
        let id = if index == 0 { top } else { "<missing>" };
        table.push([vec![id.to_owned()], row.to_vec()].concat());
    }
    if history.quiet {
        let ids: String = table.iter().skip(1).map(|row| format!("{}\n", row[0])).collect();
        output::print(&ids)?;
    } else {
        output::print(&text::table(&table))?;
    }
    Ok(Exit::Done)
}
