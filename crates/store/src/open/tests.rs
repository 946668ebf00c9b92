//! Opening, by several processes at once, and after some were killed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    time::Duration,
};

use super::*;
use crate::{
    CacheRule, Collect, ImageRule, Record,
    testing::{self, Scratch},
};

#[test]
fn a_new_store_is_private_and_has_its_version() {
    let scratch = Scratch::new("open");
    let store = Store::open(&scratch.path().join("a/b/store")).unwrap();
    let mode = fs::metadata(store.root()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    assert_eq!(fs::read_to_string(store.root().join("format")).unwrap(), "kiln-store 1\n");
    // An empty directory that is there already, made with another mode.
    let there = scratch.path().join("there");
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    Store::open(&there).unwrap();
    assert_eq!(fs::metadata(&there).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn looking_up_writes_nothing() {
    let scratch = Scratch::new("open-quiet");
    drop(scratch.store());
    let before = fs::metadata(scratch.root()).unwrap().mtime_nsec();
    let store = scratch.store();
    assert!(store.record(&[0; 32]).unwrap().is_none());
    assert!(store.find("app").is_err());
    drop(store);
    assert_eq!(fs::metadata(scratch.root()).unwrap().mtime_nsec(), before);
    assert_eq!(fs::read_dir(scratch.root()).unwrap().count(), 1, "only the format");
}

#[test]
fn what_is_not_ours_is_refused_untouched() {
    let scratch = Scratch::new("open-foreign");
    let root = scratch.root();
    fs::create_dir(&root).unwrap();
    fs::write(root.join("letter"), "").unwrap();
    let opened = Store::open(&root);
    assert!(matches!(opened, Err(Error::ForeignDirectory { .. })), "{opened:?}");
    fs::write(root.join("format"), "ext4\n").unwrap();
    let opened = Store::open(&root);
    assert!(matches!(opened, Err(Error::ForeignDirectory { .. })), "{opened:?}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let scratch = Scratch::new("open-newer");
    drop(scratch.store());
    fs::write(scratch.root().join("format"), "kiln-store 7\n").unwrap();
    let error = Store::open(&scratch.root()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("format 7") && text.contains("knows 1"), "{text}");
}

#[test]
fn another_users_store_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a file away");
        return;
    }
    let scratch = Scratch::new("open-owner");
    drop(scratch.store());
    std::os::unix::fs::chown(scratch.root().join("format"), Some(4711), None).unwrap();
    let opened = Store::open(&scratch.root());
    assert!(matches!(opened, Err(Error::ForeignOwner { owner: 4711, user: 0, .. })), "{opened:?}");
}

#[test]
fn a_boot_id_is_a_name_and_nothing_else() {
    let scratch = Scratch::new("open-boot");
    for wrong in ["", "../x", "a/b", "a b", &"x".repeat(65)] {
        let opened = Store::open_in_boot(&scratch.root(), wrong);
        assert!(matches!(opened, Err(Error::BootId { .. })), "{wrong:?}");
    }
    assert!(!scratch.root().exists());
}

#[test]
fn a_creation_that_was_interrupted_is_finished() {
    let scratch = Scratch::new("open-early");
    fs::create_dir(scratch.root()).unwrap();
    fs::write(scratch.root().join("format.new"), "kil").unwrap();
    scratch.store().put_blob(b"x").unwrap();
}

#[test]
fn many_at_once_make_one_store() {
    let scratch = Scratch::new("open-many");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| scratch.store().put_blob(b"the same").unwrap());
        }
    });
    let store = scratch.store();
    assert!(store.has_blob(&oci::BlobDigest::new(oci::Digest::of(b"the same"))).unwrap());
    assert!(store.take_warnings().is_empty());
}

/// One of several processes: makes what the others make too.
#[test]
#[ignore = "run by `several_processes_share_a_store` in processes of its own"]
fn sharing_process() {
    let Some(root) = testing::given_root() else { return };
    for round in 0..30_u8 {
        let store = Store::open_in_boot(&root, "b0").unwrap();
        let key = [round; 32];
        let lease = store.lease().unwrap();
        let held = store.record(&key).unwrap().filter(|r| lease.hold(&r.snapshot).is_ok());
        let record = held.unwrap_or_else(|| made(&store, &key));
        let file = store.snapshot_dir(&record.snapshot).join("file");
        assert_eq!(fs::read_to_string(file).unwrap(), "contents");
        store.put_blob(&key).unwrap();
        assert_eq!(store.read_blob(&store.put_blob(&key).unwrap()).unwrap(), key);
        if round % 10 == 0 {
            store.sync().unwrap();
        }
    }
}

fn made(store: &Store, key: &[u8; 32]) -> Record {
    let open = store.create_snapshot().unwrap();
    fs::write(open.fs().join("file"), "contents").unwrap();
    let record = Record {
        snapshot: open.seal().unwrap(),
        below: None,
        began: None,
        created: String::new(),
        description: String::new(),
        ingredients: Vec::new(),
    };
    store.put_record(key, &record).unwrap();
    record
}

#[test]
fn several_processes_share_a_store() {
    let scratch = Scratch::new("open-processes");
    let role = "open::tests::sharing_process";
    let mut builds: Vec<_> = (0..4).map(|_| testing::process(role, &scratch.root())).collect();
    let cache = CacheRule::unused_for(Duration::ZERO);
    let all = Collect { images: ImageRule::All, cache, mounts: true };
    let store = scratch.store();
    while builds.iter_mut().any(|build| build.try_wait().unwrap().is_none()) {
        store.collect(&all).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    for mut build in builds {
        assert!(build.wait().unwrap().success());
    }
    assert!(store.take_warnings().is_empty());
    store.collect(&all).unwrap();
    drop(store);
    assert_eq!(fs::read_dir(scratch.root().join("tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(scratch.root().join("snapshots")).unwrap().count(), 0);
}

/// Writes without end, and says when it is in the middle of it.
#[test]
#[ignore = "run by `a_killed_process_leaves_a_store_that_works` in a process of its own"]
fn process_to_be_killed() {
    let Some(root) = testing::given_root() else { return };
    let store = Store::open_in_boot(&root, "b0").unwrap();
    let _unfinished = store.create_snapshot().unwrap();
    fs::create_dir_all(_unfinished.fs().join("a/b/c")).unwrap();
    let mut blob = store.blob_writer().unwrap();
    blob.write_all(&[1; 100_000]).unwrap();
    let lease = store.lease().unwrap();
    for number in 0_u64.. {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let record = made(&store, &key);
        lease.hold(&record.snapshot).unwrap();
        store.put_memo(&[0; 32], &key).unwrap();
        if number == 20 {
            let mut out = std::io::stdout();
            writeln!(out, "\nready").unwrap();
            out.flush().unwrap();
        }
        if number % 16 == 0 {
            store.sync().unwrap();
        }
    }
}

#[test]
fn a_killed_process_leaves_a_store_that_works() {
    let scratch = Scratch::new("open-killed");
    for round in 0..5_u64 {
        let mut child = testing::process("open::tests::process_to_be_killed", &scratch.root());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "ready"));
        std::thread::sleep(Duration::from_millis(round * 7));
        child.kill().unwrap();
        child.wait().unwrap();

        let store = scratch.store();
        assert!(store.take_warnings().is_empty());
        let left = fs::read_dir(scratch.root().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "a dead process's directory is removed when the store is opened");
        // Every record that is visible has what it points to, and whole.
        let steps = store.inner.keys(Kind::Step).unwrap();
        assert!(steps.len() > 20);
        for key in steps {
            let key = *oci::ContentDigest::parse(&key).unwrap().as_bytes();
            let record = store.record(&key).unwrap().unwrap();
            let file = store.snapshot_dir(&record.snapshot).join("file");
            assert_eq!(fs::read_to_string(file).unwrap(), "contents");
        }
        assert!(store.memo(&[0; 32]).unwrap().is_some());
        assert!(store.take_warnings().is_empty());
        let all = Collect { images: ImageRule::All, cache: CacheRule::All, mounts: false };
        assert!(store.collect(&all).unwrap().snapshots > 20, "nobody holds them any more");
    }
}
