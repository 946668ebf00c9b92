//! What a container has written to its output, kept for `kiln logs`: the format of Docker's driver `json-file`.
//!
//! ```text
//! {"log":"a line\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
//! ```
//!
//! One object a line, in the order in which they came; `attrs` are labels and variables that are kept with each. A line of
//! the container that is longer than 16 KiB is kept in pieces, of which only the last ends with `\n`. What is not UTF-8
//! becomes U+FFFD. Adding to it is in `write`, with limits in several `files`; reading in `read`, waiting in `follow`.

mod files;
mod follow;
mod read;
mod write;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

pub(super) use self::write::LogWriter;
pub use self::{
    follow::LogFollower,
    read::{Entry, LogReader},
};
use super::streams::OutputStream;

/// One entry.
#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    stream: &'a str,
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    attrs: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    time: &'a str,
}

#[cfg(test)]
mod tests;
