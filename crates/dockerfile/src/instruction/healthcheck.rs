//! `HEALTHCHECK [flags] CMD command` or `HEALTHCHECK NONE`.

mod duration;

use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::flag::{Flags, Takes};
use crate::fragment::Fragment;
use crate::instruction::CommandLine;
use crate::parts::Parts;
use crate::quoted::quoted;

const FLAGS: [(&str, Takes); 5] = [
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

/// The shortest duration the engines accept, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

/// Says how to find out whether a container is well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Healthcheck {
    /// `NONE`: not at all, whatever the base says.
    None,
    /// `CMD`: by running a command.
    Check(Check),
}

/// A command to run, and when. A duration or number of zero means the default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What to run; the shell form never uses the one of `SHELL`.
    pub command: CommandLine,
    /// `--interval`: between two runs.
    pub interval: Duration,
    /// `--timeout`: of one run.
    pub timeout: Duration,
    /// `--start-period`: in which failures do not count.
    pub start_period: Duration,
    /// `--start-interval`: between two runs in the start period.
    pub start_interval: Duration,
    /// `--retries`: how many failures in a row mean unhealthy.
    pub retries: u32,
}

impl Healthcheck {
    pub(super) fn parse(
        parts: &Parts<'_>,
        kind: Fragment<'_>,
        command: CommandLine,
    ) -> Result<Self, Diagnostic> {
        if kind.is_empty() {
            return Err(parts.needs_an_operand());
        }
        let empty = match &command {
            CommandLine::Shell(text) => text.is_empty(),
            CommandLine::Exec(argv) => argv.is_empty(),
        };
        let fail = |message: &str| Err(Diagnostic::new(message).at(parts.operands.span()));
        match kind.text().to_uppercase().as_str() {
            // Flags are not looked at, as in BuildKit.
            "NONE" if empty => Ok(Self::None),
            "NONE" => fail("HEALTHCHECK NONE takes no arguments"),
            "CMD" => {
                let flags = parts.check_flags(&FLAGS)?;
                if empty {
                    return fail("Missing command after HEALTHCHECK CMD");
                }
                Check::parse(&flags, command).map(Self::Check)
            }
            unknown => {
                parts.check_flags(&FLAGS)?;
                let message = format!("Unknown type {} in HEALTHCHECK (try CMD)", quoted(unknown));
                Err(Diagnostic::new(message).at(kind.span()))
            }
        }
    }
}

impl Check {
    fn parse(flags: &Flags<'_>, command: CommandLine) -> Result<Self, Diagnostic> {
        Ok(Self {
            command,
            interval: duration(flags, "interval")?,
            timeout: duration(flags, "timeout")?,
            start_period: duration(flags, "start-period")?,
            start_interval: duration(flags, "start-interval")?,
            retries: retries(flags)?,
        })
    }
}

fn duration(flags: &Flags<'_>, name: &str) -> Result<Duration, Diagnostic> {
    let Some(value) = flags.value(name) else { return Ok(Duration::ZERO) };
    let place = value.fragment.span();
    let nanoseconds = duration::parse(&value.text).map_err(|message| {
        Diagnostic::new(format!("invalid --{name}: {message}"))
            .at(place)
            .hint("a duration is a number with a unit, such as 500ms, 30s or 1m30s")
    })?;
    if nanoseconds != 0 && nanoseconds < SHORTEST {
        let message = format!("Interval {name:?} cannot be less than 1ms");
        return Err(Diagnostic::new(message).at(place));
    }
    Ok(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

fn retries(flags: &Flags<'_>) -> Result<u32, Diagnostic> {
    let Some(value) = flags.value("retries") else { return Ok(0) };
    let fail = |message: String| Diagnostic::new(message).at(value.fragment.span());
    let number: i32 = value
        .text
        .parse()
        .map_err(|_| fail(format!("invalid --retries: {} is not a number", quoted(&value.text))))?;
    u32::try_from(number).map_err(|_| fail(format!("--retries cannot be negative ({number})")))
}
