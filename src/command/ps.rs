//! `kiln ps`.

mod row;
mod select;

use engine::Engine;
use jiff::Timestamp;
use store::{Container, ContainerState};
use template::Data;

use super::output;
use crate::{
    filter::Filters,
    listing::Listing,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Ps {
    /// Those too that do not run
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How much each has written, and takes with its image
    #[arg(short, long)]
    pub(crate) size: bool,
    /// Only the newest one, whether it runs or not
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Only so many of the newest, whether they run or not
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        default_value = "-1",
        hide_default_value = true
    )]
    pub(crate) last: i64,
    /// Whole ids, commands and lists
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only what fits: id, name, status, exited, label, ancestor, before, since, volume, network, publish, expose, health
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<String>,
    /// `json`, `table TEMPLATE`, or a Go template for each container
    #[arg(long)]
    pub(crate) format: Option<String>,
}

const HEADINGS: &[(&str, &str)] = &[
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];

/// A container, and what became of it.
struct Row {
    container: Container,
    state: ContainerState,
}

/// Lists containers, the newest first.
pub(super) fn run(engine: &Engine, ps: &Ps) -> Result<Exit, Failure> {
    let filters = Filters::parse(&ps.filters, select::KEYS)?;
    let table = match (ps.quiet, ps.size) {
        (true, _) => "{{.ID}}",
        (false, true) => {
            "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}"
        }
        (false, false) => {
            "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
        }
    };
    let format = ps.format.as_deref();
    let format = if ps.quiet { format.or(Some(table)) } else { format };
    let listing = Listing::parse(format, table, HEADINGS)?;
    let rows = select::select(engine, ps, &filters)?;
    let shown = row::Shown {
        engine,
        no_trunc: ps.no_trunc,
        sizes: ps.size || listing.mentions("Size"),
        now: Timestamp::now(),
    };
    let rows = rows.iter().map(|row| shown.data(row));
    let rows = rows.collect::<Result<Vec<Data>, Failure>>()?;
    output::print(&listing.render(rows)?)?;
    Ok(Exit::Done)
}

/// Returns what is shown of all containers, for other listings.
pub(super) fn fields(engine: &Engine) -> Result<Vec<serde_json::Value>, Failure> {
    let containers = engine.store().containers()?;
    let states = engine.store().container_states(&containers)?;
    let shown = row::Shown { engine, no_trunc: false, sizes: true, now: Timestamp::now() };
    let rows = containers.into_iter().zip(states);
    rows.map(|(container, state)| shown.fields(&Row { container, state })).collect()
}
