//! The health check of a container: a program that is run there again and again, and what is made of how it ends.
//!
//! Docker's rules: failures in the start period do not count until one check has succeeded; so many in a row make the
//! container unhealthy; one success makes it healthy. Nobody checks a container that is paused.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use oci::Healthcheck;
use store::{ContainerState, Health, HealthCheck, HealthStatus};

use super::{
    super::{
        exec::{ExecRequest, Inside},
        program::{Program, exit_code},
        streams::Listener,
        wire::Attach,
    },
    register::Register,
    turn::Turn,
};
use crate::Error;

/// What is not said: Docker's.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// How much is kept of what a check writes, and how many checks are kept: Docker's.
const OUTPUT: usize = 4096;
const LOG: usize = 5;

/// Exit code of a check that could not be started or took too long.
const NO_CODE: i32 = -1;

/// How a container is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    command: Vec<String>,
    rules: Rules,
}

/// When it is checked, and what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Probe {
    /// How a container with this health check is checked; not at all if it says so, or nothing. `shell` is what the image
    /// runs texts by.
    pub(super) fn of(check: &Healthcheck, shell: &[String]) -> Option<Self> {
        let (kind, words) = check.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" => {
                let usual = ["/bin/sh".to_owned(), "-c".to_owned()];
                let shell = if shell.is_empty() { &usual[..] } else { shell };
                shell.iter().chain(words).cloned().collect()
            }
            _ => return None,
        };
        let or = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
            Ok(nanoseconds @ 1..) => Duration::from_nanos(nanoseconds),
            _ => default,
        };
        let rules = Rules {
            interval: or(check.interval, INTERVAL),
            timeout: or(check.timeout, TIMEOUT),
            start_period: or(check.start_period, Duration::ZERO),
            start_interval: or(check.start_interval, START_INTERVAL),
            retries: u32::try_from(check.retries).ok().filter(|it| *it > 0).unwrap_or(RETRIES),
        };
        (!command.is_empty()).then_some(Self { command, rules })
    }

    /// Checks again and again until the run of the program is over.
    pub(super) fn watch(&self, turn: &Turn, register: &Register) {
        let began = Instant::now();
        let mut status = HealthStatus::Starting;
        while turn.goes_on_for(self.rules.pause(status, began.elapsed())) {
            if turn.is_paused() {
                continue;
            }
            let age = began.elapsed();
            let check = self.check(turn.inside());
            // What stands still answers nobody, and what has ended is no matter of health.
            if turn.is_paused() || !turn.goes_on_for(Duration::ZERO) {
                continue;
            }
            let written = register.change(|state| {
                let before = state.health.clone().unwrap_or_else(Health::starting);
                let health = self.rules.judge(before, check, age);
                status = health.status;
                ContainerState { health: Some(health), ..state }
            });
            // It is written by the next check then.
            drop(written);
        }
    }

    /// Runs the check once.
    fn check(&self, inside: &Inside) -> HealthCheck {
        let start = SystemTime::now();
        let (exit_code, output) = match run(inside, &self.command, self.rules.timeout) {
            Ok(Ran { code: Some(code), output }) => (code, output),
            Ok(Ran { code: None, output }) => {
                let text = format!("Health check exceeded timeout ({:?})", self.rules.timeout);
                (NO_CODE, if output.is_empty() { text } else { format!("{text}: {output}") })
            }
            Err(error) => (NO_CODE, with_causes(&error)),
        };
        HealthCheck { start, end: SystemTime::now(), exit_code, output }
    }
}

impl Rules {
    /// How long to wait for the next check of a container of this age.
    fn pause(&self, status: HealthStatus, age: Duration) -> Duration {
        match status {
            HealthStatus::Starting if age < self.start_period => self.start_interval,
            _ => self.interval,
        }
    }

    /// What is known after one more check, which was begun when the container had this age.
    fn judge(&self, before: Health, check: HealthCheck, age: Duration) -> Health {
        let Health { mut status, mut failing_streak, mut log } = before;
        if check.exit_code == 0 {
            (status, failing_streak) = (HealthStatus::Healthy, 0);
        } else if status != HealthStatus::Starting || age >= self.start_period {
            failing_streak = failing_streak.saturating_add(1);
            if failing_streak >= self.retries {
                status = HealthStatus::Unhealthy;
            }
        }
        log.push(check);
        log.drain(..log.len().saturating_sub(LOG));
        Health { status, failing_streak, log }
    }
}

/// How a check has ended.
struct Ran {
    /// None if it was not waited for any longer.
    code: Option<i32>,
    output: String,
}

/// Runs a program in a container, for so long and no longer.
fn run(inside: &Inside, command: &[String], timeout: Duration) -> Result<Ran, Error> {
    let request = ExecRequest { command: command.to_vec(), ..ExecRequest::default() };
    let mut child = sandbox::join(inside.join(&request)?)?;
    let (program, outputs) = Program::of(&mut child, None)?;
    let listener = Listener::new(Attach { stdout: true, stderr: true, ..Attach::default() });
    program.listeners.add(&listener);
    let (tell, ended) = mpsc::channel();
    thread::scope(|scope| {
        let (program, child) = (&program, &mut child);
        scope.spawn(move || {
            let exit = child.started().map(drop).map_err(Error::from);
            let exit = exit.and_then(|()| program.run(child, outputs, None));
            program.listeners.end(NO_CODE);
            // Somebody waits for it.
            let _ = tell.send(exit);
        });
        let output = scope.spawn(|| listener.collect(OUTPUT));
        let (code, late) = match ended.recv_timeout(timeout) {
            Ok(exit) => (Some(exit_code(exit?)), false),
            Err(_) => {
                program.kill();
                (None, true)
            }
        };
        if late {
            // Until it is dead.
            let _ = ended.recv();
        }
        let output = output.join().unwrap_or_default();
        Ok(Ran { code, output: String::from_utf8_lossy(&output).into_owned() })
    })
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(test: &[&str]) -> Option<Probe> {
        let test = test.iter().map(|&word| word.to_owned()).collect();
        Probe::of(&Healthcheck { test, ..Healthcheck::default() }, &[])
    }

    #[test]
    fn what_is_run() {
        let command = |test: &[&str]| probe(test).map(|probe| probe.command.join("|"));
        assert_eq!(command(&["CMD", "a", "b"]).as_deref(), Some("a|b"));
        assert_eq!(command(&["CMD-SHELL", "a b"]).as_deref(), Some("/bin/sh|-c|a b"));
        for none in [&["NONE"][..], &[], &["CMD"], &["OTHER", "x"]] {
            assert_eq!(command(none), None, "{none:?}");
        }
        let check = Healthcheck {
            test: vec!["CMD-SHELL".to_owned(), "x".to_owned()],
            interval: 1,
            retries: 7,
            timeout: -1,
            ..Healthcheck::default()
        };
        let probe = Probe::of(&check, &["bash".to_owned(), "-ec".to_owned()]).unwrap();
        assert_eq!(probe.command, ["bash", "-ec", "x"]);
        assert_eq!((probe.rules.interval, probe.rules.retries), (Duration::from_nanos(1), 7));
        assert_eq!(probe.rules.timeout, TIMEOUT);
    }

    /// The state after checks that ended so, at these ages in seconds.
    fn after(checks: &[(u64, i32)]) -> Health {
        let rules = Rules {
            interval: INTERVAL,
            timeout: TIMEOUT,
            start_period: Duration::from_secs(10),
            start_interval: START_INTERVAL,
            retries: 2,
        };
        checks.iter().fold(Health::starting(), |health, &(age, exit_code)| {
            let (start, end) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);
            let check = HealthCheck { start, end, exit_code, output: age.to_string() };
            rules.judge(health, check, Duration::from_secs(age))
        })
    }

    #[test]
    fn what_checks_mean() {
        let check = |checks: &[(u64, i32)], status: HealthStatus, streak: u32| {
            let health = after(checks);
            assert_eq!((health.status, health.failing_streak), (status, streak), "{checks:?}");
        };
        check(&[], HealthStatus::Starting, 0);
        check(&[(1, 1), (2, 1), (9, 1)], HealthStatus::Starting, 0);
        check(&[(1, 1), (10, 1)], HealthStatus::Starting, 1);
        check(&[(10, 1), (11, -1)], HealthStatus::Unhealthy, 2);
        check(&[(1, 0)], HealthStatus::Healthy, 0);
        // Once it was well, the start is over.
        check(&[(1, 0), (2, 1), (3, 1)], HealthStatus::Unhealthy, 2);
        check(&[(1, 0), (2, 1), (3, 0)], HealthStatus::Healthy, 0);
        check(&[(11, 1), (12, 1), (13, 0)], HealthStatus::Healthy, 0);
        let many: Vec<(u64, i32)> = (0..9).map(|age| (age, 0)).collect();
        let outputs: Vec<String> = after(&many).log.into_iter().map(|it| it.output).collect();
        assert_eq!(outputs, ["4", "5", "6", "7", "8"]);
    }
}
