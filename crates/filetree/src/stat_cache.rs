//! What is remembered of a context between builds: the content digest of each file, as long as its `stat` stays the same.
//!
//! One file per context, read and written in one go, like git's index. Integers are little endian.
//!
//! ```text
//! "kiln stat cache\0"          16 bytes
//! version                      u32, see VERSION
//! count                        u32
//! count records, sorted by path, each:
//!     inode, size              u64, u64
//!     mtime, ctime             (i64 seconds, u32 nanoseconds) twice
//!     mode                     u32, type bits included
//!     age                      u32, saves since it was last asked for
//!     digest                   32 bytes
//!     path                     u32 length, bytes: relative to the context
//! BLAKE3 of all before         32 bytes
//! ```
//!
//! A file that was changed in the same tick of the clock in which it was read could keep its `stat` with new content
//! ("racily clean" in git). So a digest is remembered only if the file's times are older than the moment before it was
//! read, by more than a tick. Else it is remembered under a `stat` that no file has.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{Error, Timestamp};

const MAGIC: &[u8; 16] = b"kiln stat cache\0";

/// To be raised with every change of the format or of what the digests cover.
const VERSION: u32 = 1;

/// Records nobody asked for in so many saves are dropped: their files are gone.
const MAX_AGE: u32 = 8;

/// A tick of the clock that stamps files is 10 ms at most (HZ=100); the double is safe.
const TICK: i128 = 20_000_000;

/// The length of a record without its path.
const RECORD: usize = 8 + 8 + 12 + 12 + 4 + 4 + 32 + 4;

/// What must be the same for a file to be taken as unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatKey {
    /// The inode's number.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// When the content was changed.
    pub mtime: Timestamp,
    /// When the content or the metadata were changed.
    pub ctime: Timestamp,
    /// The mode with the type.
    pub mode: u32,
}

/// The digests remembered of one context.
#[derive(Debug)]
pub struct StatCache {
    file: PathBuf,
    bytes: Vec<u8>,
    /// Where each record's path is in `bytes`; the rest of the record is before it.
    paths: Vec<Range<usize>>,
    state: Mutex<State>,
}

/// How a file differs from what was remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is there now.
    New,
    /// Its content is another.
    Content,
    /// It is not there any more, or not taken any more.
    Gone,
}

#[derive(Debug, Default)]
struct State {
    fresh: BTreeMap<Vec<u8>, (StatKey, [u8; 32])>,
    asked: Vec<bool>,
    /// The files that were read, and how each differs from what was remembered, if it does; empty if nothing was.
    read: BTreeMap<Vec<u8>, Option<Change>>,
    /// Whether files were told to be gone, which is to be told once.
    told: bool,
}

impl StatCache {
    /// Reads the cache kept in `file`. A file that is missing, damaged or of another version is an empty cache.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", file)(error)),
        };
        let paths = parse(&bytes).unwrap_or_default();
        let asked = vec![false; paths.len()];
        let state = State { asked, ..State::default() };
        Ok(Self { file: file.to_owned(), bytes, paths, state: Mutex::new(state) })
    }

    /// Returns the digest of the file `path`, if it was remembered under this very `key`.
    pub fn lookup(&self, path: &[u8], key: &StatKey) -> Option<[u8; 32]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((fresh, digest)) = state.fresh.get(path) {
            return (fresh == key).then_some(*digest);
        }
        let index = self.index_of(path)?;
        let (known, digest, _) = self.record_at(index);
        if known != *key {
            return None;
        }
        state.asked[index] = true;
        Some(digest)
    }

    /// Remembers a digest. `before` is the time at which reading began, by the clock that stamps files; when the file is
    /// as young as that, no lookup finds it.
    pub fn record(&self, path: &[u8], key: &StatKey, digest: [u8; 32], before: Timestamp) {
        self.compare(path, &digest);
        let is_young = nanoseconds(key.mtime.max(key.ctime)) + TICK >= nanoseconds(before);
        // What it contains is good enough to say later that it changed.
        let key = if is_young { &EMPTY } else { key };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.fresh.insert(path.to_owned(), (*key, digest));
    }

    /// Notes how a file that was read differs from what was remembered.
    fn compare(&self, path: &[u8], digest: &[u8; 32]) {
        if self.paths.is_empty() {
            return;
        }
        let change = match self.index_of(path).map(|index| self.record_at(index)) {
            None => Some(Change::New),
            Some((_, known, _)) => (known != *digest).then_some(Change::Content),
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.read.insert(path.to_owned(), change);
    }

    /// Returns how the files of which `is_taken` is true differ from what was remembered when they were asked for the last
    /// time, by path. To be asked when all of them have been looked up. Nothing that differs but in its `stat` is told,
    /// and nothing at all by a cache that remembered nothing.
    pub fn changes(&self, is_taken: impl Fn(&Path) -> bool) -> Vec<(PathBuf, Change)> {
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes: BTreeMap<PathBuf, Change> = state
            .read
            .iter()
            .filter_map(|(bytes, change)| Some((path(bytes), (*change)?)))
            .collect();
        for (index, range) in self.paths.iter().enumerate() {
            let bytes = &self.bytes[range.clone()];
            // What has an age was not there the last time either.
            let is_gone = !state.asked[index]
                && self.record_at(index).2 == 0
                && !state.read.contains_key(bytes);
            if is_gone {
                changes.insert(path(bytes), Change::Gone);
            }
        }
        changes.retain(|path, _| is_taken(path));
        state.told |= changes.values().any(|change| *change == Change::Gone);
        changes.into_iter().collect()
    }

    fn index_of(&self, path: &[u8]) -> Option<usize> {
        self.paths.binary_search_by(|range| self.bytes[range.clone()].cmp(path)).ok()
    }

    /// Writes what was recorded since [`load`](Self::load), by rename; does nothing when that is nothing.
    ///
    /// When it fails the old file is still there, perhaps with a temporary one beside it.
    pub fn save(&self) -> Result<(), Error> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.fresh.is_empty() && !state.told {
            return Ok(());
        }
        let mut records: BTreeMap<&[u8], (StatKey, [u8; 32], u32)> = BTreeMap::new();
        for (index, range) in self.paths.iter().enumerate() {
            let (key, digest, age) = self.record_at(index);
            let age = if state.asked[index] { 0 } else { age.saturating_add(1) };
            if age <= MAX_AGE {
                records.insert(&self.bytes[range.clone()], (key, digest, age));
            }
        }
        for (path, (key, digest)) in &state.fresh {
            records.insert(path, (*key, *digest, 0));
        }
        let mut temporary = self.file.clone().into_os_string();
        temporary.push(format!(".{}", std::process::id()));
        fs::write(&temporary, encode(&records)).map_err(Error::io("write", &temporary))?;
        fs::rename(&temporary, &self.file).map_err(Error::io("replace", &self.file))
    }

    fn record_at(&self, index: usize) -> (StatKey, [u8; 32], u32) {
        let end = self.paths[index].start;
        let mut reader = Reader { rest: &self.bytes[end - RECORD..end] };
        // Its length was checked when the file was parsed.
        reader.record().unwrap_or((EMPTY, [0; 32], u32::MAX))
    }
}

/// A key no file has: it stands for what cannot happen.
const EMPTY: StatKey = {
    let never = Timestamp { seconds: i64::MIN, nanoseconds: 0 };
    StatKey { inode: 0, size: 0, mtime: never, ctime: never, mode: 0 }
};

fn nanoseconds(time: Timestamp) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
}

fn encode(records: &BTreeMap<&[u8], (StatKey, [u8; 32], u32)>) -> Vec<u8> {
    let paths: usize = records.keys().map(|path| path.len()).sum();
    let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + records.len() * RECORD + paths + 32);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(records.len() as u32).to_le_bytes());
    for (path, (key, digest, age)) in records {
        bytes.extend_from_slice(&key.inode.to_le_bytes());
        bytes.extend_from_slice(&key.size.to_le_bytes());
        for time in [key.mtime, key.ctime] {
            bytes.extend_from_slice(&time.seconds.to_le_bytes());
            bytes.extend_from_slice(&time.nanoseconds.to_le_bytes());
        }
        bytes.extend_from_slice(&key.mode.to_le_bytes());
        bytes.extend_from_slice(&age.to_le_bytes());
        bytes.extend_from_slice(digest);
        bytes.extend_from_slice(&(path.len() as u32).to_le_bytes());
        bytes.extend_from_slice(path);
    }
    let seal = blake3::hash(&bytes);
    bytes.extend_from_slice(seal.as_bytes());
    bytes
}

/// Finds the paths of all records; `None` when the file is not what this version writes.
fn parse(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let (content, seal) = bytes.split_last_chunk::<32>()?;
    let mut reader = Reader { rest: content };
    if reader.take(MAGIC.len())? != MAGIC || reader.u32()? != VERSION {
        return None;
    }
    if blake3::hash(content) != *seal {
        return None;
    }
    let count = reader.u32()? as usize;
    let mut paths: Vec<Range<usize>> = Vec::with_capacity(count.min(content.len() / RECORD));
    for _ in 0..count {
        reader.take(RECORD - 4)?;
        let length = reader.u32()? as usize;
        let start = content.len() - reader.rest.len();
        let path = reader.take(length)?;
        if paths.last().is_some_and(|last| content[last.clone()] >= *path) {
            return None;
        }
        paths.push(start..start + length);
    }
    reader.rest.is_empty().then_some(paths)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let seconds = self.array().map(i64::from_le_bytes)?;
        Some(Timestamp { seconds, nanoseconds: self.u32()? })
    }

    /// Reads a record without its path.
    fn record(&mut self) -> Option<(StatKey, [u8; 32], u32)> {
        let (inode, size) = (self.u64()?, self.u64()?);
        let (mtime, ctime) = (self.time()?, self.time()?);
        let (mode, age) = (self.u32()?, self.u32()?);
        Some((StatKey { inode, size, mtime, ctime, mode }, self.array()?, age))
    }
}
