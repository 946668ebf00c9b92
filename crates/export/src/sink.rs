//! Where blobs and documents are put: into a tar archive, or into a directory.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use filetree::Flavour;
use oci::BlobDigest;
use store::Store;

use crate::{
    destination::Staged,
    error::{Error, Result},
    index::Assembly,
    manifest::Assembled,
};

/// Takes files.
pub(crate) trait Sink {
    /// Takes one file, whose size is known and whose bytes `write` writes.
    fn put(
        &mut self,
        path: &str,
        size: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<()>;

    /// Takes a document.
    fn put_bytes(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put(path, bytes.len() as u64, &mut |out| {
            out.write_all(bytes).map_err(Error::io("write", path))
        })
    }
}

/// Returns the path of a blob in an image layout (image-spec, image-layout.md, "Blobs").
pub(crate) fn blob_path(digest: &BlobDigest) -> String {
    let digest = digest.as_digest();
    format!("blobs/{}/{}", digest.algorithm(), digest.to_hex())
}

/// Puts everything of the images of a name that is not there yet.
pub(crate) fn put_all(
    sink: &mut dyn Sink,
    there: &mut BTreeSet<BlobDigest>,
    store: &Store,
    flavour: Flavour,
    assembly: &Assembly,
) -> Result<()> {
    for image in assembly.images() {
        put_image(sink, there, store, flavour, image)?;
    }
    if let Some(index) = assembly.index() {
        let digest = &assembly.descriptor().digest;
        if there.insert(*digest) {
            sink.put_bytes(&blob_path(digest), index)?;
        }
    }
    Ok(())
}

fn put_image(
    sink: &mut dyn Sink,
    there: &mut BTreeSet<BlobDigest>,
    store: &Store,
    flavour: Flavour,
    image: &Assembled,
) -> Result<()> {
    for layer in &image.layers {
        if there.insert(layer.descriptor.digest) {
            let path = blob_path(&layer.descriptor.digest);
            sink.put(&path, layer.descriptor.size, &mut |out| layer.write(store, flavour, out))?;
        }
    }
    let documents = [(&image.config, &image.config_bytes), (&image.descriptor, &image.manifest)];
    for (descriptor, bytes) in documents {
        if there.insert(descriptor.digest) {
            sink.put_bytes(&blob_path(&descriptor.digest), bytes)?;
        }
    }
    Ok(())
}

/// A tar archive. Headers carry names and sizes only.
pub(crate) struct Archive<'a> {
    out: &'a mut dyn Write,
    directories: BTreeSet<String>,
}

impl<'a> Archive<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, directories: BTreeSet::new() }
    }

    /// Ends the archive: two blocks of zeros.
    pub(crate) fn finish(self) -> Result<()> {
        self.out.write_all(&[0; 1024]).map_err(Error::io("write", "-"))
    }

    fn header(&mut self, path: &str, kind: tar::EntryType, mode: u32, size: u64) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        let name = header.as_old_mut().name.as_mut_slice();
        if path.len() > name.len() {
            self.long_name(path)?;
        }
        for (to, from) in name.iter_mut().zip(path.bytes()) {
            *to = from;
        }
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes()).map_err(Error::io("write", path))
    }

    /// Puts the name of the next entry, if a header has no room for it: that of a blob with a SHA-512 digest, in GNU's way,
    /// which every reader knows.
    fn long_name(&mut self, path: &str) -> Result<()> {
        let bytes = [path.as_bytes(), &[0]].concat();
        let size = bytes.len() as u64;
        self.header("././@LongLink", tar::EntryType::GNULongName, 0o644, size)?;
        self.out.write_all(&bytes).map_err(Error::io("write", path))?;
        self.pad(path, size)
    }

    fn pad(&mut self, path: &str, size: u64) -> Result<()> {
        let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
        let zeros = [0; 512];
        self.out.write_all(&zeros[..padding]).map_err(Error::io("write", path))
    }

    fn put_directories(&mut self, path: &str) -> Result<()> {
        for (end, _) in path.match_indices('/') {
            let directory = format!("{}/", &path[..end]);
            if self.directories.insert(directory.clone()) {
                self.header(&directory, tar::EntryType::Directory, 0o755, 0)?;
            }
        }
        Ok(())
    }
}

impl Sink for Archive<'_> {
    fn put(
        &mut self,
        path: &str,
        size: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        self.put_directories(path)?;
        self.header(path, tar::EntryType::Regular, 0o644, size)?;
        let mut counted = Counted { out: &mut *self.out, size: 0 };
        write(&mut counted)?;
        check_size(path, size, counted.size)?;
        self.pad(path, size)
    }
}

/// A directory being written out of sight.
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(crate) fn create(staged: &Staged) -> Result<Self> {
        let root = staged.path().to_owned();
        fs::create_dir(&root).map_err(Error::io("create", &root))?;
        Ok(Self { root })
    }
}

impl Sink for Directory {
    fn put(
        &mut self,
        path: &str,
        size: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let path = self.root.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let file = fs::File::create_new(&path).map_err(Error::io("create", &path))?;
        let mut counted = Counted { out: &mut BufWriter::with_capacity(256 * 1024, file), size: 0 };
        write(&mut counted)?;
        counted.flush().map_err(Error::io("write", &path))?;
        check_size(&path, size, counted.size)
    }
}

/// A record in the store that says another size than its blob has would make an archive that no one can read.
fn check_size(path: impl AsRef<Path>, expected: u64, actual: u64) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    let wrong = store::Error::WrongSize { expected, actual };
    Err(Error::io("write", path.as_ref())(io::Error::new(io::ErrorKind::InvalidData, wrong)))
}

/// Counts what goes through it.
struct Counted<'a> {
    out: &'a mut dyn Write,
    size: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
