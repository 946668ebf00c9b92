//! How deletions are written: as names in a layer, as devices and attributes in a snapshot. What to do with them is in
//! [`pack`](mod@crate::pack) and [`unpack`](mod@crate::unpack).
//!
//! | | in a layer (OCI image specification, "Whiteouts") | in a snapshot (overlay's upper directory) |
//! |---|---|---|
//! | `name` is deleted | an empty file `.wh.name` | a character device 0:0 `name` |
//! | nothing below shows in `dir` | an empty file `dir/.wh..wh..opq` | `dir` has the attribute `….overlay.opaque` = `y` |
//!
//! Where overlay is out of reach, snapshots have the marks of the layer: what stands on an overlay itself can make neither
//! of its own.

use std::os::fd::BorrowedFd;

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use crate::xattr::Carrier;

/// What a whiteout's name begins with.
pub(crate) const PREFIX: &[u8] = b".wh.";

/// What the names begin with that AUFS kept for itself. Old layers carry some; they mean nothing.
pub(crate) const META_PREFIX: &[u8] = b".wh..wh.";

/// The file that makes its directory opaque.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// Where the marks of a snapshot are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Overlay's own, in `trusted.overlay.*`: mounted by root.
    Trusted,
    /// Overlay's own, in `user.overlay.*`: mounted with `userxattr` in a user namespace.
    User,
    /// In names, as in a layer: never mounted, but copied onto each other.
    Names,
}

impl Flavour {
    /// Returns the attribute that makes a directory opaque, if an attribute does.
    pub fn opaque(self) -> Option<&'static str> {
        match self {
            Self::Trusted => Some("trusted.overlay.opaque"),
            Self::User => Some("user.overlay.opaque"),
            Self::Names => None,
        }
    }

    /// Returns the attributes that only a snapshot which is not complete in itself has: of a directory that shows another
    /// directory's contents, and of a file whose contents are still in a lower layer.
    pub(crate) fn incomplete(self) -> &'static [&'static str] {
        match self {
            Self::Trusted => &["trusted.overlay.redirect", "trusted.overlay.metacopy"],
            Self::User => &["user.overlay.redirect", "user.overlay.metacopy"],
            Self::Names => &[],
        }
    }

    /// Whether a directory, open for reading, is opaque.
    pub(crate) fn is_opaque(self, directory: BorrowedFd<'_>) -> Result<bool, Errno> {
        match self.opaque() {
            Some(attribute) => {
                let value = Carrier::Open(directory).value(attribute.as_bytes())?;
                Ok(value.as_deref() == Some(b"y"))
            }
            None => has(directory, OPAQUE),
        }
    }

    /// Makes a directory, open for reading, opaque.
    pub(crate) fn make_opaque(self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        match self.opaque() {
            Some(attribute) => Carrier::Open(directory).set(attribute.as_bytes(), b"y"),
            None => make_mark(directory, OPAQUE),
        }
    }

    /// Makes the whiteout of a name that is not there. Fails with `EXIST` if there is anything of that name, a whiteout
    /// where that has it.
    pub(crate) fn make_whiteout(self, directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Trusted | Self::User => {
                let device = FileType::CharacterDevice;
                rustix::fs::mknodat(directory, name, device, Mode::empty(), 0)
            }
            Self::Names if has(directory, name)? => Err(Errno::EXIST),
            Self::Names => make_mark(directory, &[PREFIX, name].concat()),
        }
    }

    /// Whether there is a whiteout for a name that is not there itself.
    pub(crate) fn hides(self, directory: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
        match self {
            // It has the name itself.
            Self::Trusted | Self::User => Ok(false),
            Self::Names => has(directory, &[PREFIX, name].concat()),
        }
    }

    /// Takes the whiteout of a name away if it stands beside what is made now. Says whether there was one.
    pub(crate) fn unhide(self, directory: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
        match self {
            Self::Trusted | Self::User => Ok(false),
            Self::Names => {
                let mark = [PREFIX, name].concat();
                match rustix::fs::unlinkat(directory, mark, AtFlags::empty()) {
                    Ok(()) => Ok(true),
                    Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
                    Err(errno) => Err(errno),
                }
            }
        }
    }
}

fn has(directory: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// An empty file, which may be there already.
fn make_mark(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    crate::interrupted::openat(directory, name, flags, Mode::RUSR).map(drop)
}

/// What the last component of a name in a layer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// A file, directory, … of that name.
    Entry,
    /// The deletion of this name.
    Whiteout(&'a [u8]),
    /// The directory it is in is opaque.
    Opaque,
    /// A remainder of AUFS.
    Meta,
    /// A whiteout of nothing, `.` or `..`.
    Invalid,
}

/// Returns what `name`, the last component of a name in a layer, means.
pub(crate) fn meaning(name: &[u8]) -> Meaning<'_> {
    if name == OPAQUE {
        return Meaning::Opaque;
    }
    if name.starts_with(META_PREFIX) {
        return Meaning::Meta;
    }
    match name.strip_prefix(PREFIX) {
        None => Meaning::Entry,
        Some(b"" | b"." | b"..") => Meaning::Invalid,
        Some(hidden) => Meaning::Whiteout(hidden),
    }
}

/// Says whether this is a snapshot's mark for a deletion.
pub(crate) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean() {
        let cases: &[(&[u8], Meaning<'_>)] = &[
            (b"file", Meaning::Entry),
            (b".wh", Meaning::Entry),
            (b"x.wh.y", Meaning::Entry),
            (b".wh.a", Meaning::Whiteout(b"a")),
            (b".wh..a", Meaning::Whiteout(b".a")),
            (b".wh.", Meaning::Invalid),
            (b".wh..", Meaning::Invalid),
            (b".wh...", Meaning::Invalid),
            (b".wh....", Meaning::Whiteout(b"...")),
            (b".wh..wh..opq", Meaning::Opaque),
            (b".wh..wh.plnk", Meaning::Meta),
            (b".wh..wh.", Meaning::Meta),
        ];
        for (name, wanted) in cases {
            assert_eq!(meaning(name), *wanted, "{}", String::from_utf8_lossy(name));
        }
    }
}
