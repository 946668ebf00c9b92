//! Which differences a content digest sees, and which it must not.

use std::path::Path;

use super::*;
use crate::{
    Patterns, Timestamp, Wanted, select,
    stat_cache::StatCache,
    test_data::{TempDir, is_root},
};

fn context() -> TempDir {
    let context = TempDir::new();
    context.write("d/a", "a").write("d/sub/b", "b").link("d/l", "a").dir("d/empty");
    for path in ["d/a", "d/sub/b"] {
        context.mode(path, 0o644);
    }
    for path in ["d", "d/sub", "d/empty"] {
        context.mode(path, 0o755);
    }
    context
}

fn digest_with(tree: &Tree, source: &str, exclude: &[String]) -> ContentDigest {
    let sources = [source.to_owned()];
    let wanted = Wanted { sources: &sources, exclude, ..Wanted::default() };
    select(tree, &wanted).unwrap().digest(tree, &|_| true).unwrap()
}

fn digest(context: &TempDir) -> ContentDigest {
    digest_with(&Tree::new(context.root(), Owners::Root), "d", &[])
}

#[test]
fn every_part_counts() {
    let base = digest(&context());
    type Change = fn(&TempDir);
    let changes: [(&str, Change); 9] = [
        ("data", |c| {
            c.write("d/a", "A");
        }),
        ("a mode", |c| {
            c.mode("d/a", 0o755);
        }),
        ("a directory's mode", |c| {
            c.mode("d/empty", 0o700);
        }),
        ("a new file", |c| {
            c.write("d/new", "");
        }),
        ("a deleted file", |c| std::fs::remove_file(c.path().join("d/a")).unwrap()),
        ("a name", |c| std::fs::rename(c.path().join("d/a"), c.path().join("d/z")).unwrap()),
        ("a place", |c| std::fs::rename(c.path().join("d/a"), c.path().join("d/sub/a")).unwrap()),
        ("a target", |c| {
            std::fs::remove_file(c.path().join("d/l")).unwrap();
            c.link("d/l", "sub");
        }),
        ("a kind", |c| {
            std::fs::remove_dir(c.path().join("d/empty")).unwrap();
            c.write("d/empty", "");
        }),
    ];
    for (what, change) in changes {
        let context = context();
        assert_eq!(digest(&context), base, "the same files in another place have another digest");
        change(&context);
        assert_ne!(digest(&context), base, "{what} does not count");
    }
}

#[test]
fn times_and_neighbours_do_not_count() {
    let context = context();
    let base = digest(&context);
    let old = Timestamp { seconds: 5, nanoseconds: 6 };
    for path in ["d/a", "d/sub", "d"] {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(context.root(), path, &old.to_timestamps(), flags).unwrap();
    }
    context.write("other", "other");
    assert_eq!(digest(&context), base);
}

#[test]
fn hidden_and_excluded_files_do_not_count() {
    let context = context();
    let base = digest(&context);
    context.write("d/ignored", "1");
    let ignore = Some(Patterns::parse(b"d/ignored").unwrap());
    let tree = Tree { ignore, ..Tree::new(context.root(), Owners::Root) };
    assert_eq!(digest_with(&tree, "d", &[]), base);
    let tree = Tree::new(context.root(), Owners::Root);
    assert_eq!(digest_with(&tree, "d", &["ignored".to_owned()]), base);
    assert_ne!(digest_with(&tree, "d", &[]), base);
}

#[test]
fn owners_count_in_stages_only() {
    if !is_root("the owners' part of the digest") {
        return;
    }
    let context = context();
    let stage = |context: &TempDir| digest_with(&Tree::new(context.root(), Owners::Keep), "d", &[]);
    let (base, stage_base) = (digest(&context), stage(&context));
    context.owner("d/a", 7, 8);
    assert_eq!(digest(&context), base);
    assert_ne!(stage(&context), stage_base);
}

#[test]
fn a_single_file_counts_with_its_name() {
    let context = context();
    context.write("one", "same").write("two", "same").link("link", "one");
    let tree = Tree::new(context.root(), Owners::Root);
    let of = |source| digest_with(&tree, source, &[]);
    assert_ne!(of("one"), of("two"));
    assert_ne!(of("one"), of("link"));
    assert_eq!(of("one"), of("/./one"));
    assert_eq!(of("one"), of("o*"));
}

#[test]
fn attributes_count() {
    let context = context();
    let base = digest(&context);
    for path in ["d/a", "d/sub"] {
        let file = std::fs::File::open(context.path().join(path)).unwrap();
        let carrier = crate::xattr::Carrier::Open(std::os::fd::AsFd::as_fd(&file));
        if carrier.set(b"user.test", b"1").is_err() {
            eprintln!("skipped: no attributes here");
            return;
        }
        let with = digest(&context);
        assert_ne!(with, base, "{path}");
        rustix::fs::fremovexattr(&file, "user.test").unwrap();
        assert_eq!(digest(&context), base);
    }
}

/// The digest decides about cache hits between versions of this program: a change of it is a change of a format.
#[test]
fn is_pinned() {
    let base = digest(&context()).to_string();
    assert_eq!(base, PINNED);
}

const PINNED: &str = "c6fe4299980ea987380878d21b6e5028e739bd1f24dfbe67f82ffde952504a6a";

#[test]
fn the_cache_saves_reading() {
    let context = context();
    let cache_dir = TempDir::new();
    let cache_file = cache_dir.path().join("cache");
    let tree = || {
        let stat_cache = Some(StatCache::load(&cache_file).unwrap());
        Tree { stat_cache, ..Tree::new(context.root(), Owners::Root) }
    };
    // Files that were written a moment ago are not trusted.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let first = tree();
    let base = digest_with(&first, "d", &[]);
    assert_eq!(base, digest(&context), "the cache changes the digest");
    first.stat_cache.as_ref().unwrap().save().unwrap();

    let poisoned = tree();
    let meta = context.path().join("d/a").metadata().unwrap();
    let key = key_of(&meta);
    let cache = poisoned.stat_cache.as_ref().unwrap();
    assert!(cache.lookup(b"d", std::iter::once((&b"a"[..], key)))[0].is_some());
    let late = Timestamp { seconds: i64::MAX, nanoseconds: 0 };
    cache.record(b"d", std::iter::once((&b"a"[..], key, [7; 32])), late);
    assert_ne!(digest_with(&poisoned, "d", &[]), base, "the file was read all the same");

    context.write("d/a", "other");
    assert_ne!(digest_with(&tree(), "d", &[]), base, "a changed file was not read");
}

fn key_of(metadata: &std::fs::Metadata) -> crate::stat_cache::StatKey {
    use std::os::unix::fs::MetadataExt;
    let time = |seconds, nanoseconds: i64| Timestamp { seconds, nanoseconds: nanoseconds as u32 };
    crate::stat_cache::StatKey {
        inode: metadata.ino(),
        size: metadata.size(),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        mode: metadata.mode() as u16,
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let context = context();
    let tree = Tree::new(context.root(), Owners::Root);
    let sources = ["d".to_owned()];
    let wanted = Wanted { sources: &sources, ..Wanted::default() };
    let selection = select(&tree, &wanted).unwrap();
    std::fs::remove_file(context.path().join("d/sub/b")).unwrap();
    let error = selection.digest(&tree, &|_| true).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path == Path::new("/d/sub/b")), "{error}");
}
