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
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt},
        },
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};
use walkdir::{DirEntry, WalkDir};

use crate::{
    Error, Flavour,
    interrupted::openat,
    settle::keeping_times_of,
    whiteout::{self, Meaning},
};

/// A whiteout of nothing, which the program makes together with the mark of an opaque directory.
const BESIDE_OPAQUE: &[u8] = b".wh..opq";

/// Writes the marks in `upper` as `flavour` has them. Nobody writes there meanwhile; the program may still serve it.
///
/// # Errors
/// The operating system's. Each mark is in one form or the other then, so that it can be done again.
pub fn adopt_marks(upper: &Path, flavour: Flavour) -> Result<(), Error> {
    for entry in WalkDir::new(upper).min_depth(1) {
        let entry = match entry {
            Ok(entry) => entry,
            // Taken away since its directory was read, together with what stood beside it.
            Err(error)
                if error.io_error().is_some_and(|it| it.kind() == io::ErrorKind::NotFound) =>
            {
                continue;
            }
            Err(error) => {
                let path = error.path().unwrap_or(upper).to_owned();
                let source = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
                return Err(Error::Io { action: "list", path, source });
            }
        };
        if !entry.file_name().as_bytes().starts_with(whiteout::PREFIX) {
            continue;
        }
        adopt(&entry, flavour)?;
    }
    Ok(())
}

fn adopt(entry: &DirEntry, flavour: Flavour) -> Result<(), Error> {
    let (path, name) = (entry.path(), entry.file_name().as_bytes());
    let Some(directory) = path.parent() else { return Ok(()) };
    if name == BESIDE_OPAQUE && entry.file_type().is_char_device() {
        return remove_mark(directory, path);
    }
    let is_mark =
        entry.file_type().is_file() && entry.metadata().is_ok_and(|metadata| metadata.size() == 0);
    match whiteout::meaning(name) {
        Meaning::Opaque if is_mark => {
            let opaque = flavour.make_opaque(open(directory)?.as_fd());
            opaque.map_err(Error::io("make opaque", directory))?;
            remove_mark(directory, path)
        }
        Meaning::Whiteout(hidden) if is_mark => {
            let open = open(directory)?;
            keeping_times_of(&open, path, || match flavour.make_whiteout(open.as_fd(), hidden) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(Error::io("make a whiteout instead of", path)(errno)),
            })?;
            remove_mark(directory, path)
        }
        _ => Ok(()),
    }
}

/// Removes a file that the program has made for itself.
fn remove_mark(directory: &Path, path: &Path) -> Result<(), Error> {
    keeping_times_of(open(directory)?, path, || {
        rustix::fs::unlinkat(CWD, path, AtFlags::empty()).map_err(Error::io("remove", path))
    })
}

fn open(directory: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, directory, flags, Mode::empty()).map_err(Error::io("open", directory))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use rustix::fs::{FileType, lstat, mknodat};

    use super::*;

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
        assert!(Flavour::Trusted.is_opaque(open(&at("d")).unwrap().as_fd()).unwrap());
        assert!(!Flavour::Trusted.is_opaque(open(&at("d/e")).unwrap().as_fd()).unwrap());
        let gone = lstat(at("d/e/gone")).unwrap();
        assert!(FileType::from_raw_mode(gone.st_mode).is_char_device() && gone.st_rdev == 0);
        let new = lstat(at("d")).unwrap();
        assert_eq!((old.st_mtime, old.st_mtime_nsec), (new.st_mtime, new.st_mtime_nsec));
        // Once more changes nothing.
        adopt_marks(&upper, Flavour::Trusted).unwrap();
        fs::remove_dir_all(&upper).unwrap();
    }
}
