//! Whether a container is well, as far as its health check says.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// How well a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It has not been found to be either since it was started.
    Starting,
    /// The last check has succeeded, or not enough in a row have failed since.
    Healthy,
    /// Too many checks in a row have failed, or nobody checks any more.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What is known of a container's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How well it is.
    pub status: HealthStatus,
    /// How many checks in a row have failed.
    pub failing_streak: u32,
    /// The last checks, the oldest first.
    pub log: Vec<HealthCheck>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// The status of its program: 0 for well; -1 if it could not be started, or took too long.
    pub exit_code: i32,
    /// The beginning of what it wrote, or why there is nothing.
    pub output: String,
}

impl Health {
    /// What is known at the start.
    pub fn starting() -> Self {
        Self { status: HealthStatus::Starting, failing_streak: 0, log: Vec::new() }
    }
}
