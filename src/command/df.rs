//! `kiln df`: what takes how much room. Everything in the store is counted once: a layer that several images have, and one
//! that an image has and the cache too. What is counted is in `usage`, the tables of `-v` are in `tables`.

mod tables;
mod usage;

use engine::Engine;
use serde_json::json;
use template::Data;

use self::usage::Usage;
use super::output;
use crate::{
    listing::Listing,
    report::{Exit, Failure},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Df {
    /// `json`, `table TEMPLATE`, or a Go template for each kind
    #[arg(long, conflicts_with = "verbose")]
    format: Option<String>,
    /// Each image, container, volume and cached step
    #[arg(short, long)]
    verbose: bool,
}

const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Active", "ACTIVE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
];

/// One kind of what takes room.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    total: usize,
    /// How many are in use.
    active: usize,
    /// Bytes of files that the disk has: holes do not count.
    size: u64,
    /// How many of them are not in use.
    reclaimable: u64,
}

/// Shows what takes how much room.
pub(super) fn run(engine: &Engine, df: &Df) -> Result<Exit, Failure> {
    let listing = Listing::parse(df.format.as_deref(), TABLE, HEADINGS)?;
    let usage = Usage::of(engine)?;
    if df.verbose {
        output::print(&tables::all(engine, &usage)?)?;
        return Ok(Exit::Done);
    }
    let rows = [
        ("Images", usage.images()),
        ("Containers", usage.containers()),
        ("Local Volumes", usage.volumes()),
        ("Build Cache", usage.cache()),
        ("Compressed Layers", usage.blobs()),
    ];
    let rows = rows.iter().map(|(kind, share)| {
        Data::row(&json!({
            "Active": share.active.to_string(),
            "Reclaimable": reclaimable(share),
            "Size": text::exact_size(share.size),
            "TotalCount": share.total.to_string(),
            "Type": kind,
        }))
    });
    output::print(&listing.render(rows)?)?;
    Ok(Exit::Done)
}

fn reclaimable(share: &Share) -> String {
    let size = text::exact_size(share.reclaimable);
    match (share.reclaimable * 100).checked_div(share.size) {
        Some(percent) => format!("{size} ({percent}%)"),
        None => size,
    }
}
