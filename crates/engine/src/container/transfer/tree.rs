//! One side of a transfer: the tree of the host or of a container, and a path in it.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use filetree::RootDir;
use rustix::fs::{FileType, Stat};
use store::Container;

use super::End;
use crate::{
    Engine, Error,
    container::{
        Settings,
        options::{Mount, MountKind},
        root::{self, ContainerRoot},
    },
};

/// The tree of one side, and a path in it.
pub(super) struct Tree {
    pub(super) root: RootDir,
    /// Relative to the root, without `.` and `..`; it may have links in it.
    pub(super) path: PathBuf,
    /// What it is called there, which is not the end of the path if something is mounted there. The root has none.
    pub(super) name: OsString,
    pub(super) ending: Ending,
    /// As it was given, for messages.
    pub(super) shown: String,
    read_only: Option<&'static str>,
    /// Whether somebody else may write there meanwhile.
    pub(super) living: bool,
    _container: Option<ContainerRoot>,
}

/// What a path ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Name,
    Slash,
    /// `/.`: what is in it.
    Dot,
}

impl Tree {
    pub(super) fn open(engine: &Engine, end: &End) -> Result<Self, Error> {
        match end {
            End::Host(path) => Ok(Self {
                root: RootDir::open_foreign(Path::new("/"))?,
                path: cleaned(path),
                name: name_of(path),
                ending: Ending::of(path),
                shown: path.display().to_string(),
                read_only: None,
                living: false,
                _container: None,
            }),
            End::Container(container, path) => Self::of_container(engine, container, path),
            End::Stream => Err(Error::Lost { what: "a place to copy to" }),
        }
    }

    fn of_container(engine: &Engine, container: &Container, path: &Path) -> Result<Self, Error> {
        let opened = root::root(engine, container)?;
        let options = Settings::of(container)?.options;
        let mut tree = Self {
            root: opened.root().try_clone()?,
            path: cleaned(path),
            name: name_of(path),
            ending: Ending::of(path),
            shown: format!("{}:{}", container.name, path.display()),
            read_only: options.read_only.then_some("container rootfs is marked read-only"),
            living: opened.is_running(),
            _container: None,
        };
        if let Some(refusal) = opened.refusal() {
            tree.read_only = Some(refusal);
            tree.enter_mount(engine, &options.mounts)?;
        } else if opened.is_running() {
            // The kernel knows what is mounted there, and how.
            tree.read_only = None;
        } else {
            tree.enter_mount(engine, &options.mounts)?;
        }
        tree._container = Some(opened);
        Ok(tree)
    }

    /// Goes on in what would be mounted over the path if the container ran.
    fn enter_mount(&mut self, engine: &Engine, mounts: &[Mount]) -> Result<(), Error> {
        let inside = |mount: &Mount| {
            let target = cleaned(Path::new(&mount.target));
            self.path.strip_prefix(&target).map(|rest| (rest.to_owned(), target)).ok()
        };
        let nearest = mounts
            .iter()
            .filter_map(|mount| Some((mount, inside(mount)?)))
            .max_by_key(|(_, (_, target))| target.components().count());
        let Some((mount, (rest, _))) = nearest else { return Ok(()) };
        let directory = match &mount.kind {
            MountKind::Volume { name: Some(name), .. } => engine.store().volume_directory(name),
            MountKind::Bind(bind) => bind.source.clone(),
            // Memory is there only while the container runs.
            MountKind::Volume { name: None, .. } | MountKind::Tmpfs(_) => return Ok(()),
        };
        // A file that is mounted is found in its directory.
        let (directory, rest) = match (directory.is_dir(), directory.parent()) {
            (false, Some(parent)) => {
                (parent.to_owned(), PathBuf::from(directory.file_name().unwrap_or_default()))
            }
            _ => (directory, rest),
        };
        self.root = RootDir::open(&directory)?;
        self.path = rest;
        self.read_only = mount.read_only.then_some("mounted volume is marked read-only");
        Ok(())
    }

    pub(super) fn for_writing(self) -> Result<Self, Error> {
        match self.read_only {
            Some(reason) => Err(self.refused(reason)),
            None => Ok(self),
        }
    }

    /// The directory at the path, which must be one.
    pub(super) fn directory(&self) -> Result<RootDir, Error> {
        match self.stat(true)? {
            Some(stat) if is_directory(&stat) => Ok(self.root.open_root(&self.path)?),
            Some(_) => Err(self.refused("destination must be a directory")),
            None => Err(self.refused("no such directory")),
        }
    }

    pub(super) fn stat(&self, follow: bool) -> Result<Option<Stat>, Error> {
        let found = match follow {
            true => self.root.metadata(&self.path),
            false => self.root.symlink_metadata(&self.path),
        };
        match found {
            // A name on the way is no directory.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
            found => found.map_err(Error::io("look at", &self.shown)),
        }
    }

    pub(super) fn refused(&self, reason: &str) -> Error {
        Error::Transfer { place: self.shown.clone(), reason: reason.to_owned() }
    }
}

impl Ending {
    fn of(path: &Path) -> Self {
        let bytes = path.as_os_str().as_bytes();
        match bytes {
            b"." => Self::Dot,
            _ if bytes.ends_with(b"/.") => Self::Dot,
            _ if bytes.ends_with(b"/") => Self::Slash,
            _ => Self::Name,
        }
    }
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn name_of(path: &Path) -> OsString {
    cleaned(path).file_name().unwrap_or_default().to_owned()
}

/// A path relative to its root, without `.` and `..`: those are taken lexically, as Docker takes them.
pub(super) fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_ends_with() {
        let check = |path: &str, expected: Ending| {
            assert!(Ending::of(Path::new(path)) == expected, "{path}")
        };
        check("/a/b", Ending::Name);
        check("/a/b/", Ending::Slash);
        check("/", Ending::Slash);
        check("/a/.", Ending::Dot);
        check(".", Ending::Dot);
        check("/a.", Ending::Name);
        check("/a/..", Ending::Name);
    }

    #[test]
    fn paths_stay_below_their_root() {
        let check =
            |path: &str, expected: &str| assert_eq!(cleaned(Path::new(path)), Path::new(expected));
        check("/a/./b//c/", "a/b/c");
        check("/../../a", "a");
        check("a/../..", "");
    }
}
