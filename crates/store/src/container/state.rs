//! What became of a container: a small file beside it, replaced as a whole.
//!
//! It is written by who keeps the container and by nobody else ([`super::Kept`]). If it says that the container runs and
//! nobody keeps it, its keeper was killed or the machine was started again; and all that ran in it is dead.

use std::{fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::Path, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::health::{Health, HealthStatus};
use crate::{
    error::{Error, Result},
    tmp,
};

/// Exit code of what was killed with its keeper: 128 and SIGKILL.
const KILLED: i32 = 137;

/// Exit code of what ran when the machine went down: Docker's, too.
const LOST: i32 = 255;

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was never started.
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its process has ended, and is about to be started again.
    Restarting,
    /// Its process has ended.
    Exited,
}

impl Status {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }

    /// Whether somebody keeps such a container.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

/// A port of the host that leads to one of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The address of the host.
    pub address: String,
    /// The port there.
    pub host_port: u16,
    /// The port of the container.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// What became of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// What it does now.
    pub status: Status,
    /// The process id of its first process, as the machine knows it, while it runs: for people to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When it was last started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<SystemTime>,
    /// When its process last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<SystemTime>,
    /// The status of its process, 128 and the signal's number if a signal ended it; 0 before it has ended.
    #[serde(default)]
    pub exit_code: i32,
    /// Why it could not be started the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether the kernel killed its process for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// How often its process was started again because of the restart policy.
    #[serde(default)]
    pub restarts: u32,
    /// The ports that lead to it, while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PublishedPort>,
    /// How well it is; not of one that nobody checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl ContainerState {
    /// The state of a container that was never started.
    pub fn created() -> Self {
        Self {
            status: Status::Created,
            pid: None,
            started: None,
            finished: None,
            exit_code: 0,
            error: None,
            oom_killed: false,
            restarts: 0,
            health: None,
            ports: Vec::new(),
        }
    }

    /// What is true of a container with this state that nobody keeps.
    fn left_alone(self, boot: Boot) -> Self {
        if !self.status.is_alive() {
            return self;
        }
        let exit_code = match boot {
            Boot::This => KILLED,
            Boot::Another => LOST,
        };
        let finished = Some(SystemTime::now());
        let before = Self {
            status: Status::Exited,
            pid: None,
            finished,
            exit_code,
            ports: Vec::new(),
            ..self
        };
        before.unwatched()
    }

    /// What is true of its health when nobody checks any more: Docker's rule.
    pub fn unwatched(mut self) -> Self {
        if let Some(health) = &mut self.health {
            health.status = HealthStatus::Unhealthy;
        }
        self
    }
}

/// Since when a state has been true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boot {
    This,
    Another,
}

/// The file: the state, and the boot it was written in.
#[derive(Serialize, Deserialize)]
struct File {
    boot: String,
    state: ContainerState,
}

/// Reads the state as it was written, and whether in this boot.
///
/// Without a file the container was never started. One that does not read was not on the disk when the power went: the
/// container was started, nobody knows more.
pub(super) fn read(path: &Path, boot: &str) -> Result<(ContainerState, Boot)> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((ContainerState::created(), Boot::This));
        }
        text => text.map_err(Error::io("read", path))?,
    };
    Ok(match serde_json::from_slice::<File>(&text) {
        Ok(file) if file.boot == boot => (file.state, Boot::This),
        Ok(file) => (file.state, Boot::Another),
        Err(_) => {
            (ContainerState { status: Status::Running, ..ContainerState::created() }, Boot::Another)
        }
    })
}

/// Replaces the state; `temporary` is a path on the same file system that nothing has.
pub(super) fn write(
    path: &Path,
    temporary: &Path,
    boot: &str,
    state: &ContainerState,
) -> Result<()> {
    let file = File { boot: boot.to_owned(), state: state.clone() };
    let text = serde_json::to_vec(&file).map_err(|error| Error::Io {
        action: "write",
        path: path.to_owned(),
        source: error.into(),
    })?;
    let mut options = fs::OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(temporary);
    created.and_then(|mut file| file.write_all(&text)).map_err(Error::io("write", temporary))?;
    tmp::publish(temporary, path)
}

/// What is true of a container that nobody keeps, given what was written.
pub(super) fn settle((state, boot): (ContainerState, Boot)) -> ContainerState {
    state.left_alone(boot)
}
