//! Whom files belong to: changed only where it differs, and what a builder without privileges may skip. How a file is given
//! to somebody is in [`deed`](mod@crate::deed).

use std::os::fd::BorrowedFd;

use rustix::{
    fs::{FileType, Stat},
    io::Errno,
};

use crate::deed;

/// A user and a group id.
pub(crate) type Owner = (u32, u32);

/// Gives an open file to `owner`; `now` is its state. Says whether there was anything to do.
pub(crate) fn change(fd: BorrowedFd<'_>, now: &Stat, owner: Owner) -> Result<bool, Errno> {
    if (now.st_uid, now.st_gid) == owner {
        return Ok(false);
    }
    tolerate(deed::give(fd, owner), owner)?;
    Ok(true)
}

/// Gives what `name` in `dir` is, of this kind and a link itself included, to `owner`.
pub(crate) fn change_at(
    dir: BorrowedFd<'_>,
    name: &std::ffi::OsStr,
    kind: FileType,
    owner: Owner,
) -> Result<(), Errno> {
    tolerate(deed::give_at(dir, name, kind, owner), owner)
}

/// A builder without any privilege stands for root itself: what shall be 0:0 stays its own, and is 0:0 in the layer.
/// Any other owner it cannot give is an error.
fn tolerate(result: Result<(), Errno>, owner: Owner) -> Result<(), Errno> {
    match result {
        Err(Errno::PERM | Errno::INVAL)
            if owner == (0, 0) && !rustix::process::geteuid().is_root() =>
        {
            Ok(())
        }
        result => result,
    }
}
