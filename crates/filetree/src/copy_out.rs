//! A tree to a directory of the host, for `--output type=local`. As an archive: [`pack_tree`](fn@crate::pack_tree).

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::{CStr, OsStr},
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timestamps, Uid},
    io::Errno,
};

use crate::{
    Error, RootDir, Timestamp,
    pack::{
        mtime_of,
        walk::{Visit, Walk, open_dir, open_file},
    },
    root::read_link_at,
    xattr::Carrier,
};

/// Bits that lend the owner's rights, which only the right owner may lend.
const SET_ID: u32 = 0o6000;

/// Copies a whole tree into the host directory `dest`, which is made if missing and merged with if not: files replace
/// files and links, directories are kept. Modes, times and (best effort) attributes are kept; owners where the process may
/// set them, else the files are its own, without set-id bits. Links of `dest` are replaced, never followed. With a `time`,
/// everything has that one.
///
/// # Errors
/// [`Error::Io`] where something cannot be written, a file in place of a directory too; what was copied stays.
/// [`Error::Device`] for a device without privileges.
pub fn copy_out(root: &RootDir, dest: &Path, time: Option<Timestamp>) -> Result<(), Error> {
    std::fs::create_dir_all(dest).map_err(Error::io("create the directory", dest))?;
    let dest_root = RootDir::open(dest)?;
    let mut copier = Copier {
        dir: open_dir(dest_root.as_fd(), c".").map_err(Error::io("open", dest))?,
        dest_root,
        time,
        entered: Vec::new(),
        links: BTreeMap::new(),
    };
    let source = open_dir(root.as_fd(), c".").map_err(Error::io("open", "/"))?;
    let mut walk = Walk::new(source)?;
    while let Some(visit) = walk.next()? {
        match visit {
            Visit::Name(name, FileType::Directory) => copier.enter(&mut walk, &name)?,
            Visit::Name(name, kind) => copier.copy(&walk, &name, kind)?,
            Visit::Left(_) => copier.leave(&walk)?,
        }
    }
    Ok(())
}

struct Copier {
    dest_root: RootDir,
    /// The destination of the directory the walk stands in.
    dir: OwnedFd,
    /// The time of everything, if not its own.
    time: Option<Timestamp>,
    /// What the directories on the way look like, outermost first.
    entered: Vec<Stat>,
    /// Where the first name of each file that has several was copied to.
    links: BTreeMap<(u64, u64), PathBuf>,
}

impl Copier {
    fn enter(&mut self, walk: &mut Walk, name: &CStr) -> Result<(), Error> {
        let path = walk.path_of(name.to_bytes());
        let source = open_dir(walk.dir()?, name).map_err(Error::io("open", &path))?;
        let stat = crate::deed::fstat(&source).map_err(Error::io("stat", &path))?;
        let mut made = rustix::fs::mkdirat(&self.dir, name, Mode::RWXU);
        if made == Err(Errno::EXIST) && !self.has_dir(name) {
            rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())
                .map_err(Error::io("replace", &path))?;
            made = rustix::fs::mkdirat(&self.dir, name, Mode::RWXU);
        }
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("create the directory", path)(errno)),
        }
        self.dir = open_dir(self.dir.as_fd(), name).map_err(Error::io("open the new", &path))?;
        self.entered.push(stat);
        walk.enter(source, name)
    }

    /// Gives the directory that was left its mode and times, now that nothing is added to it any more.
    fn leave(&mut self, walk: &Walk) -> Result<(), Error> {
        let parent = self.open_beneath(Path::new(OsStr::from_bytes(walk.prefix())))?;
        let left = std::mem::replace(&mut self.dir, parent);
        match self.entered.pop() {
            Some(stat) => self
                .dress(left.as_fd(), &stat)
                .map_err(Error::io("set the mode of", walk.path_of(b""))),
            None => Ok(()),
        }
    }

    fn copy(&mut self, walk: &Walk, name: &CStr, kind: FileType) -> Result<(), Error> {
        let path = walk.path_of(name.to_bytes());
        if kind == FileType::Socket {
            return Ok(());
        }
        let stat = crate::deed::statat(walk.dir()?, name).map_err(Error::io("stat", &path))?;
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&id) {
                return self.link(first, name, &path);
            }
            self.links.insert(id, path.clone());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.copy_file(walk.dir()?, name, &path, &stat),
            FileType::Symlink => {
                let target = read_link_at(walk.dir()?, OsStr::from_bytes(name.to_bytes()))
                    .map_err(Error::io("read the link", &path))?
                    .into_vec();
                self.replacing(name, &path, |dir| rustix::fs::symlinkat(&target, dir, name))?;
                self.dress_name(name, &stat, &path)
            }
            kind => {
                let make = |dir: BorrowedFd<'_>| {
                    rustix::fs::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)
                };
                match self.replacing(name, &path, make) {
                    Err(Error::Io { path, source, .. })
                        if source.kind() == std::io::ErrorKind::PermissionDenied =>
                    {
                        return Err(Error::Device { path, source });
                    }
                    made => made?,
                }
                self.dress_name(name, &stat, &path)
            }
        }
    }

    fn copy_file(
        &self,
        source: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        stat: &Stat,
    ) -> Result<(), Error> {
        let fd = open_file(source, name).map_err(Error::io("open", path))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let new =
            self.replacing(name, path, |dir| crate::interrupted::openat(dir, name, flags, mode))?;
        let (mut from, mut to) = (File::from(fd), File::from(new));
        // The standard library lets the kernel copy where it can.
        std::io::copy(&mut from, &mut to).map_err(Error::io("copy", path))?;
        let xattrs = Carrier::Open(from.as_fd());
        let names = xattrs.names().map_err(Error::io("list the attributes of", path))?;
        self.dress(to.as_fd(), stat).map_err(Error::io("set the mode of", path))?;
        if names.is_empty() {
            return Ok(());
        }
        for (name, value) in
            xattrs.travelling(&names).map_err(Error::io("read the attributes of", path))?
        {
            match Carrier::Open(to.as_fd()).set(&name, &value) {
                // The host's file system or the user's rights have no place for it: the file is worth having without.
                Ok(()) | Err(Errno::PERM | Errno::NOTSUP | Errno::ACCESS) => {}
                Err(errno) => return Err(Error::io("set the attributes of", path)(errno)),
            }
        }
        Ok(())
    }

    fn link(&self, first: &Path, name: &CStr, path: &Path) -> Result<(), Error> {
        let first = first.strip_prefix("/").unwrap_or(first);
        let dir = self.open_beneath(first.parent().unwrap_or(Path::new("")))?;
        let first = first.file_name().unwrap_or_default();
        self.replacing(name, path, |to| rustix::fs::linkat(&dir, first, to, name, AtFlags::empty()))
    }

    /// Makes something under `name`; what is there already (unless a directory) gives way.
    fn replacing<T>(
        &self,
        name: &CStr,
        path: &Path,
        make: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        let dir = self.dir.as_fd();
        let made = match make(dir) {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(dir, name, AtFlags::empty())
                    .map_err(Error::io("replace", path))?;
                make(dir)
            }
            made => made,
        };
        made.map_err(Error::io("create", path))
    }

    fn has_dir(&self, name: &CStr) -> bool {
        rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// Sets owner, mode and times of a link, a device or a FIFO that was just made, none of which may be opened.
    fn dress_name(&self, name: &CStr, stat: &Stat, path: &Path) -> Result<(), Error> {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::chownat(&self.dir, name, Some(uid), Some(gid), nofollow) {
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(errno) => return Err(Error::io("set the owner of", path)(errno)),
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            rustix::fs::chmodat(
                &self.dir,
                name,
                Mode::from_raw_mode(stat.st_mode),
                AtFlags::empty(),
            )
            .map_err(Error::io("set the mode of", path))?;
        }
        rustix::fs::utimensat(&self.dir, name, &self.times(stat), nofollow)
            .map_err(Error::io("set the times of", path))
    }

    /// Sets owner, mode and times of a file or directory.
    fn dress(&self, fd: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let mut mode = stat.st_mode & 0o7777;
        match rustix::fs::fchown(fd, Some(uid), Some(gid)) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::INVAL) => mode &= !SET_ID,
            Err(errno) => return Err(errno),
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?;
        rustix::fs::futimens(fd, &self.times(stat))
    }

    fn times(&self, stat: &Stat) -> Timestamps {
        self.time.unwrap_or_else(|| mtime_of(stat)).to_timestamps()
    }

    fn open_beneath(&self, path: &Path) -> Result<OwnedFd, Error> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let open = || rustix::fs::openat2(&self.dest_root, path, flags, Mode::empty(), resolve);
        rustix::io::retry_on_intr(open).map_err(Error::io("open", path))
    }
}
