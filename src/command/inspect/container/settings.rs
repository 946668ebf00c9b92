//! `Config`, `Mounts` and ports: what a container was made to be.

use engine::{
    Engine,
    container::{
        self, Settings,
        options::{Mount, MountKind},
    },
};
use oci::Config;
use serde_json::{Map, Value, json};
use store::{Container, ContainerState};

/// The image's config with what `run` or `create` was told over it.
pub(super) fn document(container: &Container, settings: &Settings, config: &Config) -> Value {
    let options = &settings.options;
    let merged = container::merged(options, config);
    let exposed = &merged.exposed_ports;
    let stop_signal = &merged.stop_signal;
    let or_null = |is_empty: bool, value: Value| if is_empty { Value::Null } else { value };
    let all = json!({
        "Hostname": options.hostname.clone().unwrap_or_else(|| container.id.short()),
        "Domainname": "",
        "User": merged.user,
        "AttachStdin": settings.stdin_once,
        "AttachStdout": true,
        "AttachStderr": true,
        "ExposedPorts": or_null(exposed.is_empty(), json!(exposed)),
        "Tty": options.terminal,
        "OpenStdin": options.interactive,
        "StdinOnce": settings.stdin_once,
        "Env": merged.env,
        "Cmd": merged.cmd,
        "Healthcheck": merged.healthcheck,
        "Image": container.image_name,
        "Volumes": or_null(merged.volumes.is_empty(), json!(merged.volumes)),
        "WorkingDir": merged.working_dir,
        "Entrypoint": merged.entrypoint,
        "OnBuild": or_null(merged.on_build.is_empty(), json!(merged.on_build)),
        "Labels": merged.labels,
        "StopSignal": or_null(stop_signal.is_empty(), json!(stop_signal)),
        "StopTimeout": options.stop_timeout,
        "Shell": or_null(merged.shell.is_empty(), json!(merged.shell)),
    });
    let left_out = ["ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout", "Shell"];
    let Value::Object(mut all) = all else { return Value::Null };
    all.retain(|name, value| !value.is_null() || !left_out.contains(&name.as_str()));
    all.into()
}

/// The ports of the host that lead to each port; none to those that are only served.
pub(super) fn ports(settings: &Settings, config: &Config, state: &ContainerState) -> Value {
    if !state.status.is_alive() {
        return json!({});
    }
    let served = container::merged(&settings.options, config).exposed_ports.into_keys();
    let mut ports: Map<String, Value> = served.map(|port| (port, Value::Null)).collect();
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
