//! Which user namespace this process is in, by what `/proc` tells of its ids.

use std::fs;
use std::io;
use std::path::Path;

use crate::Error;

const USERS: &str = "/proc/self/uid_map";
const GROUPS: &str = "/proc/self/gid_map";

/// The map of the first user namespace, which leads every id to itself.
const FIRST: &str = "0 0 4294967295";

/// Whether there is one user or one group only in this user namespace: no file can be given to anybody then.
///
/// # Errors
/// [`Error::OwnIds`]: what is not known is no reason to take one namespace for another.
pub(crate) fn has_one_id() -> Result<bool, Error> {
    Ok(is_one(&read(USERS)?) || is_one(&read(GROUPS)?))
}

/// Whether this is the first user namespace.
///
/// # Errors
/// [`Error::OwnIds`].
pub(super) fn are_of_first_namespace() -> Result<bool, Error> {
    Ok(read(USERS)?.split_whitespace().eq(FIRST.split_whitespace()))
}

fn read(path: &'static str) -> Result<String, Error> {
    match fs::read_to_string(path) {
        // A kernel without user namespaces: there is one for all. Without a `/proc` nothing can be told.
        Err(error) if error.kind() == io::ErrorKind::NotFound && has_proc() => Ok(FIRST.to_owned()),
        text => text.map_err(|source| Error::OwnIds { path, source }),
    }
}

fn has_proc() -> bool {
    Path::new("/proc/self/status").exists()
}

fn is_one(map: &str) -> bool {
    let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2));
    counts.eq(["1"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_or_several() {
        assert!(is_one("         0       1000          1\n"));
        assert!(!is_one("0 1000 1\n1 100000 65536\n"));
        assert!(!is_one(FIRST));
        assert!(!is_one(""));
    }
}
