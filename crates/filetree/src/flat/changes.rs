//! From two scans of a tree to a snapshot: what overlay's upper directory would hold, had the tree been one.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{CString, OsStr},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::fs::{FileType, Mode, Stat};

use super::{Copier, Scan, dress, open_below, scan::Facts, shown, split, times};
use crate::{
    Error, Flavour, RootDir, deed,
    root::is_dir,
    whiteout::{PREFIX, is_whiteout},
};

/// Puts what is different in a tree `after` something from what it was `before` into `upper`, an empty directory.
///
/// What is at or below a path of `except` (relative to the root) counts as unchanged. Directories with changes in them are
/// there, too, as overlay copies them up.
///
/// # Errors
/// The operating system's; `upper` holds a part of it then and is to be thrown away.
pub fn collect(
    (before, after): (&Scan, &Scan),
    tree: &RootDir,
    (upper, flavour): (&Path, Flavour),
    except: &[&Path],
) -> Result<(), Error> {
    let changes = Changes::between(before, after, except);
    let upper = RootDir::open(upper)?;
    let mut collector = Collector {
        before,
        tree,
        copier: Copier::new(upper.as_fd()),
        flavour,
        made: BTreeMap::new(),
    };
    collector.root()?;
    for path in &changes.present {
        collector.put(path, changes.replaced.contains(path))?;
    }
    for path in &changes.gone {
        collector.hide(path)?;
    }
    collector.finish()
}

/// What a snapshot has to hold.
#[derive(Debug, Default)]
struct Changes {
    /// What is there now, parents first.
    present: BTreeSet<Vec<u8>>,
    /// The directories among it that took the place of others.
    replaced: BTreeSet<Vec<u8>>,
    /// What is not there any more, without what was below it.
    gone: BTreeSet<Vec<u8>>,
}

impl Changes {
    fn between(before: &Scan, after: &Scan, except: &[&Path]) -> Self {
        let is_except = |path: &[u8]| {
            except.iter().any(|except| Path::new(OsStr::from_bytes(path)).starts_with(except))
        };
        let mut changes = Self::default();
        for (path, facts) in &after.entries {
            let was = before.entries.get(path);
            let is_new_place = changes.is_in_replaced(path);
            let is_same = was.is_some_and(|was| is_same(was, facts)) && !is_new_place;
            if is_same || is_except(path) {
                continue;
            }
            let replaces =
                was.is_some_and(|was| was.is_directory() && !was.is_same_directory(facts));
            if replaces && facts.is_directory() && !is_new_place {
                changes.replaced.insert(path.clone());
            }
            changes.add_with_parents(path);
        }
        for path in before.entries.keys() {
            let parent = split(path).0;
            let is_below_what_is_gone =
                !parent.is_empty() && !after.entries.get(parent).is_some_and(Facts::is_directory);
            if after.entries.contains_key(path)
                || is_below_what_is_gone
                || changes.is_in_replaced(path)
                || is_except(path)
            {
                continue;
            }
            changes.add_with_parents(parent);
            changes.gone.insert(path.clone());
        }
        changes
    }

    /// Whether a directory on the way is not the one that it was: nothing below shows through it.
    fn is_in_replaced(&self, path: &[u8]) -> bool {
        let mut path = split(path).0;
        while !path.is_empty() {
            if self.replaced.contains(path) {
                return true;
            }
            path = split(path).0;
        }
        false
    }

    fn add_with_parents(&mut self, path: &[u8]) {
        let mut path = path;
        while !path.is_empty() && self.present.insert(path.to_vec()) {
            path = split(path).0;
        }
    }
}

/// Whether an entry is as it was. What is in a directory is looked at by itself.
fn is_same(was: &Facts, is: &Facts) -> bool {
    match (was, is) {
        (
            Facts::Directory { looks, modified, attributes, .. },
            Facts::Directory {
                looks: looks_now, modified: now, attributes: attributes_now, ..
            },
        ) => {
            was.is_same_directory(is)
                && (looks, modified, attributes) == (looks_now, now, attributes_now)
        }
        _ => was == is,
    }
}

struct Collector<'a> {
    before: &'a Scan,
    tree: &'a RootDir,
    copier: Copier<'a>,
    flavour: Flavour,
    /// The directories that were made, which get their times at the end.
    made: BTreeMap<Vec<u8>, Stat>,
}

impl Collector<'_> {
    /// The root looks as the tree's does; its time too.
    fn root(&mut self) -> Result<(), Error> {
        let from = open_below(self.tree.as_fd(), b"").map_err(Error::io("open", "/"))?;
        let stat = deed::fstat(&from).map_err(Error::io("look at", "/"))?;
        let to = self.copier.open(b"")?;
        dress(from.as_fd(), &stat, to.as_fd(), b"")?;
        self.made.insert(Vec::new(), stat);
        Ok(())
    }

    fn put(&mut self, path: &[u8], replaced: bool) -> Result<(), Error> {
        let failed = |action| Error::io(action, shown(path));
        let (parent, name) = split(path);
        // Whoever reads the layer would take it for a deletion.
        if name.starts_with(PREFIX) {
            return Err(Error::WhiteoutName { path: shown(path) });
        }
        // It came from a directory, so there is no NUL in it.
        let name = CString::new(name).unwrap_or_default();
        let from = open_below(self.tree.as_fd(), parent).map_err(failed("open"))?;
        let to = self.copier.open(parent)?;
        let stat = deed::statat(&from, name.as_c_str()).map_err(failed("look at"))?;
        if !is_dir(&stat) {
            // To a layer it would be a deletion, which nobody meant: overlay does not let one be made either. What was there
            // in its place is gone, though.
            return match (is_whiteout(&stat), self.before.entries.contains_key(path)) {
                (true, false) => Ok(()),
                (true, true) => self.hide(path),
                (false, _) => self.copier.copy(from.as_fd(), &name, &stat, to.as_fd(), path),
            };
        }
        rustix::fs::mkdirat(&to, &name, Mode::RWXU).map_err(failed("create"))?;
        let source = open_below(self.tree.as_fd(), path).map_err(failed("open"))?;
        let target = self.copier.open(path)?;
        dress(source.as_fd(), &stat, target.as_fd(), path)?;
        if replaced {
            self.flavour.make_opaque(target.as_fd()).map_err(failed("make opaque"))?;
        }
        self.made.insert(path.to_vec(), stat);
        Ok(())
    }

    fn hide(&self, path: &[u8]) -> Result<(), Error> {
        let (parent, name) = split(path);
        let directory = self.copier.open(parent)?;
        self.flavour
            .make_whiteout(directory.as_fd(), name)
            .map_err(Error::io("create the whiteout", shown(path)))
    }

    fn finish(&self) -> Result<(), Error> {
        for (path, stat) in self.made.iter().rev() {
            debug_assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::Directory);
            rustix::fs::futimens(self.copier.open(path)?, &times(stat))
                .map_err(Error::io("set the times of", shown(path)))?;
        }
        Ok(())
    }
}
