//! Trees to archives: a sealed snapshot as a layer, a merged tree as a plain tar. The reverse is
//! [`unpack`](mod@crate::unpack); a tree to a directory of the host is [`copy_out`](mod@crate::copy_out).
//!
//! A layer is a pure function of the snapshot: entries sorted by name, a directory before what is in it, nothing in the
//! headers but what the files themselves carry. One pass; each file is opened once, by a descriptor of its directory.
//!
//! | in the snapshot | in the layer |
//! |---|---|
//! | character device 0:0 `x`, or the mark for it | `.wh.x` |
//! | opaque directory `d` | `d/`, then `d/.wh..wh..opq` |
//! | file with several names | an entry, and hard links to it for the later names |
//! | socket | nothing: it means nothing without its process |
//! | attributes of overlay and of security modules | nothing |

mod header;
mod output;
pub(crate) mod walk;
mod whole;

#[cfg(test)]
pub(crate) mod overlay_tests;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::BTreeMap,
    ffi::CStr,
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Stat};

use crate::{
    Error, Filling, RootDir,
    measure::{self, TreeSize},
    root::{Timestamp, read_link_at},
    whiteout::{self, Flavour, Meaning},
    xattr::{Carrier, Xattr, path_through},
};

pub use self::whole::{Pack, pack_living_tree, pack_one, pack_tree, pack_trees};
use self::{
    header::{Entry, Kind},
    output::Output,
    walk::{Visit, Walk, open_dir, open_file},
};

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOptions<'a> {
    /// The times of its entries.
    pub times: Times<'a>,
    /// How many bytes its files may contain, holes included: those are zeros in an archive, for who packs it and for everybody
    /// who unpacks it.
    pub bytes: u64,
}

impl PackOptions<'static> {
    /// The files as they are, however large.
    pub const OWN: Self = Self { times: Times::Own, bytes: u64::MAX };
}

/// Which times entries carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times<'a> {
    /// The files' own.
    Own,
    /// The files' own up to a limit (`SOURCE_DATE_EPOCH`).
    UpTo {
        /// Later times are set to it.
        limit: Timestamp,
        /// From when to when things were made. Times in between are set to the limit too, however early: what is made
        /// again, now, gets it as well.
        made: &'a [(Timestamp, Timestamp)],
    },
    /// One for all.
    All(Timestamp),
}

impl Times<'_> {
    fn of(self, own: Timestamp) -> Timestamp {
        let is_in = |(first, last): &(Timestamp, Timestamp)| (first..=last).contains(&&own);
        match self {
            Self::Own => own,
            Self::UpTo { limit, made } if own > limit || made.iter().any(is_in) => limit,
            Self::UpTo { .. } => own,
            Self::All(time) => time,
        }
    }
}

/// Writes a sealed snapshot, overlay's upper directory, as a layer (OCI image specification, "Image Layer Filesystem
/// Changeset"): the same snapshot makes the same bytes on any machine. Returns how much is in it, as
/// [`tree_size`](crate::tree_size) counts it.
///
/// # Errors
/// [`Error::WhiteoutName`] for a file whose name would delete another one, [`Error::OverlayAttribute`] for a snapshot that
/// is not complete in itself, [`Error::Changed`] when somebody writes into it, [`Error::LayerSize`] at the file that is too
/// much, before it is read. What was written by then is no archive.
pub fn pack(
    upper: &Path,
    flavour: Flavour,
    options: &PackOptions<'_>,
    out: &mut impl Write,
) -> Result<TreeSize, Error> {
    let root = RootDir::open(upper)?;
    Packer::new(out, Some(flavour), options).pack(root.as_fd())
}

/// The same while the last of its files are being filled, in the directory that they are in.
///
/// # Errors
/// Those of [`pack`], and [`Error::Changed`] if not all are filled in the end.
pub fn pack_filling(
    filling: &Filling,
    flavour: Flavour,
    options: &PackOptions<'_>,
    out: &mut impl Write,
) -> Result<TreeSize, Error> {
    let mut packer = Packer::new(out, Some(flavour), options);
    packer.filling = Some(filling);
    packer.pack(filling.root().as_fd())
}

struct Packer<'a, 't, W> {
    out: Output<'a, W>,
    /// What to look for in a snapshot; nothing in a merged tree.
    flavour: Option<Flavour>,
    options: PackOptions<'t>,
    /// The files that are not complete yet.
    filling: Option<&'t Filling>,
    /// How much is in the files that were put.
    size: TreeSize,
    /// The first name of each file that has several.
    links: BTreeMap<(u64, u64), Vec<u8>>,
    /// What the next file or link is called, if not by its own name.
    alias: Option<Vec<u8>>,
    /// The header being made; kept for its memory.
    header: Vec<u8>,
}

/// The attributes of a file, sorted out.
#[derive(Default)]
struct Attributes {
    travelling: Vec<Xattr>,
    opaque: bool,
}

impl<'a, 't, W: Write> Packer<'a, 't, W> {
    fn new(out: &'a mut W, flavour: Option<Flavour>, options: &PackOptions<'t>) -> Self {
        let out = Output::new(out);
        let (links, header, options) = (BTreeMap::new(), Vec::new(), *options);
        Self {
            out,
            flavour,
            options,
            filling: None,
            size: TreeSize::default(),
            links,
            alias: None,
            header,
        }
    }

    fn pack(mut self, root: BorrowedFd<'_>) -> Result<TreeSize, Error> {
        self.put_tree(b"", root)?;
        self.finish()
    }

    fn finish(self) -> Result<TreeSize, Error> {
        self.out.finish()?;
        Ok(self.size)
    }

    /// Puts a file or link of a directory under another name.
    fn put_alone(
        &mut self,
        parent: OwnedFd,
        file: &std::ffi::OsStr,
        name: &[u8],
        stat: &Stat,
    ) -> Result<(), Error> {
        use std::os::unix::ffi::OsStrExt;
        // It came from a path, so there is no NUL in it.
        let file = std::ffi::CString::new(file.as_bytes()).unwrap_or_default();
        self.alias = Some(name.to_vec());
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.put_file(&Walk::standing_in(parent), &file),
            FileType::Socket => Ok(()),
            _ => self.put_special(&Walk::standing_in(parent), &file),
        }
    }

    /// The name of an entry.
    fn entry_name(&mut self, walk: &Walk, name: &CStr) -> Vec<u8> {
        self.alias.take().unwrap_or_else(|| [walk.prefix(), name.to_bytes()].concat())
    }

    fn put_tree(&mut self, name: &[u8], root: BorrowedFd<'_>) -> Result<(), Error> {
        let root = open_dir(root, c".").map_err(Error::io("open", "/"))?;
        let path = || PathBuf::from("/");
        let attributes = self.attributes(Carrier::Open(root.as_fd()), path)?;
        if self.is_opaque(root.as_fd(), &attributes, path)? {
            self.put_whiteout(whiteout::OPAQUE)?;
        }
        let prefix = if name.is_empty() { Vec::new() } else { [name, b"/"].concat() };
        if !prefix.is_empty() {
            let stat = stat_open(&root, path)?;
            let kind = Kind::Directory;
            self.put_header(&prefix, kind, &stat, &attributes.travelling)?;
        }
        let mut walk = Walk::below(root, prefix)?;
        while let Some(visit) = walk.next()? {
            if let Visit::Name(name, kind) = visit {
                self.put(&mut walk, &name, kind)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, walk: &mut Walk, name: &CStr, kind: FileType) -> Result<(), Error> {
        if self.flavour.is_some() && name.to_bytes().starts_with(whiteout::PREFIX) {
            return self.put_mark(walk, name);
        }
        let put = match kind {
            FileType::Directory => self.put_dir(walk, name),
            FileType::RegularFile => self.put_file(walk, name),
            FileType::Socket => Ok(()),
            _ => self.put_special(walk, name),
        };
        match put {
            Err(error) if self.out.living && is_change(&error) => Ok(()),
            put => put,
        }
    }

    /// Puts what a snapshot with marks in names has deleted; any other has no such names.
    fn put_mark(&mut self, walk: &Walk, name: &CStr) -> Result<(), Error> {
        match (self.flavour, whiteout::meaning(name.to_bytes())) {
            (Some(Flavour::Names), Meaning::Whiteout(_)) => {
                self.put_whiteout(&[walk.prefix(), name.to_bytes()].concat())
            }
            // It was put with its directory.
            (Some(Flavour::Names), Meaning::Opaque) => Ok(()),
            _ => Err(Error::WhiteoutName { path: walk.path_of(name.to_bytes()) }),
        }
    }

    fn is_opaque(
        &self,
        directory: BorrowedFd<'_>,
        attributes: &Attributes,
        path: impl Fn() -> PathBuf,
    ) -> Result<bool, Error> {
        match self.flavour {
            Some(flavour @ Flavour::Names) => {
                flavour.is_opaque(directory).map_err(Error::io("look at", path()))
            }
            _ => Ok(attributes.opaque),
        }
    }

    fn put_dir(&mut self, walk: &mut Walk, name: &CStr) -> Result<(), Error> {
        let path = || walk.path_of(name.to_bytes());
        let fd = open_dir(walk.dir()?, name).map_err(Error::io("open", path()))?;
        let stat = stat_open(&fd, path)?;
        let attributes = self.attributes(Carrier::Open(fd.as_fd()), path)?;
        let entry_name = [walk.prefix(), name.to_bytes(), b"/"].concat();
        self.put_header(&entry_name, Kind::Directory, &stat, &attributes.travelling)?;
        if self.is_opaque(fd.as_fd(), &attributes, path)? {
            self.put_whiteout(&[&entry_name, whiteout::OPAQUE].concat())?;
        }
        walk.enter(fd, name)
    }

    fn put_file(&mut self, walk: &Walk, name: &CStr) -> Result<(), Error> {
        let path = || walk.path_of(name.to_bytes());
        let fd = open_file(walk.dir()?, name).map_err(Error::io("open", path()))?;
        let mut stat = stat_open(&fd, path)?;
        if is_device(&stat) {
            // By its deed.
            return self.put_special(walk, name);
        }
        let growing = self.filling.and_then(|filling| filling.find(&mut stat));
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::Changed { path: path() });
        }
        let entry_name = self.entry_name(walk, name);
        let attributes = self.attributes(Carrier::Open(fd.as_fd()), path)?;
        if self.put_hard_link(&entry_name, &stat, &attributes.travelling)? {
            return Ok(());
        }
        let size = stat.st_size as u64;
        self.put_header(&entry_name, Kind::File { size }, &stat, &attributes.travelling)?;
        if self.size.contents > self.options.bytes {
            return Err(Error::LayerSize { path: path(), size, allowed: self.options.bytes });
        }
        self.out.append_file(fd.as_fd(), size, growing, path)?;
        if growing.is_some() {
            // Only now it has all its blocks.
            stat = stat_open(&fd, path)?;
        }
        self.size.holes += measure::holes_in(&fd, &stat);
        Ok(())
    }

    /// Puts a link, a device or a FIFO, none of which is ever opened.
    fn put_special(&mut self, walk: &Walk, name: &CStr) -> Result<(), Error> {
        let path = || walk.path_of(name.to_bytes());
        let dir = walk.dir()?;
        let stat = crate::deed::statat(dir, name).map_err(Error::io("stat", path()))?;
        if self.flavour.is_some() && whiteout::is_whiteout(&stat) {
            return self.put_whiteout(&[walk.prefix(), whiteout::PREFIX, name.to_bytes()].concat());
        }
        let entry_name = self.entry_name(walk, name);
        let through = path_through(dir, name.to_bytes());
        let attributes = self.attributes(Carrier::Path(&through), path)?;
        if self.put_hard_link(&entry_name, &stat, &attributes.travelling)? {
            return Ok(());
        }
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let target;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                use std::os::unix::ffi::{OsStrExt, OsStringExt};
                let name = std::ffi::OsStr::from_bytes(name.to_bytes());
                target =
                    read_link_at(dir, name).map_err(Error::io("read the link", path()))?.into_vec();
                Kind::Symlink { target: &target }
            }
            FileType::CharacterDevice => Kind::Char { major, minor },
            FileType::BlockDevice => Kind::Block { major, minor },
            FileType::Fifo => Kind::Fifo,
            _ => return Err(Error::Changed { path: path() }),
        };
        self.put_header(&entry_name, kind, &stat, &attributes.travelling)
    }

    /// Puts a link to the first name, if this is a later name of a file that has several. It carries all that the file
    /// has, attributes too: unpacking sets the owner again, and that takes file capabilities away.
    fn put_hard_link(&mut self, name: &[u8], stat: &Stat, xattrs: &[Xattr]) -> Result<bool, Error> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let id = (stat.st_dev, stat.st_ino);
        let Some(target) = self.links.get(&id).cloned() else {
            self.links.insert(id, name.to_vec());
            return Ok(false);
        };
        self.put_header(name, Kind::HardLink { target: &target }, stat, xattrs)?;
        Ok(true)
    }

    fn put_whiteout(&mut self, name: &[u8]) -> Result<(), Error> {
        let mtime = self.options.times.of(Timestamp::from_seconds(0));
        let kind = Kind::File { size: 0 };
        self.append(&Entry { name, kind, mode: 0, uid: 0, gid: 0, mtime, xattrs: &[] })
    }

    fn put_header(
        &mut self,
        name: &[u8],
        kind: Kind<'_>,
        stat: &Stat,
        xattrs: &[Xattr],
    ) -> Result<(), Error> {
        if !matches!(kind, Kind::HardLink { .. }) {
            self.size.contents += measure::size_of(stat);
        }
        let mtime = self.options.times.of(mtime_of(stat));
        let (mode, uid, gid) = (stat.st_mode, stat.st_uid, stat.st_gid);
        self.append(&Entry { name, kind, mode, uid, gid, mtime, xattrs })
    }

    fn append(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        if self.flavour.is_some() {
            ensure_path(entry.name.strip_suffix(b"/").unwrap_or(entry.name))?;
        }
        self.header.clear();
        header::encode(entry, &mut self.header);
        self.out.append(&self.header)
    }

    fn attributes(
        &self,
        carrier: Carrier<'_>,
        path: impl Fn() -> PathBuf,
    ) -> Result<Attributes, Error> {
        let names = carrier.names().map_err(Error::io("list the attributes of", path()))?;
        if names.is_empty() {
            return Ok(Attributes::default());
        }
        let mut attributes = Attributes::default();
        if let Some(flavour) = self.flavour {
            let has =
                |wanted: &str| names.split(|byte| *byte == 0).any(|name| name == wanted.as_bytes());
            for attribute in flavour.incomplete() {
                if has(attribute) {
                    return Err(Error::OverlayAttribute { path: path(), attribute });
                }
            }
            if let Some(opaque) = flavour.opaque().filter(|opaque| has(opaque)) {
                let value = carrier.value(opaque.as_bytes());
                let value = value.map_err(Error::io("read the attributes of", path()))?;
                attributes.opaque = value.as_deref() == Some(b"y");
            }
        }
        attributes.travelling =
            carrier.travelling(&names).map_err(Error::io("read the attributes of", path()))?;
        Ok(attributes)
    }
}

/// The longest path that anybody who unpacks a layer can make, in bytes.
const LONGEST_PATH: usize = 4095;

/// Refuses a path that nobody could unpack.
pub(crate) fn ensure_path(path: &[u8]) -> Result<(), Error> {
    use std::os::unix::ffi::OsStrExt;
    if path.len() <= LONGEST_PATH {
        return Ok(());
    }
    let path = Path::new("/").join(std::ffi::OsStr::from_bytes(path));
    Err(Error::LongPath { path, most: LONGEST_PATH })
}

/// Whether an error says that something is gone, or another thing, since its name was read.
fn is_change(error: &Error) -> bool {
    use rustix::io::Errno;
    match error {
        Error::Changed { .. } => true,
        Error::Io { source, .. } => {
            let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(|it| Some(it.raw_os_error()));
            gone.contains(&source.raw_os_error())
        }
        _ => false,
    }
}

/// Returns the time a file was last changed.
pub(crate) fn mtime_of(stat: &Stat) -> Timestamp {
    Timestamp { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 }
}

fn is_device(stat: &Stat) -> bool {
    let kind = FileType::from_raw_mode(stat.st_mode);
    matches!(kind, FileType::CharacterDevice | FileType::BlockDevice)
}

fn stat_open(fd: &OwnedFd, path: impl Fn() -> PathBuf) -> Result<Stat, Error> {
    crate::deed::fstat(fd).map_err(Error::io("stat", path()))
}
