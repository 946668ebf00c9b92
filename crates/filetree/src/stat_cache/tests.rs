//! What is remembered of unchanged files, and when it is not trusted.

use super::*;
use crate::test_data::TempDir;

const fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: 5 }
}

fn key(inode: u64) -> StatKey {
    StatKey { inode, size: 3, mtime: at(100), ctime: at(90), mode: 0o100_644 }
}

fn saved(dir: &TempDir, count: u64) -> PathBuf {
    let file = dir.path().join("cache");
    let cache = StatCache::load(&file).unwrap();
    for number in 0..count {
        cache.record(format!("dir/{number}").as_bytes(), &key(number), [number as u8; 32], at(200));
    }
    cache.save().unwrap();
    file
}

#[test]
fn remembers_over_a_restart() {
    let dir = TempDir::new();
    let cache = StatCache::load(&saved(&dir, 100)).unwrap();
    for number in 0..100 {
        let path = format!("dir/{number}");
        assert_eq!(cache.lookup(path.as_bytes(), &key(number)), Some([number as u8; 32]));
    }
    assert_eq!(cache.lookup(b"dir/100", &key(100)), None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn any_change_of_the_stat_counts() {
    let dir = TempDir::new();
    let cache = StatCache::load(&saved(&dir, 2)).unwrap();
    let later = Timestamp { seconds: 100, nanoseconds: 6 };
    for changed in [
        StatKey { inode: 9, ..key(1) },
        StatKey { size: 4, ..key(1) },
        StatKey { mtime: later, ..key(1) },
        StatKey { ctime: later, ..key(1) },
        StatKey { mode: 0o100_755, ..key(1) },
    ] {
        assert_eq!(cache.lookup(b"dir/1", &changed), None, "{changed:?}");
    }
    assert!(cache.lookup(b"dir/1", &key(1)).is_some());
}

#[test]
fn young_files_are_not_trusted() {
    let dir = TempDir::new();
    let cache = StatCache::load(&dir.path().join("cache")).unwrap();
    let tick_later = Timestamp { seconds: 100, nanoseconds: 20_000_000 };
    cache.record(b"same tick", &key(1), [1; 32], tick_later);
    cache.record(b"future", &key(1), [1; 32], at(50));
    let young = StatKey { ctime: at(100), mtime: at(1), ..key(1) };
    cache.record(b"metadata", &young, [1; 32], at(100));
    cache.record(b"old", &key(1), [1; 32], at(101));
    for (path, trusted) in
        [("same tick", false), ("future", false), ("metadata", false), ("old", true)]
    {
        let key = if path == "metadata" { &young } else { &key(1) };
        assert_eq!(cache.lookup(path.as_bytes(), key).is_some(), trusted, "{path}");
    }
}

#[test]
fn damage_is_an_empty_cache() {
    let dir = TempDir::new();
    let file = saved(&dir, 3);
    let good = std::fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    let mut other_version = good.clone();
    other_version[16] = 99;
    for bad in [&b""[..], b"something else", &good[..good.len() - 1], &flipped, &other_version] {
        std::fs::write(&file, bad).unwrap();
        assert_eq!(StatCache::load(&file).unwrap().lookup(b"dir/1", &key(1)), None);
    }
    std::fs::write(&file, &good).unwrap();
    assert!(StatCache::load(&file).unwrap().lookup(b"dir/1", &key(1)).is_some());
}

#[test]
fn forgets_what_is_never_asked_for() {
    let dir = TempDir::new();
    let file = saved(&dir, 2);
    for round in 0..=MAX_AGE {
        let cache = StatCache::load(&file).unwrap();
        assert!(cache.lookup(b"dir/0", &key(0)).is_some());
        cache.record(b"changing", &key(u64::from(round)), [0; 32], at(200));
        cache.save().unwrap();
    }
    let cache = StatCache::load(&file).unwrap();
    assert!(cache.lookup(b"dir/0", &key(0)).is_some());
    assert!(cache.lookup(b"dir/1", &key(1)).is_none());
}

#[test]
fn nothing_new_writes_nothing() {
    let dir = TempDir::new();
    let file = saved(&dir, 2);
    std::fs::remove_file(&file).unwrap();
    let cache = StatCache::load(&file).unwrap();
    cache.save().unwrap();
    assert!(!file.exists());
}

#[test]
fn what_changed_is_told_once_and_only_against_what_was_remembered() {
    let dir = TempDir::new();
    let file = dir.path().join("cache");
    let taken = |path: &Path| path.starts_with("src");
    let first = StatCache::load(&file).unwrap();
    for path in [&b"src/a"[..], b"src/b", b"other"] {
        first.record(path, &key(1), [1; 32], at(200));
    }
    assert_eq!(first.changes(taken), []);
    first.save().unwrap();

    let second = StatCache::load(&file).unwrap();
    assert_eq!(second.lookup(b"src/b", &key(2)), None);
    second.record(b"src/b", &key(2), [2; 32], at(200));
    second.record(b"src/new", &key(1), [1; 32], at(200));
    let told = [("src/a", Change::Gone), ("src/b", Change::Content), ("src/new", Change::New)];
    assert_eq!(second.changes(taken), told.map(|(path, change)| (path.into(), change)));
    second.save().unwrap();

    let third = StatCache::load(&file).unwrap();
    third.lookup(b"src/b", &key(2)).unwrap();
    // Its `stat` is new and its content is not.
    third.record(b"src/new", &key(3), [1; 32], at(200));
    assert_eq!(third.changes(taken), []);
}
