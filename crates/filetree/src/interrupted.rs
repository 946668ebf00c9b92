//! Opening what is in a directory, again when a signal comes in between: on file systems that ask somebody else (FUSE, NFS) the
//! kernel then gives up the question, and nothing has happened. What is opened by `openat2` is tried again in `root`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    path::Arg,
};

/// `openat(2)`.
pub(crate) fn openat<P: Arg + Copy>(
    directory: impl AsFd,
    path: P,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    rustix::io::retry_on_intr(|| rustix::fs::openat(&directory, path, flags, mode))
}
