//! `kiln stats`.

use std::{
    io::{self, IsTerminal},
    thread,
    time::{Duration, Instant},
};

use engine::{
    Engine,
    container::{self, Settings},
};
use sandbox::Usage;
use serde_json::{Value, json};
use store::Container;
use template::Data;

use super::output;
use crate::{
    listing::Listing,
    report::{Exit, Failure},
    text,
};

/// How long the use of processors is looked at: the time from one listing to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is shown of a container that does not run.
const NOTHING: &str = "--";

#[derive(Debug, clap::Args)]
pub(crate) struct Stats {
    /// Those too that do not run
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Once, and not again and again
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// `json`, `table TEMPLATE`, or a Go template for each container
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// The containers; all that run if none are named
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

const HEADINGS: &[(&str, &str)] = &[
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
];

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// What a container used at a moment.
type Sample = (Instant, Usage);

/// Shows what containers use, until nobody wants to see it any more.
pub(super) fn run(engine: &Engine, stats: &Stats) -> Result<Exit, Failure> {
    let listing = Listing::parse(stats.format.as_deref(), TABLE, HEADINGS)?;
    let mut before = samples(engine, containers(engine, stats)?)?;
    loop {
        thread::sleep(INTERVAL);
        let now = samples(engine, containers(engine, stats)?)?;
        let rows = now.iter().map(|(container, now)| {
            let before = before.iter().find(|(known, _)| known.id == container.id);
            let before = before.and_then(|(_, sample)| sample.as_ref());
            Ok(Data::row(&fields(stats, container, before, now.as_ref())?))
        });
        let text = listing.render(rows.collect::<Result<Vec<Data>, Failure>>()?)?;
        match !stats.no_stream && io::stdout().is_terminal() {
            // To the upper left, over what was there.
            true => output::print_instead(&text)?,
            false => output::print(&text)?,
        }
        if stats.no_stream {
            return Ok(Exit::Done);
        }
        before = now;
    }
}

fn containers(engine: &Engine, stats: &Stats) -> Result<Vec<Container>, Failure> {
    if !stats.containers.is_empty() {
        let find = |name: &String| Ok(engine.store().find_container(name)?);
        return stats.containers.iter().map(find).collect();
    }
    let containers = engine.store().containers()?;
    let states = engine.store().container_states(&containers)?;
    let mut wanted = containers.into_iter().zip(states).collect::<Vec<_>>();
    wanted.retain(|(_, state)| stats.all || state.status.is_alive());
    Ok(wanted.into_iter().map(|(container, _)| container).collect())
}

fn samples(
    engine: &Engine,
    containers: Vec<Container>,
) -> Result<Vec<(Container, Option<Sample>)>, Failure> {
    let sample = |container: Container| match container::usage(engine, &container) {
        Ok(usage) => Ok((container, Some((Instant::now(), usage)))),
        // It has ended meanwhile, or is about to be started again.
        Err(engine::Error::NotRunning { .. } | engine::Error::Keeper { .. }) => {
            Ok((container, None))
        }
        Err(error) => Err(error.into()),
    };
    containers.into_iter().map(sample).collect()
}

/// Returns the fields of a row, as Docker has them.
fn fields(
    stats: &Stats,
    container: &Container,
    before: Option<&Sample>,
    now: Option<&Sample>,
) -> Result<Value, Failure> {
    let id = if stats.no_trunc { container.id.to_string() } else { container.id.short() };
    let mut row = json!({
        "BlockIO": format!("{NOTHING} / {NOTHING}"),
        "CPUPerc": NOTHING,
        "Container": id,
        "ID": id,
        "MemPerc": NOTHING,
        "MemUsage": format!("{NOTHING} / {NOTHING}"),
        "Name": container.name,
        "NetIO": format!("{NOTHING} / {NOTHING}"),
        "PIDs": NOTHING,
    });
    if let Some((_, usage)) = now {
        let limit = memory_limit(container)?;
        let pair = |one: u64, other: u64| format!("{} / {}", text::size(one), text::size(other));
        row["BlockIO"] = pair(usage.read, usage.written).into();
        row["CPUPerc"] = format!("{:.2}%", processor_share(before, now)).into();
        row["MemPerc"] = format!("{:.2}%", share(usage.memory, limit)).into();
        let memory = format!("{} / {}", text::memory(usage.memory), text::memory(limit));
        row["MemUsage"] = memory.into();
        row["NetIO"] = pair(usage.received, usage.sent).into();
        row["PIDs"] = usage.threads.to_string().into();
    }
    Ok(row)
}

/// How much of one processor was used between two moments, in percent.
fn processor_share(before: Option<&Sample>, now: Option<&Sample>) -> f64 {
    let (Some((then, before)), Some((now, after))) = (before, now) else { return 0.0 };
    let used = after.processor.saturating_sub(before.processor);
    let passed = now.duration_since(*then).as_secs_f64();
    if passed > 0.0 { used.as_secs_f64() / passed * 100.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

/// The memory that a container can have: its limit, or what the machine has.
fn memory_limit(container: &Container) -> Result<u64, Failure> {
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram * u64::from(machine.mem_unit);
    let limit = Settings::of(container)?.options.resources.memory_limit();
    Ok(limit.map_or(machine, |limit| limit.min(machine)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let start = Instant::now();
        let sample = |seconds: u64, milliseconds: u64| {
            let processor = Duration::from_millis(milliseconds);
            Some((start + Duration::from_secs(seconds), Usage { processor, ..Usage::default() }))
        };
        let check = |before: Option<Sample>, now: Option<Sample>, expected: &str| {
            let share = processor_share(before.as_ref(), now.as_ref());
            assert_eq!(format!("{share:.2}"), expected);
        };
        check(sample(0, 100), sample(2, 3100), "150.00");
        // It was started again meanwhile.
        check(sample(0, 100), sample(2, 50), "0.00");
        check(None, sample(2, 50), "0.00");
        check(sample(1, 1), sample(1, 2), "0.00");
        assert_eq!(format!("{:.2}", share(1, 3)), "33.33");
        assert_eq!(format!("{:.2}", share(1, 0)), "0.00");
    }
}
