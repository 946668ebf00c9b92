//! `kiln volume`: directories that containers share and that outlive them.

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    Engine,
    container::{
        Settings,
        options::{self, Label, MountKind},
        volumes,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::Volume;
use template::{Absent, Data};

use super::{
    VolumePrune,
    inspect::{self, Found},
    output, prune,
};
use crate::{
    filter::Filters,
    listing::Listing,
    report::{self, Exit, Failure},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[command(defer = true)]
enum Command {
    /// Make a volume
    Create(Create),
    /// Show what is known about volumes
    Inspect(Inspect),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Remove volumes that no container has
    Prune(VolumePrune),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(Rm),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Label of the volume
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
    /// There is `local` alone
    #[arg(short, long, default_value = "local", hide = true)]
    driver: String,
    /// Its name; one is made up if none is given
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// `json`, or a Go template for each
    #[arg(short, long)]
    format: Option<String>,
    /// The volumes
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Ls {
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// Only what fits: dangling, label, name
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// `json`, `table TEMPLATE`, or a Go template for each volume
    #[arg(long)]
    format: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Rm {
    /// One that is not there is no error
    #[arg(short, long)]
    force: bool,
    /// The volumes
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

const HEADINGS: &[(&str, &str)] = &[
    ("Driver", "DRIVER"),
    ("Labels", "LABELS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
];

/// Does what is asked for with volumes.
pub(super) fn run(engine: &Engine, volume: VolumeArgs) -> Result<Exit, Failure> {
    match volume.command {
        Command::Create(args) => create(engine, args),
        Command::Inspect(args) => show(engine, &args),
        Command::Ls(args) => list(engine, &args),
        Command::Prune(args) => prune::run(engine, &args.into()),
        Command::Rm(args) => remove(engine, &args),
    }
}

/// Makes a volume unless it is there, and prints its name.
fn create(engine: &Engine, create: Create) -> Result<Exit, Failure> {
    if create.driver != "local" {
        let message = format!(
            "there is no volume driver `{}`: volumes are directories of the store",
            create.driver
        );
        return Err(Failure::usage(message));
    }
    let volume = match create.name {
        Some(name) => {
            let name =
                options::volume_name(&name).map_err(|error| Failure::usage(error.to_string()))?;
            Volume::new(&name)
        }
        None => Volume::anonymous(),
    };
    let labels = create.labels.into_iter().map(|label| (label.name, label.value)).collect();
    let volume = Volume { labels, ..volume };
    engine.store().create_volume(&volume, |_| Ok(()))?;
    output::print(&format!("{}\n", volume.name))?;
    Ok(Exit::Done)
}

/// Prints what is known of volumes, in the shape of Docker's. What is missing is told at the end.
fn show(engine: &Engine, inspect: &Inspect) -> Result<Exit, Failure> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in &inspect.names {
        match engine.store().volume(name)? {
            Some(volume) => {
                let document = document(engine, &volume);
                let data = Data::document(&document).absent("Labels", Absent::Map);
                found.push(Found { data: data.absent("Options", Absent::Map), document });
            }
            None => missing.push(store::Error::NoSuchVolume { name: name.clone() }.into()),
        }
    }
    inspect::show(inspect.format.as_deref(), found, missing)
}

fn document(engine: &Engine, volume: &Volume) -> Value {
    let labels: BTreeMap<&str, &str> =
        volume.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    json!({
        "CreatedAt": text::seconds(Timestamp::try_from(volume.created).ok().map(|it| it.to_string()).as_deref()),
        "Driver": "local",
        "Labels": if labels.is_empty() { Value::Null } else { json!(labels) },
        "Mountpoint": engine.store().volume_directory(&volume.name).display().to_string(),
        "Name": volume.name,
        "Options": Value::Null,
        "Scope": "local",
    })
}

/// Lists volumes by their names.
fn list(engine: &Engine, ls: &Ls) -> Result<Exit, Failure> {
    let filters = Filters::parse(&ls.filters, &["dangling", "label", "label!", "name"])?;
    let dangling = filters.truth("dangling")?;
    let used = used(engine)?;
    let table = if ls.quiet { "{{.Name}}" } else { "{{.Driver}}\t{{.Name}}" };
    let format = ls.format.as_deref();
    let format = if ls.quiet { format.or(Some(table)) } else { format };
    let listing = Listing::parse(format, table, HEADINGS)?;
    let fits = |volume: &Volume| {
        dangling.is_none_or(|dangling| dangling != used.contains(&volume.name))
            && filters.fits("name", |name| volume.name.contains(name))
            && filters.fit_labels(&volume.labels)
    };
    let volumes = engine.store().volumes()?;
    let rows = volumes.iter().filter(|volume| fits(volume)).map(|volume| {
        let labels: Vec<String> =
            volume.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let row = Data::row(&json!({
            "Driver": "local",
            "Labels": labels.join(","),
            "Mountpoint": engine.store().volume_directory(&volume.name).display().to_string(),
            "Name": volume.name,
            "Scope": "local",
        }));
        row.method("Label", &json!(volume.labels))
    });
    output::print(&listing.render(rows)?)?;
    Ok(Exit::Done)
}

/// The volumes that containers have.
fn used(engine: &Engine) -> Result<BTreeSet<String>, Failure> {
    let mut used = BTreeSet::new();
    for container in engine.store().containers()? {
        for mount in Settings::of(&container)?.options.mounts {
            if let MountKind::Volume { name: Some(name), .. } = mount.kind {
                used.insert(name);
            }
        }
    }
    Ok(used)
}

/// Removes volumes, and prints their names. What cannot be removed is told; the others are removed all the same.
fn remove(engine: &Engine, rm: &Rm) -> Result<Exit, Failure> {
    let mut failures = Vec::new();
    for name in &rm.names {
        match volumes::remove(engine, name) {
            Ok(()) => output::print(&format!("{name}\n"))?,
            Err(engine::Error::Store(store::Error::NoSuchVolume { .. })) if rm.force => {
                output::print(&format!("{name}\n"))?;
            }
            Err(error) => failures.push(error.into()),
        }
    }
    report::tell(failures)
}
