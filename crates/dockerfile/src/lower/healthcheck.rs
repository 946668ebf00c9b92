//! `HEALTHCHECK`, and durations as Go writes them.

use std::time::Duration;

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::{CommandLine, Healthcheck};

impl Lower for Healthcheck {
    /// Replaces the whole check of the base. The shell form is stored as text, for whoever runs it.
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let check = match self {
            Self::None => {
                oci::Healthcheck { test: vec!["NONE".to_owned()], ..oci::Healthcheck::default() }
            }
            Self::Check(check) => {
                let mut test = Vec::new();
                match &check.command {
                    CommandLine::Shell(text) => {
                        test.extend(["CMD-SHELL".to_owned(), text.clone()]);
                    }
                    CommandLine::Exec(argv) => {
                        test.push("CMD".to_owned());
                        test.extend(argv.iter().cloned());
                    }
                }
                oci::Healthcheck {
                    test,
                    interval: nanoseconds(check.interval),
                    timeout: nanoseconds(check.timeout),
                    start_period: nanoseconds(check.start_period),
                    start_interval: nanoseconds(check.start_interval),
                    retries: i64::from(check.retries),
                }
            }
        };
        let created_by = format!(
            "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
            check.test.join(" "),
            go_duration(check.interval),
            go_duration(check.timeout),
            go_duration(check.start_period),
            go_duration(check.start_interval),
            check.retries,
        );
        stage.config.config.healthcheck = Some(check);
        stage.edit(command, created_by)
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A duration as Go prints it: `0s`, `1.5ms`, `1m30s`, `24h0m0s`.
fn go_duration(nanoseconds: i64) -> String {
    let total = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(total, 1_000)),
        1_000_000..SECOND => format!("{sign}{}ms", decimal(total, 1_000_000)),
        _ => {
            let (minutes, rest) = (total / SECOND / 60, total % (60 * SECOND));
            let seconds = decimal(rest, SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// How many of a unit, which is a power of ten, with as many decimals as it takes.
fn decimal(total: u64, unit: u64) -> String {
    let digits = unit.to_string().len() - 1;
    let number = format!("{}.{:0digits$}", total / unit, total % unit);
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn durations_as_go_prints_them() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (1_000_000, "1ms"),
            (250_000_000, "250ms"),
            (1_000_000_000, "1s"),
            (1_000_000_001, "1.000000001s"),
            (30_500_000_000, "30.5s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_000_000_000, "25h1m1s"),
            (-1_000_000_000, "-1s"),
        ] {
            assert_eq!(go_duration(nanoseconds), expected);
        }
    }
}
