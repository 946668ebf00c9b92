//! Putting things where a program expects them, where nothing can be mounted; and taking them out again, so that its root
//! is as if they had never been there.
//!
//! What is at a place already gives way to the directory aside and comes back. Directories and their times are looked at by
//! descriptors, which lead to the same directory wherever the program moves it.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::Stat;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::Uid;
use rustix::io::Errno;

use crate::Error;
use crate::rootfs;
use crate::target;
use crate::target::Kind;
use crate::target::Root;
use crate::target::Stub;
use crate::wire::MountJob;
use crate::wire::SourceJob;

/// The places of one root.
pub(super) struct Places<'a> {
    root: BorrowedFd<'a>,
    aside: BorrowedFd<'a>,
    made: usize,
    /// What was made for the place that is being taken.
    stubs: Vec<Stub>,
    taken: Vec<Taken>,
}

/// A place that something was put at.
struct Taken {
    directory: OwnedFd,
    name: OsString,
    /// The same as a path, relative to the root.
    path: PathBuf,
    /// When its directory was changed: before, and by this.
    before: Timespec,
    after: Timespec,
    /// What was there is aside under this name.
    aside: String,
    /// What was made to have the place; it goes before the place that was taken before this one is left, as each has the times
    /// of the other.
    stubs: Vec<Stub>,
    /// What was put there, by device and inode, and where that comes from; nothing for what goes again.
    lent: Option<(PathBuf, (u64, u64))>,
}

impl<'a> Places<'a> {
    /// None yet.
    pub(super) fn new(root: BorrowedFd<'a>, aside: BorrowedFd<'a>) -> Result<Self, Error> {
        Ok(Self { root, aside, made: 0, stubs: Vec::new(), taken: Vec::new() })
    }

    /// Puts one of the caller's things; `contents` are those of the files that are still to be put.
    pub(super) fn put(&mut self, mount: &MountJob, contents: &mut &[u8]) -> Result<(), Error> {
        let failed = |kind: &str| {
            let (kind, target) = (kind.to_owned(), mount.target.clone());
            move |source: io::Error| Error::Mount { kind, target, source }
        };
        let needs = |what: &str| Err(Error::NeedsNamespaces { what: what.to_owned() });
        match &mount.source {
            SourceJob::File { length, mode, uid, gid } => {
                let length = usize::try_from(*length).unwrap_or(usize::MAX).min(contents.len());
                let (content, rest) = contents.split_at(length);
                *contents = rest;
                let made = self.file(content, *mode, (*uid, *gid)).map_err(failed("a file"))?;
                self.put_made(&mount.target, Kind::File, &made)
            }
            SourceJob::Tmpfs { mode, uid, gid, .. } => {
                let made = self.directory(*mode, (*uid, *gid)).map_err(failed("a directory"))?;
                self.put_made(&mount.target, Kind::Directory, &made)
            }
            SourceJob::Lent(path) => {
                let stat = rustix::fs::lstat(path)
                    .map_err(|errno| failed("a directory of the store")(errno.into()))?;
                let kind = match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => Kind::Directory,
                    _ => Kind::File,
                };
                let lent = Some((path.clone(), identity(&stat)));
                self.put_at(&mount.target, kind, (CWD, path.as_os_str()), lent)
            }
            SourceJob::Detached(_) | SourceJob::Within { .. } => needs("a mount"),
            SourceJob::Bind(path) | SourceJob::BindAlone(path) => {
                needs(&format!("mounting `{}`", path.display()))
            }
        }
    }

    /// A new directory aside, by its name, and open.
    pub(super) fn workshop(&mut self, mode: u32) -> io::Result<(String, OwnedFd)> {
        let name = self.directory(mode, (0, 0))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::openat(self.aside, &name, flags, Mode::empty())?;
        Ok((name, open))
    }

    /// Puts something that was made aside at a directory of the root itself, which must not be a symbolic link.
    pub(super) fn put_own(&mut self, name: &str, made: &str) -> Result<(), Error> {
        Root::new(self.root, &mut self.stubs)
            .map_err(Error::setup("look at the root"))?
            .own_directory(name)?;
        let directory = self.root.try_clone_to_owned().map_err(Error::setup("open the root"))?;
        let place = (directory, OsString::from(name), PathBuf::from(name));
        self.exchange(place, (self.aside, OsStr::new(made)), None)
    }

    fn put_made(&mut self, target: &str, kind: Kind, made: &str) -> Result<(), Error> {
        self.put_at(target, kind, (self.aside, OsStr::new(made)), None)
    }

    fn put_at(
        &mut self,
        target: &str,
        kind: Kind,
        from: (BorrowedFd<'_>, &OsStr),
        lent: Option<(PathBuf, (u64, u64))>,
    ) -> Result<(), Error> {
        let failed = |source: Errno| Error::Mount {
            kind: "a file or directory".to_owned(),
            target: target.to_owned(),
            source: source.into(),
        };
        let mut root = Root::new(self.root, &mut self.stubs).map_err(failed)?;
        let place = rootfs::place_of_mount(&mut root, target, kind, "a file or directory")?;
        let (Some(parent), Some(name)) = (place.path.parent(), place.path.file_name()) else {
            return Err(Error::MountTarget { target: target.to_owned() });
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = target::resolve(self.root, parent, flags, beneath).map_err(failed)?;
        let name = name.to_owned();
        self.exchange((directory, name, place.path), from, lent)
    }

    /// Puts one thing at a place, and what is there aside.
    fn exchange(
        &mut self,
        (directory, name, path): (OwnedFd, OsString, PathBuf),
        (from, what): (BorrowedFd<'_>, &OsStr),
        lent: Option<(PathBuf, (u64, u64))>,
    ) -> Result<(), Error> {
        let action = format!("put something at `/{}`", path.display());
        let failed = |errno: Errno| Error::Setup { action: action.clone(), source: errno.into() };
        let before = modified(directory.as_fd()).map_err(failed)?;
        let aside = self.next_name();
        rustix::fs::renameat(&directory, &name, self.aside, &aside).map_err(failed)?;
        let put = rustix::fs::renameat(from, what, &directory, &name);
        let after = modified(directory.as_fd()).map_err(failed)?;
        let stubs = std::mem::take(&mut self.stubs);
        self.taken.push(Taken { directory, name, path, before, after, aside, stubs, lent });
        put.map_err(failed)
    }

    /// Takes everything out again, the last first. Returns where it was.
    pub(super) fn take_back(mut self) -> Result<Vec<PathBuf>, Error> {
        let mut covered = Vec::new();
        while let Some(taken) = self.taken.pop() {
            let path = taken.path.clone();
            let stubs = taken.stubs.clone();
            self.take_back_one(taken).map_err(|source| Error::Setup {
                action: format!("take what was put at `/{}` out again", path.display()),
                source,
            })?;
            target::remove(self.root, &stubs)?;
            covered.push(path);
        }
        target::remove(self.root, &self.stubs)?;
        Ok(covered)
    }

    fn take_back_one(&mut self, taken: Taken) -> io::Result<()> {
        let Taken { directory, name, before, after, aside, lent, .. } = taken;
        let now = modified(directory.as_fd())?;
        self.remove_placed(&directory, &name, lent)?;
        match rustix::fs::renameat(self.aside, &aside, &directory, &name) {
            // The program has removed the directory, and with it what would be there.
            Err(Errno::NOENT) => return Ok(()),
            renamed => renamed?,
        }
        // As if nothing had been there; but a time that somebody else has set is kept.
        let time = if now == after { before } else { now };
        let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        let times = Timestamps { last_access: omit, last_modification: time };
        Ok(rustix::fs::futimens(&directory, &times)?)
    }

    /// Clears the place: what was lent goes back, everything else goes.
    fn remove_placed(
        &mut self,
        directory: &OwnedFd,
        name: &OsStr,
        lent: Option<(PathBuf, (u64, u64))>,
    ) -> io::Result<()> {
        let there = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(identity(&stat)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        match lent {
            Some((home, lent)) if there == Some(lent) => {
                rustix::fs::renameat(directory, name, CWD, &home)?;
            }
            lent => {
                if there.is_some() {
                    let trash = self.next_name();
                    rustix::fs::renameat(directory, name, self.aside, &trash)?;
                    remove(self.aside, &trash)?;
                }
                // The program has removed or moved it. The owner expects at least a directory.
                if let Some((home, _)) = lent
                    && std::fs::symlink_metadata(&home).is_err()
                {
                    let made = std::fs::create_dir(&home);
                    made.or_else(|error| match error.kind() {
                        io::ErrorKind::AlreadyExists => Ok(()),
                        _ => Err(error),
                    })?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, content: &[u8], mode: u32, owner: (u32, u32)) -> io::Result<String> {
        let name = self.next_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.aside, &name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        file.write_all(content)?;
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(name)
    }

    fn directory(&mut self, mode: u32, owner: (u32, u32)) -> io::Result<String> {
        let name = self.next_name();
        rustix::fs::mkdirat(self.aside, &name, Mode::RWXU)?;
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(self.aside, &name, Some(uid), Some(gid), no_follow)?;
        rustix::fs::chmodat(self.aside, &name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        Ok(name)
    }

    fn next_name(&mut self) -> String {
        self.made += 1;
        self.made.to_string()
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn modified(directory: BorrowedFd<'_>) -> Result<Timespec, Errno> {
    let stat = rustix::fs::fstat(directory)?;
    Ok(Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ })
}

/// Removes something in a directory that is ours, with all below it.
fn remove(directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()));
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => std::fs::remove_dir_all(path),
        removed => Ok(removed?),
    }
}
