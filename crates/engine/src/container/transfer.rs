//! `kiln cp`: files between a container and the host, or a stream, by Docker's rules.
//!
//! | source | destination | what happens |
//! |---|---|---|
//! | a file | nothing | the file gets the destination's name |
//! | a file | nothing, with a slash at the end | an error |
//! | a file | a file | replaces it |
//! | a directory | nothing | the directory gets the destination's name |
//! | a directory | a file | an error |
//! | anything | a directory | put into it, under its own name |
//! | a directory with `/.` at the end | a directory | what is in it is put into it |
//! | anything | a device, a pipe or a socket | an error |
//! | a tar stream | a directory | extracted there, with the owners that it names |
//!
//! A link is copied as a link unless it is to be followed, or has a slash behind it; one that is the destination is followed.
//! Both sides are walked by descriptors within their roots: no link of a container leads out of it, also if the container
//! changes it just then.

mod tree;

use std::{
    ffi::OsString,
    io::{self, BufWriter, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use filetree::{Pack, RootDir};
use rustix::fs::{FileType, Stat};
use store::Container;

use self::tree::{Ending, Tree, cleaned, is_directory};
use super::pipe::through_pipe;
use crate::{Engine, Error};

/// How often a link that is the destination may lead to another one: Docker's number is 10, the kernel's 40.
const LINKS: usize = 40;

/// Who owns what is copied, unless owners are kept: root in a container; and outside, seen from the user namespace that
/// files are written from, the user.
const ROOT: (u32, u32) = (0, 0);

/// A place to copy from or to.
#[derive(Debug)]
pub enum End {
    /// A path of the host, absolute.
    Host(PathBuf),
    /// A path of a container.
    Container(Box<Container>, PathBuf),
    /// A tar archive that comes or goes over a standard stream.
    Stream,
}

/// How it is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransferOptions {
    /// Whether owners are kept, by number; else everything belongs to the user: root in a container.
    pub keep_owners: bool,
    /// Whether a source that is a link stands for what it leads to.
    pub follow: bool,
}

/// Copies, and returns the bytes of the archive by way of which it was done.
///
/// # Errors
/// What was copied by then stays.
pub fn transfer(
    engine: &Engine,
    from: &End,
    to: &End,
    options: TransferOptions,
) -> Result<u64, Error> {
    let owner = if options.keep_owners { None } else { Some(ROOT) };
    match (from, to) {
        (End::Stream, to) => {
            let to = Tree::open(engine, to)?.for_writing()?;
            let dir = to.directory()?;
            let mut counted = Counted { inner: io::stdin().lock(), bytes: 0 };
            // Who made the archive has said in it whose the files are.
            filetree::extract_beside(&mut counted, &dir, None, &engine.limits().layer)?;
            Ok(counted.bytes)
        }
        (from, End::Stream) => {
            let from = Tree::open(engine, from)?;
            let source = Source::find(&from, options.follow)?;
            let name = source.name.clone();
            source.pack(&from, &name, io::stdout().lock())
        }
        (from, to) => {
            let (from, to) = (Tree::open(engine, from)?, Tree::open(engine, to)?.for_writing()?);
            let source = Source::find(&from, options.follow)?;
            let (dir, name) = destination(&source, &to)?;
            through_pipe(
                |out| source.pack(&from, &name, out),
                |input| {
                    // Copied from one place to another here: as much as there is.
                    let budget = filetree::Budget {
                        entries: u64::MAX,
                        bytes: u64::MAX,
                        ..filetree::Budget::GENEROUS
                    };
                    filetree::extract_beside(input, &dir, owner, &budget)?;
                    Ok(())
                },
            )
        }
    }
}

/// What is copied.
struct Source {
    /// Where it is, relative to the root.
    path: PathBuf,
    stat: Stat,
    /// Its own name; empty if only what is in it is meant.
    name: OsString,
}

impl Source {
    fn find(tree: &Tree, follow: bool) -> Result<Self, Error> {
        let as_directory = tree.ending != Ending::Name;
        let stat = tree.stat(follow || as_directory)?;
        let stat = stat.ok_or_else(|| tree.refused("no such file or directory"))?;
        if as_directory && !is_directory(&stat) {
            return Err(tree.refused("not a directory"));
        }
        let name = match tree.ending {
            Ending::Dot => OsString::new(),
            Ending::Name | Ending::Slash => tree.name.clone(),
        };
        Ok(Self { path: tree.path.clone(), stat, name })
    }

    /// Writes it as an archive in which it has this name; without one it is what is in it.
    fn pack(self, tree: &Tree, name: &std::ffi::OsStr, out: impl Write) -> Result<u64, Error> {
        let mut out = BufWriter::new(Counted { inner: out, bytes: 0 });
        let follow = FileType::from_raw_mode(self.stat.st_mode) != FileType::Symlink;
        let pack = Pack { path: &self.path, name: name.as_bytes(), follow, living: tree.living };
        filetree::pack_one(&tree.root, &pack, &mut out)?;
        let failed = |source| Error::Files(filetree::Error::WriteArchive { source });
        out.flush().map_err(failed)?;
        Ok(out.get_ref().bytes)
    }
}

/// The directory that something is put into, and the name that it gets there.
fn destination(source: &Source, to: &Tree) -> Result<(RootDir, OsString), Error> {
    if let Some(stat) = to.stat(true)? {
        if is_directory(&stat) {
            return Ok((to.root.open_root(&to.path)?, source.name.clone()));
        }
        if to.ending != Ending::Name {
            return Err(to.refused("not a directory"));
        }
        if is_directory(&source.stat) {
            return Err(to.refused("cannot copy a directory to a file"));
        }
        // It would be replaced, and not written to: the end of `/dev/null`.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(to.refused("neither a directory nor a regular file"));
        }
    } else if to.ending != Ending::Name && !is_directory(&source.stat) {
        return Err(to.refused("no such directory"));
    }
    let path = behind_links(to)?;
    let Some(name) = path.file_name() else { return Err(to.refused("not a directory")) };
    let parent = path.parent().unwrap_or(Path::new(""));
    let is_there = to.root.metadata(parent).map_err(Error::io("look at", &to.shown))?;
    match is_there {
        Some(stat) if is_directory(&stat) => Ok((to.root.open_root(parent)?, name.to_owned())),
        _ => {
            let parent = Path::new("/").join(parent);
            Err(to.refused(&format!("the directory `{}` does not exist", parent.display())))
        }
    }
}

/// Follows links that are the destination itself, to where there need not be anything.
fn behind_links(to: &Tree) -> Result<PathBuf, Error> {
    let mut path = to.path.clone();
    for _ in 0..LINKS {
        let stat = to.root.symlink_metadata(&path).map_err(Error::io("look at", &to.shown))?;
        let is_link = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        if !stat.as_ref().is_some_and(is_link) {
            return Ok(path);
        }
        let target = to.root.read_link(&path).map_err(Error::io("read the link", &to.shown))?;
        let parent = path.parent().unwrap_or(Path::new(""));
        path = cleaned(&parent.join(target));
    }
    Err(to.refused("too many levels of symbolic links"))
}

/// Counts what goes through.
struct Counted<T> {
    inner: T,
    bytes: u64,
}

impl<T: Write> Write for Counted<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Counted<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
