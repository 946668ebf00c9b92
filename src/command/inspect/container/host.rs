//! `HostConfig`: what a container was given of the host.

use engine::container::{
    Settings,
    options::{
        ContainerOptions, HostAddress, HostEntry, MemorySwap, MountKind, Network, Publish,
        Resources, SecurityOption, Ulimit,
    },
};
use serde_json::{Map, Value, json};

/// Docker's word for an option that was not given: an empty list of most kinds is `null`.
fn list<T: Into<Value>>(items: impl IntoIterator<Item = T>) -> Value {
    let items: Vec<Value> = items.into_iter().map(Into::into).collect();
    if items.is_empty() { Value::Null } else { Value::Array(items) }
}

/// What `--network` says.
pub(super) fn network_mode(options: &ContainerOptions) -> &'static str {
    match options.network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
    }
}

pub(super) fn document(settings: &Settings) -> Value {
    let options = &settings.options;
    let names = |names: &[engine::container::options::CapabilityName]| {
        list(names.iter().map(|name| name.as_str().to_owned()))
    };
    let texts = |texts: &[String]| -> Vec<String> { texts.to_vec() };
    let mut document = json!({
        "Binds": list(binds(options)),
        "ContainerIDFile": "",
        "LogConfig": { "Type": options.log.driver.as_str(), "Config": options.log.settings },
        "NetworkMode": network_mode(options),
        "PortBindings": bindings(&options.publish),
        "RestartPolicy": {
            "Name": settings.restart.name(),
            "MaximumRetryCount": settings.restart.limit(),
        },
        "AutoRemove": settings.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": null,
        "CapAdd": names(&options.cap_add),
        "CapDrop": names(&options.cap_drop),
        "CgroupnsMode": "private",
        "Dns": options.dns.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "DnsOptions": texts(&options.dns_options),
        "DnsSearch": texts(&options.dns_search),
        "ExtraHosts": list(options.hosts.iter().map(host)),
        "GroupAdd": list(options.groups.iter().cloned()),
        "IpcMode": "private",
        "Privileged": options.privileged,
        "PublishAllPorts": options.publish_all,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": list(options.security.iter().filter_map(security)),
        "ShmSize": options.shm_size.unwrap_or(SHM_SIZE),
        "Devices": options.devices.iter().map(device).collect::<Vec<_>>(),
        "Ulimits": list(options.ulimits.iter().map(ulimit)),
    });
    if let Some(document) = document.as_object_mut() {
        resources(&options.resources, document);
        if options.init {
            document.insert("Init".to_owned(), true.into());
        }
        let sysctls = options.sysctls.iter().map(|it| (it.name.clone(), it.value.clone().into()));
        let sysctls: Map<String, Value> = sysctls.collect();
        if !sysctls.is_empty() {
            document.insert("Sysctls".to_owned(), sysctls.into());
        }
        let tmpfs = tmpfs(options);
        if !tmpfs.is_empty() {
            document.insert("Tmpfs".to_owned(), tmpfs.into());
        }
    }
    document
}

/// Size of `/dev/shm` when nobody says anything: Docker's.
const SHM_SIZE: u64 = 64 << 20;

fn resources(resources: &Resources, document: &mut Map<String, Value>) {
    let swap = match resources.memory_swap {
        None => 0,
        Some(MemorySwap::Unlimited) => -1,
        Some(MemorySwap::Bytes(size)) => i64::try_from(size.0).unwrap_or(i64::MAX),
    };
    let fields = [
        ("CpuShares", resources.cpu_shares.unwrap_or(0).into()),
        ("Memory", resources.memory.map_or(0, |size| size.0).into()),
        ("NanoCpus", resources.cpus.map_or(0, |cpus| cpus.0).into()),
        ("CpuPeriod", resources.cpu_period.unwrap_or(0).into()),
        ("CpuQuota", resources.cpu_quota.unwrap_or(0).into()),
        ("CpusetCpus", resources.cpuset_cpus.clone().unwrap_or_default().into()),
        ("CpusetMems", resources.cpuset_mems.clone().unwrap_or_default().into()),
        ("MemoryReservation", resources.memory_reservation.map_or(0, |size| size.0).into()),
        ("MemorySwap", swap.into()),
        ("PidsLimit", resources.pids.map_or(Value::Null, Value::from)),
    ];
    document.extend(fields.map(|(name, value)| (name.to_owned(), value)));
}

/// `-v` as it was written, as far as it names something.
fn binds(options: &ContainerOptions) -> Vec<String> {
    let bind = |mount: &engine::container::options::Mount| {
        let source = match &mount.kind {
            MountKind::Bind(bind) => bind.source.display().to_string(),
            MountKind::Volume { name, .. } => name.clone()?,
            MountKind::Tmpfs(_) => return None,
        };
        let read_only = if mount.read_only { ":ro" } else { "" };
        Some(format!("{source}:{}{read_only}", mount.target))
    };
    options.mounts.iter().filter_map(bind).collect()
}

fn tmpfs(options: &ContainerOptions) -> Map<String, Value> {
    let mounts = options.mounts.iter();
    let tmpfs = mounts.filter(|mount| matches!(mount.kind, MountKind::Tmpfs(_)));
    tmpfs.map(|mount| (mount.target.clone(), "".into())).collect()
}

fn bindings(publish: &[Publish]) -> Value {
    let mut bindings = Map::new();
    for Publish { address, host, container } in publish {
        for (place, port) in (container.first..=container.last).enumerate() {
            let place = u16::try_from(place).unwrap_or(u16::MAX);
            let host_port = host.map(|(first, _)| first.saturating_add(place).to_string());
            let binding = json!({
                "HostIp": address.map(|address| address.to_string()).unwrap_or_default(),
                "HostPort": host_port.unwrap_or_default(),
            });
            let key = format!("{port}/{}", container.protocol);
            let entry = bindings.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            if let Some(entry) = entry.as_array_mut() {
                entry.push(binding);
            }
        }
    }
    bindings.into()
}

fn host(entry: &HostEntry) -> String {
    match entry.address {
        HostAddress::Ip(address) => format!("{}:{address}", entry.name),
        HostAddress::HostGateway => format!("{}:host-gateway", entry.name),
    }
}

fn security(option: &SecurityOption) -> Option<&'static str> {
    match option {
        SecurityOption::NoNewPrivileges => Some("no-new-privileges"),
        SecurityOption::SeccompUnconfined => Some("seccomp=unconfined"),
        SecurityOption::SystemPathsUnconfined => Some("systempaths=unconfined"),
        SecurityOption::Nothing => None,
    }
}

fn device(device: &engine::container::options::Device) -> Value {
    json!({
        "PathOnHost": device.host.display().to_string(),
        "PathInContainer": device.container,
        "CgroupPermissions": "rwm",
    })
}

fn ulimit(limit: &Ulimit) -> Value {
    let number = |limit: Option<u64>| limit.map_or(json!(-1), |limit| json!(limit));
    json!({ "Name": limit.name, "Hard": number(limit.hard), "Soft": number(limit.soft) })
}
