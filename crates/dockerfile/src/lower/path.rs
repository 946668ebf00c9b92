//! Paths in a root file system, as text: joined and cleaned without looking at any file.

/// Joins `path` to the absolute `dir`, unless it is absolute, and removes `.`, `..`, and empty components. The result
/// is absolute, without a slash at the end.
pub(super) fn join(dir: &str, path: &str) -> String {
    let start = if path.starts_with('/') { "" } else { dir };
    let mut components: Vec<&str> = Vec::new();
    for component in start.split('/').chain(path.split('/')) {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    format!("/{}", components.join("/"))
}

/// The working directory that `path` leads to from `dir`. An absolute one stays as it was written, `//` and all, since
/// images built elsewhere have it so.
pub(super) fn resolve(dir: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { join(dir, path) }
}

/// Joins like [`join`] for a destination, where a slash at the end says that it is a directory; so do `/.` and nothing at all.
pub(super) fn join_destination(dir: &str, path: &str) -> String {
    let mut joined = join(dir, path);
    let directory = path.is_empty() || path == "." || path.ends_with('/') || path.ends_with("/.");
    if directory && joined != "/" {
        joined.push('/');
    }
    joined
}

/// The last component; empty for the root.
pub(super) fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{base_name, join, join_destination, resolve};

    #[test]
    fn joined_and_cleaned() {
        for (dir, path, expected) in [
            ("/", "a", "/a"),
            ("/w", "a/b/", "/w/a/b"),
            ("/w", "/a//b/./c", "/a/b/c"),
            ("/w/x", "../y", "/w/y"),
            ("/w", "../../..", "/"),
            ("/w", "", "/w"),
            ("/w", ".", "/w"),
            ("/w", "~", "/w/~"),
        ] {
            assert_eq!(join(dir, path), expected, "{dir} {path}");
        }
    }

    #[test]
    fn destinations_keep_their_slash() {
        for (dir, path, expected) in [
            ("/", "", "/"),
            ("/w", "", "/w/"),
            ("/w", ".", "/w/"),
            ("/w", "./", "/w/"),
            ("/w", "..", "/"),
            ("/w", "a", "/w/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", "a/.", "/w/a/"),
            ("/w", "/", "/"),
            ("/w", "/a/../b/", "/b/"),
        ] {
            assert_eq!(join_destination(dir, path), expected, "{dir} {path}");
        }
    }

    #[test]
    fn absolute_working_directories_stay_as_they_are() {
        for (dir, path, expected) in [
            ("/w", "/a//b/", "/a//b/"),
            ("/w", "b/../c/", "/w/c"),
            ("/w/", "b", "/w/b"),
            ("/w", "", "/w"),
        ] {
            assert_eq!(resolve(dir, path), expected, "{dir} {path}");
        }
    }

    #[test]
    fn base_names() {
        for (path, expected) in [("/a/b", "b"), ("b", "b"), ("/a/", "a"), ("/", ""), ("", "")] {
            assert_eq!(base_name(path), expected, "{path}");
        }
    }
}
