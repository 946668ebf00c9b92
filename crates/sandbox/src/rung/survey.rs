//! What each rung needs and lacks here, for people: every one of them is tried, by a child process that ends at once.

use std::fs::File;
use std::io::Read;
use std::io::Write;

use rustix::process::WaitOptions;

use super::Rung;
use super::climb::pipe;
use super::try_to_enter;
use crate::Error;
use crate::sys;
use crate::sys::Alone;

/// How it is with one rung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rung.
    pub rung: Rung,
    /// Why it does not work here and what would help; nothing if it works.
    pub obstacle: Option<String>,
}

/// Tries every rung. To be called while the process has one thread; it stands where it stood afterwards.
pub fn survey() -> Result<Vec<Finding>, Error> {
    Rung::ALL.into_iter().map(|rung| Ok(Finding { rung, obstacle: try_in_child(rung)? })).collect()
}

fn try_in_child(rung: Rung) -> Result<Option<String>, Error> {
    let failed = "try a rung";
    let (speak, listen) = pipe()?;
    let alone = Alone::check().map_err(Error::setup(failed))?;
    let Some(child) = sys::fork_into(0, &alone).map_err(Error::setup(failed))? else {
        drop(listen);
        // What climbs is a child of this one, which says the same in its place.
        let said = match try_to_enter(rung) {
            Ok(()) => "works".to_owned(),
            Err(error) => chain(&error),
        };
        // If it cannot be told, that is told by the silence.
        let _ = File::from(speak).write_all(said.as_bytes());
        sys::exit_now(0);
    };
    drop(speak);
    let mut said = String::new();
    let heard = File::from(listen).read_to_string(&mut said);
    rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()))
        .map_err(Error::setup(failed))?;
    heard.map_err(Error::setup(failed))?;
    Ok(match said.as_str() {
        "works" => None,
        "" => Some("it ended without a word".to_owned()),
        obstacle => Some(obstacle.to_owned()),
    })
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
