//! `kiln images`. Which rows there are is in `rows`, layers as a tree in `tree`.

mod rows;
mod tree;

use engine::Engine;
use jiff::Timestamp;
use oci::{ImageId, Platform};
use serde_json::json;
use template::Data;

use self::rows::Row;
use super::output;
use crate::{
    listing::Listing,
    report::{Exit, Failure},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Images {
    /// What images were after each step too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Digests in registries too
    #[arg(long)]
    pub(crate) digests: bool,
    /// Only some: dangling=BOOL, label=NAME[=VALUE], reference=PATTERN, before=IMAGE, since=IMAGE, until=TIME
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// `json`, `table TEMPLATE`, or a Go template for each image
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Layers as a tree: which are shared, and what each adds
    #[arg(long, conflicts_with_all = ["all", "digests", "format", "quiet"])]
    pub(crate) tree: bool,
    /// Only this repository, or this name; `*`, `?` and `[…]` stand for others
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
}

const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Platform", "PLATFORM"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

/// Lists the images by name, the newest first, and those without a name.
pub(super) fn run(engine: &Engine, images: &Images) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let table = if images.digests { WITH_DIGESTS } else { TABLE };
    let given = images.format.as_deref().or(images.quiet.then_some("{{.ID}}"));
    let listing = Listing::parse(given, table, HEADINGS)?;
    let has_digests = images.digests || (images.format.is_some() && listing.mentions("Digest"));

    let mut rows = rows::select(engine, images, has_digests, now)?;
    if images.tree {
        output::print(&tree::render(engine, &rows, images.no_trunc)?)?;
        return Ok(Exit::Done);
    }
    if images.quiet {
        // An image of several names is one image.
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|row| seen.insert(row.image.id()));
    }
    let listing = match given {
        None if rows.iter().any(is_foreign) => {
            // At the end, where it moves no column that a script counts on.
            Listing::parse(None, &format!("{table}\t{{{{.Platform}}}}"), HEADINGS)?
        }
        _ => listing,
    };
    let data = rows.iter().map(|row| data(engine, images, &listing, row, now));
    let data: Vec<Data> = data.collect::<Result<_, _>>()?;
    output::print(&listing.render(data)?)?;
    Ok(Exit::Done)
}

/// Images for other platforms than this machine's are rare, and then there may be several of one name.
fn is_foreign(row: &Row) -> bool {
    !Platform::host().runs(&row.image.image().config.platform())
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
    let shown = |name: &Option<String>| name.clone().unwrap_or_else(|| "<none>".to_owned());
    let created = row.image.created();
    let has_size = ["Size", "VirtualSize"].iter().any(|field| listing.mentions(field));
    let size = match row.image.contents() {
        Some(contents) => contents,
        None if has_size => engine.layers_size(row.image.snapshots())?,
        None => 0,
    };
    Ok(Data::row(&json!({
        "Containers": "N/A",
        "CreatedAt": text::time(created),
        "CreatedSince": text::age(created, now),
        "Digest": shown(&row.digest),
        "ID": id(&row.image.id(), images.no_trunc),
        "Platform": row.image.image().config.platform().to_string(),
        "Repository": shown(&row.repository),
        "SharedSize": "N/A",
        "Size": text::size(size),
        "Tag": shown(&row.tag),
        "UniqueSize": "N/A",
        "VirtualSize": text::exact_size(size),
    })))
}
