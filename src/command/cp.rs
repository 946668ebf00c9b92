//! `kiln cp`.

use std::path::{Path, PathBuf};

use engine::{
    Engine,
    container::{self, End, TransferOptions},
};

use super::output;
use crate::{
    environment,
    report::{Exit, Failure},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Cp {
    /// Keep owners, by number; else everything belongs to root in a container and to you outside
    #[arg(short, long)]
    pub(crate) archive: bool,
    /// Copy what SOURCE leads to, if it is a link
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,
    /// Say nothing when it is done
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// What to copy: CONTAINER:PATH, a path, or `-` for a tar on standard input
    #[arg(value_name = "SOURCE", allow_hyphen_values = true)]
    pub(crate) source: String,
    /// Where to: CONTAINER:PATH, a path, or `-` for a tar on standard output
    #[arg(value_name = "DESTINATION", allow_hyphen_values = true)]
    pub(crate) destination: String,
}

/// Copies files between a container and the host.
pub(super) fn run(engine: &Engine, cp: &Cp) -> Result<Exit, Failure> {
    for (name, given) in [("source", &cp.source), ("destination", &cp.destination)] {
        if given.is_empty() {
            return Err(Failure::usage(format!("{name} can not be empty")));
        }
    }
    let (from, to) = (Given::parse(&cp.source), Given::parse(&cp.destination));
    match (&from, &to) {
        (Given::Container(..), Given::Container(..)) => {
            return Err(Failure::usage("copying between containers is not supported"));
        }
        (Given::Container(..), _) | (_, Given::Container(..)) => {}
        _ => return Err(Failure::usage("must specify at least one container source")),
    }
    let (from, to) = (from.end(engine)?, to.end(engine)?);
    let options = TransferOptions { keep_owners: cp.archive, follow: cp.follow_link };
    let bytes = container::transfer(engine, &from, &to, options).map_err(|error| match error {
        // Nobody reads it any more.
        engine::Error::Files(filetree::Error::WriteArchive { source }) => {
            Failure::io("write", "the archive")(source)
        }
        error => error.into(),
    })?;
    if !cp.quiet && !matches!(to, End::Stream) {
        let size = text::size(bytes);
        let place = match &to {
            End::Host(path) => path.display().to_string(),
            End::Container(..) | End::Stream => cp.destination.clone(),
        };
        output::tell(&format!("Successfully copied {size} to {place}"));
    }
    Ok(Exit::Done)
}

/// A place as it was given.
enum Given<'a> {
    Stream,
    Host(&'a str),
    Container(&'a str, &'a str),
}

impl<'a> Given<'a> {
    /// Reads `CONTAINER:PATH`; what begins with `/` or `.` is a path of the host, also with a colon in it.
    fn parse(text: &'a str) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        match text.split_once(':') {
            Some((container, path)) if !text.starts_with(['/', '.']) && !container.is_empty() => {
                Self::Container(container, path)
            }
            _ => Self::Host(text),
        }
    }

    fn end(self, engine: &Engine) -> Result<End, Failure> {
        match self {
            Self::Stream => Ok(End::Stream),
            Self::Host(path) => Ok(End::Host(absolute(path)?)),
            Self::Container(name, path) => {
                let container = engine.store().find_container(name)?;
                // A path of a container begins at its root.
                let path = PathBuf::from(format!("/{}", path.trim_start_matches('/')));
                Ok(End::Container(Box::new(container), path))
            }
        }
    }
}

/// A path of the host from its root, with what stands at its end.
fn absolute(path: &str) -> Result<PathBuf, Failure> {
    match Path::new(path).is_absolute() {
        true => Ok(PathBuf::from(path)),
        false => Ok(environment::current_directory()?.join(path)),
    }
}
