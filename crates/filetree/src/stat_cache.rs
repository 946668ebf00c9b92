//! What is remembered of a context between builds: the content digest of each file, as long as its `stat` stays the same. How
//! that is written is in `stat_cache/format.rs`.
//!
//! A file that was changed in the same tick of the clock in which it was read could keep its `stat` with new content
//! ("racily clean" in git). So a digest is remembered only if the file's times are older than the moment before it was
//! read, by more than a tick. Else it is remembered under a `stat` that no file has.
//!
//! There may be millions of files. So they are asked for and remembered by directories, which are sorted on both sides, and
//! nothing but the bytes of the format is kept of them.

mod format;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use self::format::{Contents, Record, Writer};
use crate::{Error, Timestamp};

/// Records nobody asked for in so many saves are dropped: their files are gone.
const MAX_AGE: u8 = 8;

/// A tick of the clock that stamps files is 10 ms at most (HZ=100); the double is safe.
const TICK: i128 = 20_000_000;

/// What must be the same for a file to be taken as unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatKey {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    /// With the type.
    pub(crate) mode: u16,
}

/// The digests remembered of one context.
#[derive(Debug)]
pub struct StatCache {
    file: PathBuf,
    old: Contents,
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

/// How files differ from what was remembered of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The first of them in the order of their paths.
    pub first: Option<(PathBuf, Change)>,
    /// How many there are.
    pub count: usize,
}

#[derive(Debug, Default)]
struct State {
    fresh: BTreeMap<Box<[u8]>, Fresh>,
    asked: Vec<bool>,
    /// Whether files were told to be gone, which is to be told once.
    told: bool,
}

/// What was recorded of a directory's files: records as they are written, in pieces that came one after the other.
#[derive(Debug, Default)]
struct Fresh(Vec<Box<[u8]>>);

impl Fresh {
    /// The records, sorted by name; of those of one file the last.
    fn records(&self) -> Vec<(&[u8], Record)> {
        let mut records: Vec<_> = self.0.iter().flat_map(|piece| format::records(piece)).collect();
        records.reverse();
        // The order of what is equal stays: the last first.
        records.sort_by_key(|(name, _)| *name);
        records.dedup_by_key(|(name, _)| *name);
        records
    }
}

impl StatCache {
    /// Reads the cache kept in `file`. A file that is missing, damaged or of another version is an empty cache.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", file)(error)),
        };
        let old = Contents::parse(bytes);
        let state = State { asked: vec![false; old.count()], ..State::default() };
        Ok(Self { file: file.to_owned(), old, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns for each of the `files` of a directory, which are sorted by name, the digest that was remembered of it under
    /// this very key.
    pub(crate) fn lookup<'a>(
        &self,
        directory: &[u8],
        files: impl Iterator<Item = (&'a [u8], StatKey)>,
    ) -> Vec<Option<[u8; 32]>> {
        let mut state = self.lock();
        let State { fresh, asked, .. } = &mut *state;
        let fresh = fresh.get(directory).map(Fresh::records).unwrap_or_default();
        let mut fresh = fresh.into_iter().peekable();
        let old = self.old.find(directory).map(|it| self.old.records(it));
        let mut old = old.into_iter().flatten().peekable();
        files
            .map(|(name, key)| {
                while fresh.next_if(|(other, _)| *other < name).is_some() {}
                if let Some((_, record)) = fresh.next_if(|(other, _)| *other == name) {
                    return (record.key == key).then_some(record.digest);
                }
                while old.next_if(|(_, other, _)| *other < name).is_some() {}
                let (number, _, record) = old.next_if(|(_, other, _)| *other == name)?;
                if record.key != key {
                    return None;
                }
                asked[number] = true;
                Some(record.digest)
            })
            .collect()
    }

    /// Remembers digests of files of a directory. `before` is the time at which reading began, by the clock that stamps
    /// files; when a file is as young as that, no lookup finds it.
    pub(crate) fn record<'a>(
        &self,
        directory: &[u8],
        files: impl Iterator<Item = (&'a [u8], StatKey, [u8; 32])> + Clone,
        before: Timestamp,
    ) {
        let length = files.clone().map(|(name, ..)| format::length(name)).sum();
        let mut piece = Vec::with_capacity(length);
        for (name, key, digest) in files {
            let is_young = nanoseconds(key.mtime.max(key.ctime)) + TICK >= nanoseconds(before);
            // What it contains is good enough to say later that it changed.
            let key = if is_young { EMPTY } else { key };
            format::put(name, &Record { key, age: 0, digest }, &mut piece);
        }
        let mut state = self.lock();
        let piece = piece.into_boxed_slice();
        match state.fresh.get_mut(directory) {
            Some(fresh) => fresh.0.push(piece),
            None => drop(state.fresh.insert(directory.into(), Fresh(vec![piece]))),
        }
    }

    /// Returns how the files of which `is_taken` is true differ from what was remembered when they were asked for the last
    /// time. To be asked when all of them have been looked up. Nothing that differs but in its `stat` is told, and nothing
    /// at all by a cache that remembered nothing.
    pub fn changes(&self, is_taken: impl Fn(&Path) -> bool) -> Changes {
        let mut changes = Changes::default();
        if self.old.count() == 0 {
            return changes;
        }
        let mut state = self.lock();
        let mut has_gone = false;
        self.merge(&state, |directory, name, old, fresh| {
            let change = match (old, fresh) {
                (None, _) => Change::New,
                (Some((_, old)), Some(fresh)) if old.digest != fresh.digest => Change::Content,
                // What has an age was not there the last time either.
                (Some((number, old)), None) if !state.asked[number] && old.age == 0 => Change::Gone,
                (Some(_), _) => return,
            };
            let path = join(directory, name);
            if !is_taken(&path) {
                return;
            }
            has_gone |= change == Change::Gone;
            changes.count += 1;
            if changes.first.as_ref().is_none_or(|(first, _)| path < *first) {
                changes.first = Some((path, change));
            }
        });
        state.told |= has_gone;
        changes
    }

    /// Writes what was recorded since [`load`](Self::load), by rename; does nothing when that is nothing.
    ///
    /// When it fails the old file is still there, perhaps with a temporary one beside it.
    pub fn save(&self) -> Result<(), Error> {
        let state = self.lock();
        if state.fresh.is_empty() && !state.told {
            return Ok(());
        }
        let mut temporary = self.file.clone().into_os_string();
        temporary.push(format!(".{}", std::process::id()));
        self.write(&state, Path::new(&temporary)).map_err(Error::io("write", &temporary))?;
        fs::rename(&temporary, &self.file).map_err(Error::io("replace", &self.file))
    }

    fn write(&self, state: &State, file: &Path) -> io::Result<()> {
        let mut writer = Writer::new(io::BufWriter::new(fs::File::create(file)?))?;
        let (mut current, mut records): (&[u8], Vec<u8>) = (b"", Vec::new());
        let mut written = Ok(());
        self.merge(state, |directory, name, old, fresh| {
            if directory != current {
                if written.is_ok() {
                    written = writer.directory(current, &records);
                }
                current = directory;
                records.clear();
            }
            let record = match (fresh, old) {
                (Some(fresh), _) => *fresh,
                (None, Some((number, old))) => {
                    let age = if state.asked[number] { 0 } else { old.age.saturating_add(1) };
                    Record { age, ..old }
                }
                (None, None) => return,
            };
            if record.age <= MAX_AGE {
                format::put(name, &record, &mut records);
            }
        });
        written?;
        writer.directory(current, &records)?;
        writer.finish()
    }

    /// Tells of each file, in the order of the format, what was remembered and what was recorded.
    fn merge<'a>(
        &'a self,
        state: &'a State,
        mut tell: impl FnMut(&'a [u8], &[u8], Option<(usize, Record)>, Option<&Record>),
    ) {
        let old = self.old.directories().iter().map(|it| self.old.path(it));
        let directories: BTreeSet<&[u8]> = old.chain(state.fresh.keys().map(|it| &**it)).collect();
        for directory in directories {
            let fresh = state.fresh.get(directory).map(Fresh::records).unwrap_or_default();
            let mut fresh = fresh.iter().peekable();
            let old = self.old.find(directory).map(|it| self.old.records(it));
            for (number, name, record) in old.into_iter().flatten() {
                while let Some((other, fresh)) = fresh.next_if(|(other, _)| *other < name) {
                    tell(directory, other, None, Some(fresh));
                }
                let fresh = fresh.next_if(|(other, _)| *other == name);
                tell(directory, name, Some((number, record)), fresh.map(|(_, fresh)| fresh));
            }
            for (name, record) in fresh {
                tell(directory, name, None, Some(record));
            }
        }
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

fn join(directory: &[u8], name: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(directory)).join(OsStr::from_bytes(name))
}
