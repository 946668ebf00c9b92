//! Room in the store: a build that was given a limit begins no step beyond it.

use crate::{Engine, Error, schedule::Build};

/// Below so many bytes a disk is full: less than a page of each file that somebody is writing.
const FULL: u64 = 128 << 10;

/// Removes what is cached, unused for the longest time first, until the store is within the limit of a build.
///
/// # Errors
/// [`Error::StorageLimit`]: images, containers and what processes use now take more than that.
pub(crate) fn make(build: &Build) -> Result<(), Error> {
    let Some(limit) = build.request.storage_limit else { return Ok(()) };
    let size = keep(&build.engine, limit)?;
    if size > limit {
        return Err(Error::StorageLimit { limit, size });
    }
    Ok(())
}

/// The same as far as it goes; returns how many bytes the store has then.
pub(crate) fn keep(engine: &Engine, limit: u64) -> Result<u64, Error> {
    let (_, size) = engine.store.keep_within(limit)?;
    Ok(size.total())
}

/// Says that a command has ended with a full disk, if it has: what the command itself says of that may be anything.
pub(crate) fn explain(engine: &Engine, error: Error) -> Error {
    let disk = rustix::fs::statvfs(engine.store.root());
    let is_full = disk.is_ok_and(|disk| disk.f_bavail * disk.f_frsize < FULL);
    match error {
        Error::Command { command, code, ending, tail, .. } if is_full => {
            let ending = format!("{ending}; the disk of the store was full");
            Error::Command { command, code, ending, tail, disk_full: true }
        }
        error => error,
    }
}
