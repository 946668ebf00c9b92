//! ADD of a local archive: whether a file is one, and extracting it into a root file system. Layers, where names can mean
//! deletions, are in [`unpack`](mod@crate::unpack).
//!
//! As BuildKit does it: the destination is the root of everything the archive says, so absolute names and links, and `..`,
//! stay within it; directories are merged, anything else is replaced; a directory in the place of a link replaces the link.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::fd::AsFd,
    path::Path,
};

use crate::{
    Error, RootDir,
    compress::{decompress, decompress_within},
    digest::contents::open_file,
    root::open_dir_below,
    select::Match,
    tree::{self, Meta},
    unpack::{
        Budget, Meter, Unpacked, put_entry,
        reader::{Kind, Reader},
        tree::Tree,
    },
};

/// What directories are made with that the archive needs and does not have.
const IMPLIED_MODE: u32 = 0o755;

/// Opens a source of an ADD if it is an archive, which is then extracted and no file of the layer.
///
/// # Errors
/// [`Error::Changed`] if it is not what was selected any more.
pub(crate) fn open(tree: &crate::Tree, one: &Match) -> Result<Option<File>, Error> {
    if one.meta.kind != tree::Kind::File {
        return Ok(None);
    }
    let shown = Path::new("/").join(&one.path);
    let dir = one.path.parent().unwrap_or(Path::new(""));
    let dir = open_dir_below(tree.root.as_fd(), dir).map_err(Error::io("open", &shown))?;
    let fd = open_file(&dir, one.path.file_name().unwrap_or_default())
        .map_err(Error::io("open", &shown))?;
    let stat = rustix::fs::fstat(&fd).map_err(Error::io("stat", &shown))?;
    if !one.meta.is_unchanged(&Meta::new(&stat)) {
        return Err(Error::Changed { path: shown });
    }
    let mut file = File::from(fd);
    let found = is_archive(&mut file).map_err(Error::io("read", &shown))?;
    Ok(found.then_some(file))
}

/// Says whether a file is an archive that ADD extracts: in any compression that is known, its first header must be that of
/// a tar. An empty archive is none. The file is left at its start.
///
/// # Errors
/// Only when the file itself cannot be read; what it contains never makes one.
pub fn is_archive(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let found = first_header(file);
    file.seek(SeekFrom::Start(0))?;
    found
}

fn first_header(file: &mut impl Read) -> io::Result<bool> {
    let mut failure = None;
    let input = Noting { file, failure: &mut failure };
    let found = decompress(BufReader::new(input))
        .and_then(|stream| Reader::new(stream).next())
        .is_ok_and(|entry| entry.is_some());
    match failure {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

/// Keeps the error of the file apart from those of its contents.
struct Noting<'a, R> {
    file: R,
    failure: &'a mut Option<io::Error>,
}

impl<R: Read> Read for Noting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                *self.failure = Some(error);
            }
            kind.into()
        })
    }
}

/// Returns the time of the newest file in an archive, compressed or not, in seconds since 1970. What cannot be read to the
/// end as an archive has none, and neither has one without files.
pub fn newest(file: impl Read) -> Option<i64> {
    let mut reader = Reader::new(decompress(BufReader::new(file)).ok()?);
    let mut newest = None;
    while let Some(entry) = reader.next().ok()? {
        if matches!(entry.kind, Kind::File | Kind::HardLink) {
            newest = newest.max(Some(entry.mtime.seconds));
        }
    }
    newest
}

/// Extracts an archive, compressed or not, into the directory `dest` of a root file system, which is made 0755 if missing.
///
/// Everything gets `owner` if there is one, else what the archive says by number; names of users are not looked up.
///
/// # Errors
/// [`Error::Archive`] when it is malformed or truncated, [`Error::Budget`] when it holds too much,
/// [`Error::NotADirectory`] when the destination is a file. What was
/// extracted by then stays.
pub fn extract_archive(
    file: impl Read,
    root: &RootDir,
    dest: &str,
    owner: Option<(u32, u32)>,
    budget: &Budget,
) -> Result<Unpacked, Error> {
    let (uid, gid) = owner.unwrap_or((0, 0));
    root.create_dir_all(dest, IMPLIED_MODE, uid, gid, None)?;
    let dest = root.open_root(Path::new(dest))?;
    extract(file, &dest, owner, budget, &|_, _| Ok(()))
}

/// The same into a directory that is there, in which a directory gives way to nothing else and nothing else to a directory.
///
/// # Errors
/// Those of [`extract_archive`], and [`Error::Clash`].
pub fn extract_beside(
    file: impl Read,
    dest: &RootDir,
    owner: Option<(u32, u32)>,
    budget: &Budget,
) -> Result<Unpacked, Error> {
    extract(file, dest, owner, budget, &|path, is_dir| refuse_clash(dest, path, is_dir))
}

fn extract(
    file: impl Read,
    dest: &RootDir,
    owner: Option<(u32, u32)>,
    budget: &Budget,
    check: &dyn Fn(&Path, bool) -> Result<(), Error>,
) -> Result<Unpacked, Error> {
    let mut tree = Tree::new(dest, None);
    let mut meter = Meter::new(budget);
    let mut reader = Reader::new(decompress_within(file, budget)?);
    while let Some(entry) = reader.next()? {
        let path = meter.count(&entry)?;
        // The destination is there and stays as it is, whatever stands for it in the archive.
        if path.is_root() {
            continue;
        }
        check(path.as_path(), entry.kind == Kind::Directory)?;
        put_entry(&mut tree, &mut reader, &entry, &path, owner)?;
    }
    tree.finish_dirs()?;
    Ok(meter.finish(tree))
}

/// Refuses to put a directory where something else is, or something else where a directory is.
fn refuse_clash(dest: &RootDir, path: &Path, is_dir: bool) -> Result<(), Error> {
    let there = dest.symlink_metadata(path).map_err(Error::io("look at", path))?;
    let clash = |stat: rustix::fs::Stat| {
        let there_is_dir = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
        (there_is_dir != is_dir).then(|| Error::Clash { path: path.to_owned(), is_dir })
    };
    there.and_then(clash).map_or(Ok(()), Err)
}
