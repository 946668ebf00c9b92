//! What is known about a container, in the shape of Docker's `container inspect`.
//!
//! Docker has more fields; those of what kiln has no answer to (plug-ins, security modules, other drivers) are left out.

mod host;
mod settings;

use std::time::SystemTime;

use engine::{
    Engine,
    container::{self, Settings, options::LogDriver},
};
use jiff::Timestamp;
use oci::{Config, ImageConfig, Platform};
use serde_json::{Value, json};
use store::{Container, ContainerState, Health, HealthCheck, Status};
use template::{Absent, Data};

use super::Found;
use crate::report::Failure;

/// A container with everything that its document is made of.
struct Known<'a> {
    engine: &'a Engine,
    container: Container,
    state: ContainerState,
    settings: Settings,
    config: Config,
    platform: Platform,
}

/// Finds a container by its name or id. `sizes` says whether what it has written is counted.
pub(super) fn find(engine: &Engine, name: &str, sizes: bool) -> Result<Found, Failure> {
    let container = engine.store().find_container(name)?;
    let image = ImageConfig::parse(container.image_config.as_bytes())?;
    let known = Known {
        engine,
        state: engine.store().container_state(&container.id)?,
        settings: Settings::of(&container)?,
        platform: image.platform(),
        config: image.config,
        container,
    };
    let mut document = known.document()?;
    if sizes {
        let written = container::written_size(engine, &known.container)?.contents;
        let below = container::image_size(engine, &known.container)?;
        document["SizeRw"] = written.into();
        document["SizeRootFs"] = (written + below).into();
    }
    let data = data(&document);
    Ok(Found { document, data })
}

impl Known<'_> {
    fn document(&self) -> Result<Value, Failure> {
        let Self { engine, container, settings, config, .. } = self;
        let command = container::command_line(&settings.options, config)?;
        let directory = engine.store().container_directory(&container.id);
        Ok(json!({
            "Id": container.id.to_string(),
            "Created": time(Some(container.created)),
            "Path": command.first(),
            "Args": command.get(1..).unwrap_or_default(),
            "State": self.state(),
            "Image": container.image.to_string(),
            "ResolvConfPath": "",
            "HostnamePath": "",
            "HostsPath": "",
            "LogPath": match self.settings.options.log.driver {
                LogDriver::None => String::new(),
                LogDriver::JsonFile | LogDriver::Local => directory.log().display().to_string(),
            },
            "Name": format!("/{}", container.name),
            "RestartCount": self.state.restarts,
            "Driver": "overlay2",
            "Platform": self.platform.os,
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": null,
            "HostConfig": host::document(settings),
            "GraphDriver": { "Data": self.directories(), "Name": "overlay2" },
            "Mounts": self.mounts(),
            "Config": settings::document(container, settings, config),
            "NetworkSettings": self.network(),
        }))
    }

    fn state(&self) -> Value {
        let state = &self.state;
        let mut document = json!({
            "Status": state.status.as_str(),
            "Running": state.status.is_alive(),
            "Paused": state.status == Status::Paused,
            "Restarting": state.status == Status::Restarting,
            "OOMKilled": state.oom_killed,
            "Dead": false,
            "Pid": state.pid.unwrap_or(0),
            "ExitCode": state.exit_code,
            "Error": state.error.as_deref().unwrap_or_default(),
            "StartedAt": time(state.started),
            "FinishedAt": time(state.finished),
        });
        if let Some(health) = &state.health {
            document["Health"] = health_document(health);
        }
        document
    }

    /// The layers of the image, the top first, and what the container writes on them. No merged tree is mounted anywhere.
    fn directories(&self) -> Value {
        let store = self.engine.store();
        let layer = |id| store.snapshot_dir(id).display().to_string();
        let layers: Vec<String> = self.container.snapshots.iter().rev().map(layer).collect();
        let directory = store.container_directory(&self.container.id);
        json!({
            "LowerDir": layers.join(":"),
            "UpperDir": directory.fs().display().to_string(),
            "WorkDir": directory.work().display().to_string(),
        })
    }

    fn mounts(&self) -> Vec<Value> {
        let mounts = self.settings.options.mounts.iter();
        mounts.map(|mount| settings::mount(self.engine, mount)).collect()
    }

    fn network(&self) -> Value {
        let name = host::network_mode(&self.settings.options);
        let mut networks = serde_json::Map::new();
        let address = json!({ "IPAddress": "", "Gateway": "", "MacAddress": "" });
        networks.insert(if name == "default" { "bridge" } else { name }.to_owned(), address);
        json!({
            "Ports": settings::ports(&self.settings, &self.config, &self.state),
            "Gateway": "",
            "IPAddress": "",
            "MacAddress": "",
            "Networks": networks,
        })
    }
}

fn health_document(health: &Health) -> Value {
    let check = |check: &HealthCheck| {
        json!({
            "Start": time(Some(check.start)),
            "End": time(Some(check.end)),
            "ExitCode": check.exit_code,
            "Output": check.output,
        })
    };
    json!({
        "Status": health.status.as_str(),
        "FailingStreak": health.failing_streak,
        "Log": health.log.iter().map(check).collect::<Vec<_>>(),
    })
}

/// A time as Go writes it; what never was is its zero.
fn time(time: Option<SystemTime>) -> String {
    let time = time.and_then(|time| Timestamp::try_from(time).ok());
    time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

/// Says what Docker's types know of a container that its JSON leaves out.
fn data(document: &Value) -> Data {
    let mut data = Data::document(document)
        .absent("SizeRw", Absent::Pointer)
        .absent("SizeRootFs", Absent::Pointer)
        .absent("ExecIDs", Absent::List)
        .absent("State.Health", Absent::Pointer)
        .absent("HostConfig.Init", Absent::Pointer)
        .absent("HostConfig.PidsLimit", Absent::Pointer)
        .absent("NetworkSettings.Networks", Absent::Map)
        .absent("NetworkSettings.Ports", Absent::Map)
        .absent("HostConfig.PortBindings", Absent::Map)
        .absent("HostConfig.LogConfig.Config", Absent::Map)
        .absent("HostConfig.Sysctls", Absent::Map)
        .absent("HostConfig.Tmpfs", Absent::Map)
        .absent("Config.Healthcheck", Absent::Pointer)
        .absent("Config.StopTimeout", Absent::Pointer)
        .absent("Config.StopSignal", Absent::Text);
    for name in ["CapAdd", "CapDrop", "ExtraHosts", "GroupAdd", "SecurityOpt", "Ulimits", "Binds"] {
        data = data.absent(&format!("HostConfig.{name}"), Absent::List);
    }
    for name in ["Cmd", "Entrypoint", "Env", "OnBuild", "Shell"] {
        data = data.absent(&format!("Config.{name}"), Absent::List);
    }
    for name in ["ExposedPorts", "Labels", "Volumes"] {
        data = data.absent(&format!("Config.{name}"), Absent::Map);
    }
    data
}
