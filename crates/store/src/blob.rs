//! Blobs: bytes named by their digest. Manifests, and layers as they were loaded, pulled or packed.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use oci::{BlobDigest, Hasher};

use crate::{
    Store,
    error::{Error, Result},
    follow::{Following, Growth},
    layout::Tree,
    lease::Held,
    open::Inner,
    tmp,
};

impl Store {
    /// Stores bytes; writes nothing if they are there.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<BlobDigest, Error> {
        let digest = BlobDigest::new(oci::Digest::of(bytes));
        {
            let lock = self.inner.lock_shared()?;
            self.inner.hold_made(&lock, Held::Blob(digest))?;
            if self.inner.find_blob(&digest)?.is_some() {
                return Ok(digest);
            }
        }
        let mut writer = self.blob_writer()?;
        writer.write_all(bytes).map_err(Error::io("write", &writer.path))?;
        writer.commit(Some(&digest), None)
    }

    /// Starts a blob that is named by SHA-256.
    pub fn blob_writer(&self) -> Result<BlobWriter, Error> {
        BlobWriter::create(&self.inner, Hasher::sha256())
    }

    /// Starts a blob that is to have this digest, with the digest's algorithm.
    pub fn blob_writer_for(&self, expected: &BlobDigest) -> Result<BlobWriter, Error> {
        BlobWriter::create(&self.inner, expected.as_digest().hasher())
    }

    /// Opens a blob for reading from its beginning; what is read is verified.
    pub fn open_blob(&self, digest: &BlobDigest) -> Result<VerifiedReader, Error> {
        for tree in Tree::LOOKUP {
            let path = self.inner.layout.blob(tree, digest);
            let file = match fs::File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(Error::io("open", &path))?,
            };
            let size = file.metadata().map_err(Error::io("read", &path))?.len();
            return Ok(VerifiedReader {
                file,
                size,
                expected: *digest,
                hasher: Some(digest.as_digest().hasher()),
            });
        }
        Err(Error::NoSuchBlob { digest: *digest })
    }

    /// Returns a whole blob, verified. For manifests; layers are streamed with [`Store::open_blob`].
    pub fn read_blob(&self, digest: &BlobDigest) -> Result<Vec<u8>, Error> {
        let mut reader = self.open_blob(digest)?;
        let mut bytes = Vec::with_capacity(usize::try_from(reader.size).unwrap_or(0) + 1);
        let read = reader.read_to_end(&mut bytes);
        read.map_err(Error::io("read", self.inner.layout.blob(Tree::Fresh, digest)))?;
        Ok(bytes)
    }

    /// Whether a blob is there.
    pub fn has_blob(&self, digest: &BlobDigest) -> Result<bool, Error> {
        Ok(self.inner.find_blob(digest)?.is_some())
    }

    /// Returns a blob's size in bytes, `None` if it is not there.
    pub fn blob_size(&self, digest: &BlobDigest) -> Result<Option<u64>, Error> {
        Ok(self.inner.find_blob(digest)?.map(|(_, size)| size))
    }

    /// Returns all blobs with their sizes in bytes.
    pub fn blobs(&self) -> Result<BTreeMap<BlobDigest, u64>, Error> {
        let mut blobs = BTreeMap::new();
        for tree in Tree::LOOKUP {
            for algorithm in ["sha256", "sha512"] {
                for path in tmp::directory_entries(&self.inner.layout.blobs(tree, algorithm))? {
                    let hex = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    let digest = BlobDigest::parse(&format!("{algorithm}:{hex}"));
                    // One that is gone was being moved to the other tree.
                    if let (Ok(digest), Ok(stat)) = (digest, path.metadata()) {
                        blobs.insert(digest, stat.len());
                    }
                }
            }
        }
        Ok(blobs)
    }

    /// Removes a blob whose bytes turned out to be wrong, so that it is fetched or made anew.
    pub fn drop_blob(&self, digest: &BlobDigest) -> Result<(), Error> {
        let _lock = self.inner.lock_exclusive()?;
        for tree in Tree::LOOKUP {
            let path = self.inner.layout.blob(tree, digest);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(Error::io("remove", path))?,
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Returns a blob's path and size.
    pub(crate) fn find_blob(&self, digest: &BlobDigest) -> Result<Option<(PathBuf, u64)>> {
        for tree in Tree::LOOKUP {
            let path = self.layout.blob(tree, digest);
            match path.metadata() {
                Ok(stat) => return Ok(Some((path, stat.len()))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("find", path)(error)),
            }
        }
        Ok(None)
    }
}

/// A blob being written. Dropped before [`BlobWriter::commit`], it leaves nothing.
#[must_use = "a blob is stored by `commit`"]
pub struct BlobWriter {
    path: PathBuf,
    file: fs::File,
    hasher: Hasher,
    size: u64,
    growth: Option<Growth>,
    inner: Arc<Inner>,
}

impl BlobWriter {
    fn create(inner: &Arc<Inner>, hasher: Hasher) -> Result<Self> {
        let path = inner.process()?.new_path("blob-");
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(Error::io("create", &path))?;
        let inner = Arc::clone(inner);
        Ok(Self { path, file, hasher, size: 0, growth: None, inner })
    }

    /// Returns how many bytes were written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Lets the blob be read while it is being written.
    pub fn follow(&mut self) -> Result<Following, Error> {
        let (growth, following) = Growth::of(&self.path, self.size)?;
        self.growth = Some(growth);
        Ok(following)
    }

    /// Makes the blob visible, if it is what was announced; otherwise nothing stays.
    pub fn commit(
        self,
        expected: Option<&BlobDigest>,
        expected_size: Option<u64>,
    ) -> Result<BlobDigest, Error> {
        let actual = BlobDigest::new(self.hasher.clone().finish());
        // The size first: too few bytes is the more telling of the two.
        if let Some(expected) = expected_size.filter(|expected| *expected != self.size) {
            return Err(Error::WrongSize { expected, actual: self.size });
        }
        if let Some(expected) = expected.filter(|expected| **expected != actual) {
            let (expected, actual) = (Box::new(*expected), Box::new(actual));
            return Err(Error::WrongDigest { expected, actual });
        }
        let lock = self.inner.lock_shared()?;
        self.inner.hold_made(&lock, Held::Blob(actual))?;
        if self.inner.find_blob(&actual)?.is_none() {
            tmp::publish(&self.path, &self.inner.layout.blob(Tree::Fresh, &actual))?;
        }
        self.growth.iter().for_each(Growth::end);
        Ok(actual)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes).map_err(|error| {
            // Who reads the rest of the world and writes here has to know which of them failed.
            io::Error::new(error.kind(), Error::io("write", &self.path)(error))
        })?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        self.growth.as_ref().map_or(Ok(()), |growth| growth.reached(self.size))?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        discard_file(&self.inner, &self.path);
    }
}

/// After a commit the file has another name, and there is nothing to remove.
fn discard_file(inner: &Inner, path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let reason = error.to_string();
            inner.warn(crate::Warning::NotRemoved { path: path.to_owned(), reason });
        }
        _ => {}
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter").field("path", &self.path).field("size", &self.size).finish()
    }
}

/// Reads a blob. Instead of the end of wrong bytes there is an error of kind `InvalidData`, with
/// [`Error::WrongDigest`] inside: who reads to the end has read the right bytes.
#[derive(Debug)]
pub struct VerifiedReader {
    file: fs::File,
    size: u64,
    expected: BlobDigest,
    /// `None` once the end was reached and the bytes were right.
    hasher: Option<Hasher>,
}

impl VerifiedReader {
    /// Returns how many bytes the blob has.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Read for VerifiedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        let Some(hasher) = &mut self.hasher else { return Ok(read) };
        hasher.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() {
            let actual = BlobDigest::new(hasher.clone().finish());
            if actual != self.expected {
                let (expected, actual) = (Box::new(self.expected), Box::new(actual));
                let error = Error::WrongDigest { expected, actual };
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            self.hasher = None;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use oci::Digest;

    use super::*;
    use crate::testing::Scratch;

    fn digest(bytes: &[u8]) -> BlobDigest {
        BlobDigest::new(Digest::of(bytes))
    }

    #[test]
    fn bytes_come_back_under_their_digest() {
        let scratch = Scratch::new("blob");
        let store = scratch.store();
        let stored = store.put_blob(b"bytes").unwrap();
        assert_eq!(stored, digest(b"bytes"));
        assert_eq!(store.put_blob(b"bytes").unwrap(), stored);
        assert_eq!(store.read_blob(&stored).unwrap(), b"bytes");
        assert_eq!(store.blob_size(&stored).unwrap(), Some(5));
        assert!(!store.has_blob(&digest(b"other")).unwrap());
        assert!(matches!(store.read_blob(&digest(b"other")), Err(Error::NoSuchBlob { .. })));
    }

    #[test]
    fn a_long_digest_names_a_blob_too() {
        let scratch = Scratch::new("blob-512");
        let store = scratch.store();
        let mut hasher = Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap().hasher();
        hasher.update(b"bytes");
        let long = BlobDigest::new(hasher.finish());
        let mut writer = store.blob_writer_for(&long).unwrap();
        writer.write_all(b"bytes").unwrap();
        assert_eq!(writer.commit(Some(&long), Some(5)).unwrap(), long);
        assert_eq!(store.read_blob(&long).unwrap(), b"bytes");
    }

    #[test]
    fn what_was_not_announced_is_not_stored() {
        let scratch = Scratch::new("blob-wrong");
        let store = scratch.store();
        let write = || {
            let mut writer = store.blob_writer().unwrap();
            writer.write_all(b"by").unwrap();
            writer.write_all(b"tes").unwrap();
            writer
        };
        let wrong = write().commit(Some(&digest(b"others")), None);
        assert!(matches!(wrong, Err(Error::WrongDigest { .. })), "{wrong:?}");
        let wrong = write().commit(None, Some(6));
        assert!(matches!(wrong, Err(Error::WrongSize { expected: 6, actual: 5 })), "{wrong:?}");
        drop(write());
        assert!(!store.has_blob(&digest(b"bytes")).unwrap());
        assert!(store.take_warnings().is_empty());
        let left = walk_files(&scratch.root().join("tmp"));
        assert!(left.iter().all(|path| path.contains("lease-")), "{left:?}");
    }

    #[test]
    fn damage_is_found_when_reading() {
        let scratch = Scratch::new("blob-damage");
        let store = scratch.store();
        let stored = store.put_blob(&[7; 100_000]).unwrap();
        let (path, _) = store.inner.find_blob(&stored).unwrap().unwrap();
        let damages: [(&str, Vec<u8>); 4] = [
            ("a flipped bit", [vec![7; 99_999], vec![6]].concat()),
            ("truncated", vec![7; 99_999]),
            ("empty", Vec::new()),
            ("longer", vec![7; 100_001]),
        ];
        for (name, bytes) in damages {
            fs::write(&path, bytes).unwrap();
            let error = store.read_blob(&stored).unwrap_err();
            let Error::Io { source, .. } = &error else { panic!("{name}: {error:?}") };
            assert_eq!(source.kind(), io::ErrorKind::InvalidData, "{name}");
        }
        store.drop_blob(&stored).unwrap();
        assert_eq!(store.put_blob(&[7; 100_000]).unwrap(), stored);
        assert_eq!(store.read_blob(&stored).unwrap().len(), 100_000);
    }

    fn walk_files(directory: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for path in tmp::directory_entries(directory).unwrap() {
            if path.is_dir() {
                found.extend(walk_files(&path));
            } else {
                found.push(path.display().to_string());
            }
        }
        found
    }
}
