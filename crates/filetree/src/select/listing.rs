//! What a walk of a directory has found: every entry with what is known of it, as small as it can be.
//!
//! There may be millions, and all are in memory until they are copied: names lie side by side, and what only few entries have
//! lies apart. How entries come in is in `select/scan.rs`.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

use rustix::{fs::Stat, io::Errno};

use crate::{
    Timestamp,
    tree::{Kind, Meta},
    xattr::Xattr,
};

/// A directory and all that is taken of it. The first of `dirs` is itself.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) dirs: Vec<Directory>,
}

/// One directory of a listing.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// Relative to the directory that is copied.
    pub(crate) path: PathBuf,
    pub(crate) xattrs: Box<[Xattr]>,
    entries: Entries,
}

/// The entries of one directory, sorted by name.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    packed: Vec<Packed>,
    /// The name of each entry, followed by its target if it is a link.
    texts: Vec<u8>,
    /// Numbers that few entries have: the device that one is, or the file system on which a file lies that has several names.
    numbers: Vec<u64>,
}

/// Something that is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a OsStr,
    pub(crate) meta: Meta,
    /// A link's target.
    pub(crate) target: Option<&'a OsStr>,
    /// A directory's index in the listing.
    pub(crate) dir: Option<usize>,
    /// Which file it is, if that has several names.
    pub(crate) shared: Option<FileId>,
    /// Whether it was asked for itself; otherwise it is a directory on the way to something that was.
    pub(crate) wanted: bool,
}

/// Which file it is, whatever it is called: its file system and its inode.
pub(crate) type FileId = (u64, u64);

/// An entry as it is kept. Every byte counts.
#[derive(Debug, Clone, Copy)]
struct Packed {
    inode: u64,
    size: u64,
    mtime: i64,
    ctime: i64,
    mtime_nanoseconds: u32,
    ctime_nanoseconds: u32,
    uid: u32,
    gid: u32,
    /// Where its name begins in the texts.
    name: u32,
    /// The length of a link's target, a directory's index in the listing; of anything else where its number is, or [`NONE`].
    more: u32,
    name_length: u16,
    /// Twelve bits.
    mode: u16,
    kind: Kind,
    wanted: bool,
    /// Whether an ignore rule hides it: a directory that is there only for what an exception brings back.
    hidden: bool,
}

const _: () = assert!(size_of::<Packed>() == 64, "an entry has grown");

/// No number.
const NONE: u32 = u32::MAX;

/// An entry that comes in.
pub(super) struct New<'a> {
    pub(super) name: &'a [u8],
    pub(super) meta: Meta,
    pub(super) stat: &'a Stat,
    pub(super) target: Option<&'a OsStr>,
    pub(super) wanted: bool,
    pub(super) hidden: bool,
}

impl Listing {
    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.dirs.iter().map(Directory::len).sum()
    }

    /// Says whether the directory holds nothing that is taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.dirs.first().is_none_or(|dir| dir.len() == 0)
    }

    /// Returns how many files there are, and the size of all.
    pub(crate) fn files(&self) -> (usize, u64) {
        let packed = self.dirs.iter().flat_map(|dir| &dir.entries.packed);
        let sizes = packed.filter(|entry| entry.kind == Kind::File).map(|entry| entry.size);
        sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }

    /// Returns the first file that has more bytes than `allowed`, relative to the directory that is copied, and how many.
    pub(crate) fn larger(&self, allowed: u64) -> Option<(PathBuf, u64)> {
        let is_larger = |entry: &Packed| entry.kind == Kind::File && entry.size > allowed;
        self.dirs.iter().find_map(|dir| {
            let number = dir.entries.packed.iter().position(is_larger)?;
            let entry = dir.entry(number);
            Some((dir.path.join(entry.name), entry.meta.size))
        })
    }

    /// Drops directories that were only looked through and hold nothing that is taken.
    pub(super) fn prune(&mut self) {
        // A directory's index is larger than that of its parent, so one pass from the end sees children first.
        let mut holds: Vec<bool> = vec![false; self.dirs.len()];
        for index in (0..self.dirs.len()).rev() {
            let packed = &mut self.dirs[index].entries.packed;
            packed.retain(|entry| match entry.dir() {
                Some(dir) => holds[dir] || (entry.wanted && !entry.hidden),
                None => true,
            });
            holds[index] = !packed.is_empty();
        }
    }
}

impl Directory {
    pub(super) fn new(path: PathBuf, xattrs: Vec<Xattr>, mut entries: Entries) -> Self {
        entries.packed.shrink_to_fit();
        entries.texts.shrink_to_fit();
        Self { path, xattrs: xattrs.into_boxed_slice(), entries }
    }

    /// Returns the number of its entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.packed.len()
    }

    /// Returns its entries, sorted by name.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = Entry<'_>> + ExactSizeIterator {
        (0..self.len()).map(|number| self.entry(number))
    }

    /// Returns one of its entries.
    pub(crate) fn entry(&self, number: usize) -> Entry<'_> {
        let Entries { packed, texts, numbers } = &self.entries;
        let packed = &packed[number];
        let start = packed.name as usize;
        let end = start + usize::from(packed.name_length);
        let is_link = packed.kind == Kind::Link;
        let text = |from: usize, to: usize| OsStr::from_bytes(&texts[from..to]);
        let number = packed.number().map(|index| numbers[index]);
        let is_file = packed.kind == Kind::File;
        Entry {
            name: text(start, end),
            meta: packed.meta(number.filter(|_| !is_file)),
            target: is_link.then(|| text(end, end + packed.more as usize)),
            dir: packed.dir(),
            shared: number.filter(|_| is_file).map(|device| (device, packed.inode)),
            wanted: packed.wanted,
        }
    }

    /// Tells the directories among its entries their index in the listing, in their order.
    pub(super) fn set_dirs(&mut self, mut next: impl FnMut() -> Option<u32>) {
        let packed = self.entries.packed.iter_mut();
        for entry in packed.filter(|entry| entry.kind == Kind::Dir) {
            entry.more = next().unwrap_or(NONE);
        }
    }
}

impl Entries {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { packed: Vec::with_capacity(count), ..Self::default() }
    }

    /// Adds an entry. A directory has no index yet.
    ///
    /// # Errors
    /// `OVERFLOW` when there is more in one directory than can be counted.
    pub(super) fn push(&mut self, new: New<'_>) -> Result<(), Errno> {
        let count = |number: usize| u32::try_from(number).map_err(|_| Errno::OVERFLOW);
        let name = count(self.texts.len())?;
        self.texts.extend_from_slice(new.name);
        self.texts.extend_from_slice(new.target.unwrap_or_default().as_bytes());
        let more = match (new.meta.kind, number(new.meta, new.stat)) {
            (Kind::Link, _) => count(new.target.unwrap_or_default().len())?,
            (_, None) => NONE,
            (_, Some(number)) => {
                self.numbers.push(number);
                count(self.numbers.len() - 1)?
            }
        };
        let Meta { kind, mode, uid, gid, size, mtime, ctime, inode, rdev: _ } = new.meta;
        self.packed.push(Packed {
            inode,
            size,
            mtime: mtime.seconds,
            ctime: ctime.seconds,
            mtime_nanoseconds: mtime.nanoseconds,
            ctime_nanoseconds: ctime.nanoseconds,
            uid,
            gid,
            name,
            more,
            name_length: u16::try_from(new.name.len()).map_err(|_| Errno::OVERFLOW)?,
            // Twelve bits always fit.
            mode: mode as u16,
            kind,
            wanted: new.wanted,
            hidden: new.hidden,
        });
        Ok(())
    }
}

/// The number that only few entries have.
#[allow(clippy::unnecessary_cast, reason = "the widths differ between architectures")]
fn number(meta: Meta, stat: &Stat) -> Option<u64> {
    match meta.kind {
        Kind::CharDevice | Kind::BlockDevice => Some(meta.rdev),
        Kind::File => (stat.st_nlink > 1).then_some(stat.st_dev as u64),
        Kind::Dir | Kind::Link | Kind::Fifo | Kind::Socket => None,
    }
}

impl Packed {
    fn dir(&self) -> Option<usize> {
        (self.kind == Kind::Dir && self.more != NONE).then_some(self.more as usize)
    }

    /// Where its number is.
    fn number(&self) -> Option<usize> {
        let has_one = matches!(self.kind, Kind::File | Kind::CharDevice | Kind::BlockDevice);
        (has_one && self.more != NONE).then_some(self.more as usize)
    }

    fn meta(&self, rdev: Option<u64>) -> Meta {
        let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        Meta {
            kind: self.kind,
            mode: self.mode.into(),
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            mtime: time(self.mtime, self.mtime_nanoseconds),
            ctime: time(self.ctime, self.ctime_nanoseconds),
            inode: self.inode,
            rdev: rdev.unwrap_or(0),
        }
    }
}
