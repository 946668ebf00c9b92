//! Extended attributes: which of them travel in layers, and reading and setting them with as few calls as possible.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::{
    fs::{
        XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, lgetxattr, llistxattr,
        lremovexattr, lsetxattr,
    },
    io::Errno,
};

use crate::deed::{capabilities, is_deed};

/// One attribute: its full name and its value.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// What nearly every list of names and every value fits in.
const FIRST_TRY: usize = 1024;

/// The kernel's own limit for a list and for a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAX: usize = 64 * 1024;

/// Says whether an attribute belongs to the file rather than to the machine it lies on.
///
/// A deed is in the owner that is told ([`deed`](mod@crate::deed)).
///
/// overlay's own marks would change the meaning of a layer; labels and measurements of security modules are made anew by
/// the machine that runs the image. File capabilities are the one `security.*` attribute that images rely on.
pub(crate) fn travels(name: &[u8]) -> bool {
    let prefixes: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs."];
    let overlay = prefixes.iter().any(|prefix| name.starts_with(prefix));
    let security = name.starts_with(b"security.") && name != b"security.capability";
    !overlay && !security && !name.starts_with(oci::Deed::PREFIX.as_bytes())
}

/// What carries the attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Carrier<'a> {
    /// A regular file or a directory that is open, though not with `O_PATH`.
    Open(BorrowedFd<'a>),
    /// A link, a device or a FIFO, which must not be opened: a path made by [`path_through`]. Not followed.
    Path(&'a [u8]),
}

/// Returns the path of `name` in `dir` for the calls that take no directory descriptor.
///
/// The link in `/proc` leads to the open directory itself, whatever is mounted or renamed meanwhile.
pub(crate) fn path_through(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

impl Carrier<'_> {
    /// Returns the names of all attributes, each ended by NUL; empty where the file system has none at all.
    pub(crate) fn names(self) -> Result<Vec<u8>, Errno> {
        let list = sized(|buffer| match self {
            Self::Open(fd) => flistxattr(fd, buffer),
            Self::Path(path) => llistxattr(path, buffer),
        });
        match list {
            Err(Errno::NOTSUP) => Ok(Vec::new()),
            list => list,
        }
    }

    /// Returns the value of one attribute; `None` when it is not there.
    pub(crate) fn value(self, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let value = sized(|buffer| match self {
            Self::Open(fd) => fgetxattr(fd, name, buffer),
            Self::Path(path) => lgetxattr(path, name, buffer),
        });
        match value {
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            value => value.map(Some),
        }
    }

    /// Sets one attribute.
    pub(crate) fn set(self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        let name = kept_as(name);
        match self {
            Self::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Path(path) => lsetxattr(path, name, value, XattrFlags::empty()),
        }
    }

    /// Removes one attribute.
    pub(crate) fn remove(self, name: &[u8]) -> Result<(), Errno> {
        let name = kept_as(name);
        match self {
            Self::Open(fd) => fremovexattr(fd, name),
            Self::Path(path) => lremovexattr(path, name),
        }
    }

    /// Returns the attributes that travel, sorted by name. One call where there are none.
    pub(crate) fn all_travelling(self) -> Result<Vec<Xattr>, Errno> {
        self.travelling(&self.names()?)
    }

    /// The same of a file that is not kiln's: no attribute is kept under another name there.
    pub(crate) fn all_travelling_of_others(self) -> Result<Vec<Xattr>, Errno> {
        self.travelling_as(&self.names()?, |name| name)
    }

    /// Returns those of the attributes `names` that travel, sorted by name.
    pub(crate) fn travelling(self, names: &[u8]) -> Result<Vec<Xattr>, Errno> {
        self.travelling_as(names, name_of)
    }

    fn travelling_as(
        self,
        names: &[u8],
        name_of: impl Fn(&[u8]) -> &[u8],
    ) -> Result<Vec<Xattr>, Errno> {
        let mut xattrs = Vec::new();
        for kept in names.split(|byte| *byte == 0) {
            let name = name_of(kept);
            if !name.is_empty()
                && travels(name)
                && let Some(value) = self.value(kept)?
                && !is_deed(name, &value)
            {
                xattrs.push((name.to_vec(), value));
            }
        }
        xattrs.sort();
        Ok(xattrs)
    }
}

/// The name under which an attribute is kept.
fn kept_as(name: &[u8]) -> &[u8] {
    match name == oci::Deed::CAPABILITY.as_bytes() {
        true => capabilities().as_bytes(),
        false => name,
    }
}

/// The name of an attribute that is kept under this one.
fn name_of(kept: &[u8]) -> &[u8] {
    match kept == capabilities().as_bytes() {
        true => oci::Deed::CAPABILITY.as_bytes(),
        false => kept,
    }
}

/// Calls with a buffer that is nearly always large enough, and once more with the largest there can be.
fn sized(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; FIRST_TRY];
    match call(&mut small) {
        Ok(length) => Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut buffer = vec![0; MAX];
            let length = call(&mut buffer)?;
            buffer.truncate(length);
            Ok(buffer)
        }
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_travels() {
        for name in ["user.a", "security.capability", "trusted.a", "system.posix_acl_access"] {
            assert!(travels(name.as_bytes()), "{name}");
        }
        for name in [
            "trusted.overlay.opaque",
            "user.overlay.origin",
            "user.fuseoverlayfs.origin",
            "trusted.overlay.overlay.opaque",
            "security.selinux",
            "security.ima",
            "user.kiln.deed",
            "user.kiln.mode",
        ] {
            assert!(!travels(name.as_bytes()), "{name}");
        }
    }
}
