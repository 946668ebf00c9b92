//! The marks of deletions that `fuse-overlayfs` leaves in an upper directory, written as the kernel's overlay has them, so that
//! a snapshot is the same whoever served the mount.
//!
//! | | `fuse-overlayfs` (1.10) | the kernel, with `userxattr` |
//! |---|---|---|
//! | `name` is deleted | a character device 0:0 `name`; a file `.wh.name` where it may make no devices | the device |
//! | nothing below shows in `dir` | files `dir/.wh..wh..opq` and `dir/.wh..opq`, the attribute `user.fuseoverlayfs.opaque` | the attribute `user.overlay.opaque` |
//! | a file was copied up | the attribute `user.fuseoverlayfs.origin` | – |
//!
//! The last ones do not travel (`crate::xattr`), and stay where they are.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType},
    io::Errno,
};

use crate::{
    Error, Flavour, RootDir,
    pack::walk::{Visit, Walk, open_dir},
    settle::keeping_times_of,
    whiteout::{self, Meaning},
};

/// A whiteout of nothing, which the program makes together with the mark of an opaque directory.
const BESIDE_OPAQUE: &[u8] = b".wh..opq";

/// Writes the marks in `upper` as `flavour` has them. The program may still serve it, and a container may go on there: what it
/// takes away or replaces meanwhile is left alone.
///
/// # Errors
/// The operating system's; [`Error::Changed`] if somebody moves directories about meanwhile. Each mark is in one form or the
/// other then, so that it can be done again.
pub fn adopt_marks(upper: &Path, flavour: Flavour) -> Result<(), Error> {
    let root = RootDir::open(upper)?;
    let top = open_dir(root.as_fd(), c".").map_err(Error::io("open", "/"))?;
    let mut walk = Walk::new(top)?;
    while let Some(visit) = walk.next()? {
        let Visit::Name(name, kind) = visit else { continue };
        if kind == FileType::Directory {
            match open_dir(walk.dir()?, &name) {
                // Not what it was when its name was read.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                opened => {
                    let path = || walk.path_of(name.to_bytes());
                    let directory = opened.map_err(Error::io("open", path()))?;
                    walk.enter(directory, &name)?;
                }
            }
        } else if name.to_bytes().starts_with(whiteout::PREFIX) {
            let path = walk.path_of(name.to_bytes());
            adopt(walk.dir()?, &name, &path, flavour)?;
        }
    }
    Ok(())
}

/// Writes one mark, if `name` is one; `path` is what messages call it.
fn adopt(
    directory: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
    flavour: Flavour,
) -> Result<(), Error> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        // Taken away since its directory was read, together with what stood beside it.
        Err(Errno::NOENT) => return Ok(()),
        stat => stat.map_err(Error::io("look at", path))?,
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if name.to_bytes() == BESIDE_OPAQUE && kind == FileType::CharacterDevice {
        return remove_mark(directory, name, path);
    }
    if kind != FileType::RegularFile || stat.st_size != 0 {
        return Ok(());
    }
    match whiteout::meaning(name.to_bytes()) {
        Meaning::Opaque => {
            flavour.make_opaque(directory).map_err(Error::io("make opaque, by", path))?;
            remove_mark(directory, name, path)
        }
        Meaning::Whiteout(hidden) => {
            keeping_times_of(directory, path, || match flavour.make_whiteout(directory, hidden) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(Error::io("make a whiteout instead of", path)(errno)),
            })?;
            remove_mark(directory, name, path)
        }
        Meaning::Entry | Meaning::Meta | Meaning::Invalid => Ok(()),
    }
}

/// Removes a file that the program has made for itself.
fn remove_mark(directory: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<(), Error> {
    keeping_times_of(directory, path, || {
        rustix::fs::unlinkat(directory, name, AtFlags::empty()).map_err(Error::io("remove", path))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use rustix::fs::{CWD, Mode, OFlags, lstat, mknodat};

    use super::*;
    use crate::test_data::TempDir;

    #[test]
    fn marks_in_names_become_the_kernels() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make whiteouts everywhere");
            return;
        }
        let upper = std::env::temp_dir().join(format!("kiln-adopt-{}", std::process::id()));
        let at = |name: &str| -> PathBuf { upper.join(name) };
        fs::create_dir_all(at("d/e")).unwrap();
        for name in ["d/.wh..wh..opq", "d/e/.wh.gone", "d/kept", "d/.wh..wh.plnk"] {
            fs::write(at(name), "").unwrap();
        }
        fs::write(at("d/e/.wh.contents"), "not a mark").unwrap();
        mknodat(CWD, at("d/.wh..opq"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        let old = lstat(at("d")).unwrap();
        adopt_marks(&upper, Flavour::Trusted).unwrap();

        let has = |name: &str| lstat(at(name)).is_ok();
        for name in ["d/.wh..wh..opq", "d/.wh..opq", "d/e/.wh.gone"] {
            assert!(!has(name), "{name}");
        }
        assert!(["d/kept", "d/e/.wh.contents"].into_iter().all(has));
        let is_opaque = |name: &str| {
            let directory = fs::File::open(at(name)).unwrap();
            Flavour::Trusted.is_opaque(directory.as_fd()).unwrap()
        };
        assert!(is_opaque("d") && !is_opaque("d/e"));
        let gone = lstat(at("d/e/gone")).unwrap();
        assert!(FileType::from_raw_mode(gone.st_mode).is_char_device() && gone.st_rdev == 0);
        let new = lstat(at("d")).unwrap();
        assert_eq!((old.st_mtime, old.st_mtime_nsec), (new.st_mtime, new.st_mtime_nsec));
        // Once more changes nothing.
        adopt_marks(&upper, Flavour::Trusted).unwrap();
        fs::remove_dir_all(&upper).unwrap();
    }

    /// A tree is as deep and its links lead as far as whoever has written it wants.
    #[test]
    fn it_stays_in_the_tree() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make whiteouts everywhere");
            return;
        }
        let dir = TempDir::new();
        let (upper, outside) = (dir.path().join("upper"), dir.path().join("outside"));
        for path in [&upper, &outside] {
            fs::create_dir(path).unwrap();
        }
        fs::write(outside.join(".wh.kept"), "").unwrap();
        std::os::unix::fs::symlink(&outside, upper.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.join(".wh.kept"), upper.join(".wh.link")).unwrap();
        let root = dir.root().open_root(Path::new("upper")).unwrap();
        let mut deep = root.as_fd().try_clone_to_owned().unwrap();
        for _ in 0..2500 {
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
            deep = open_dir(deep.as_fd(), c"d").unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        rustix::fs::openat(&deep, ".wh.gone", flags, Mode::RUSR).unwrap();

        adopt_marks(&upper, Flavour::User).unwrap();
        let has = |name: &str| rustix::fs::statat(&deep, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        assert!(has("gone") && !has(".wh.gone"), "further down than a path can say");
        assert!(outside.join(".wh.kept").exists() && !outside.join("kept").exists());
        assert!(upper.join(".wh.link").is_symlink());
        // Not even the standard library gets as far down.
        assert!(
            std::process::Command::new("rm").arg("-rf").arg(&upper).status().unwrap().success()
        );
    }
}
