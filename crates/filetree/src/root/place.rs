//! Where a destination really is: the directories that exist on the way, and the names that are missing.
//!
//! The kernel cannot resolve what does not exist, so this is a resolver of our own: one `O_NOFOLLOW` step at a time
//! from a descriptor to the next, with `..` taken from the stack of descriptors, never from the file system.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{
    Error,
    root::{RootDir, Timestamp, read_link_at},
};

/// How many links a destination may go through: the kernel's own limit.
const MAX_LINKS: usize = 40;

/// What new directories look like. Their times are set by [`restore_times`] once they are filled.
#[derive(Debug, Clone)]
pub(crate) struct NewDir {
    /// The permission bits, whatever the umask.
    pub(crate) mode: u32,
    /// The owner; the process's own when there is none.
    pub(crate) owner: Option<(u32, u32)>,
}

/// A destination, resolved inside a root as far as it exists.
#[derive(Debug)]
pub(crate) struct Place {
    /// From the root to the last directory that exists, with the name of each (the root's is empty).
    dirs: Vec<(OwnedFd, OsString)>,
    /// The names below it that do not exist.
    missing: Vec<OsString>,
    /// What is there under the last name, if it is not a directory.
    file: Option<(OsString, Stat)>,
    /// The links that were followed, as absolute paths inside the root.
    links: Vec<PathBuf>,
}

impl RootDir {
    /// Resolves `path` as if the root were `/`: every link is followed, dangling ones to the target that is not there.
    ///
    /// # Errors
    /// [`Error::NotADirectory`] when something on the way is a file.
    pub(crate) fn place(&self, path: &Path) -> Result<Place, Error> {
        let root = crate::interrupted::openat(
            self,
            ".",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(Error::io("open", "/"))?;
        let mut place = Place {
            dirs: vec![(root, OsString::new())],
            missing: Vec::new(),
            file: None,
            links: Vec::new(),
        };
        let mut todo: VecDeque<OsString> = names(&super::clean(path)).collect();
        while let Some(name) = todo.pop_front() {
            let Some(target) = place.enter(self, name)? else { continue };
            if place.links.len() > MAX_LINKS {
                return Err(Error::TooManyLinks { path: path.to_owned() });
            }
            let target = PathBuf::from(target);
            if target.is_absolute() {
                place.dirs.truncate(1);
            }
            for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                todo.push_front(name);
            }
        }
        Ok(place)
    }
}

impl Place {
    /// Goes one name further; returns the target when that name is a link.
    fn enter(&mut self, root: &RootDir, name: OsString) -> Result<Option<OsString>, Error> {
        if self.file.is_some() {
            return Err(Error::NotADirectory { path: self.path() });
        }
        if name == ".." {
            if self.missing.pop().is_none() && self.dirs.len() > 1 {
                self.dirs.pop();
            }
            return Ok(None);
        }
        if !self.missing.is_empty() {
            self.missing.push(name);
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match crate::interrupted::openat(self.dir(), &name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                self.missing.push(name);
                return Ok(None);
            }
            Err(errno) => return Err(Error::io("open", self.path().join(name))(errno)),
        };
        let stat = root.look_at(&fd).map_err(Error::io("stat", self.path().join(&name)))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.dirs.push((fd, name)),
            FileType::Symlink => {
                let link = self.path().join(&name);
                let target = read_link_at(fd.as_fd(), OsStr::new(""))
                    .map_err(Error::io("read the link", &link))?;
                self.links.push(link);
                return Ok(Some(target));
            }
            _ => self.file = Some((name, stat)),
        }
        Ok(None)
    }

    /// Returns the last directory that exists.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        // The root is never popped.
        self.dirs[self.dirs.len() - 1].0.as_fd()
    }

    /// Says whether the destination is a directory that exists.
    pub(crate) fn is_dir(&self) -> bool {
        self.missing.is_empty() && self.file.is_none()
    }

    /// Returns what is at the destination, if it exists and is not a directory.
    pub(crate) fn file(&self) -> Option<&Stat> {
        self.file.as_ref().map(|(_, stat)| stat)
    }

    /// Says whether the destination, or a directory on the way, does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Returns the links that were followed, as absolute paths inside the root.
    pub(crate) fn links(&self) -> &[PathBuf] {
        &self.links
    }

    /// Returns the destination as an absolute path inside the root, free of links.
    pub(crate) fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(self.dirs.iter().map(|(_, name)| name).filter(|name| !name.is_empty()));
        path.extend(&self.missing);
        path.extend(self.file.iter().map(|(name, _)| name));
        path
    }

    /// Splits off the last name, which need not exist: the place of the parent, and the name. `None` for the root.
    pub(crate) fn split(mut self) -> Option<(Self, OsString)> {
        if let Some((name, _)) = self.file.take() {
            return Some((self, name));
        }
        if let Some(name) = self.missing.pop() {
            return Some((self, name));
        }
        if self.dirs.len() < 2 {
            return None;
        }
        let (_, name) = self.dirs.pop()?;
        Some((self, name))
    }

    /// Makes the missing directories; returns those made, outermost first, each with its path.
    pub(crate) fn create(&mut self, new: &NewDir) -> Result<Vec<(OwnedFd, PathBuf)>, Error> {
        let mut made = Vec::new();
        let missing = std::mem::take(&mut self.missing);
        for name in missing {
            let path = self.path().join(&name);
            let fd = make_dir(self.dir(), &name, &path, new)?;
            let again = fd.try_clone().map_err(Error::io("duplicate", &path))?;
            made.push((again, path));
            self.dirs.push((fd, name));
        }
        Ok(made)
    }
}

/// Makes one directory as described and opens it.
fn make_dir(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
    new: &NewDir,
) -> Result<OwnedFd, Error> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)) {
        // Somebody else who copies into the same tree was faster; what it is shows when it is opened.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::io("create the directory", path)(errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = crate::interrupted::openat(dir, name, flags, Mode::empty())
        .map_err(Error::io("open the directory", path))?;
    if let Some(owner) = new.owner {
        let stat = crate::deed::fstat(&fd).map_err(Error::io("stat", path))?;
        crate::owner::change(fd.as_fd(), &stat, owner)
            .map_err(Error::io("change the owner of", path))?;
    }
    // After the owner: a change of owner clears the set-id bits.
    crate::deed::chmod(&fd, new.mode).map_err(Error::io("change the mode of", path))?;
    Ok(fd)
}

/// Gives the directories made the time they shall carry, innermost first, after their content is there.
pub(crate) fn restore_times(
    made: &[(OwnedFd, PathBuf)],
    mtime: Option<Timestamp>,
) -> Result<(), Error> {
    let Some(mtime) = mtime else { return Ok(()) };
    for (fd, path) in made.iter().rev() {
        rustix::fs::futimens(fd, &mtime.to_timestamps())
            .map_err(Error::io("set the times of", path))?;
    }
    Ok(())
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}
