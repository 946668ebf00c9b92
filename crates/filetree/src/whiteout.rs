//! How deletions are written: as names in a layer, as devices and attributes in a snapshot. What to do with them is in
//! [`pack`](mod@crate::pack) and [`unpack`](mod@crate::unpack).
//!
//! | | in a layer (OCI image specification, "Whiteouts") | in a snapshot (overlay's upper directory) |
//! |---|---|---|
//! | `name` is deleted | an empty file `.wh.name` | a character device 0:0 `name` |
//! | nothing below shows in `dir` | an empty file `dir/.wh..wh..opq` | `dir` has the attribute `….overlay.opaque` = `y` |

use rustix::fs::FileType;

/// What a whiteout's name begins with.
pub(crate) const PREFIX: &[u8] = b".wh.";

/// What the names begin with that AUFS kept for itself. Old layers carry some; they mean nothing.
pub(crate) const META_PREFIX: &[u8] = b".wh..wh.";

/// The file that makes its directory opaque.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// Whose extended attributes overlay keeps its marks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// `trusted.overlay.*`: mounted by root.
    Trusted,
    /// `user.overlay.*`: mounted with `userxattr` in a user namespace.
    User,
}

impl Flavour {
    /// Returns the attribute that makes a directory opaque.
    pub fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }

    /// Returns the attribute of a directory that shows another directory's contents.
    pub(crate) fn redirect(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.redirect",
            Self::User => "user.overlay.redirect",
        }
    }

    /// Returns the attribute of a file whose contents are still in a lower layer.
    pub(crate) fn metacopy(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.metacopy",
            Self::User => "user.overlay.metacopy",
        }
    }
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
