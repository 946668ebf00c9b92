//! Blobs on their way into the store: what has come of one stays when its download breaks off, and the next one goes on
//! from there.
//!
//! A file of its own for each, named by the digest and locked while a process writes to it. Nothing is visible by it:
//! what is in it may be wrong, and is only known to be right when the whole blob was read and compared.

use std::{
    fmt, fs,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use oci::BlobDigest;
use rustix::fs::FlockOperation;

use crate::{
    Store,
    error::{Error, Result},
    follow::{Following, Growth},
    layout::Tree,
    lease::Held,
    lock::{Lock, flock_again},
    open::Inner,
    tmp,
};

/// A part that nobody went on with for so long is given up by the next collection.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The beginning of a blob, growing. No other process writes to it while this lives; dropped, it stays for the next.
pub struct Partial {
    digest: BlobDigest,
    path: PathBuf,
    file: fs::File,
    length: u64,
    growth: Option<Growth>,
    inner: Arc<Inner>,
}

/// What there is of a blob.
#[derive(Debug)]
pub enum Presence {
    /// All of it.
    Whole,
    /// Its beginning, nothing at first.
    Partial(Partial),
    /// Somebody else is downloading it.
    Busy,
}

impl Store {
    /// Looks how much there is of a blob, to go on from there. Who finds it [`Presence::Busy`] tries again a little later.
    pub fn partial(&self, digest: &BlobDigest) -> Result<Presence, Error> {
        let path = self.inner.layout.partial(digest);
        loop {
            if let Some(parent) = path.parent() {
                tmp::create_directories(parent)?;
            }
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = options.open(&path).map_err(Error::io("open", &path))?;
            match flock_again(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Presence::Busy),
                Err(error) => return Err(Error::io("lock", path)(error)),
            }
            if self.has_blob(digest)? {
                // Whoever finished it has renamed it, or there was no need to make this one.
                remove_if_same(&path, &file)?;
                return Ok(Presence::Whole);
            }
            if is_same(&path, &file)? {
                let length = file.seek(SeekFrom::End(0)).map_err(Error::io("read", &path))?;
                let inner = Arc::clone(&self.inner);
                let (digest, growth) = (*digest, None);
                let partial = Partial { digest, path, file, length, growth, inner };
                return Ok(Presence::Partial(partial));
            }
            // Removed between the two calls, by a collection.
        }
    }
}

impl Partial {
    /// Returns how many bytes there are.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Opens what there is by now, for reading from the start.
    pub fn reader(&self) -> Result<impl Read + Send + use<>, Error> {
        let file = fs::File::open(&self.path).map_err(Error::io("open", &self.path))?;
        Ok(file.take(self.length))
    }

    /// Lets it be read while it grows.
    pub fn follow(&mut self) -> Result<Following, Error> {
        let (growth, following) = Growth::of(&self.path, self.length)?;
        self.growth = Some(growth);
        Ok(following)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins anew: what is there turned out to be wrong.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(Error::io("truncate", &self.path))?;
        self.file.rewind().map_err(Error::io("truncate", &self.path))?;
        self.length = 0;
        // Whoever follows has read what is wrong.
        self.growth = None;
        Ok(())
    }

    /// Makes the blob visible. The caller has compared all that was written with the digest.
    ///
    /// # Errors
    /// [`Error::WrongSize`] if there is more or less of it than `size`; it stays as it is.
    pub fn commit(self, size: u64) -> Result<BlobDigest, Error> {
        let actual = self.file.metadata().map_err(Error::io("read", &self.path))?.len();
        if actual != size || self.length != size {
            return Err(Error::WrongSize { expected: size, actual });
        }
        let lock = self.inner.lock_shared()?;
        self.inner.hold_made(&lock, Held::Blob(self.digest))?;
        tmp::publish(&self.path, &self.inner.layout.blob(Tree::Fresh, &self.digest))?;
        self.growth.iter().for_each(Growth::end);
        Ok(self.digest)
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.length += written as u64;
        self.growth.as_ref().map_or(Ok(()), |growth| growth.reached(self.length))?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partial")
            .field("digest", &self.digest)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Removes the parts that nobody is writing to: all of them, or those that seem to be forgotten. Returns their bytes.
    pub(crate) fn collect_partials(&self, all: bool) -> Result<u64> {
        let mut freed = 0;
        for path in tmp::directory_entries(&self.layout.partials())? {
            let Ok(stat) = path.symlink_metadata() else { continue };
            // A time in the future counts as now.
            let age = stat.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            if !all && age.is_none_or(|age| age < FORGOTTEN) {
                continue;
            }
            if Lock::try_existing(&path).map_err(Error::io("lock", &path))?.is_some() {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                freed += stat.len();
            }
        }
        Ok(freed)
    }
}

/// Whether a file is still the one of this name.
fn is_same(path: &std::path::Path, file: &fs::File) -> Result<bool> {
    let own = file.metadata().map_err(Error::io("read", path))?;
    match path.symlink_metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("find", path)(error)),
    }
}

fn remove_if_same(path: &std::path::Path, file: &fs::File) -> Result<()> {
    if is_same(path, file)? {
        fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use oci::Digest;

    use super::*;
    use crate::{CacheRule, Collect, ImageRule, testing::Scratch};

    const BYTES: &[u8] = b"bytes of a blob";

    fn digest() -> BlobDigest {
        BlobDigest::new(Digest::of(BYTES))
    }

    fn begun(store: &Store) -> Partial {
        match store.partial(&digest()).unwrap() {
            Presence::Partial(partial) => partial,
            other => panic!("{other:?}"),
        }
    }

    fn collect(store: &Store, cache: CacheRule) {
        let what = Collect { images: ImageRule::Keep, cache, mounts: false };
        store.collect(&what).unwrap();
    }

    #[test]
    fn what_has_come_stays_for_the_next() {
        let scratch = Scratch::new("partial");
        let store = scratch.store();
        let mut partial = begun(&store);
        partial.write_all(&BYTES[..5]).unwrap();
        drop(partial);
        drop(store);
        let store = scratch.store();
        collect(&store, CacheRule::Keep);
        let mut partial = begun(&store);
        assert_eq!(partial.length(), 5);
        let (mut had, mut read) = (Vec::new(), Vec::new());
        partial.reader().unwrap().read_to_end(&mut had).unwrap();
        assert_eq!(had, BYTES[..5]);
        let mut follower = partial.follow().unwrap().reader(0);
        partial.write_all(&BYTES[5..]).unwrap();
        assert!(!store.has_blob(&digest()).unwrap());
        partial.commit(BYTES.len() as u64).unwrap();
        follower.read_to_end(&mut read).unwrap();
        assert_eq!(read, BYTES);
        assert_eq!(store.read_blob(&digest()).unwrap(), BYTES);
        assert!(matches!(store.partial(&digest()).unwrap(), Presence::Whole));
        assert_eq!(fs::read_dir(store.inner.layout.partials()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_too_short_or_wrong_is_no_blob() {
        let scratch = Scratch::new("partial-short");
        let store = scratch.store();
        let mut partial = begun(&store);
        partial.write_all(b"wrong").unwrap();
        let error = partial.commit(BYTES.len() as u64).unwrap_err();
        assert!(matches!(error, Error::WrongSize { expected: 15, actual: 5 }), "{error:?}");
        let mut partial = begun(&store);
        assert_eq!(partial.length(), 5);
        partial.restart().unwrap();
        partial.write_all(BYTES).unwrap();
        partial.commit(BYTES.len() as u64).unwrap();
        assert_eq!(store.read_blob(&digest()).unwrap(), BYTES);
    }

    #[test]
    fn the_second_finds_it_busy_and_then_whole() {
        let scratch = Scratch::new("partial-two");
        let store = scratch.store();
        let mut first = begun(&store);
        assert!(matches!(store.partial(&digest()).unwrap(), Presence::Busy));
        first.write_all(BYTES).unwrap();
        first.commit(BYTES.len() as u64).unwrap();
        assert!(matches!(store.partial(&digest()).unwrap(), Presence::Whole));
    }

    #[test]
    fn a_collection_of_everything_takes_what_nobody_writes_to() {
        let scratch = Scratch::new("partial-collect");
        let store = scratch.store();
        let other = BlobDigest::new(Digest::of(b"other"));
        let held = begun(&store);
        drop(store.partial(&other).unwrap());
        collect(&store, CacheRule::All);
        let left = tmp::directory_entries(&store.inner.layout.partials()).unwrap();
        assert_eq!(left, [store.inner.layout.partial(&digest())]);
        drop(held);
    }
}
