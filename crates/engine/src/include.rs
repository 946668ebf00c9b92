//! The files that a Dockerfile may `INCLUDE`: those of the build context, or, if it is a file of the host outside of it,
//! those of its own directory.
//!
//! Never others: a Dockerfile may be anybody's, and what it includes is shown when it is wrong. Ignore files have no say, as
//! with the Dockerfile itself.

use std::path::{Path, PathBuf};

use dockerfile::{Includes, Unreadable};
use filetree::{Owners, RootDir, Tree};

use crate::{Engine, Error, context::Contexts};

/// The files around the Dockerfile of a build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) contexts: &'a Contexts,
    pub(crate) engine: &'a Engine,
}

/// A tree, and where in it the Dockerfile is.
struct Place {
    root: RootDir,
    directory: PathBuf,
    /// What messages call the tree.
    called: &'static str,
}

impl Includes for Around<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, Unreadable> {
        let wrong = |reason: String| Unreadable { reason, hint: None };
        let place = self.place().map_err(|error| wrong(in_words(&error)))?;
        let Some(place) = place else {
            return Err(wrong(
                "a Dockerfile without a build context can include nothing".to_owned(),
            ));
        };
        let Some(path) = below(&place.directory, path) else {
            return Err(wrong(format!("it is outside of {}", place.called)));
        };
        match place.root.read_file(&path.to_string_lossy(), dockerfile::MAX_FILE as u64) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => {
                let tree = Tree::new(place.root, Owners::Root);
                let nearest = tree.nearest(&path).map(|path| format!("did you mean `{path}`?"));
                Err(Unreadable { reason: "not found".to_owned(), hint: nearest })
            }
            Err(error) => Err(wrong(in_words(&error))),
        }
    }
}

impl Around<'_> {
    fn place(&self) -> Result<Option<Place>, Error> {
        let context = "the build context";
        let Some(file) = self.contexts.dockerfile_path() else {
            let Some(root) = self.contexts.main_root(self.engine)? else { return Ok(None) };
            let name = Path::new(self.contexts.dockerfile_name());
            let directory = name.parent().unwrap_or(Path::new("")).to_owned();
            return Ok(Some(Place { root, directory, called: context }));
        };
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let own = parent.unwrap_or(Path::new("."));
        let own = own.canonicalize().map_err(Error::io("open the directory", own))?;
        let inside = self.contexts.main_directory().and_then(|main| {
            let directory = own.strip_prefix(main).ok()?.to_owned();
            Some((main, directory))
        });
        Ok(Some(match inside {
            Some((main, directory)) => {
                Place { root: RootDir::open_foreign(main)?, directory, called: context }
            }
            None => Place {
                root: RootDir::open_foreign(&own)?,
                directory: PathBuf::new(),
                called: "the directory of the Dockerfile, which is not in the build context",
            },
        }))
    }
}

/// The path below a directory of a tree, relative to the tree; `None` if it leads out of it.
fn below(directory: &Path, path: &str) -> Option<PathBuf> {
    let mut below = directory.to_owned();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if !below.pop() => return None,
            ".." => {}
            name => below.push(name),
        }
    }
    Some(below)
}

/// An error and why, in one line.
fn in_words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", in_words(source)),
        None => error.to_string(),
    }
}
