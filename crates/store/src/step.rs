//! What a step has made, by its key; and a memo of digests of what does not change.

use std::{cmp::Reverse, collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::{SnapshotId, Store, error::Error, record::Kind};

/// The key of a step: a digest of everything that its result depends on.
pub type RecordKey = [u8; 32];

/// What a step has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The layer.
    pub snapshot: SnapshotId,
    /// What it was made on; `None` for the empty root, or where it does not matter (a COPY that replaces nothing).
    /// A result is removed before what it was made on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<SnapshotId>,
    /// When it was begun, RFC 3339; `None` for what was not made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// When it was there, RFC 3339.
    pub created: String,
    /// The step, for people: `RUN make`.
    pub description: String,
    /// What the key was made of, by name, to explain a miss.
    pub ingredients: Vec<(String, String)>,
}

/// Something that is cached, for people to look at: what a step has made, or a cache mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// What it is called: by its snapshot, or by what its id is hashed to.
    pub name: String,
    /// The layer; a cache mount has none.
    pub snapshot: Option<SnapshotId>,
    /// The step, or the id of a cache mount.
    pub description: String,
    /// How many bytes its files have on the disk.
    pub size: u64,
    /// When it was made.
    pub created: SystemTime,
    /// When it was last used.
    pub used: SystemTime,
}

impl Store {
    /// Returns what steps have made, once each, the one used last first.
    pub fn cached_steps(&self) -> Result<Vec<CacheEntry>, Error> {
        let mut entries: BTreeMap<SnapshotId, CacheEntry> = BTreeMap::new();
        for key in self.inner.keys(Kind::Step)? {
            let Some(found) = self.inner.read::<Record>(Kind::Step, &key)? else { continue };
            let Record { snapshot, description, .. } = found.value;
            let Ok(stat) = std::fs::metadata(self.inner.layout.snapshot(&snapshot)) else {
                continue;
            };
            let size = self.inner.snapshot_size(&snapshot)?;
            let created = stat.created().unwrap_or(found.used);
            let (name, used) = (snapshot.to_string(), found.used);
            let new =
                CacheEntry { name, snapshot: Some(snapshot), description, size, created, used };
            let known = entries.entry(snapshot).or_insert_with(|| new.clone());
            if known.used < new.used {
                *known = new;
            }
        }
        let mut entries: Vec<CacheEntry> = entries.into_values().collect();
        entries.sort_by_key(|entry| Reverse(entry.used));
        Ok(entries)
    }

    /// Returns what a step with this key has made, `None` if it never was, or if it is gone.
    ///
    /// It may be removed before it is used: [`crate::Lease::hold`] tells.
    pub fn record(&self, key: &RecordKey) -> Result<Option<Record>, Error> {
        let key = hex(key);
        let Some(found) = self.inner.read::<Record>(Kind::Step, &key)? else { return Ok(None) };
        if !self.inner.has_snapshot(&found.value.snapshot)? {
            return Ok(None);
        }
        self.inner.touch(Kind::Step, &key, found.used)?;
        Ok(Some(found.value))
    }

    /// Remembers what a step has made. The snapshot and its layer are there before.
    pub fn put_record(&self, key: &RecordKey, record: &Record) -> Result<(), Error> {
        self.inner.put(Kind::Step, &hex(key), record)
    }

    /// Forgets which steps have made a snapshot, and which ones were made on it: they are to be done again. Returns how many
    /// records there were.
    ///
    /// The snapshots stay, as what nobody names, until a collection takes them; so does all of it when this fails half-way,
    /// but for the records that are gone by then, those on top first.
    pub fn forget_steps(&self, snapshot: &SnapshotId) -> Result<usize, Error> {
        let lock = self.inner.lock_exclusive()?;
        let mut records = Vec::new();
        for key in self.inner.keys(Kind::Step)? {
            if let Some(record) = self.inner.get::<Record>(Kind::Step, &key)? {
                records.push((key, record));
            }
        }
        let mut gone = vec![*snapshot];
        let mut keys: Vec<&str> = Vec::new();
        let mut next = 0;
        while let Some(snapshot) = gone.get(next).copied() {
            for (key, record) in &records {
                if record.snapshot == snapshot && !keys.contains(&&**key) {
                    keys.push(key);
                }
                if record.below == Some(snapshot) && !gone.contains(&record.snapshot) {
                    gone.push(record.snapshot);
                }
            }
            next += 1;
        }
        for key in keys.iter().rev() {
            self.inner.remove(&lock, Kind::Step, key)?;
        }
        Ok(keys.len())
    }

    /// Returns the digest remembered for a key: of contents that never change, such as a selection of a snapshot's.
    pub fn memo(&self, key: &[u8; 32]) -> Result<Option<[u8; 32]>, Error> {
        let digest: Option<String> = self.inner.get(Kind::Memo, &hex(key))?;
        Ok(digest.and_then(|digest| unhex(&digest)))
    }

    /// Remembers a digest for a key.
    pub fn put_memo(&self, key: &[u8; 32], digest: &[u8; 32]) -> Result<(), Error> {
        self.inner.put(Kind::Memo, &hex(key), &hex(digest))
    }
}

/// Both are what `ContentDigest` writes: 64 digits.
pub(crate) fn hex(bytes: &[u8; 32]) -> String {
    oci::ContentDigest::new(*bytes).to_string()
}

pub(crate) fn unhex(value: &str) -> Option<[u8; 32]> {
    oci::ContentDigest::parse(value).ok().map(|digest| *digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::{Warning, layout::Tree, testing::Scratch};

    const KEY: RecordKey = [0xab; 32];

    fn made(store: &Store) -> Record {
        let snapshot = store.create_snapshot().unwrap().seal().unwrap();
        let record = Record {
            snapshot,
            below: None,
            began: Some("2026-01-02T03:04:04Z".to_owned()),
            created: "2026-01-02T03:04:05Z".to_owned(),
            description: "RUN make".to_owned(),
            ingredients: vec![("command".to_owned(), "make\n\u{1f600}".to_owned())],
        };
        store.put_record(&KEY, &record).unwrap();
        record
    }

    fn path_of(store: &Store) -> PathBuf {
        store.inner.layout.record(Tree::Fresh, Kind::Step, &hex(&KEY))
    }

    #[test]
    fn a_record_is_there_as_long_as_its_snapshot() {
        let scratch = Scratch::new("step");
        let store = scratch.store();
        assert_eq!(store.record(&KEY).unwrap(), None);
        let record = made(&store);
        assert_eq!(store.record(&KEY).unwrap(), Some(record.clone()));
        fs::remove_dir_all(store.inner.layout.snapshot(&record.snapshot)).unwrap();
        assert_eq!(store.record(&KEY).unwrap(), None);
    }

    #[test]
    fn a_broken_record_is_absent_and_told_of_once() {
        let scratch = Scratch::new("step-broken");
        let store = scratch.store();
        let record = made(&store);
        let good = fs::read(path_of(&store)).unwrap();
        for damage in [&b""[..], &good[..good.len() / 2], &good.to_ascii_uppercase()] {
            fs::write(path_of(&store), damage).unwrap();
            assert_eq!(store.record(&KEY).unwrap(), None);
            let warnings = store.take_warnings();
            assert!(matches!(warnings[..], [Warning::BrokenRecord { .. }]), "{warnings:?}");
            assert_eq!(store.record(&KEY).unwrap(), None);
            assert!(store.take_warnings().is_empty());
        }
        store.put_record(&KEY, &record).unwrap();
        assert_eq!(store.record(&KEY).unwrap(), Some(record));
    }

    #[test]
    fn a_hit_counts_as_use() {
        let scratch = Scratch::new("step-use");
        let store = scratch.store();
        made(&store);
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(1_000_000);
        let file = fs::File::open(path_of(&store)).unwrap();
        file.set_modified(long_ago).unwrap();
        store.record(&KEY).unwrap();
        assert!(file.metadata().unwrap().modified().unwrap() > long_ago);
    }

    #[test]
    fn what_was_made_on_a_forgotten_step_is_forgotten_too() {
        let scratch = Scratch::new("step-forget");
        let store = scratch.store();
        let first = made(&store);
        let put = |key: u8, below: Option<SnapshotId>| {
            let snapshot = store.create_snapshot().unwrap().seal().unwrap();
            let record = Record { snapshot, below, ..first.clone() };
            store.put_record(&[key; 32], &record).unwrap();
            record
        };
        let second = put(1, Some(first.snapshot));
        put(2, Some(second.snapshot));
        let other = put(3, None);
        // Another key that has led to the same.
        store.put_record(&[4; 32], &second).unwrap();
        assert_eq!(store.forget_steps(&second.snapshot).unwrap(), 3);
        let there = |key: RecordKey| store.record(&key).unwrap().is_some();
        assert_eq!(
            [KEY, [1; 32], [2; 32], [3; 32], [4; 32]].map(there),
            [true, false, false, true, false]
        );
        assert_eq!(store.forget_steps(&other.snapshot).unwrap(), 1);
        assert!(store.inner.has_snapshot(&other.snapshot).unwrap());
        assert_eq!(store.forget_steps(&other.snapshot).unwrap(), 0);
    }

    #[test]
    fn a_memo_is_remembered() {
        let scratch = Scratch::new("memo");
        let store = scratch.store();
        assert_eq!(store.memo(&KEY).unwrap(), None);
        store.put_memo(&KEY, &[1; 32]).unwrap();
        store.put_memo(&KEY, &[2; 32]).unwrap();
        assert_eq!(store.memo(&KEY).unwrap(), Some([2; 32]));
    }
}
