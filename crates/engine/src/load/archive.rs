//! Where the files of an image archive are: in a tar, or in a directory.
//!
//! Names in an archive are looked up in the archive only; none becomes a path of the host.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

use filetree::{Compression, RootDir};
use oci::{BlobDigest, Descriptor, Index};
use rustix::fs::{Mode, OFlags};
use store::{Open, Snapshot};

use crate::{Engine, Error, LimitName, Limits};

/// How many links may follow each other in a docker archive.
const MAX_LINKS: usize = 8;

/// The files of an image archive.
#[derive(Debug)]
pub(super) struct Archive {
    name: String,
    limits: Limits,
    files: Files,
}

#[derive(Debug)]
enum Files {
    Directory(RootDir),
    Tar {
        file: File,
        entries: BTreeMap<String, Entry>,
        /// Holds the file if it had to be unpacked or came as a stream.
        _spool: Option<Snapshot<Open>>,
    },
}

/// Where a file of a tar is.
#[derive(Debug, Clone)]
enum Entry {
    Bytes { offset: u64, size: u64 },
    Link(String),
}

/// The path of a blob in a layout (image-spec, image-layout.md, "Blobs").
pub(super) fn blob_path(digest: &BlobDigest) -> String {
    let digest = digest.as_digest();
    format!("blobs/{}/{}", digest.algorithm(), digest.to_hex())
}

fn over(name: &str, limit: LimitName, allowed: u64, unit: &'static str) -> Error {
    Error::Limit { name: name.to_owned(), limit, allowed, unit }
}

/// Says why a stream cannot be read.
fn unreadable(error: io::Error) -> String {
    format!("it cannot be read: {error}")
}

impl Archive {
    /// Opens a tar, compressed or not, or a directory.
    pub(super) fn open(engine: &Engine, path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        if file.metadata().map_err(Error::io("read", path))?.is_dir() {
            let files = Files::Directory(RootDir::open(path)?);
            return Ok(Self { name, limits: *engine.limits(), files });
        }
        let mut start = Vec::new();
        let header = Read::by_ref(&mut file).take(512).read_to_end(&mut start);
        header.map_err(Error::io("read", path))?;
        let seekable = file.seek(SeekFrom::Start(0));
        if seekable.is_err() {
            return Self::spool(engine, &name, io::Cursor::new(start).chain(file));
        }
        if Compression::detect(&start) != Compression::None {
            return Self::spool(engine, &name, file);
        }
        Self::of_tar(engine, name, file, None)
    }

    /// Takes in a stream, compressed or not, and opens it as a tar.
    pub(super) fn spool(engine: &Engine, name: &str, input: impl Read) -> Result<Self, Error> {
        let spool = engine.store().create_snapshot()?;
        let path = spool.fs().join("archive.tar");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("create", &path))?;
        let budget = engine.limits().layer;
        // One byte more tells that there is more.
        let mut plain =
            filetree::decompress_within(input, &budget)?.take(budget.bytes.saturating_add(1));
        let size = io::copy(&mut plain, &mut file).map_err(|source| Error::Archive {
            name: name.to_owned(),
            reason: unreadable(source),
        })?;
        if size > budget.bytes {
            return Err(over(name, LimitName::LayerBytes, budget.bytes, "bytes"));
        }
        file.flush().map_err(Error::io("write", &path))?;
        Self::of_tar(engine, name.to_owned(), file, Some(spool))
    }

    fn of_tar(
        engine: &Engine,
        name: String,
        mut file: File,
        spool: Option<Snapshot<Open>>,
    ) -> Result<Self, Error> {
        let limits = *engine.limits();
        let refused = |reason: String| Error::Archive { name: name.clone(), reason };
        let broken = |error: io::Error| refused(format!("it is not a tar archive: {error}"));
        let length = file.seek(SeekFrom::End(0)).map_err(broken)?;
        file.seek(SeekFrom::Start(0)).map_err(broken)?;
        let mut entries = BTreeMap::new();
        let mut seen = 0;
        let mut tar = tar::Archive::new(BufReader::new(&file));
        for entry in tar.entries_with_seek().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            seen += 1;
            if seen > limits.layer.entries {
                return Err(over(&name, LimitName::LayerEntries, limits.layer.entries, "entries"));
            }
            let path = normal(&String::from_utf8_lossy(&entry.path_bytes()));
            let kind = entry.header().entry_type();
            if kind.is_file() {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(refused(format!("it is cut off: it ends within `{path}`")));
                }
                entries.insert(path, Entry::Bytes { offset, size });
            } else if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target).into_owned();
                let target = if kind.is_symlink() { beside(&path, &target) } else { target };
                entries.insert(path, Entry::Link(normal(&target)));
            }
        }
        if entries.is_empty() {
            return Err(refused("it holds no files".to_owned()));
        }
        Ok(Self { name, limits, files: Files::Tar { file, entries, _spool: spool } })
    }

    /// Returns an error about this archive.
    pub(super) fn refused(&self, reason: String) -> Error {
        Error::Archive { name: self.name.clone(), reason }
    }

    /// What messages call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How much there may be.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Refuses an index that lists too much.
    pub(super) fn check_manifests(&self, name: &str, index: &Index) -> Result<(), Error> {
        let allowed = self.limits.manifests;
        match index.manifests.len() as u64 > allowed {
            true => Err(over(name, LimitName::Manifests, allowed, "manifests")),
            false => Ok(()),
        }
    }

    /// Opens a file of the archive.
    pub(super) fn open_file(&self, path: &str) -> Result<Option<Opened<'_>>, Error> {
        match &self.files {
            Files::Directory(root) => {
                let opened =
                    root.open_at(Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
                let file = match opened {
                    Ok(fd) => File::from(fd),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(Error::io("open", path)(error)),
                };
                let metadata = file.metadata().map_err(Error::io("read", path))?;
                if !metadata.is_file() {
                    return Err(self.refused(format!("`{path}` is not a regular file")));
                }
                Ok(Some(Opened { size: metadata.len(), reader: Box::new(file) }))
            }
            Files::Tar { file, entries, .. } => {
                let mut path = normal(path);
                for _ in 0..MAX_LINKS {
                    match entries.get(&path) {
                        Some(Entry::Bytes { offset, size }) => {
                            let reader = Box::new(At { file, offset: *offset, left: *size });
                            return Ok(Some(Opened { reader, size: *size }));
                        }
                        Some(Entry::Link(target)) => path.clone_from(target),
                        None => return Ok(None),
                    }
                }
                Err(self.refused(format!("`{path}` is a link in a circle")))
            }
        }
    }

    /// Reads a small file of the archive.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(mut opened) = self.open_file(path)? else { return Ok(None) };
        if opened.size > limit {
            return Err(over(path, LimitName::DocumentBytes, limit, "bytes"));
        }
        let mut bytes = Vec::new();
        opened.reader.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        Ok(Some(bytes))
    }

    /// Reads a small blob and verifies it.
    pub(super) fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        self.read_verified(&blob_path(&descriptor.digest), descriptor, limit)
    }

    /// Reads a small file that is to be what a descriptor says.
    pub(super) fn read_verified(
        &self,
        path: &str,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let missing = || self.refused(format!("`{path}` is missing"));
        let bytes = self.read(path, limit)?.ok_or_else(missing)?;
        let mut hasher = descriptor.digest.as_digest().hasher();
        hasher.update(&bytes);
        if hasher.finish() != *descriptor.digest.as_digest()
            || bytes.len() as u64 != descriptor.size
        {
            return Err(self.refused(format!("`{path}` is not what its digest and size say")));
        }
        Ok(bytes)
    }
}

/// A file of an archive.
pub(super) struct Opened<'a> {
    pub(super) reader: Box<dyn Read + Send + 'a>,
    /// In bytes.
    pub(super) size: u64,
}

/// Reads a part of a file that others may be reading too.
struct At<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count =
            std::os::unix::fs::FileExt::read_at(self.file, &mut buffer[..wanted], self.offset)?;
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// The one spelling of a name in an archive: without empty, `.` and `..` components.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn beside(path: &str, target: &str) -> String {
    match path.rsplit_once('/') {
        Some((parent, _)) if !target.starts_with('/') => format!("{parent}/{target}"),
        _ => target.to_owned(),
    }
}
