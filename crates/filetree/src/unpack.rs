//! Archives to trees: a layer to a snapshot in overlay's form. The reverse is [`pack`](mod@crate::pack); archives that ADD
//! extracts are in [`archive`](mod@crate::archive), with the same reader and the same ways into the tree.
//!
//! An archive is hostile until proven otherwise. Names are cleaned within the root and resolved one directory at a time
//! without ever leaving it; what is replaced is removed by its own name, never through a link; nothing that was not just
//! made here is ever opened for writing; sizes are counted before anything is written.
//!
//! | in the layer | in the snapshot |
//! |---|---|
//! | `.wh.x` | character device 0:0 `x`; if the layer also has a directory `x`, that one is opaque |
//! | `d/.wh..wh..opq` | opaque directory `d` |
//! | `.wh..wh.*`, a global header, `./` | nothing |
//! | character device 0:0 | nothing, or it would delete |
//! | an entry in a directory that has no entry | the directory with mode, owner and times as in the lower layers |
//! | a hard link to a file of a lower layer | a copy of that file, and the link to the copy |
//! | several entries of one name | the last one; directories are merged |

mod below;
mod header;
mod make;
mod number;
mod path;
mod pax;
pub(crate) mod reader;
mod resolve;
mod sparse;
pub(crate) mod tree;

#[cfg(test)]
mod hostile;
#[cfg(test)]
pub(crate) mod tests;

use std::io::Read;

use rustix::fs::FileType;

use crate::{
    Error, Fault, Limit, RootDir, Written,
    checksum::Writing,
    whiteout::{Flavour, META_PREFIX, Meaning, PREFIX, meaning},
};

pub use self::below::Underneath;
use self::{
    below::{Below, Lowers},
    path::EntryPath,
    reader::{Entry, Kind, Reader},
    resolve::Refused,
    tree::{Dir, Dress, Tree, write_all},
};

/// How much an archive may hold. What counts is what comes out, never the compressed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes of file contents, holes included, and of what lies behind the end of the archive.
    pub bytes: u64,
    /// How many times as large as what it is compressed to an archive may be, once it has more than [`SMALL`] bytes:
    /// see [`decompress_within`](crate::decompress_within).
    pub ratio: u64,
    /// Names in one path.
    pub depth: usize,
}

/// How large an archive may be whatever it is compressed to, in bytes: a disk of zeros is an honest thing.
pub const SMALL: u64 = 1 << 30;

impl Budget {
    /// More than any honest layer has: the largest known ones hold some 100 GB of models, or a million small files, and
    /// text shrinks to a twentieth. What gzip makes of nothing but zeros is a thousandth of them.
    pub const GENEROUS: Self =
        Self { entries: 4_000_000, bytes: 256 << 30, ratio: 250, depth: 2048 };
}

/// What an archive held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes of file contents.
    pub bytes: u64,
    /// Devices and extended attributes that this process may not make, and devices that would read as whiteouts.
    pub skipped: u64,
    /// Entries whose owner this process may not set; they belong to the process.
    pub foreign_owners: u64,
    /// What was written into the files of a layer, for its [`contents`](fn@crate::contents).
    pub written: Written,
}

/// Unpacks a layer (uncompressed) into an empty directory, in overlay's form. The stream is read to its end.
///
/// `lowers` are the snapshots below, which are looked at only if the layer needs them: they tell what directories look like that the layer implies but
/// does not have, where links on the way lead, and what hard links mean. Without them such directories are 0755 and root's.
///
/// # Errors
/// [`Error::Archive`] for what breaks the format or the rules, [`Error::Budget`] before too much is written,
/// [`Error::ReadArchive`] when the stream fails. The directory then holds a part of the layer and is to be thrown away.
pub fn unpack_layer(
    tar: &mut impl Read,
    upper: &RootDir,
    lowers: &dyn Underneath,
    flavour: Flavour,
    budget: &Budget,
) -> Result<Unpacked, Error> {
    let lowers = Lowers { layers: lowers, flavour };
    let mut tree = Tree::new(upper, Some(lowers));
    let mut meter = Meter::new(budget);
    let mut reader = Reader::new(tar);
    while let Some(entry) = reader.next()? {
        let path = meter.count(&entry)?;
        unpack_entry(&mut tree, &mut reader, &entry, &path)?;
    }
    let drained = reader.drain(budget.bytes)?;
    meter.check_bytes(drained)?;
    hide_lower_root(&mut tree, lowers)?;
    tree.remove_useless_whiteouts()?;
    tree.finish_dirs()?;
    Ok(meter.finish(tree))
}

/// Counts what an archive holds against its budget.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    budget: &'a Budget,
    unpacked: Unpacked,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(budget: &'a Budget) -> Self {
        Self { budget, unpacked: Unpacked::default() }
    }

    /// Counts an entry, before anything of it is read, and returns its path.
    pub(crate) fn count(&mut self, entry: &Entry) -> Result<EntryPath, Error> {
        self.unpacked.entries += 1;
        let allowed = self.budget.entries;
        if self.unpacked.entries > allowed {
            return Err(Error::Budget { limit: Limit::Entries, allowed });
        }
        self.check_bytes(entry.size)?;
        self.unpacked.bytes += entry.size;
        let path = EntryPath::parse(&entry.name).map_err(|fault| entry.fault(fault))?;
        if path.depth > self.budget.depth {
            let allowed = self.budget.depth as u64;
            return Err(Error::Budget { limit: Limit::Depth, allowed });
        }
        Ok(path)
    }

    fn check_bytes(&self, more: u64) -> Result<(), Error> {
        let allowed = self.budget.bytes;
        match self.unpacked.bytes.checked_add(more) {
            Some(bytes) if bytes <= allowed => Ok(()),
            _ => Err(Error::Budget { limit: Limit::Bytes, allowed }),
        }
    }

    pub(crate) fn finish(mut self, tree: Tree<'_>) -> Unpacked {
        self.unpacked.skipped = tree.skipped;
        self.unpacked.foreign_owners = tree.foreign_owners;
        self.unpacked.written = tree.written;
        self.unpacked
    }
}

fn unpack_entry<R: Read>(
    tree: &mut Tree<'_>,
    reader: &mut Reader<R>,
    entry: &Entry,
    path: &EntryPath,
) -> Result<(), Error> {
    let fault = |fault| Err(entry.fault(fault));
    for name in path.parent().split(|byte| *byte == b'/') {
        if name.starts_with(META_PREFIX) {
            return Ok(());
        }
        if name.starts_with(PREFIX) {
            return fault(Fault::Whiteout);
        }
    }
    match meaning(path.name()) {
        Meaning::Entry => put_entry(tree, reader, entry, path, None),
        Meaning::Meta => Ok(()),
        Meaning::Invalid => fault(Fault::Whiteout),
        Meaning::Whiteout(name) => {
            let dir = enter(tree, entry, path.parent())?;
            tree.make_whiteout(&dir, name)
        }
        Meaning::Opaque => {
            let dir = enter(tree, entry, path.parent())?;
            tree.make_opaque(&dir)
        }
    }
}

/// Puts an entry into the tree. The root itself is left as it is; only a directory may stand for it.
pub(crate) fn put_entry<R: Read>(
    tree: &mut Tree<'_>,
    reader: &mut Reader<R>,
    entry: &Entry,
    path: &EntryPath,
    owner: Option<(u32, u32)>,
) -> Result<(), Error> {
    if path.is_root() {
        return match entry.kind {
            Kind::Directory => Ok(()),
            _ => Err(entry.fault(Fault::Root)),
        };
    }
    let dir = enter(tree, entry, path.parent())?;
    let name = path.name();
    let (uid, gid) = owner.unwrap_or((entry.uid, entry.gid));
    let dress = Dress { mode: entry.mode, uid, gid, mtime: entry.mtime, xattrs: &entry.xattrs };
    let node = |tree: &mut Tree<'_>, kind| tree.make_node(&dir, name, kind, entry.device, &dress);
    match entry.kind {
        Kind::File => put_file(tree, reader, entry, &dir, name, &dress),
        Kind::Directory => tree.make_dir(&dir, name, &dress).map(|_| ()),
        Kind::Symlink if entry.link.contains(&0) => Err(entry.fault(Fault::Name)),
        Kind::Symlink => tree.make_symlink(&dir, name, &entry.link, &dress),
        Kind::HardLink => put_hard_link(tree, entry, &dir, name, &dress),
        Kind::Char => node(tree, FileType::CharacterDevice),
        Kind::Block => node(tree, FileType::BlockDevice),
        Kind::Fifo => node(tree, FileType::Fifo),
    }
}

fn put_file<R: Read>(
    tree: &mut Tree<'_>,
    reader: &mut Reader<R>,
    entry: &Entry,
    dir: &Dir,
    name: &[u8],
    dress: &Dress<'_>,
) -> Result<(), Error> {
    let path = || dir.path_of(name);
    let sparse = entry.is_sparse();
    // Holes do not go by.
    let mut sum = (tree.lowers.is_some() && !sparse).then(Writing::new);
    tree.make_file(dir, name, dress, |fd| {
        if sparse {
            rustix::fs::ftruncate(fd, entry.size).map_err(Error::io("set the size of", path()))?;
        }
        reader.contents(entry, |offset, bytes| {
            if sparse {
                let to = rustix::fs::SeekFrom::Start(offset);
                rustix::fs::seek(fd, to).map_err(Error::io("write", path()))?;
            }
            if let Some(sum) = &mut sum {
                sum.add(bytes);
            }
            write_all(fd, bytes).map_err(Error::io("write", path()))
        })?;
        Ok(sum.map(Writing::finish))
    })
}

fn put_hard_link(
    tree: &mut Tree<'_>,
    entry: &Entry,
    dir: &Dir,
    name: &[u8],
    dress: &Dress<'_>,
) -> Result<(), Error> {
    let fault = || entry.fault(Fault::HardLink);
    let target = EntryPath::parse(&entry.link).map_err(|fault| entry.fault(fault))?;
    // Where deletions are marked by files, a mark is no file of the layer.
    let is_mark = tree.lowers.is_some() && meaning(target.name()) != Meaning::Entry;
    if target.is_root() || is_mark {
        return Err(fault());
    }
    let from = enter(tree, entry, target.parent())?;
    let stat = match tree.stat(&from, target.name())? {
        None => tree.copy_up(&from, target.name())?,
        there => there,
    };
    let stat = stat.filter(|stat| !tree.is_deletion(stat)).ok_or_else(fault)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory {
        return Err(fault());
    }
    tree.make_hard_link(&from, target.name(), &stat, dir, name)?;
    let same =
        (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (dress.uid, dress.gid, dress.mode);
    // Setting an owner takes file capabilities away, so it is not done for nothing.
    if same && dress.xattrs.is_empty() && crate::pack::mtime_of(&stat) == dress.mtime {
        return Ok(());
    }
    tree.dress(dir, name, kind, dress)
}

fn enter(tree: &mut Tree<'_>, entry: &Entry, path: &[u8]) -> Result<Dir, Error> {
    tree.enter(path).map_err(|refused| match refused {
        Refused::Fault(fault) => entry.fault(fault),
        Refused::Error(error) => error,
    })
}

/// Deletes what the lower layers have in an opaque root, name by name: overlay does not look for the mark there.
fn hide_lower_root(tree: &mut Tree<'_>, lowers: Lowers<'_>) -> Result<(), Error> {
    if !tree.opaque.contains(&b""[..]) {
        return Ok(());
    }
    let root = tree.root_dir()?;
    for name in lowers.root_names()? {
        let path = root.path_of(&name);
        match lowers.look_up(&name).map_err(Error::io("look up", path))? {
            Below::Nothing => {}
            _ => tree.make_whiteout(&root, &name)?,
        }
    }
    Ok(())
}
