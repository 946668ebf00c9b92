//! `Config`, `Mounts` and ports: what a container was made to be.

use std::collections::BTreeMap;

use engine::{
    Engine,
    container::{
        Settings,
        options::{Mount, MountKind},
    },
};
use oci::Config;
use serde_json::{Map, Value, json};
use store::{Container, ContainerState};

/// The image's config with what `run` or `create` was told over it.
pub(super) fn document(container: &Container, settings: &Settings, config: &Config) -> Value {
    let options = &settings.options;
    let mut merged = config.clone();
    for variable in &options.env {
        match &variable.value {
            Some(value) => merged.set_env(&variable.name, value),
            None => merged.env.retain(|entry| entry.split('=').next() != Some(&variable.name)),
        }
    }
    let (entrypoint, image_cmd) = match &options.entrypoint {
        Some(entrypoint) if entrypoint.is_empty() => (None, None),
        Some(entrypoint) => (Some(vec![entrypoint.clone()]), None),
        None => (merged.entrypoint.clone(), merged.cmd.clone()),
    };
    let cmd = if options.command.is_empty() { image_cmd } else { Some(options.command.clone()) };
    let mut labels = merged.labels.clone();
    labels.extend(options.labels.clone());
    let exposed: BTreeMap<String, Value> =
        exposed_ports(settings, config).into_iter().map(|port| (port, json!({}))).collect();
    let stop_signal = options.stop_signal.clone().unwrap_or(merged.stop_signal);
    let or_null = |is_empty: bool, value: Value| if is_empty { Value::Null } else { value };
    let all = json!({
        "Hostname": options.hostname.clone().unwrap_or_else(|| container.id.short()),
        "Domainname": "",
        "User": options.user.clone().unwrap_or(merged.user),
        "AttachStdin": settings.stdin_once,
        "AttachStdout": true,
        "AttachStderr": true,
        "ExposedPorts": or_null(exposed.is_empty(), json!(exposed)),
        "Tty": options.terminal,
        "OpenStdin": options.interactive,
        "StdinOnce": settings.stdin_once,
        "Env": merged.env,
        "Cmd": cmd,
        "Healthcheck": options.health_check(config),
        "Image": container.image_name,
        "Volumes": or_null(merged.volumes.is_empty(), json!(merged.volumes)),
        "WorkingDir": options.workdir.clone().unwrap_or(merged.working_dir),
        "Entrypoint": entrypoint,
        "OnBuild": or_null(merged.on_build.is_empty(), json!(merged.on_build)),
        "Labels": labels,
        "StopSignal": or_null(stop_signal.is_empty(), stop_signal.clone().into()),
        "StopTimeout": options.stop_timeout,
        "Shell": or_null(merged.shell.is_empty(), json!(merged.shell)),
    });
    let left_out = ["ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout", "Shell"];
    let Value::Object(mut all) = all else { return Value::Null };
    all.retain(|name, value| !value.is_null() || !left_out.contains(&name.as_str()));
    all.into()
}

/// `port/protocol` of everything that is said to be served.
fn exposed_ports(settings: &Settings, config: &Config) -> Vec<String> {
    let asked = settings.options.expose.iter();
    let published = settings.options.publish.iter().map(|publish| &publish.container);
    let single = asked.chain(published).flat_map(|port| {
        (port.first..=port.last).map(|number| format!("{number}/{}", port.protocol))
    });
    config.exposed_ports.keys().cloned().chain(single).collect()
}

/// The ports of the host that lead to each port; none to those that are only served.
pub(super) fn ports(settings: &Settings, config: &Config, state: &ContainerState) -> Value {
    if !state.status.is_alive() {
        return json!({});
    }
    let served = exposed_ports(settings, config).into_iter().map(|port| (port, Value::Null));
    let mut ports: Map<String, Value> = served.collect();
    for port in &state.ports {
        let key = format!("{}/{}", port.container_port, port.protocol);
        // Docker shows an address of IPv6 without its brackets here.
        let address = port.address.trim_start_matches('[').trim_end_matches(']');
        let binding = json!({ "HostIp": address, "HostPort": port.host_port.to_string() });
        match ports.get_mut(&key) {
            Some(Value::Array(bindings)) => bindings.push(binding),
            _ => drop(ports.insert(key, json!([binding]))),
        }
    }
    ports.into()
}

/// Something mounted in a container.
pub(super) fn mount(engine: &Engine, mount: &Mount) -> Value {
    let mut document = Map::new();
    let mut set = |name: &str, value: Value| drop(document.insert(name.to_owned(), value));
    match &mount.kind {
        MountKind::Bind(bind) => {
            set("Type", "bind".into());
            set("Source", bind.source.display().to_string().into());
        }
        MountKind::Volume { name, .. } => {
            set("Type", "volume".into());
            set("Name", name.clone().into());
            let source = name.as_deref().map(|name| engine.store().volume_directory(name));
            set("Source", source.map(|source| source.display().to_string()).into());
            set("Driver", "local".into());
        }
        MountKind::Tmpfs(_) => {
            set("Type", "tmpfs".into());
            set("Source", "".into());
        }
    }
    set("Destination", mount.target.clone().into());
    set("Mode", if mount.read_only { "ro" } else { "" }.into());
    set("RW", (!mount.read_only).into());
    set(
        "Propagation",
        if matches!(mount.kind, MountKind::Bind(_)) { "rprivate" } else { "" }.into(),
    );
    document.into()
}
