//! What is remembered of unchanged files, and when it is not trusted.

use super::*;
use crate::test_data::TempDir;

const fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: 5 }
}

fn key(inode: u64) -> StatKey {
    StatKey { inode, size: 3, mtime: at(100), ctime: at(90), mode: 0o100_644 }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn record(cache: &StatCache, path: &[u8], key: &StatKey, digest: [u8; 32], before: Timestamp) {
    let (directory, name) = split(path);
    cache.record(directory, std::iter::once((name, *key, digest)), before);
}

fn lookup(cache: &StatCache, path: &[u8], key: &StatKey) -> Option<[u8; 32]> {
    let (directory, name) = split(path);
    cache.lookup(directory, std::iter::once((name, *key)))[0]
}

fn saved(dir: &TempDir, count: u64) -> PathBuf {
    let file = dir.path().join("cache");
    let cache = StatCache::load(&file).unwrap();
    for number in 0..count {
        record(
            &cache,
            format!("dir/{number}").as_bytes(),
            &key(number),
            [number as u8; 32],
            at(200),
        );
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
        assert_eq!(lookup(&cache, path.as_bytes(), &key(number)), Some([number as u8; 32]));
    }
    assert_eq!(lookup(&cache, b"dir/100", &key(100)), None);
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
        assert_eq!(lookup(&cache, b"dir/1", &changed), None, "{changed:?}");
    }
    assert!(lookup(&cache, b"dir/1", &key(1)).is_some());
}

#[test]
fn young_files_are_not_trusted() {
    let dir = TempDir::new();
    let cache = StatCache::load(&dir.path().join("cache")).unwrap();
    let tick_later = Timestamp { seconds: 100, nanoseconds: 20_000_000 };
    record(&cache, b"same tick", &key(1), [1; 32], tick_later);
    record(&cache, b"future", &key(1), [1; 32], at(50));
    let young = StatKey { ctime: at(100), mtime: at(1), ..key(1) };
    record(&cache, b"metadata", &young, [1; 32], at(100));
    record(&cache, b"old", &key(1), [1; 32], at(101));
    for (path, trusted) in
        [("same tick", false), ("future", false), ("metadata", false), ("old", true)]
    {
        let key = if path == "metadata" { &young } else { &key(1) };
        assert_eq!(lookup(&cache, path.as_bytes(), key).is_some(), trusted, "{path}");
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
        assert_eq!(lookup(&StatCache::load(&file).unwrap(), b"dir/1", &key(1)), None);
    }
    std::fs::write(&file, &good).unwrap();
    assert!(lookup(&StatCache::load(&file).unwrap(), b"dir/1", &key(1)).is_some());
}

#[test]
fn forgets_what_is_never_asked_for() {
    let dir = TempDir::new();
    let file = saved(&dir, 2);
    for round in 0..=MAX_AGE {
        let cache = StatCache::load(&file).unwrap();
        assert!(lookup(&cache, b"dir/0", &key(0)).is_some());
        record(&cache, b"changing", &key(u64::from(round)), [0; 32], at(200));
        cache.save().unwrap();
    }
    let cache = StatCache::load(&file).unwrap();
    assert!(lookup(&cache, b"dir/0", &key(0)).is_some());
    assert!(lookup(&cache, b"dir/1", &key(1)).is_none());
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
        record(&first, path, &key(1), [1; 32], at(200));
    }
    assert_eq!(first.changes(taken), Changes::default());
    first.save().unwrap();

    let second = StatCache::load(&file).unwrap();
    assert_eq!(lookup(&second, b"src/b", &key(2)), None);
    record(&second, b"src/b", &key(2), [2; 32], at(200));
    record(&second, b"src/new", &key(1), [1; 32], at(200));
    let told = [("src/a", Change::Gone), ("src/b", Change::Content), ("src/new", Change::New)];
    for (path, change) in told {
        let first = Some((path.into(), change));
        assert_eq!(second.changes(|it| it == Path::new(path)), Changes { first, count: 1 });
    }
    assert_eq!(
        second.changes(taken),
        Changes { first: Some(("src/a".into(), Change::Gone)), count: 3 }
    );
    second.save().unwrap();

    let third = StatCache::load(&file).unwrap();
    lookup(&third, b"src/b", &key(2)).unwrap();
    // Its `stat` is new and its content is not.
    record(&third, b"src/new", &key(3), [1; 32], at(200));
    assert_eq!(third.changes(taken), Changes::default());
}

#[test]
fn directories_and_names_come_in_any_order() {
    let dir = TempDir::new();
    let file = dir.path().join("cache");
    let (paths, digest) = (["b/z", "b/a", "top", "a/m", "b/m", "a-b/x"], |seed: u8| [seed; 32]);
    let first = StatCache::load(&file).unwrap();
    for path in paths {
        record(&first, path.as_bytes(), &key(1), digest(1), at(200));
    }
    record(&first, b"b/m", &key(2), digest(2), at(200));
    let known = |cache: &StatCache, name: &[u8]| lookup(cache, name, &key(1)).is_some();
    assert_eq!(lookup(&first, b"b/m", &key(2)), Some(digest(2)), "the last counts");
    first.save().unwrap();

    let second = StatCache::load(&file).unwrap();
    assert_eq!(
        paths.map(|path| known(&second, path.as_bytes())),
        [true, true, true, true, false, true]
    );
    assert_eq!(lookup(&second, b"b/m", &key(2)), Some(digest(2)));
    for path in ["b/b", "0/new", "b/m"] {
        record(&second, path.as_bytes(), &key(3), digest(3), at(200));
    }
    second.save().unwrap();

    let third = StatCache::load(&file).unwrap();
    let names = [&b"a"[..], b"b", b"c", b"m", b"z"].map(|name| (name, key(3)));
    let found = third.lookup(b"b", names.into_iter());
    assert_eq!(found, [None, Some(digest(3)), None, Some(digest(3)), None]);
    assert_eq!(
        paths.map(|path| known(&third, path.as_bytes())),
        [true, true, true, true, false, true]
    );
    assert_eq!(lookup(&third, b"0/new", &key(3)), Some(digest(3)));
}
