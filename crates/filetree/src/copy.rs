//! COPY: how selected files land in a root file system.
//!
//! Here is where each source goes ("Destination" in the reference); how a directory is merged is in `copy/merge.rs`, how
//! a single entry is made in `copy/entry.rs`, how bytes are moved in `copy/data.rs`, and which of them come when the rest
//! is there in `copy/later.rs`. Archives that ADD extracts are in [`crate::archive`].
//!
//! When a copy fails half-way, what was copied so far stays: the caller throws the snapshot away.

pub(crate) mod data;
mod entry;
mod later;
mod merge;
#[cfg(test)]
mod tests;

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Budget, Chmod, Error, RootDir, Selection, Timestamp,
    copy::{
        data::Mover,
        entry::{Source, Target},
        later::Later,
        merge::{Merge, Within},
    },
    owner::Owner,
    root::{NewDir, Place, open_dir_below, restore_times},
    select::Match,
    tree::{Kind, Meta, Owners, Tree},
};

pub(crate) use self::later::Growing;
pub use self::later::{Filling, Unfilled};

/// The mode of parents that a COPY makes, and of a new directory into which a directory's content is copied.
const DIR_MODE: u32 = 0o755;

/// The mode of a heredoc's file.
const FILE_MODE: u32 = 0o644;

/// Where files go, and how they look there.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The destination, absolute inside the root. With a trailing slash (or `/.`) it is a directory, made if missing.
    pub dest: String,
    /// The owner of everything copied and of parents made (`--chown`).
    pub owner: Option<(u32, u32)>,
    /// The change of mode (`--chmod`). An octal one is also the mode of parents made.
    pub mode: Option<Chmod>,
    /// The time of everything that is copied and made. Without one, copies have their source's, and what is made has the
    /// clock's.
    pub created: Option<Timestamp>,
    /// How much an archive may hold that is extracted.
    pub budget: Budget,
}

/// Copies what was selected from `tree` into `root`, at once.
///
/// # Errors
/// Those of [`Layout::copy`].
pub fn copy(
    tree: &Tree,
    selection: &Selection,
    root: &RootDir,
    placement: &Placement,
) -> Result<(), Error> {
    let mut layout = Layout::new(root, placement);
    layout.copy(tree, selection)?;
    layout.fill()
}

/// What a COPY has left for when nothing is mounted any more on the directory that it was made in.
#[derive(Debug)]
#[must_use = "without it, files are missing"]
pub struct Rest<'a> {
    merge: Option<Merge<'a>>,
    later: Later,
}

impl Rest<'_> {
    /// Lays out what is missing in `root`, which is the same directory, but for the contents of large files.
    ///
    /// # Errors
    /// Those of [`Layout::copy`].
    pub fn lay(mut self, root: &RootDir) -> Result<Unfilled, Error> {
        if let Some(merge) = &mut self.merge {
            let path = merge.path().strip_prefix("/").unwrap_or(merge.path());
            let top =
                open_dir_below(root.as_fd(), path).map_err(Error::io("open", merge.path()))?;
            let (tree, mover) = (Arc::new(merge.tree().root.try_clone()?), Mover::new());
            let laying = Laying { mover: &mover, later: &self.later, tree: &tree };
            merge.run(top.as_fd(), laying, Within::AtOnce)?;
        }
        Ok(self.later.take())
    }
}

/// One COPY, as long as its files are laid out: everything but the contents of large files, which come later.
#[derive(Debug)]
pub struct Layout<'r, 'a> {
    root: &'r RootDir,
    placement: &'a Placement,
    later: Later,
    merge: Option<Merge<'a>>,
}

impl<'r, 'a> Layout<'r, 'a> {
    /// Begins with nothing.
    pub fn new(root: &'r RootDir, placement: &'a Placement) -> Self {
        Self { root, placement, later: Later::default(), merge: None }
    }

    /// Lays out what was selected from `tree`.
    ///
    /// # Errors
    /// [`Error::CopyToNonDirectory`], [`Error::ReplaceDirectory`] and [`Error::NotADirectory`] when the destination does
    /// not fit; [`Error::Changed`] when a source is no longer what it was when it was selected; [`Error::Device`].
    pub fn copy(&mut self, tree: &'a Tree, selection: &'a Selection) -> Result<(), Error> {
        selection.matches.iter().try_for_each(|one| {
            self.copy_match(tree, one, selection.archives, Within::AtOnce).map(drop)
        })
    }

    /// Lays out what was selected from `tree`, but for what is in directories that are not there yet: that is left to
    /// [`Rest::lay`], which costs half as much where overlay has no part in it. To be called for the last selection; nothing
    /// may be laid out after it.
    ///
    /// # Errors
    /// Those of [`copy`](Self::copy).
    pub fn copy_last(&mut self, tree: &'a Tree, selection: &'a Selection) -> Result<(), Error> {
        let Some((last, others)) = selection.matches.split_last() else { return Ok(()) };
        for one in others {
            self.copy_match(tree, one, selection.archives, Within::AtOnce)?;
        }
        self.merge = self.copy_match(tree, last, selection.archives, Within::Postponed)?;
        Ok(())
    }

    /// Lays out one source; returns what is left to do.
    fn copy_match(
        &mut self,
        tree: &'a Tree,
        one: &'a Match,
        archives: bool,
        within: Within,
    ) -> Result<Option<Merge<'a>>, Error> {
        if archives {
            // An archive may have something else in the place of a file that is empty still.
            self.fill()?;
            if extract(tree, one, self.root, self.placement)? {
                return Ok(None);
            }
        }
        let style = Style { owners: tree.owners, placement: self.placement };
        let (source_root, mover) = (Arc::new(tree.root.try_clone()?), Mover::new());
        let laying = Laying { mover: &mover, later: &self.later, tree: &source_root };
        match one.meta.kind {
            Kind::Dir => copy_dir(tree, one, self.root, style, laying, within),
            Kind::File
            | Kind::Link
            | Kind::Fifo
            | Kind::Socket
            | Kind::CharDevice
            | Kind::BlockDevice => copy_one(tree, one, self.root, style, laying).map(|()| None),
        }
    }

    /// Writes one file of the given content, as COPY does with a heredoc: 0644 and 0:0 unless the placement says
    /// otherwise. `name` is its name if the destination is a directory.
    pub fn write_file(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        let style = Style { owners: Owners::Root, placement: self.placement };
        let destination = Destination::open(self.root, style)?;
        let (parent, name, made) = destination.for_file(Path::new(name), style)?;
        let path = parent.path().join(&name);
        let target = Target { dir: parent.dir(), name: &name, path: &path };
        let wanted = self.placement.mode.as_ref();
        let mode = wanted.map_or(FILE_MODE, |mode| mode.apply(FILE_MODE, false));
        let owner = self.placement.owner.unwrap_or((0, 0));
        entry::write(target, content, owner, mode, self.placement.created, &self.later)?;
        restore_times(&made, self.placement.created)
    }

    /// Fills the files that are empty still, where they were made.
    fn fill(&mut self) -> Result<(), Error> {
        let unfilled = self.later.take();
        if unfilled.is_empty() { Ok(()) } else { unfilled.open(self.root.try_clone()?)?.fill() }
    }

    /// Returns what is missing still.
    pub fn finish(self) -> Rest<'a> {
        Rest { merge: self.merge, later: self.later }
    }
}

/// Who lays out the files of one tree.
#[derive(Debug, Clone, Copy)]
struct Laying<'a> {
    mover: &'a Mover,
    later: &'a Later,
    tree: &'a Arc<RootDir>,
}

/// How copied entries look: their own mode and owner, or what the flags say.
#[derive(Debug, Clone, Copy)]
struct Style<'a> {
    owners: Owners,
    placement: &'a Placement,
}

impl Style<'_> {
    fn owner(&self, meta: &Meta) -> Owner {
        match (self.placement.owner, self.owners) {
            (Some(owner), _) => owner,
            (None, Owners::Root) => (0, 0),
            (None, Owners::Keep) => (meta.uid, meta.gid),
        }
    }

    fn mode(&self, meta: &Meta) -> u32 {
        let is_dir = meta.kind == Kind::Dir;
        self.placement.mode.as_ref().map_or(meta.mode, |mode| mode.apply(meta.mode, is_dir))
    }

    /// The time of a copy: the source's, unless all are to have one.
    fn time(&self, meta: &Meta) -> Timestamp {
        self.placement.created.unwrap_or(meta.mtime)
    }

    fn new_dir(&self) -> NewDir {
        let octal = self.placement.mode.as_ref().and_then(Chmod::octal);
        NewDir {
            mode: octal.unwrap_or(DIR_MODE),
            owner: Some(self.placement.owner.unwrap_or((0, 0))),
        }
    }
}

/// Directories that were made, to be given their time at the end.
type Made = Vec<(OwnedFd, PathBuf)>;

/// The destination of one source, its parents made.
struct Destination {
    place: Place,
    made: Made,
}

impl Destination {
    /// Makes the directories that the destination's spelling asks for, and resolves it.
    fn open(root: &RootDir, style: Style<'_>) -> Result<Self, Error> {
        let dest = style.placement.dest.as_str();
        let (parent, name) = dest.rsplit_once('/').unwrap_or(("", dest));
        let is_directory = matches!(name, "" | ".");
        let mut place = root.place(Path::new(if is_directory { dest } else { parent }))?;
        let made = make(&mut place, &style.new_dir())?;
        if !is_directory {
            place = root.place(Path::new(dest))?;
        }
        Ok(Self { place, made })
    }

    /// Returns the directory that shall hold a file, and its name there.
    fn for_file(
        self,
        own_name: &Path,
        style: Style<'_>,
    ) -> Result<(Place, std::ffi::OsString, Made), Error> {
        let Self { place, mut made } = self;
        if place.is_dir() {
            return Ok((place, own_name.as_os_str().to_owned(), made));
        }
        let path = place.path();
        let Some((mut parent, name)) = place.split() else {
            return Err(Error::NotADirectory { path });
        };
        // Only a dangling link leads to a place whose parents are missing still.
        made.extend(make(&mut parent, &style.new_dir())?);
        Ok((parent, name, made))
    }
}

fn make(place: &mut Place, new_dir: &NewDir) -> Result<Made, Error> {
    if place.file().is_some() {
        return Err(Error::NotADirectory { path: place.path() });
    }
    place.create(new_dir)
}

fn copy_one(
    tree: &Tree,
    one: &Match,
    root: &RootDir,
    style: Style<'_>,
    laying: Laying<'_>,
) -> Result<(), Error> {
    let destination = Destination::open(root, style)?;
    let (parent, name, made) = destination.for_file(Path::new(&one.name), style)?;
    let dir = one.path.parent().unwrap_or(Path::new(""));
    let dir = open_dir_below(tree.root.as_fd(), dir).map_err(Error::io("open", dir))?;
    let source = Source {
        dir: &dir,
        name: one.path.file_name().unwrap_or_default(),
        path: &Path::new("/").join(&one.path),
        meta: &one.meta,
        target: None,
    };
    let path = parent.path().join(&name);
    let target = Target { dir: parent.dir(), name: &name, path: &path };
    entry::copy(source, target, style, laying)?;
    restore_times(&made, style.placement.created)
}

fn copy_dir<'a>(
    tree: &'a Tree,
    one: &'a Match,
    root: &RootDir,
    style: Style<'a>,
    laying: Laying<'_>,
    within: Within,
) -> Result<Option<Merge<'a>>, Error> {
    let Destination { mut place, mut made } = Destination::open(root, style)?;
    if place.file().is_some() {
        return Err(Error::CopyToNonDirectory { path: place.path() });
    }
    let existing = match place.is_dir() {
        true => Some(existing_times(place.dir(), &place.path())?),
        false => None,
    };
    made.extend(place.create(&style.new_dir())?);
    let mut merge = Merge::new(tree, one, place.path(), existing.is_none(), style);
    if let Some(merge) = &mut merge {
        merge.run(place.dir(), laying, within)?;
    }
    if let Some((fd, times)) = existing {
        // A directory that was there is not the source's: adding to it leaves no trace, or the one that all have.
        let times = style.placement.created.map_or(times, |created| created.to_timestamps());
        rustix::fs::futimens(&fd, &times).map_err(Error::io("set the times of", place.path()))?;
    }
    restore_times(&made, style.placement.created)?;
    Ok(merge.filter(Merge::is_unfinished))
}

/// Returns the times of a directory, to be set again.
fn existing_times(
    dir: BorrowedFd<'_>,
    path: &Path,
) -> Result<(OwnedFd, rustix::fs::Timestamps), Error> {
    let fd = open_dir_below(dir, Path::new("")).map_err(Error::io("open", path))?;
    let stat = rustix::fs::fstat(&fd).map_err(Error::io("stat", path))?;
    Ok((fd, Meta::new(&stat).mtime.to_timestamps()))
}

/// Extracts a source that is an archive; says whether it was one.
fn extract(tree: &Tree, one: &Match, root: &RootDir, placement: &Placement) -> Result<bool, Error> {
    let Some(file) = crate::archive::open(tree, one)? else { return Ok(false) };
    let mut place = root.place(Path::new(&placement.dest))?;
    let new_dir = NewDir { mode: DIR_MODE, owner: Some(placement.owner.unwrap_or((0, 0))) };
    let made = make(&mut place, &new_dir)?;
    crate::archive::extract_archive(
        file,
        root,
        &placement.dest,
        placement.owner,
        &placement.budget,
    )?;
    restore_times(&made, placement.created)?;
    Ok(true)
}
