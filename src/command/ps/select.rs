//! Which containers are listed.

use engine::{Engine, container::Settings};
use oci::{History, ImageConfig, ImageId};
use store::{Container, SnapshotId, Status};

use super::{Ps, Row, row};
use crate::{
    filter::{Filters, is_named},
    report::Failure,
};

/// The keys of `--filter`.
pub(super) const KEYS: &[&str] = &[
    "id", "name", "status", "exited", "label", "label!", "ancestor", "before", "since", "volume",
    "network", "publish", "expose", "health",
];

/// Returns the containers that are asked for, the newest first.
pub(super) fn select(engine: &Engine, ps: &Ps, filters: &Filters) -> Result<Vec<Row>, Failure> {
    check(filters)?;
    let containers = engine.store().containers()?;
    let states = engine.store().container_states(&containers)?;
    let mut rows: Vec<Row> = containers
        .into_iter()
        .zip(states)
        .map(|(container, state)| Row { container, state })
        .collect();
    let last = if ps.latest { 1 } else { ps.last };
    // Whoever asks for a state, or for the newest, means all.
    let all = ps.all || last > 0 || filters.has("status") || filters.has("exited");
    let wanted = Wanted::of(engine, filters, &rows)?;
    let mut kept = Vec::new();
    for row in rows.drain(..) {
        if (all || row.state.status.is_alive()) && wanted.fits(filters, &row)? {
            kept.push(row);
        }
    }
    if let Ok(last @ 1..) = usize::try_from(last) {
        kept.truncate(last);
    }
    Ok(kept)
}

/// Refuses values that nothing can ever have.
fn check(filters: &Filters) -> Result<(), Failure> {
    const STATES: &[&str] =
        &["created", "restarting", "running", "removing", "paused", "exited", "dead"];
    if let Some(status) = filters.values("status").iter().find(|it| !STATES.contains(&it.as_str()))
    {
        return Err(Failure::usage(format!(
            "invalid filter 'status={status}': there are {}",
            STATES.join(", ")
        )));
    }
    const HEALTH: &[&str] = &["starting", "healthy", "unhealthy", "none"];
    if let Some(health) = filters.values("health").iter().find(|it| !HEALTH.contains(&it.as_str()))
    {
        return Err(Failure::usage(format!(
            "invalid filter 'health={health}': there are {}",
            HEALTH.join(", ")
        )));
    }
    if let Some(code) = filters.values("exited").iter().find(|code| code.parse::<i32>().is_err()) {
        return Err(Failure::usage(format!("invalid filter 'exited={code}': it is an exit code")));
    }
    Ok(())
}

/// An image that containers are made of, directly or by images on top of it.
struct Ancestor {
    id: ImageId,
    snapshots: Vec<SnapshotId>,
    history: Vec<History>,
}

impl Ancestor {
    /// Whether a container with this config of its image is made of it. Nobody writes down what an image was made of; but
    /// it begins with the same layers, and has come to be in the same way that far.
    fn is_of(&self, container: &Container, config: &ImageConfig) -> bool {
        container.image == self.id
            || (!self.history.is_empty()
                && config.history.starts_with(&self.history)
                && container.snapshots.starts_with(&self.snapshots))
    }
}

/// What other things the filters name.
struct Wanted {
    ancestors: Vec<Ancestor>,
    before: Vec<Container>,
    since: Vec<Container>,
}

impl Wanted {
    fn of(engine: &Engine, filters: &Filters, rows: &[Row]) -> Result<Self, Failure> {
        let named = |key| {
            let find = |name: &String| Ok(engine.store().find_container(name)?);
            filters.values(key).iter().map(find).collect::<Result<Vec<_>, Failure>>()
        };
        let mut ancestors = Vec::new();
        for name in filters.values("ancestor") {
            match engine.store().find(name) {
                Ok(image) => ancestors.push(Ancestor {
                    id: image.id,
                    snapshots: image.snapshots,
                    history: image.config.history,
                }),
                // The image may be gone while its containers are there.
                Err(store::Error::NoSuchImage { .. }) => {
                    let made_of = rows.iter().filter(|row| row.container.image_name == *name);
                    ancestors.extend(made_of.map(|row| Ancestor {
                        id: row.container.image,
                        snapshots: Vec::new(),
                        history: Vec::new(),
                    }));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { ancestors, before: named("before")?, since: named("since")? })
    }

    fn fits(&self, filters: &Filters, row: &Row) -> Result<bool, Failure> {
        let Row { container, state } = row;
        let settings = Settings::of(container)?;
        let image = ImageConfig::parse(container.image_config.as_bytes())?;
        let config = &image.config;
        let labels = row::labels(config, &settings);
        let mounts = row::mounts(&settings);
        let id = container.id.to_string();
        let network = row::network(&settings);
        Ok(filters.fits("id", |wanted| id.starts_with(wanted))
            && filters.fits("name", |wanted| is_named(&container.name, wanted))
            && filters.fits("status", |wanted| state.status.as_str() == wanted)
            && filters.fits("exited", |wanted| {
                state.status == Status::Exited && wanted.parse() == Ok(state.exit_code)
            })
            && filters.fit_labels(&labels)
            && filters.fits("volume", |wanted| {
                mounts.iter().any(|mount| mount.source == wanted || mount.target == wanted)
            })
            && filters.fits("network", |wanted| network == wanted)
            && filters.fits("publish", |wanted| row::publishes(&settings, wanted))
            && filters.fits("expose", |wanted| row::exposes(config, &settings, wanted))
            && filters.fits("health", |wanted| wanted == row::health(state))
            && self.fits_others(filters, container, &image))
    }

    fn fits_others(&self, filters: &Filters, container: &Container, image: &ImageConfig) -> bool {
        let is_ancestor = || self.ancestors.iter().any(|it| it.is_of(container, image));
        let is_before = || self.before.iter().any(|other| container.created < other.created);
        let is_since = || self.since.iter().any(|other| container.created > other.created);
        (!filters.has("ancestor") || is_ancestor())
            && (!filters.has("before") || is_before())
            && (!filters.has("since") || is_since())
    }
}
