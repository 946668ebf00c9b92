//! When a program that has ended is started again: `--restart`.
//!
//! The keeper does it, as long as it lives: with the machine, everything of a container ends.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::options::BadOption;

/// The first pause before a start, the longest one, and how long a program has to run for the next one to be the first
/// again: Docker's.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
const STABLE: Duration = Duration::from_secs(10);

/// Whether a program that has ended is started again. One that somebody has ended never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When it has failed, so often at most; 0 is no limit.
    OnFailure(u32),
    /// Always.
    Always,
    /// Always.
    UnlessStopped,
}

impl RestartPolicy {
    /// Docker's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure(_) => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// How often at most; 0 is no limit.
    pub fn limit(self) -> u32 {
        match self {
            Self::OnFailure(limit) => limit,
            Self::No | Self::Always | Self::UnlessStopped => 0,
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit() {
            0 => f.write_str(self.name()),
            limit => write!(f, "{}:{limit}", self.name()),
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = BadOption;

    /// Reads `no`, `on-failure[:TIMES]`, `always` or `unless-stopped`.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let (name, limit) = match text.split_once(':') {
            Some((name, limit)) => (name, Some(limit)),
            None => (text, None),
        };
        match (name, limit) {
            ("" | "no", None) => Ok(Self::No),
            ("always", None) => Ok(Self::Always),
            ("unless-stopped", None) => Ok(Self::UnlessStopped),
            ("on-failure", None) => Ok(Self::OnFailure(0)),
            ("on-failure", Some(limit)) => limit.parse().map(Self::OnFailure).map_err(|_| {
                BadOption::new(
                    "invalid restart policy format: maximum retry count must be an integer",
                )
            }),
            ("no" | "always" | "unless-stopped", Some(_)) => Err(BadOption::new(format!(
                "invalid restart policy: a maximum retry count goes with `on-failure`, not with `{name}`"
            ))),
            _ => Err(BadOption::new(format!(
                "invalid restart policy '{text}': there are no, on-failure[:TIMES], always and unless-stopped"
            ))),
        }
    }
}

/// The starts of one container, one after the other.
#[derive(Debug)]
pub(super) struct Restarts {
    policy: RestartPolicy,
    count: u32,
    pause: Duration,
}

impl Restarts {
    pub(super) fn new(policy: RestartPolicy) -> Self {
        Self { policy, count: 0, pause: FIRST }
    }

    /// How often the program was started again.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Says after which pause a program that has ended like this is started again; `None` if it is not.
    pub(super) fn next(&mut self, exit_code: i32, ran: Duration) -> Option<Duration> {
        match self.policy {
            RestartPolicy::No => return None,
            RestartPolicy::OnFailure(limit) => {
                if exit_code == 0 || (limit > 0 && self.count >= limit) {
                    return None;
                }
            }
            RestartPolicy::Always | RestartPolicy::UnlessStopped => {}
        }
        if ran >= STABLE {
            self.pause = FIRST;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        self.count += 1;
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        for (text, expect) in [
            ("no", Some(RestartPolicy::No)),
            ("", Some(RestartPolicy::No)),
            ("always", Some(RestartPolicy::Always)),
            ("unless-stopped", Some(RestartPolicy::UnlessStopped)),
            ("on-failure", Some(RestartPolicy::OnFailure(0))),
            ("on-failure:3", Some(RestartPolicy::OnFailure(3))),
            ("on-failure:x", None),
            ("always:3", None),
            ("sometimes", None),
        ] {
            assert_eq!(text.parse().ok(), expect, "{text}");
        }
        assert_eq!(RestartPolicy::OnFailure(3).to_string(), "on-failure:3");
    }

    #[test]
    fn pauses_grow_until_a_program_runs_for_long() {
        let mut restarts = Restarts::new(RestartPolicy::Always);
        let short = Duration::ZERO;
        let pauses: Vec<_> =
            (0..12).map(|_| restarts.next(0, short).unwrap().as_millis()).collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], 60_000);
        assert_eq!(restarts.next(0, STABLE), Some(FIRST));
        assert_eq!(restarts.count(), 13);
    }

    #[test]
    fn failures_have_a_limit() {
        let mut restarts = Restarts::new(RestartPolicy::OnFailure(2));
        assert_eq!(restarts.next(0, Duration::ZERO), None);
        assert!(restarts.next(1, Duration::ZERO).is_some());
        assert!(restarts.next(1, Duration::ZERO).is_some());
        assert_eq!(restarts.next(1, Duration::ZERO), None);
        assert_eq!(Restarts::new(RestartPolicy::No).next(1, Duration::ZERO), None);
    }
}
