//! The text of the Dockerfile: from a file of the host, from a context that is none, or as it was given.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use filetree::{Owners, RootDir, Tree};

use super::{MAX_TEXT, Main};
use crate::{DockerfileSource, Engine, Error};

/// What it is called unless the user says otherwise; the second is taken where there is no first.
const NAMES: [&str; 2] = ["Dockerfile", "dockerfile"];

/// The Dockerfile.
#[derive(Debug)]
pub(super) struct Text {
    /// What messages call it.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// Where it is on the host, for the ignore file beside it.
    pub(super) path: Option<PathBuf>,
}

/// Reads what is not of the web.
pub(super) fn read(
    engine: &Engine,
    source: &DockerfileSource,
    main: Option<&Main>,
) -> Result<Text, Error> {
    let text = |name: &str, bytes, path| Text { name: name.to_owned(), bytes, path };
    match (source, main) {
        (DockerfileSource::Text(bytes), _) => Ok(text(NAMES[0], bytes.clone(), None)),
        (DockerfileSource::File(path), main) => {
            let context = main.and_then(|main| match main {
                Main::Directory(context) => Some(context.as_path()),
                Main::Unpacked(_) | Main::Fetched(_) => None,
            });
            let bytes = from_host(path, context)?;
            Ok(text(&path.display().to_string(), bytes, Some(path.clone())))
        }
        (DockerfileSource::InContext, Some(Main::Directory(context))) => {
            let (path, bytes) = in_context(context)?;
            Ok(text(NAMES[0], bytes, Some(path)))
        }
        (DockerfileSource::InContext, Some(Main::Unpacked(snapshot))) => {
            from_tree(RootDir::open(snapshot.fs())?, NAMES[0])
        }
        (DockerfileSource::Named(name), Some(Main::Unpacked(snapshot))) => {
            from_tree(RootDir::open(snapshot.fs())?, name)
        }
        (DockerfileSource::InContext, Some(Main::Fetched(fetched))) => {
            from_tree(fetched.tree(engine)?.root, NAMES[0])
        }
        (DockerfileSource::Named(name), Some(Main::Fetched(fetched))) => {
            from_tree(fetched.tree(engine)?.root, name)
        }
        (
            DockerfileSource::InContext | DockerfileSource::Named(_) | DockerfileSource::Web(_),
            _,
        ) => Err(Error::Context {
            value: "-".to_owned(),
            reason: "there is neither a context nor a Dockerfile",
        }),
    }
}

fn in_context(context: &Path) -> Result<(PathBuf, Vec<u8>), Error> {
    for name in NAMES {
        if let Some(bytes) = of_directory(context, name, MAX_TEXT)? {
            return Ok((context.join(name), bytes));
        }
    }
    let path = context.join(NAMES[0]);
    let nearest = nearest(&path, None);
    Err(Error::ReadDockerfile { path, nearest, source: io::ErrorKind::NotFound.into() })
}

/// Reads a file of a context that says how to build it; `None` if there is none.
///
/// Whose context it is may have made it a link to any file of the machine, and what is wrong with it is shown. So a link is
/// followed inside of the context only, and one that leads out is an error.
pub(crate) fn of_directory(
    context: &Path,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, Error> {
    let root = RootDir::open_foreign(context)?;
    let path = context.join(name);
    if let Some(bytes) = root.read_file(name, limit)? {
        return Ok(Some(bytes));
    }
    match root.symlink_metadata(Path::new(name)) {
        Ok(None) => Ok(None),
        Ok(Some(_)) => {
            let reason = "it is a link to nothing inside of the build context";
            Err(Error::io("read", path)(io::Error::other(reason)))
        }
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Reads a file that the user has named: a pipe may be meant.
fn from_host(path: &Path, context: Option<&Path>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    // One byte more than the parser takes: a device may have no end.
    let limit = dockerfile::MAX_FILE as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|source| {
        let nearest = match source.kind() {
            io::ErrorKind::NotFound => nearest(path, context),
            _ => None,
        };
        Error::ReadDockerfile { path: path.to_owned(), nearest, source }
    })?;
    Ok(bytes)
}

/// What was probably meant by a path: the same below the context, which paths are not relative to, or what is called nearly
/// the same.
fn nearest(path: &Path, context: Option<&Path>) -> Option<PathBuf> {
    if let Some(context) = context.filter(|_| path.is_relative()) {
        let below = context.join(path);
        if below.is_file() {
            return Some(below);
        }
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let found = around(RootDir::open(parent).ok()?, Path::new(path.file_name()?))?;
    Some(parent.join(found))
}

fn from_tree(root: RootDir, name: &str) -> Result<Text, Error> {
    let mut bytes = root.read_file(name, MAX_TEXT)?;
    if bytes.is_none() && name == NAMES[0] {
        bytes = root.read_file(NAMES[1], MAX_TEXT)?;
    }
    let bytes = bytes.ok_or_else(|| Error::ReadDockerfile {
        path: name.into(),
        nearest: around(root, Path::new(name)).map(PathBuf::from),
        source: io::ErrorKind::NotFound.into(),
    })?;
    Ok(Text { name: name.to_owned(), bytes, path: None })
}

/// A file of nearly this name, or what podman calls a Dockerfile.
fn around(root: RootDir, name: &Path) -> Option<String> {
    const OTHER: &str = "Containerfile";
    let tree = Tree::new(root, Owners::Root);
    let other = || tree.root.read_file(OTHER, MAX_TEXT).ok()?.map(|_| OTHER.to_owned());
    tree.nearest(name).or_else(other)
}
