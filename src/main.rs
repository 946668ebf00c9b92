//! The binary `kiln`: the only place that talks to a human.
//!
//! - [`args`]: the command line as values. [`command`]: one file for each command, with its options. [`environment`]: what is not on the command line.
//! - [`progress`]: what is shown while a build runs. [`report`]: how errors are told.
//! - [`removal`]: how images are removed. [`filter`]: `--filter`. [`moment`]: times as people write them. [`listing`]: rows
//!   as a table, or as `--format` wants them. [`text`]: sizes, ages and columns as people know them from Docker.
//!
//! What is data goes to standard output, what is for people to standard error.

mod args;
mod command;
mod environment;
mod filter;
mod listing;
mod mending;
mod moment;
mod progress;
mod prompt;
mod removal;
mod report;
mod text;

use std::process::ExitCode;

use crate::{args::Args, report::Exit};

fn main() -> ExitCode {
    // A sandbox is this binary started again; it has to know before anything else happens, threads above all.
    sandbox::reexec_if_asked();
    environment::forbid_cores();
    let args = match Args::read() {
        Ok(args) => args,
        Err(exit) => return exit.into(),
    };
    match command::run(args) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report::print(&failure);
            Exit::of(&failure).into()
        }
    }
}
