//! What is known about an image, in the shape of Docker's `image inspect`.

use engine::Engine;
use jiff::Timestamp;
use oci::{Config, Reference};
use serde_json::{Map, Value, json};
use store::Image;
use template::{Absent, Data};

use super::Found;
use crate::{command::platform, report::Failure};

/// Finds an image by its name or id.
pub(super) fn find(engine: &Engine, name: &str, wanted: Option<&str>) -> Result<Found, Failure> {
    let image = platform::find(engine, name, wanted)?;
    let document = document(engine, &image)?;
    let data = data(&document);
    Ok(Found { document, data })
}

fn document(engine: &Engine, image: &Image) -> Result<Value, Failure> {
    let store = engine.store();
    let tags = store.tags()?.into_iter().filter(|(_, id)| *id == image.id).map(|(name, _)| name);
    let (pinned, tagged): (Vec<Reference>, Vec<Reference>) =
        tags.partition(|name| name.digest().is_some());
    let mut digests: Vec<String> =
        image.digests.iter().chain(&pinned).map(Reference::familiar).collect();
    digests.sort();
    digests.dedup();
    let config = &image.config;
    let parent = store.parent(image)?.map(|id| id.to_string());
    let size = engine.image_size(image)?;
    let mut document = json!({
        "Id": image.id.to_string(),
        "RepoTags": tagged.iter().map(Reference::familiar).collect::<Vec<_>>(),
        "RepoDigests": digests,
        "Parent": parent.unwrap_or_default(),
        "Comment": config.history.last().map(|entry| entry.comment.as_str()).unwrap_or_default(),
        "Created": config.created.as_deref().unwrap_or("0001-01-01T00:00:00Z"),
        "DockerVersion": "",
        "Author": config.author,
        "Config": config_document(&config.config),
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "OsVersion": config.os_version,
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": { "Data": directories(engine, image), "Name": "overlay2" },
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
        "Metadata": { "LastTagTime": last_tagged(engine, image)? },
    });
    if let Some(document) = document.as_object_mut() {
        for (name, is_set) in
            [("Variant", config.variant.is_some()), ("OsVersion", config.os_version.is_some())]
        {
            if !is_set {
                document.shift_remove(name);
            }
        }
    }
    Ok(document)
}

/// Returns the config of an image with the fields that only a container uses, as Docker shows it.
fn config_document(config: &Config) -> Map<String, Value> {
    let unless_empty = |is_empty: bool, value: Value| if is_empty { Value::Null } else { value };
    let all = json!({
        "Hostname": "",
        "Domainname": "",
        "User": config.user,
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "ExposedPorts": unless_empty(config.exposed_ports.is_empty(), json!(config.exposed_ports)),
        "Tty": false,
        "OpenStdin": false,
        "StdinOnce": false,
        "Env": unless_empty(config.env.is_empty(), json!(config.env)),
        "Cmd": config.cmd,
        "Healthcheck": config.healthcheck,
        "ArgsEscaped": unless_empty(!config.args_escaped, json!(true)),
        "Image": "",
        "Volumes": unless_empty(config.volumes.is_empty(), json!(config.volumes)),
        "WorkingDir": config.working_dir,
        "Entrypoint": config.entrypoint,
        "OnBuild": unless_empty(config.on_build.is_empty(), json!(config.on_build)),
        "Labels": unless_empty(config.labels.is_empty(), json!(config.labels)),
        "StopSignal": unless_empty(config.stop_signal.is_empty(), json!(config.stop_signal)),
        "Shell": unless_empty(config.shell.is_empty(), json!(config.shell)),
    });
    let left_out = ["ExposedPorts", "Healthcheck", "ArgsEscaped", "StopSignal", "Shell"];
    let Value::Object(mut all) = all else { return Map::new() };
    all.retain(|name, value| !value.is_null() || !left_out.contains(&name.as_str()));
    all
}

/// Returns where the layers of an image are, the top first: its own, and those below it.
fn directories(engine: &Engine, image: &Image) -> Value {
    let directory = |id| engine.store().snapshot_dir(id).display().to_string();
    let mut directories: Vec<String> = image.snapshots.iter().rev().map(directory).collect();
    if directories.is_empty() {
        return Value::Null;
    }
    let upper = directories.remove(0);
    match directories.is_empty() {
        true => json!({ "UpperDir": upper }),
        false => json!({ "LowerDir": directories.join(":"), "UpperDir": upper }),
    }
}

fn last_tagged(engine: &Engine, image: &Image) -> Result<String, Failure> {
    let time = engine.store().last_tagged(&image.id)?.and_then(|it| Timestamp::try_from(it).ok());
    Ok(time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string()))
}

/// Says what Docker's types know of an image that its JSON leaves out.
fn data(document: &Value) -> Data {
    let mut data = Data::document(document)
        .absent("Config.Healthcheck", Absent::Pointer)
        .absent("Config.ArgsEscaped", Absent::Bool)
        .absent("Config.StopSignal", Absent::Text)
        .absent("GraphDriver.Data", Absent::Map)
        .absent("OsVersion", Absent::Text)
        .absent("Variant", Absent::Text);
    for name in ["Cmd", "Entrypoint", "Env", "OnBuild", "Shell"] {
        data = data.absent(&format!("Config.{name}"), Absent::List);
    }
    for name in ["ExposedPorts", "Labels", "Volumes"] {
        data = data.absent(&format!("Config.{name}"), Absent::Map);
    }
    data
}
