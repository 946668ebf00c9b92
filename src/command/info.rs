//! `kiln info`: what is in the store, and what kind of machine this is.

use std::fs;

use engine::Engine;
use serde_json::{Value, json};
use store::Status;

use super::{
    output,
    version::{self, VERSION},
};
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// `json`, or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
}

/// Shows how much there is of what, and where; under the names that Docker has for it.
pub(super) fn run(engine: &Engine, info: &Info) -> Result<Exit, Failure> {
    let document = document(engine)?;
    match info.format.as_deref().filter(|format| !format.is_empty()) {
        Some(format) => version::print(format, &document),
        None => {
            output::print(&in_words(&document))?;
            Ok(Exit::Done)
        }
    }
}

fn document(engine: &Engine) -> Result<Value, Failure> {
    let store = engine.store();
    let states = store.container_states(&store.containers()?)?;
    let count = |is: fn(Status) -> bool| states.iter().filter(|state| is(state.status)).count();
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let mut security = vec!["name=seccomp,profile=builtin", "name=cgroupns"];
    if engine.rung().is_in_user_namespace() {
        security.push("name=rootless");
    }
    Ok(json!({
        "Containers": states.len(),
        "ContainersRunning": count(|status| matches!(status, Status::Running | Status::Restarting)),
        "ContainersPaused": count(|status| status == Status::Paused),
        "ContainersStopped": count(|status| !status.is_alive()),
        "Images": store.images()?.len(),
        "Driver": if engine.rung().mounts() { "overlay2" } else { "vfs" },
        "Isolation": engine.rung().name(),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup_version(),
        "KernelVersion": text(uname.release()),
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": text(uname.machine()),
        "NCPU": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "MemTotal": memory(),
        "DockerRootDir": store.root().display().to_string(),
        "Name": text(uname.nodename()),
        "ServerVersion": VERSION,
        "SecurityOptions": security,
    }))
}

/// Says it to people, a line each.
fn in_words(document: &Value) -> String {
    const LINES: [(&str, &str); 17] = [
        ("Containers", "Containers"),
        (" Running", "ContainersRunning"),
        (" Paused", "ContainersPaused"),
        (" Stopped", "ContainersStopped"),
        ("Images", "Images"),
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Isolation", "Isolation"),
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Version", "CgroupVersion"),
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
        ("Name", "Name"),
        ("Docker Root Dir", "DockerRootDir"),
    ];
    let mut text = String::new();
    for (words, field) in LINES {
        let value = match &document[field] {
            Value::String(value) => value.clone(),
            value => value.to_string(),
        };
        text.push_str(&format!("{words}: {value}\n"));
    }
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let memory = document["MemTotal"].as_u64().unwrap_or(0) as f64 / f64::from(1 << 30);
    text.push_str(&format!("Total Memory: {memory:.3}GiB\nSecurity Options:\n"));
    for option in document["SecurityOptions"].as_array().into_iter().flatten() {
        let option = option.as_str().unwrap_or_default().trim_start_matches("name=");
        text.push_str(&format!(" {}\n", option.replace(",profile=", "\n  Profile: ")));
    }
    text
}

/// What the system calls itself (os-release(5)).
fn operating_system() -> String {
    let text = ["/etc/os-release", "/usr/lib/os-release"];
    let text = text.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches(['"', '\'']).to_owned())
}

/// Which of the two hierarchies of control groups there is: where both are, the older one counts.
fn cgroup_version() -> &'static str {
    let is_unified = fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false);
    if is_unified { "2" } else { "1" }
}

/// The memory of the machine in bytes (proc(5)).
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number = total.and_then(|total| total.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}
