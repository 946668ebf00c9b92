//! Removes trees of any depth and with any modes, by descriptors, with a constant number of them.
//!
//! What is removed came out of a build: directories nested ten thousand deep, without permission bits, with names of any
//! bytes, and, where a step may do all that root may, with the flags of `chattr +i`. So nothing is done by joined paths and nothing by recursion: a directory that is not empty is first moved up
//! into the top one, then emptied there.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, IFlags, Mode, OFlags},
    io::{Errno, Result},
};

/// Removes the entry `name` of `directory`, whatever it is, and returns how many bytes of its files the disk had.
///
/// A directory is emptied in place; when a call fails half-way, what is left is still below `name`.
pub(crate) fn remove_entry(directory: BorrowedFd<'_>, name: &CStr) -> Result<u64> {
    match unlink(directory, name) {
        Ok(freed) => return Ok(freed),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let opened = open(directory, name)?;
    let freed = remove_contents(opened.as_fd())?;
    releasing(directory, name, || rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR))?;
    Ok(freed)
}

/// Removes everything in `top`, which stays as an empty directory.
pub(crate) fn remove_contents(top: BorrowedFd<'_>) -> Result<u64> {
    let mut freed = 0;
    loop {
        let entries = list(top)?;
        if entries.is_empty() {
            return Ok(freed);
        }
        for (name, kind) in entries {
            if kind == FileType::Directory {
                freed += remove_directory(top, &name)?;
            } else {
                freed += unlink(top, &name)?;
            }
        }
    }
}

/// Removes the directory `name` of `top`; those of its directories that are not empty are moved up into `top`.
fn remove_directory(top: BorrowedFd<'_>, name: &CStr) -> Result<u64> {
    let mut freed = 0;
    let directory = open(top, name)?;
    for (inner, kind) in list(directory.as_fd())? {
        if kind != FileType::Directory {
            freed += unlink(directory.as_fd(), &inner)?;
            continue;
        }
        let remove = || rustix::fs::unlinkat(&directory, &inner, AtFlags::REMOVEDIR);
        match releasing(directory.as_fd(), &inner, remove) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => {
                move_up(directory.as_fd(), &inner, top)?;
            }
            Err(error) => return Err(error),
        }
    }
    releasing(top, name, || rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR))?;
    Ok(freed)
}

fn move_up(directory: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>) -> Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut may_change_mode = true;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let move_up = || rustix::fs::renameat(directory, name, top, format!(".up-{number}"));
        match releasing(directory, name, move_up) {
            Ok(()) => return Ok(()),
            // A name that an image has chosen; the next one is tried.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            // Moving a directory changes its `..`, for which it has to be writable; so has the one it leaves.
            Err(Errno::ACCESS) if may_change_mode => {
                may_change_mode = false;
                rustix::fs::fchmod(directory, Mode::RWXU)?;
                rustix::fs::chmodat(directory, name, Mode::RWXU, AtFlags::empty())?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Removes what is not a directory; returns the bytes that this frees, none while the file has further names.
fn unlink(directory: BorrowedFd<'_>, name: &CStr) -> Result<u64> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let unlink = || rustix::fs::unlinkat(directory, name, AtFlags::empty());
    match releasing(directory, name, unlink) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(directory, Mode::RWXU)?;
            unlink()?;
        }
        result => result?,
    }
    Ok(if stat.st_nlink > 1 { 0 } else { on_disk(&stat) })
}

/// Calls what takes the entry `name` out of `directory`; where flags of the two forbid that, they are cleared first.
fn releasing(directory: BorrowedFd<'_>, name: &CStr, take: impl Fn() -> Result<()>) -> Result<()> {
    match take() {
        Err(Errno::PERM) => {}
        result => return result,
    }
    release(directory);
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    // Nothing else has flags, and opening it might do something.
    if let FileType::RegularFile | FileType::Directory = FileType::from_raw_mode(stat.st_mode) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(entry) = rustix::fs::openat(directory, name, flags, Mode::empty()) {
            release(entry.as_fd());
        }
    }
    take()
}

/// Clears the flags by which nothing may be changed or removed. Whether that was allowed shows in what is tried next.
fn release(file: BorrowedFd<'_>) {
    const FORBIDDING: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);
    if let Ok(flags) = rustix::fs::ioctl_getflags(file)
        && flags.intersects(FORBIDDING)
    {
        let _ = rustix::fs::ioctl_setflags(file, flags.difference(FORBIDDING));
    }
}

/// Up to this size a file has no hole that is worth counting; and some file systems keep it where no blocks are counted.
const TOO_SMALL: u64 = 4096;

/// Returns how many bytes of a file that is no directory are on the disk: no more than it contains, holes are not; of a
/// symbolic link, its target. `filetree/src/measure.rs` counts in the same way.
pub(crate) fn on_disk(stat: &rustix::fs::Stat) -> u64 {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if size > TOO_SMALL => size.min(blocks.saturating_mul(512)),
        FileType::RegularFile | FileType::Symlink => size,
        _ => 0,
    }
}

/// Opens a directory for reading, if need be after giving ourselves the permission.
pub(crate) fn open(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Some file systems (FUSE, NFS) give a question up when a signal comes.
    let open =
        || rustix::io::retry_on_intr(|| rustix::fs::openat(directory, name, flags, Mode::empty()));
    match open() {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(directory, name, Mode::RWXU, AtFlags::empty())?;
            open()
        }
        result => result,
    }
}

/// Lists a directory's entries, in no order.
pub(crate) fn list(directory: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>> {
    let mut entries = Vec::new();
    for entry in rustix::io::retry_on_intr(|| Dir::read_from(directory))? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            known => known,
        };
        entries.push((name.to_owned(), kind));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;
    use crate::testing::Scratch;

    fn remove(scratch: &Scratch, name: &str) -> u64 {
        let directory = fs::File::open(scratch.path()).unwrap();
        remove_entry(directory.as_fd(), &CString::new(name).unwrap()).unwrap()
    }

    #[test]
    fn depth_beyond_the_longest_path_is_no_obstacle() {
        let scratch = Scratch::new("remove-deep");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = rustix::fs::open(scratch.path(), flags, Mode::empty()).unwrap();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "deeper", flags, Mode::empty()).unwrap();
        }
        drop(at);
        remove(&scratch, "deeper");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let scratch = Scratch::new("remove-links");
        let outside = scratch.path().join("outside");
        fs::create_dir_all(outside.join("in")).unwrap();
        fs::write(outside.join("in/file"), "kept").unwrap();
        let tree = scratch.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink("/", tree.join("a/b/root")).unwrap();
        fs::write(tree.join(".up-0"), "a name that is in the way").unwrap();
        remove(&scratch, "tree");
        assert!(!tree.exists());
        assert_eq!(fs::read_to_string(outside.join("in/file")).unwrap(), "kept");
    }

    /// By root, on a file system that has such flags; where they cannot be set, they are in nobody's way.
    #[test]
    fn flags_are_no_obstacle() {
        let scratch = Scratch::new("remove-flags");
        let tree = scratch.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/file"), "file").unwrap();
        fs::write(tree.join("a/log"), "log").unwrap();
        symlink("log", tree.join("a/b/link")).unwrap();
        for (name, flag) in [
            ("a/b/file", IFlags::IMMUTABLE),
            ("a/log", IFlags::APPEND),
            ("a/b/c", IFlags::APPEND),
            ("a/b", IFlags::IMMUTABLE),
            ("a", IFlags::IMMUTABLE),
            ("", IFlags::APPEND),
        ] {
            let file = fs::File::open(tree.join(name)).unwrap();
            let _ = rustix::fs::ioctl_setflags(&file, flag);
        }
        assert_eq!(remove(&scratch, "tree"), 10);
        assert!(!tree.exists());
    }

    #[test]
    fn modes_are_no_obstacle_and_bytes_are_counted() {
        let scratch = Scratch::new("remove-modes");
        let closed = scratch.path().join("tree/closed");
        fs::create_dir_all(closed.join("inner/most")).unwrap();
        fs::write(closed.join("file"), vec![1; 10_000]).unwrap();
        fs::hard_link(closed.join("file"), closed.join("inner/most/same")).unwrap();
        fs::File::create(closed.join("holes")).unwrap().set_len(1 << 40).unwrap();
        for mode in [0o000, 0o500] {
            fs::set_permissions(closed.join("inner"), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let freed = remove(&scratch, "tree");
        assert_eq!(freed, 10_000, "a file with two names counts once, and holes do not");
        assert!(!scratch.path().join("tree").exists());
    }
}
