//! Which files a COPY takes from a tree: sources, wildcards, `--exclude`, `--parents`.
//!
//! Only what is named is looked at, and only its metadata: see `select/scan.rs` for the walk, `select/listing.rs` for what it finds, [`crate::digest`] for the contents.

pub(crate) mod listing;
pub(crate) mod scan;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{
    Error, Patterns, archive,
    glob::{BadPattern, Glob, Language, has_wildcard},
    ignore::BadPatternLine,
    select::{listing::Listing, scan::Filter},
    stat_cache::Changes,
    tree::{Found, Kind, Meta, Tree},
};

/// What a COPY or ADD asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The sources as written, variables expanded.
    pub sources: &'a [String],
    /// The patterns of `--exclude`, relative to each source directory.
    pub exclude: &'a [String],
    /// Whether the sources' directories are kept (`--parents`).
    pub parents: bool,
    /// Whether sources that are missing are left out, as a wildcard that matches nothing is (`--if-exists`).
    pub if_exists: bool,
    /// Whether sources that are tar archives are to be extracted (ADD).
    pub archives: bool,
}

/// The files a COPY takes, in the order in which they are copied.
#[derive(Debug)]
pub struct Selection {
    pub(crate) matches: Vec<Match>,
    pub(crate) archives: bool,
}

/// One source, or one of those that a wildcard matches.
#[derive(Debug)]
pub(crate) struct Match {
    /// The last component as written: a link's own name, not its target's. Empty for the root.
    pub(crate) name: OsString,
    /// Where it is, relative to the tree's root, free of links.
    pub(crate) path: PathBuf,
    pub(crate) meta: Meta,
    /// What a directory holds.
    pub(crate) listing: Option<Listing>,
    /// Whether only part of it was asked for (`--parents`): directories that exist keep their owner and times then.
    pub(crate) partial: bool,
}

impl Selection {
    /// Says whether nothing is selected: all sources are wildcards that match nothing.
    pub fn is_empty(&self) -> bool {
        self.matches.is_empty()
    }

    /// Returns how many entries are selected, directories and links included.
    pub fn len(&self) -> usize {
        self.matches.iter().map(|one| 1 + one.listing.as_ref().map_or(0, Listing::len)).sum()
    }

    /// Returns how the selected files of `tree` differ from what its stat cache remembers, once their digest was asked for;
    /// see [`StatCache::changes`](crate::StatCache::changes). Files that were selected and are gone are told, too.
    pub fn changes(&self, tree: &Tree) -> Changes {
        let Some(cache) = &tree.stat_cache else { return Changes::default() };
        cache.changes(|path| self.matches.iter().any(|one| path.starts_with(&one.path)))
    }

    /// Refuses a file that alone is more than all files of a layer may be, before anybody reads it. An archive that is to be
    /// extracted is none: what is in it counts, when it is.
    ///
    /// # Errors
    /// [`Error::LayerSize`] for the first one; of an archive, what keeps it from being looked at.
    pub fn refuse_larger(&self, tree: &Tree, allowed: u64) -> Result<(), Error> {
        for one in &self.matches {
            let found = match &one.listing {
                Some(listing) => listing.larger(allowed),
                None if one.meta.kind == Kind::File && one.meta.size > allowed => {
                    Some((PathBuf::new(), one.meta.size))
                }
                None => None,
            };
            let Some((path, size)) = found else { continue };
            let is_extracted = || match self.archives && one.listing.is_none() {
                true => archive::open(tree, one).map(|archive| archive.is_some()),
                false => Ok(false),
            };
            if !is_extracted()? {
                let path =
                    Path::new("/").join(&one.path).components().chain(path.components()).collect();
                return Err(Error::LayerSize { path, size, allowed });
            }
        }
        Ok(())
    }

    /// Returns how many bytes the selected files have.
    pub fn bytes(&self) -> u64 {
        let bytes = |one: &Match| one.listing.as_ref().map_or(one.meta.size, |it| it.files().1);
        self.matches.iter().map(bytes).sum()
    }

    /// Returns how many regular files are selected.
    pub(crate) fn files(&self) -> usize {
        let files = |one: &Match| match &one.listing {
            Some(listing) => listing.files().0,
            None => usize::from(one.meta.kind == Kind::File),
        };
        self.matches.iter().map(files).sum()
    }
}

/// Finds the files that `wanted` names.
///
/// # Errors
/// [`Error::NotFound`] for a source without wildcard that does not exist or is hidden, naming the rule that hides it, unless
/// it may be missing; [`Error::Pattern`] for a malformed wildcard or `--exclude`. A wildcard that matches nothing is no error.
pub fn select(tree: &Tree, wanted: &Wanted<'_>) -> Result<Selection, Error> {
    let exclude = Some(Patterns::from_lines(wanted.exclude)?).filter(|exclude| !exclude.is_empty());
    let mut matches = Vec::new();
    for source in wanted.sources {
        match matching(tree, source, wanted.parents, exclude.as_ref()) {
            Ok(found) => matches.extend(found),
            Err(Error::NotFound { .. }) if wanted.if_exists => {}
            Err(Error::NotFound { path, excluded, nearest: _ }) => {
                let nearest = match &excluded {
                    Some(_) => None,
                    None => tree.nearest(Path::new(&path)),
                };
                return Err(Error::NotFound { path, excluded, nearest });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Selection { matches, archives: wanted.archives })
}

/// Finds what one source stands for.
fn matching(
    tree: &Tree,
    source: &str,
    parents: bool,
    exclude: Option<&Patterns>,
) -> Result<Vec<Match>, Error> {
    let (base, include) = if parents { pivot(tree, source)? } else { (source, None) };
    let filter = Filter { ignore: tree.ignore.as_ref(), exclude, include: include.as_ref() };
    let mut matches = Vec::new();
    for (path, found) in expand(tree, base)? {
        let hidden = found.hidden;
        let one = listed(tree, &path, found, filter)?;
        let is_empty = one.listing.as_ref().is_some_and(Listing::is_empty);
        if !(hidden && is_empty) {
            matches.push(one);
        } else if !has_wildcard(base) {
            return Err(tree.not_found(&path));
        }
    }
    Ok(matches)
}

/// Splits a source of `--parents` at its first `/./`: the directory that is left behind, and what is wanted below it.
///
/// Without wildcards both together must exist.
fn pivot<'a>(tree: &Tree, source: &'a str) -> Result<(&'a str, Option<Patterns>), Error> {
    let (base, pattern) = source.split_once("/./").unwrap_or(("/", source));
    let clean = clean(pattern);
    if !has_wildcard(base) && !has_wildcard(pattern) {
        let path = Path::new(base).join(&clean);
        if tree.find(&path)?.is_none() {
            return Err(tree.not_found(&path));
        }
    }
    // The whole of the base is wanted when nothing is named below it.
    let pattern = if clean.as_os_str().is_empty() { "**".into() } else { clean.to_string_lossy() };
    Ok((base, Some(Patterns::from_lines(&[pattern])?)))
}

/// Returns what a source names: itself, or what its wildcards match, in the order of a sorted walk.
fn expand(tree: &Tree, source: &str) -> Result<Vec<(PathBuf, Found)>, Error> {
    let path = clean(source);
    let components: Vec<&str> =
        path.to_str().unwrap_or_default().split('/').filter(|name| !name.is_empty()).collect();
    let Some(first) = components.iter().position(|name| has_wildcard(name)) else {
        let found = tree.find(&path)?.ok_or_else(|| tree.not_found(&path))?;
        return Ok(vec![(path, found)]);
    };
    let base: PathBuf = components[..first].iter().collect();
    let globs: Result<Vec<Glob>, BadPattern> =
        components[first..].iter().map(|name| Glob::parse(name, Language::Match)).collect();
    let globs = globs.map_err(|error| BadPatternLine::Syntax {
        line: 1,
        pattern: source.to_owned(),
        fault: error,
    })?;
    let found = tree.find(&base)?.ok_or_else(|| tree.not_found(&base))?;
    let mut matches = Vec::new();
    if found.meta.kind == Kind::Dir {
        expand_below(tree, &base, &found.path, &globs, &mut matches)?;
    }
    Ok(matches)
}

/// Adds what matches the remaining components below a directory: `written` as the source spells it, `real` without links.
fn expand_below(
    tree: &Tree,
    written: &Path,
    real: &Path,
    globs: &[Glob],
    matches: &mut Vec<(PathBuf, Found)>,
) -> Result<(), Error> {
    let Some((glob, rest)) = globs.split_first() else { return Ok(()) };
    for name in scan::names(tree, real)? {
        if !glob.matches(name.as_bytes()) {
            continue;
        }
        let path = written.join(&name);
        if !rest.is_empty() {
            // Links in the middle of a wildcard are not followed, as in a walk of the tree.
            if is_dir(tree, &real.join(&name))? {
                expand_below(tree, &path, &real.join(&name), rest, matches)?;
            }
            continue;
        }
        if tree.ignore_state(&real.join(&name)).0 && !is_dir(tree, &real.join(&name))? {
            continue;
        }
        let found = tree.find(&real.join(&name))?.ok_or_else(|| tree.not_found(&path))?;
        matches.push((path, found));
    }
    Ok(())
}

fn is_dir(tree: &Tree, path: &Path) -> Result<bool, Error> {
    let stat = tree.root.symlink_metadata(path).map_err(Error::io("stat", path))?;
    Ok(stat.is_some_and(|stat| crate::root::is_dir(&stat)))
}

fn listed(tree: &Tree, path: &Path, found: Found, filter: Filter<'_>) -> Result<Match, Error> {
    let listing = match found.meta.kind {
        Kind::Dir => Some(scan::scan(tree, &found, filter)?),
        Kind::File
        | Kind::Link
        | Kind::Fifo
        | Kind::Socket
        | Kind::CharDevice
        | Kind::BlockDevice => None,
    };
    let name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
    Ok(Match {
        name,
        path: found.path,
        meta: found.meta,
        listing,
        partial: filter.include.is_some(),
    })
}

/// Cleans a source against `/`: relative, without `.` and `..`.
fn clean(source: &str) -> PathBuf {
    crate::root::clean(Path::new(source))
}
