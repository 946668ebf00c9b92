//! `kiln logs`.

use std::io::{self, Write};

use engine::{
    Engine,
    container::{self, Entry, LogFollower, LogReader, OutputStream, Settings, options::LogDriver},
};
use jiff::Timestamp;

use crate::{
    moment::Moment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only so many of the last lines, or `all`
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER",
        default_value = "all",
        allow_hyphen_values = true
    )]
    pub(crate) tail: String,
    /// Only what was written since: 2026-01-02T03:04:05Z, seconds since 1970, or how long ago: 1h30m
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Only what was written before
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// Say when each line was written
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Show the labels and variables that are kept with each line (`run --log-opt labels=NAME,…`)
    #[arg(long)]
    pub(crate) details: bool,
    /// The container
    pub(crate) container: String,
}

/// Which entries are shown, and how.
struct Show {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    timestamps: bool,
    details: bool,
}

/// Shows what a container has written to its output: each line where it was written to.
pub(super) fn run(engine: &Engine, logs: &Logs) -> Result<Exit, Failure> {
    let container = engine.store().find_container(&logs.container)?;
    if Settings::of(&container)?.options.log.driver == LogDriver::None {
        return Err(Failure::NoLog { name: container.name });
    }
    // Before the log is opened, so that nothing falls in between.
    let mut follower = if logs.follow { Some(LogFollower::of(engine, &container)?) } else { None };
    let Some(mut log) = container::log(engine, &container)? else { return Ok(Exit::Done) };
    // What is no number means all, as a negative one does: Docker's rule.
    if let Ok(count) = logs.tail.parse() {
        log.seek_to_last(count).map_err(reading())?;
    }
    let now = Timestamp::now();
    let at = |moment: Option<Moment>| moment.map(|moment| moment.at(now));
    let show = Show {
        since: at(logs.since),
        until: at(logs.until),
        timestamps: logs.timestamps,
        details: logs.details,
    };
    loop {
        // Asked before the rest is read: what comes after the end is nothing.
        let more = follower.as_mut().is_some_and(LogFollower::has_more);
        if print_rest(&mut log, &show)? == Rest::PastUntil || !more {
            return Ok(Exit::Done);
        }
        if let Some(follower) = &mut follower {
            follower.wait();
        }
    }
}

/// What is behind the last entry that was read.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    PastUntil,
}

fn print_rest(log: &mut LogReader, show: &Show) -> Result<Rest, Failure> {
    let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr().lock());
    while let Some(entry) = log.next_entry().map_err(reading())? {
        if show.until.is_some_and(|until| entry.time > until) {
            return Ok(Rest::PastUntil);
        }
        if show.since.is_some_and(|since| entry.time < since) {
            continue;
        }
        let to: &mut dyn Write = match entry.stream {
            OutputStream::Stdout => &mut stdout,
            OutputStream::Stderr => &mut stderr,
        };
        to.write_all(line(&entry, show).as_bytes()).map_err(Failure::printing)?;
    }
    stdout.flush().map_err(Failure::printing)?;
    Ok(Rest::Nothing)
}

fn line(entry: &Entry, show: &Show) -> String {
    let mut line = String::new();
    if show.timestamps {
        // Nine digits as Docker's, so that the texts stand below each other.
        line.push_str(&format!("{:.9} ", entry.time));
    }
    if show.details {
        let pair =
            |(name, value): (&String, &String)| format!("{}={}", escaped(name), escaped(value));
        let attrs = entry.attrs.iter().map(pair);
        line.push_str(&(attrs.collect::<Vec<_>>().join(",") + " "));
    }
    line + &entry.text
}

/// Returns a text as it stands in the query of an address, so that a comma or a blank in it parts nothing: as Docker does.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn reading() -> impl FnOnce(io::Error) -> Failure {
    Failure::io("read", "the log of the container")
}
