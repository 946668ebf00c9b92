//! `kiln prune`, and its parts: `image prune`, `container prune`, `volume prune` and `builder prune`, as Docker has
//! them. What goes is found
//! in `select`, and removed here.

mod select;

use std::time::Duration;

use engine::{
    Engine,
    container::{self, options::ByteSize, volumes},
};
use jiff::Timestamp;
use store::{CacheRule, Collect, ImageRule, Which};

use self::select::Selected;
use super::output;
use crate::{
    filter::Filters,
    prompt,
    removal::{Manner, Removal, Removed},
    report::{Exit, Failure},
    text,
};

/// Options of all five.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Only some: until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Options of those that touch the build cache.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Cache {
    /// Leave so much of the build cache: what was used last
    #[arg(long, visible_alias = "reserved-space", value_name = "SIZE")]
    keep_storage: Option<ByteSize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Prune {
    /// What is looked at: all, unless it is only a part of the command.
    #[arg(skip)]
    part: Part,
    /// Images that no container uses too, though they have names, and all of the build cache
    #[arg(short, long)]
    all: bool,
    /// Volumes too that were made for one container and that no container has
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    cache: Cache,
    #[command(flatten)]
    common: Common,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Part {
    #[default]
    All,
    Images,
    Containers,
    Volumes,
    Cache,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImagePrune {
    /// Images that no container uses too, though they have names
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ContainerPrune {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VolumePrune {
    /// Those too that were given a name
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BuilderPrune {
    /// What images have too: their steps are done again by the next build
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    cache: Cache,
    #[command(flatten)]
    common: Common,
}

impl From<ImagePrune> for Prune {
    fn from(ImagePrune { all, common }: ImagePrune) -> Self {
        Self { part: Part::Images, all, volumes: false, cache: Cache::default(), common }
    }
}

impl From<ContainerPrune> for Prune {
    fn from(ContainerPrune { common }: ContainerPrune) -> Self {
        Self { part: Part::Containers, all: false, volumes: false, cache: Cache::default(), common }
    }
}

impl From<VolumePrune> for Prune {
    fn from(VolumePrune { all, common }: VolumePrune) -> Self {
        Self { part: Part::Volumes, all, volumes: true, cache: Cache::default(), common }
    }
}

impl From<BuilderPrune> for Prune {
    fn from(BuilderPrune { all, cache, common }: BuilderPrune) -> Self {
        Self { part: Part::Cache, all, volumes: false, cache, common }
    }
}

/// Which images go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Images {
    /// Those without a name that nothing was made on.
    Dangling,
    /// Those that no container uses.
    Unused,
}

/// Which volumes go, of those that no container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Volumes {
    /// Those whose names were made up.
    Anonymous,
    All,
}

/// What is to go.
#[derive(Debug)]
struct Order<'a> {
    containers: bool,
    volumes: Option<Volumes>,
    images: Option<Images>,
    /// The build cache, and whether with what images have.
    cache: Option<Which>,
    common: &'a Common,
}

/// Removes what is not used.
pub(super) fn run(engine: &Engine, prune: &Prune) -> Result<Exit, Failure> {
    let is = |part| prune.part == Part::All || prune.part == part;
    let images = if prune.all { Images::Unused } else { Images::Dangling };
    // All that a part of the command means by `--all` is its own.
    let named = prune.part == Part::Volumes && prune.all;
    let volumes = if named { Volumes::All } else { Volumes::Anonymous };
    let room = prune.cache.keep_storage.map(|size| size.0);
    let cache = Which { unused_for: Duration::ZERO, room, of_images: prune.all };
    let order = Order {
        containers: is(Part::Containers),
        volumes: prune.volumes.then_some(volumes),
        images: is(Part::Images).then_some(images),
        cache: is(Part::Cache).then_some(cache),
        common: &prune.common,
    };
    obey(engine, &order)
}

fn obey(engine: &Engine, order: &Order<'_>) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    // Volumes are as old as what somebody last wrote to them, which says nothing.
    let known: &[&str] = match order {
        Order { containers: false, images: None, cache: None, .. } => &["label", "label!"],
        _ => &["until", "label", "label!"],
    };
    let filters = Filters::parse(&order.common.filter, known)?;
    let until = filters.time("until", now)?;
    let cache = order.cache.filter(|_| !filters.has("label") && !filters.has("label!"));
    let cache = cache.map(|which| Which { unused_for: select::age(until, now), ..which });
    let what = Collect {
        images: ImageRule::Keep,
        cache: match cache {
            Some(Which { of_images: true, room: None, unused_for }) if unused_for.is_zero() => {
                CacheRule::All
            }
            Some(which) => CacheRule::Only(which),
            None => CacheRule::Keep,
        },
        mounts: cache.is_some(),
    };
    if !order.common.dry_run && !order.common.force && !confirm(order)? {
        return total(0, "reclaimed");
    }
    let selected = select::select(engine, order, &filters, until)?;
    if order.common.dry_run {
        let preview = select::preview(engine, &selected, &what)?;
        for (heading, lines) in preview.sections() {
            section(heading, lines)?;
        }
        return total(preview.bytes, "reclaimable");
    }
    let mut bytes = remove_containers(engine, &selected)?;
    bytes += remove_volumes(engine, &selected)?;
    bytes += remove_rest(engine, &selected, &what)?;
    total(bytes, "reclaimed")
}

fn remove_containers(engine: &Engine, selected: &Selected) -> Result<u64, Failure> {
    let mut bytes = 0;
    let mut removed = Vec::new();
    for container in &selected.containers {
        let size = container::written_size(engine, container)?.on_disk();
        // One that was started meanwhile stays, and one that does not come to its end.
        match container::remove(engine, container, container::Removal::default()) {
            Ok(()) => {
                bytes += size;
                removed.push(container.id.to_string());
            }
            Err(
                engine::Error::Running { .. }
                | engine::Error::NotEnded { .. }
                | engine::Error::Store(store::Error::NoSuchContainer { .. }),
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
    section("Deleted Containers:", &removed)?;
    Ok(bytes)
}

fn remove_volumes(engine: &Engine, selected: &Selected) -> Result<u64, Failure> {
    let mut bytes = 0;
    let mut removed = Vec::new();
    for (volume, size) in &selected.volumes {
        match volumes::remove(engine, &volume.name) {
            Ok(()) => {
                bytes += size;
                removed.push(volume.name.clone());
            }
            // A container was made meanwhile that has it.
            Err(engine::Error::VolumeInUse { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    section("Deleted Volumes:", &removed)?;
    Ok(bytes)
}

/// Removes images, and then what nothing needs any more with what is cached.
fn remove_rest(engine: &Engine, selected: &Selected, what: &Collect) -> Result<u64, Failure> {
    let mut removal = Removal::begin(engine, Manner { force: false, parents: true })?;
    for image in &selected.images {
        for name in &image.given {
            // Meanwhile a build may have begun to use it, or have given its name to what it has made.
            let meant = removal.meant(name)?;
            let is_other = !meant.is_empty() && !meant.contains(&image.id);
            if is_other || meant.iter().any(|id| removal.is_held(id)) {
                continue;
            }
            match removal.remove(name) {
                // What has come into use meanwhile stays, and so does what an earlier one took along.
                Err(
                    Failure::Conflict { .. } | Failure::Store(store::Error::NoSuchImage { .. }),
                ) => {}
                result => result?,
            }
        }
    }
    let mut ended = removal.end();
    let freed = ended.collect(what)?;
    let lines = ended.take_removed().into_iter().map(|removed| match removed {
        Removed::Name(name) => format!("untagged: {name}"),
        Removed::Object(id) => format!("deleted: {id}"),
    });
    section("Deleted Images:", &lines.collect::<Vec<_>>())?;
    section("Deleted build cache objects:", &freed.objects)?;
    Ok(freed.bytes)
}

fn section(heading: &str, lines: &[String]) -> Result<(), Failure> {
    if lines.is_empty() {
        return Ok(());
    }
    output::print(&format!("{heading}\n{}\n\n", lines.join("\n")))
}

fn total(bytes: u64, what: &str) -> Result<Exit, Failure> {
    output::print(&format!("Total {what} space: {}\n", text::exact_size(bytes)))?;
    Ok(Exit::Done)
}

/// Asks whether to go on.
fn confirm(order: &Order<'_>) -> Result<bool, Failure> {
    let images = match order.images {
        Some(Images::Dangling) => "all dangling images",
        Some(Images::Unused) => "all images without at least one container associated to them",
        None => "",
    };
    let cache = match order.cache {
        Some(Which { of_images: true, .. }) => "all build cache",
        Some(_) => "all dangling build cache",
        None => "",
    };
    let containers = if order.containers { "all stopped containers" } else { "" };
    let volumes = match order.volumes {
        Some(Volumes::Anonymous) => "anonymous local volumes not used by at least one container",
        Some(Volumes::All) => "all local volumes not used by at least one container",
        None => "",
    };
    let parts: Vec<&str> =
        [containers, volumes, images, cache].into_iter().filter(|part| !part.is_empty()).collect();
    let mut question = match parts.as_slice() {
        [one] => format!("WARNING! This will remove {one}.\n"),
        parts => {
            let lines: String = parts.iter().map(|part| format!("  - {part}\n")).collect();
            format!("WARNING! This will remove:\n{lines}\n")
        }
    };
    if !order.common.filter.is_empty() {
        let filters: String =
            order.common.filter.iter().map(|filter| format!("  - {filter}\n")).collect();
        question.push_str(&format!("  Items to be pruned will be filtered with:\n{filters}\n"));
    }
    question.push_str("Are you sure you want to continue? [y/N] ");
    let answer = prompt::ask(&question).map_err(Failure::io("read", "standard input"))?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}
