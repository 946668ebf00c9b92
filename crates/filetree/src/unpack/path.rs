//! Names of entries, made into paths inside the root: cleaned, checked, and cut into parent and last name.

use crate::Fault;

/// The kernel's limits for a name and for a path with its NUL.
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4096;

/// A path below the root: names with single slashes between them, none of them `.` or `..`. Empty for the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryPath {
    path: Vec<u8>,
    /// Where the last name begins.
    start: usize,
    /// How many names there are.
    pub(super) depth: usize,
}

impl EntryPath {
    /// Cleans a name as if the root were `/`: `..` leads up within it, a leading slash means nothing.
    pub(super) fn parse(name: &[u8]) -> Result<Self, Fault> {
        if name.contains(&0) {
            return Err(Fault::Name);
        }
        let mut names: Vec<&[u8]> = Vec::new();
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    names.pop();
                }
                part if part.len() > NAME_MAX => return Err(Fault::Name),
                part => names.push(part),
            }
        }
        let path = names.join(&b'/');
        if path.len() >= PATH_MAX {
            return Err(Fault::Name);
        }
        let start = path.len() - names.last().map_or(0, |last| last.len());
        Ok(Self { path, start, depth: names.len() })
    }

    /// Returns whether this is the root itself.
    pub(crate) fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    /// Returns it as a path, relative to the root.
    pub(crate) fn as_path(&self) -> &std::path::Path {
        use std::os::unix::ffi::OsStrExt;
        std::path::Path::new(std::ffi::OsStr::from_bytes(&self.path))
    }

    /// Returns the path of the directory it is in.
    pub(super) fn parent(&self) -> &[u8] {
        &self.path[..self.start.saturating_sub(1)]
    }

    /// Returns the last name.
    pub(super) fn name(&self) -> &[u8] {
        &self.path[self.start..]
    }
}

/// Returns the path of a name in a directory.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// Returns the directory that a path is in, and its name there.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Says whether `path` is `dir` or below it.
pub(super) fn is_within(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || dir.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_within_the_root() {
        for (name, parent, last, depth) in [
            ("a", "", "a", 1),
            ("a/b/c", "a/b", "c", 3),
            ("./a//b/", "a", "b", 2),
            ("/etc/passwd", "etc", "passwd", 2),
            ("../../etc/passwd", "etc", "passwd", 2),
            ("a/../../b", "", "b", 1),
            ("a/b/..", "", "a", 1),
            ("...", "", "...", 1),
            ("", "", "", 0),
            (".", "", "", 0),
            ("/", "", "", 0),
            ("..", "", "", 0),
            ("a/..", "", "", 0),
        ] {
            let path = EntryPath::parse(name.as_bytes()).unwrap();
            assert_eq!(path.parent(), parent.as_bytes(), "{name}");
            assert_eq!(path.name(), last.as_bytes(), "{name}");
            assert_eq!(path.depth, depth, "{name}");
            assert_eq!(path.is_root(), last.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused() {
        assert!(EntryPath::parse(&[b'n'; 255]).is_ok());
        assert_eq!(EntryPath::parse(&[b'n'; 256]), Err(Fault::Name));
        assert_eq!(EntryPath::parse(b"a\0b"), Err(Fault::Name));
        let long = |names| [&b"d"[..]; 4096][..names].join(&b'/');
        assert!(EntryPath::parse(&long(2048)).is_ok());
        assert_eq!(EntryPath::parse(&long(2049)), Err(Fault::Name));
    }

    #[test]
    fn within() {
        assert!(is_within(b"a/b", b"a"));
        assert!(is_within(b"a", b"a"));
        assert!(is_within(b"a", b""));
        assert!(!is_within(b"ab", b"a"));
        assert!(!is_within(b"a", b"a/b"));
    }
}
