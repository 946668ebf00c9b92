//! What is shown of a container.

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    Engine,
    container::{
        self, Settings,
        options::{MountKind, Network},
    },
};
use jiff::Timestamp;
use oci::{Config, ImageConfig, ImageId};
use serde_json::{Value, json};
use store::{Container, ContainerState, PublishedPort, Status};
use template::Data;

use super::Row;
use crate::{report::Failure, text};

/// How much of a command is shown.
const COMMAND: usize = 20;

/// How rows are shown.
pub(super) struct Shown<'a> {
    pub(super) engine: &'a Engine,
    pub(super) no_trunc: bool,
    pub(super) sizes: bool,
    pub(super) now: Timestamp,
}

impl Shown<'_> {
    /// Returns a row for templates: the fields, and each label by its name.
    pub(super) fn data(&self, row: &Row) -> Result<Data, Failure> {
        let settings = Settings::of(&row.container)?;
        let config = ImageConfig::parse(row.container.image_config.as_bytes())?.config;
        let labels = json!(labels(&config, &settings));
        Ok(Data::row(&self.fields(row)?).method("Label", &labels))
    }

    /// Returns the fields of a row, as Docker has them.
    pub(super) fn fields(&self, row: &Row) -> Result<Value, Failure> {
        let Row { container, state } = row;
        let settings = Settings::of(container)?;
        let config = ImageConfig::parse(container.image_config.as_bytes())?.config;
        let id = container.id.to_string();
        let created = timestamp(container.created);
        let mounts = mounts(&settings);
        let volumes: BTreeSet<&str> =
            mounts.iter().filter(|it| it.is_volume).map(|it| it.source.as_str()).collect();
        let mount_names = mounts.iter().map(|mount| self.shortened(&mount.source, 15));
        let labels = labels(&config, &settings);
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Ok(json!({
            "Command": format!("{:?}", self.shortened(&command(&config, &settings)?, COMMAND)),
            "CreatedAt": text::time(Some(&created.to_string())),
            "ID": if self.no_trunc { id } else { container.id.short() },
            "Image": self.image(container)?,
            "Labels": labels.join(","),
            "LocalVolumes": volumes.len().to_string(),
            "Mounts": mount_names.collect::<Vec<_>>().join(","),
            "Names": container.name,
            "Networks": network(&settings),
            "Ports": ports(&config, &settings, state),
            "RunningFor": text::age(Some(&created.to_string()), self.now),
            "Size": self.size(container)?,
            "State": state.status.as_str(),
            "Status": status(state, self.now),
        }))
    }

    /// As the user called it; if that means another image by now, its id.
    fn image(&self, container: &Container) -> Result<String, Failure> {
        let is_it = match self.engine.store().find(&container.image_name) {
            Ok(image) => image.id == container.image,
            // It was removed by force.
            Err(store::Error::NoSuchImage { .. }) => false,
            Err(store::Error::AmbiguousId { candidates, .. }) => {
                candidates.contains(&container.image)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(if is_it { container.image_name.clone() } else { self.image_id(&container.image) })
    }

    fn image_id(&self, id: &ImageId) -> String {
        let id = id.to_string();
        if self.no_trunc { id } else { text::short_id(&id).to_owned() }
    }

    fn size(&self, container: &Container) -> Result<String, Failure> {
        if !self.sizes {
            return Ok("0B".to_owned());
        }
        let written = container::written_size(self.engine, container)?.contents;
        let whole = written + container::image_size(self.engine, container)?;
        Ok(format!("{} (virtual {})", text::size(written), text::size(whole)))
    }

    fn shortened(&self, text: &str, length: usize) -> String {
        match self.no_trunc || text.chars().count() <= length {
            true => text.to_owned(),
            false => text.chars().take(length - 1).chain(['…']).collect(),
        }
    }
}

/// What a container finds in its file system besides the image.
pub(super) struct MountPoint {
    /// A path of the host, or the name of a volume.
    pub(super) source: String,
    pub(super) target: String,
    is_volume: bool,
}

pub(super) fn mounts(settings: &Settings) -> Vec<MountPoint> {
    let point = |mount: &container::options::Mount| {
        let (source, is_volume) = match &mount.kind {
            MountKind::Bind(bind) => (bind.source.display().to_string(), false),
            MountKind::Volume { name, .. } => (name.clone()?, true),
            MountKind::Tmpfs(_) => return None,
        };
        Some(MountPoint { source, target: mount.target.clone(), is_volume })
    };
    settings.options.mounts.iter().filter_map(point).collect()
}

/// The image's labels, and the container's over them.
pub(super) fn labels(config: &Config, settings: &Settings) -> BTreeMap<String, String> {
    config.labels.clone().into_iter().chain(settings.options.labels.clone()).collect()
}

pub(super) fn network(settings: &Settings) -> &'static str {
    match settings.options.network {
        Network::Default => "bridge",
        Network::None => "none",
        Network::Host => "host",
    }
}

/// Whether a port of the container, `80` or `80/tcp` or a range, is published.
pub(super) fn publishes(settings: &Settings, wanted: &str) -> bool {
    let ports = settings.options.publish.iter().map(|publish| publish.container.to_string());
    is_among(ports, wanted)
}

/// Whether a port of the container is served, as far as anybody says.
pub(super) fn exposes(config: &Config, settings: &Settings, wanted: &str) -> bool {
    let exposed = config.exposed_ports.keys().cloned();
    let asked = settings.options.expose.iter().map(ToString::to_string);
    is_among(exposed.chain(asked), wanted) || publishes(settings, wanted)
}

fn is_among(mut ports: impl Iterator<Item = String>, wanted: &str) -> bool {
    let wanted = if wanted.contains('/') { wanted.to_owned() } else { format!("{wanted}/tcp") };
    ports.any(|port| port == wanted)
}

/// The command as one line; arguments with blanks stand in quotes.
fn command(config: &Config, settings: &Settings) -> Result<String, Failure> {
    let argv = container::command_line(&settings.options, config)?;
    let quoted = |argument: &String| match argument.contains(' ') {
        true => format!("'{argument}'"),
        false => argument.clone(),
    };
    let mut words = argv.first().cloned().into_iter().collect::<Vec<_>>();
    words.extend(argv.iter().skip(1).map(quoted));
    Ok(words.join(" "))
}

/// How well a container is, in Docker's words.
pub(super) fn health(state: &ContainerState) -> &'static str {
    state.health.as_ref().map_or("none", |health| health.status.as_str())
}

/// What a container does, and since when.
fn status(state: &ContainerState, now: Timestamp) -> String {
    let since = |time: Option<std::time::SystemTime>| {
        let seconds = time.map_or(0, |time| now.as_second() - timestamp(time).as_second());
        text::duration(seconds.max(0))
    };
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let health = match health(state) {
                "none" => String::new(),
                "starting" => " (health: starting)".to_owned(),
                health => format!(" ({health})"),
            };
            format!("Up {}{health}", since(state.started))
        }
        Status::Paused => format!("Up {} (Paused)", since(state.started)),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", state.exit_code, since(state.finished))
        }
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished)),
    }
}

/// The ports of the host that lead to the container, and those that only it knows; nothing of one that does not run.
fn ports(config: &Config, settings: &Settings, state: &ContainerState) -> String {
    if !state.status.is_alive() {
        return String::new();
    }
    let published: BTreeSet<String> = state
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.container_port, port.protocol))
        .collect();
    let exposed = config.exposed_ports.keys().cloned();
    let asked = settings.options.expose.iter().map(ToString::to_string);
    let only_exposed: BTreeSet<String> =
        exposed.chain(asked).filter(|port| !published.contains(port)).collect();
    let lines = state.ports.iter().map(published_port).chain(only_exposed);
    lines.collect::<Vec<_>>().join(", ")
}

fn published_port(port: &PublishedPort) -> String {
    let PublishedPort { address, host_port, container_port, protocol } = port;
    format!("{address}:{host_port}->{container_port}/{protocol}")
}

/// A time of the store's for people.
fn timestamp(time: std::time::SystemTime) -> Timestamp {
    // Times that no calendar has are not made by a clock.
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}
