//! The path that was probably meant by one that does not exist: for hints, so nothing here fails or takes long.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use crate::{root, select::scan, tree::Tree};

/// How many names are compared: the answer has to be there before the author of the mistake has found it by looking.
const MOST_NAMES: usize = 20_000;

/// How many directories are looked into for a file that is elsewhere.
const MOST_DIRECTORIES: usize = 200;

impl Tree {
    /// Returns what exists, is not hidden, and is called nearly the same as `path`; else what has the same name somewhere
    /// below. The path is relative to the root.
    pub fn nearest(&self, path: &Path) -> Option<String> {
        let path = root::clean(path);
        self.misspelt(&path).or_else(|| self.elsewhere(path.file_name()?))
    }

    /// The first name of the path that does not exist is misspelt, and the rest is right.
    fn misspelt(&self, path: &Path) -> Option<String> {
        let names: Vec<&OsStr> = path.iter().collect();
        let mut parent = PathBuf::new();
        for (index, name) in names.iter().enumerate() {
            let next = parent.join(name);
            if self.exists(&next) {
                parent = next;
                continue;
            }
            let rest = names[index + 1..].iter().collect::<PathBuf>();
            let entries = scan::names(self, &parent).ok()?;
            let near = entries.iter().take(MOST_NAMES).filter_map(|entry| {
                let distance = distance(&name.to_string_lossy(), &entry.to_string_lossy())?;
                let whole = match rest.as_os_str().is_empty() {
                    true => parent.join(entry),
                    false => parent.join(entry).join(&rest),
                };
                self.exists(&whole).then_some((distance, whole))
            });
            let nearest = near.min_by_key(|(distance, _)| *distance);
            return nearest.map(|(_, path)| path.to_string_lossy().into_owned());
        }
        None
    }

    /// The name is right, and the directory is missing.
    fn elsewhere(&self, name: &OsStr) -> Option<String> {
        let mut directories = vec![PathBuf::new()];
        let mut next = 0;
        let mut seen = 0;
        while let Some(directory) = directories.get(next).cloned() {
            next += 1;
            for entry in scan::names(self, &directory).ok()? {
                let path = directory.join(&entry);
                if entry == name && self.exists(&path) {
                    return Some(path.to_string_lossy().into_owned());
                }
                seen += 1;
                if seen == MOST_NAMES {
                    return None;
                }
                let stat = self.root.symlink_metadata(&path).ok().flatten();
                let is_dir = stat.is_some_and(|stat| root::is_dir(&stat));
                if is_dir && directories.len() < MOST_DIRECTORIES && !self.hides(&path) {
                    directories.push(path);
                }
            }
        }
        None
    }

    fn exists(&self, path: &Path) -> bool {
        self.find(path).is_ok_and(|found| found.is_some_and(|found| !found.hidden))
    }
}

/// How far two names are apart, if they are near: upper and lower case count less than any letter. One mistake for every
/// three letters is allowed, and three at most.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    let length = wanted.chars().count();
    if length.abs_diff(name.chars().count()) > 3 {
        return None;
    }
    let distance = strsim::osa_distance(&wanted.to_lowercase(), &name.to_lowercase());
    (distance <= (length / 3).min(3)).then(|| 2 * distance + usize::from(wanted != name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{Owners, Patterns, Tree, test_data::TempDir};

    #[test]
    fn paths_that_were_meant() {
        let context = TempDir::new();
        for name in ["requirements.txt", "src/main.rs", "src/lib.rs", "README.md", "a", "b/c/deep"]
        {
            context.write(name, "x");
        }
        context.write("secret.key", "x").write("hidden/app.py", "x");
        let ignore = Some(Patterns::parse(b"*.key\nhidden\n").unwrap());
        let tree = Tree { ignore, ..Tree::new(context.root(), Owners::Root) };
        for (path, expected) in [
            ("requirments.txt", Some("requirements.txt")),
            ("/requirements.tx", Some("requirements.txt")),
            ("scr/main.rs", Some("src/main.rs")),
            ("src/mian.rs", Some("src/main.rs")),
            ("readme.MD", Some("README.md")),
            ("main.rs", Some("src/main.rs")),
            ("app/deep", Some("b/c/deep")),
            ("secret.kei", None),
            ("app.py", None),
            ("scr/nothing.rs", None),
            ("completely-different", None),
            ("z", None),
            ("A", Some("a")),
        ] {
            let found = tree.nearest(Path::new(path));
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }
}
