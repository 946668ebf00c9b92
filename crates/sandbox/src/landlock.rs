//! Landlock: what a process without namespaces can still reach of the file system, and of other processes; and what one
//! that shares the host's network can reach of those.
//!
//! It keeps files outside from being opened, made, renamed and removed, also by a process that gets hold of a directory
//! outside its root; it does not keep their modes and owners from being changed there, for which the changed root directory
//! has to do. It keeps processes outside from being traced, and, since Linux 6.12, from being signalled and from being met
//! at abstract sockets.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use crate::Error;
use crate::sys;

/// `LANDLOCK_ACCESS_FS_…`: how many rights each version of the interface knows, all of the first on.
const RIGHTS: &[(u32, u32)] = &[(1, 13), (2, 14), (3, 15), (5, 16)];

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`, and the version that has them.
const SOCKETS: u64 = 0b01;
const SIGNALS: u64 = 0b10;
const SCOPES: u32 = 6;

/// The version of the kernel's Landlock; an error if there is none.
pub(crate) fn version() -> io::Result<u32> {
    sys::landlock_version()
}

/// Keeps this process, and all that come from it, from meeting those outside at abstract sockets, which belong to the network:
/// where that is the host's, nothing else is between them and whoever listens there (CVE-2020-15257). Needs CAP_SYS_ADMIN.
///
/// A kernel that does not know how is no reason to stop.
pub(crate) fn keep_from_named_sockets() -> Result<(), Error> {
    if version().is_ok_and(|version| version >= SCOPES) {
        let failed = "keep programs from the sockets of the host";
        let ruleset = sys::landlock_ruleset(0, SOCKETS).map_err(Error::setup(failed))?;
        sys::landlock_enforce(&ruleset).map_err(Error::setup(failed))?;
    }
    Ok(())
}

/// Rules that leave a process nothing but what is below one directory.
pub(crate) struct Rules(OwnedFd);

impl Rules {
    pub(crate) fn below(root: BorrowedFd<'_>) -> Result<Self, Error> {
        let failed = "set up Landlock";
        let version = version().map_err(Error::setup(failed))?;
        let known = RIGHTS.iter().filter(|(since, _)| *since <= version);
        let files = known.map(|(_, count)| (1_u64 << count) - 1).max().unwrap_or(0);
        let scopes = if version >= SCOPES { SOCKETS | SIGNALS } else { 0 };
        let ruleset = sys::landlock_ruleset(files, scopes).map_err(Error::setup(failed))?;
        sys::landlock_allow(&ruleset, root, files).map_err(Error::setup(failed))?;
        Ok(Self(ruleset))
    }

    /// Enforces them, for good. Privileges cannot be gained any more.
    pub(crate) fn enforce(&self) -> Result<(), Error> {
        rustix::thread::set_no_new_privs(true)
            .map_err(Error::setup("keep programs from gaining rights"))?;
        sys::landlock_enforce(&self.0).map_err(Error::setup("enforce Landlock"))
    }
}
