//! Where the context and the Dockerfile of a build come from, by the rules of `docker build`.
//!
//! | context | `-f` | the Dockerfile |
//! |---|---|---|
//! | a directory | PATH | this file, relative to the working directory; it may be outside of the context |
//! | an archive on standard input, a repository, an archive of the web | PATH | this file of the context |
//! | a repository, an archive of the web | an absolute PATH | this file of the machine |
//! | anything | `-` | standard input, if that is not the context |
//! | anything | `http://…`, `https://…` | what is fetched from there |
//! | a Dockerfile on standard input | – | itself; a `-f` as well would be a second one |

use std::{
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use engine::{ContextSource, DockerfileSource};

use crate::{environment, report::Failure};

/// What `-f` says.
enum File {
    None,
    Stream,
    Web(String),
    Path(PathBuf),
}

impl File {
    fn of(given: Option<PathBuf>) -> Self {
        let Some(path) = given else { return Self::None };
        match path.to_str() {
            Some("-") => Self::Stream,
            Some(text) if engine::is_web(text) => Self::Web(text.to_owned()),
            _ => Self::Path(path),
        }
    }
}

/// Where the context and the Dockerfile come from. Standard input can be either, and is a context if it is an archive.
pub(super) fn sources(
    file: Option<PathBuf>,
    context: PathBuf,
) -> Result<(ContextSource, DockerfileSource), Failure> {
    let file = File::of(file);
    if environment::is_stream(&context) {
        return from_stdin(file);
    }
    let remote = remote(&context)?;
    let dockerfile = match file {
        File::None => DockerfileSource::InContext,
        File::Stream => DockerfileSource::Text(read_stdin()?),
        File::Web(address) => DockerfileSource::Web(address),
        File::Path(path) if remote.is_none() || path.is_absolute() => DockerfileSource::File(path),
        File::Path(path) => DockerfileSource::Named(path.display().to_string()),
    };
    let context = remote.unwrap_or(ContextSource::Directory(context));
    Ok((context, dockerfile))
}

fn from_stdin(file: File) -> Result<(ContextSource, DockerfileSource), Failure> {
    if matches!(file, File::Stream) {
        return Err(Failure::usage(
            "the context and the Dockerfile cannot both come from standard input",
        ));
    }
    let bytes = read_stdin()?;
    let is_archive = filetree::is_archive(&mut io::Cursor::new(&bytes))
        .map_err(Failure::io("read", "standard input"))?;
    let dockerfile = match file {
        File::None if !is_archive => {
            return Ok((ContextSource::Nothing, DockerfileSource::Text(bytes)));
        }
        _ if !is_archive => {
            return Err(Failure::usage(
                "ambiguous Dockerfile: standard input is one, and -f names another; give a directory as the context",
            ));
        }
        File::None | File::Stream => DockerfileSource::InContext,
        File::Web(address) => DockerfileSource::Web(address),
        File::Path(path) => DockerfileSource::Named(path.display().to_string()),
    };
    Ok((ContextSource::Archive(bytes), dockerfile))
}

/// A directory is a context whatever its name looks like.
fn remote(context: &Path) -> Result<Option<ContextSource>, Failure> {
    match context.to_str() {
        Some(text) if !context.is_dir() => Ok(ContextSource::remote(text)?),
        _ => Ok(None),
    }
}

/// Reads standard input: an archive to its end, anything else no further than a Dockerfile can go. It may have no end.
fn read_stdin() -> Result<Vec<u8>, Failure> {
    const LONGEST: u64 = dockerfile::MAX_FILE as u64 + 1;
    let mut bytes = Vec::new();
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        return Err(Failure::usage(
            "standard input is a terminal; pass a Dockerfile or a tar archive to it",
        ));
    }
    let mut read = || {
        stdin.by_ref().take(LONGEST).read_to_end(&mut bytes)?;
        if filetree::is_archive(&mut io::Cursor::new(&bytes))? {
            stdin.read_to_end(&mut bytes)?;
        }
        Ok(())
    };
    read().map_err(Failure::io("read", "standard input"))?;
    Ok(bytes)
}
