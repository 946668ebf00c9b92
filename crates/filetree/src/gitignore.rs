//! What a repository does not keep, and a build would copy all the same: build outputs, dependencies, local settings.
//!
//! How lines of `.gitignore` match is the matter of the `ignore` crate. Which files git knows in spite of them is not
//! looked up.

#[cfg(test)]
mod tests;

use std::{os::fd::AsFd, path::Path};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use rustix::fs::FileType;

use crate::{
    Error, Patterns, RootDir,
    root::{is_dir, open_dir_below, stat_at},
};

/// A larger `.gitignore` is not read.
const MAX_TEXT: u64 = 1 << 20;

/// How many entries are looked at: a second's worth. Of a larger tree the rest is not looked at.
const MAX_ENTRIES: usize = 200_000;

/// How deep directories may be nested.
const MAX_DEPTH: usize = 64;

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// At what is directly in the context: one directory is read.
    Top,
    /// At everything.
    All,
}

/// A file or directory that `.gitignore` excludes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitIgnored {
    /// Where it is, relative to the context; with a `/` at the end if it is a directory.
    pub path: String,
    /// The line that excludes it.
    pub pattern: String,
}

/// Returns what is in `context`, not hidden, and excluded by a `.gitignore` in it or above it in the same repository; in
/// the order of paths. Nothing below an excluded directory is listed. Links are not followed.
pub fn git_ignored(
    context: &Path,
    hidden: Option<&Patterns>,
    depth: Depth,
) -> Result<Vec<GitIgnored>, Error> {
    let root = RootDir::open(context)?;
    let rules = rules_above(context)?;
    let mut walk =
        Walk { context, root, hidden, depth, rules, left: MAX_ENTRIES, found: Vec::new() };
    walk.directory("", 0)?;
    Ok(walk.found)
}

/// The rules of the directories from that of the repository down to the parent of the context.
fn rules_above(context: &Path) -> Result<Vec<Gitignore>, Error> {
    let mut rules = Vec::new();
    let above: Vec<&Path> = context.ancestors().collect();
    // Without a repository, what is above has nothing to do with the context.
    let Some(top) = above.iter().position(|directory| directory.join(".git").exists()) else {
        return Ok(rules);
    };
    for parent in above[..=top].iter().skip(1).rev() {
        rules.extend(read_rules(&RootDir::open(parent)?, "", parent)?);
    }
    Ok(rules)
}

/// Reads the `.gitignore` of a directory below `root`, whose place on the host is `at`. What git would not understand is
/// left out, and so is a file that is none.
fn read_rules(root: &RootDir, directory: &str, at: &Path) -> Result<Option<Gitignore>, Error> {
    let bytes = match root.read_file(&format!("{directory}.gitignore"), MAX_TEXT) {
        Ok(Some(bytes)) => bytes,
        Ok(None) | Err(Error::NotAFile { .. } | Error::TooLarge { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut builder = GitignoreBuilder::new(at);
    for line in String::from_utf8_lossy(&bytes).lines() {
        // A line that is no pattern excludes nothing, as in git.
        let _ = builder.add_line(None, line);
    }
    Ok(builder.build().ok().filter(|rules| !rules.is_empty()))
}

struct Walk<'a> {
    context: &'a Path,
    root: RootDir,
    hidden: Option<&'a Patterns>,
    depth: Depth,
    /// Those of the current directory last.
    rules: Vec<Gitignore>,
    left: usize,
    found: Vec<GitIgnored>,
}

impl Walk<'_> {
    /// Looks at a directory; its path is empty or ends with `/`.
    fn directory(&mut self, path: &str, level: usize) -> Result<(), Error> {
        let rules = read_rules(&self.root, path, &self.context.join(path))?;
        let has_rules = rules.is_some();
        self.rules.extend(rules);
        // Without rules so far there is nothing to find here, only further down.
        if !self.rules.is_empty() || self.depth == Depth::All {
            for (name, is_dir) in self.entries(path)? {
                self.entry(path, &name, is_dir, level)?;
            }
        }
        if has_rules {
            self.rules.pop();
        }
        Ok(())
    }

    fn entry(&mut self, dir: &str, name: &str, is_dir: bool, level: usize) -> Result<(), Error> {
        let path = format!("{dir}{name}");
        if self.left == 0 || name == ".git" || self.hidden.is_some_and(|it| it.excludes(&path)) {
            return Ok(());
        }
        self.left -= 1;
        let slash = if is_dir { "/" } else { "" };
        if let Some(pattern) = self.rule_for(&path, is_dir) {
            self.found.push(GitIgnored { path: path + slash, pattern });
        } else if is_dir && self.depth == Depth::All && level < MAX_DEPTH {
            self.directory(&(path + slash), level + 1)?;
        }
        Ok(())
    }

    /// The line that excludes a path: the rules of the nearest directory that has something to say decide.
    fn rule_for(&self, path: &str, is_dir: bool) -> Option<String> {
        let path = self.context.join(path);
        for rules in self.rules.iter().rev() {
            match rules.matched(&path, is_dir) {
                Match::Ignore(glob) => return Some(glob.original().to_owned()),
                Match::Whitelist(_) => return None,
                Match::None => {}
            }
        }
        None
    }

    /// The names in a directory in their order, each with whether it is a directory.
    fn entries(&self, path: &str) -> Result<Vec<(String, bool)>, Error> {
        let shown = if path.is_empty() { "." } else { path };
        let dir = match open_dir_below(self.root.as_fd(), Path::new(path)) {
            // It went away, or is nobody's business.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(Vec::new());
            }
            opened => opened.map_err(Error::io("read", shown))?,
        };
        let mut entries = Vec::new();
        let listed = rustix::io::retry_on_intr(|| rustix::fs::Dir::read_from(&dir));
        for entry in listed.map_err(Error::io("read", shown))? {
            let entry = entry.map_err(Error::io("read", shown))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "." || name == ".." {
                continue;
            }
            let is_dir = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => stat_at(dir.as_fd(), name.as_ref())
                    .map_err(Error::io("read", shown))?
                    .as_ref()
                    .is_some_and(is_dir),
                _ => false,
            };
            entries.push((name, is_dir));
        }
        entries.sort_unstable();
        Ok(entries)
    }
}
