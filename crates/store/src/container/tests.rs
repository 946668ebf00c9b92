//! Containers by the store alone: names, who keeps them, what is collected.

use std::{fs, sync::Barrier, thread};

use oci::Digest;

use super::*;
use crate::{CacheRule, Collect, ImageRule, testing::Scratch};

const ALL: Collect = Collect { images: ImageRule::All, cache: CacheRule::All, mounts: true };

fn draft(name: &str, snapshots: &[SnapshotId]) -> ContainerDraft {
    ContainerDraft {
        name: name.to_owned(),
        image: ImageId::new(Digest::of(b"image")),
        image_name: "image:1".to_owned(),
        image_config: "{}".to_owned(),
        snapshots: snapshots.to_vec(),
        options: serde_json::json!({ "tty": true }),
    }
}

fn create(store: &Store, name: &str) -> Result<Container> {
    let snapshot = store.create_snapshot().unwrap();
    store.create_container(ContainerId::new_random(), draft(name, &[]), snapshot)
}

fn running() -> ContainerState {
    let started = Some(SystemTime::now());
    ContainerState { status: Status::Running, pid: Some(7), started, ..ContainerState::created() }
}

#[test]
fn a_container_comes_back_and_is_found() {
    let scratch = Scratch::new("container");
    let store = scratch.store();
    let (one, two) = (create(&store, "one").unwrap(), create(&store, "two").unwrap());
    drop(store);
    let store = scratch.store();
    assert_eq!(store.containers().unwrap(), [two.clone(), one.clone()]);
    assert!(store.container_directory(&one.id).fs().is_dir());
    for name in ["one", "/one", &one.id.to_string(), &one.id.short()] {
        assert_eq!(store.find_container(name).unwrap(), one, "{name}");
    }
    for name in ["", "/", "thre", &"0".repeat(64)] {
        let found = store.find_container(name);
        assert!(matches!(found, Err(Error::NoSuchContainer { .. })), "{name:?}: {found:?}");
    }
    assert_eq!(store.container_state(&one.id).unwrap(), ContainerState::created());
    assert_eq!(store.inventory().unwrap().containers_of(&one.image).len(), 2);
}

#[test]
fn the_beginning_of_two_ids_is_none() {
    let scratch = Scratch::new("container-prefix");
    let store = scratch.store();
    for last in ["1", "2"] {
        let id = ContainerId::parse(&format!("{}{last}", "ab".repeat(31) + "c")).unwrap();
        let snapshot = store.create_snapshot().unwrap();
        store.create_container(id, draft(&format!("n{last}"), &[]), snapshot).unwrap();
    }
    let found = store.find_container("abab");
    assert!(
        matches!(&found, Err(Error::AmbiguousContainer { candidates, .. }) if candidates.len() == 2),
        "{found:?}"
    );
}

#[test]
fn a_name_is_given_once() {
    let scratch = Scratch::new("container-name");
    let store = scratch.store();
    let one = create(&store, "one").unwrap();
    let taken = create(&store, "one");
    assert!(matches!(taken, Err(Error::ContainerNameInUse { id, .. }) if id == one.id));
    assert!(matches!(create(&store, "-x"), Err(Error::ContainerName { .. })));
    assert_eq!(fs::read_dir(scratch.root().join("containers")).unwrap().count(), 1);
    let two = create(&store, "two").unwrap();
    let taken = store.rename_container(&two.id, "one");
    assert!(matches!(taken, Err(Error::ContainerNameInUse { .. })));
    assert_eq!(store.rename_container(&two.id, "three").unwrap().name, "three");
    assert_eq!(store.find_container("three").unwrap().id, two.id);
    assert!(store.find_container("two").is_err());
}

#[test]
fn of_many_who_want_a_name_one_gets_it() {
    let scratch = Scratch::new("container-race");
    scratch.store();
    let barrier = Barrier::new(8);
    let got: usize = thread::scope(|scope| {
        let make = || {
            let store = scratch.store();
            barrier.wait();
            usize::from(create(&store, "wanted").is_ok())
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(got, 1);
}

#[test]
fn one_keeps_a_container_and_looking_does_not_disturb() {
    let scratch = Scratch::new("container-keep");
    let (store, other) = (scratch.store(), scratch.store());
    let id = create(&store, "one").unwrap().id;
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            for _ in 0..300 {
                other.container_state(&id).unwrap();
            }
        });
        for _ in 0..300 {
            let kept = store.keep_container(&id).unwrap();
            kept.expect("nobody else keeps it").set_state(&running()).unwrap();
        }
        looking.join().unwrap();
    });
    let kept = store.keep_container(&id).unwrap().unwrap();
    kept.set_state(&running()).unwrap();
    assert!(other.keep_container(&id).unwrap().is_none());
    assert_eq!(other.container_state(&id).unwrap().status, Status::Running);
}

#[test]
fn without_a_keeper_it_does_not_run() {
    let scratch = Scratch::new("container-killed");
    let store = scratch.store();
    let id = create(&store, "one").unwrap().id;
    let kept = store.keep_container(&id).unwrap().unwrap();
    kept.set_state(&running()).unwrap();
    drop(kept);
    let state = store.container_state(&id).unwrap();
    assert_eq!((state.status, state.exit_code, state.pid), (Status::Exited, 137, None));
    // Once told, it stays the same.
    assert_eq!(store.container_state(&id).unwrap(), state);
}

#[test]
fn after_a_start_of_the_machine_nothing_runs() {
    let scratch = Scratch::new("container-boot");
    let store = scratch.store_in("b0");
    let id = create(&store, "one").unwrap().id;
    store.sync().unwrap();
    let lost = create(&store, "unsynced").unwrap().id;
    let kept = store.keep_container(&id).unwrap().unwrap();
    kept.set_state(&running()).unwrap();
    drop((kept, store));
    let store = scratch.store_in("b1");
    let state = store.container_state(&id).unwrap();
    assert_eq!((state.status, state.exit_code), (Status::Exited, 255));
    // Never on the disk for sure: as if it had never been made, and its directory goes.
    assert_eq!(store.container(&lost).unwrap(), None);
    store.collect(&ALL).unwrap();
    assert!(!store.container_directory(&lost).path().exists());
    assert!(store.container_directory(&id).path().exists());
    // A state that had not reached the disk.
    fs::write(store.container_directory(&id).state(), "").unwrap();
    assert_eq!(store.container_state(&id).unwrap().exit_code, 255);
}

#[test]
fn one_that_came_and_went_leaves_nothing_to_sync() {
    let scratch = Scratch::new("container-passing");
    let store = scratch.store();
    let id = create(&store, "one").unwrap().id;
    assert!(store.unsynced_for().unwrap().is_some());
    store.keep_container(&id).unwrap().unwrap().remove().unwrap();
    assert_eq!(store.unsynced_for().unwrap(), None);
    // What else waits goes on to wait.
    let id = create(&store, "one").unwrap().id;
    create(&store, "two").unwrap();
    store.keep_container(&id).unwrap().unwrap().remove().unwrap();
    assert_eq!(store.sync().unwrap(), 1);
    assert_eq!(store.containers().unwrap().len(), 1);
}

#[test]
fn what_a_container_stands_on_is_not_collected() {
    let scratch = Scratch::new("container-collect");
    let store = scratch.store();
    let layer = store.create_snapshot().unwrap().seal().unwrap();
    let config = format!(
        r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        oci::DiffId::new(Digest::of(b"tar"))
    );
    let image = store.put_image(config.as_bytes(), &[layer], None).unwrap();
    let draft = ContainerDraft { image, ..draft("one", &[layer]) };
    let open = store.create_snapshot().unwrap();
    let id = store.create_container(ContainerId::new_random(), draft, open).unwrap().id;
    drop(store);
    let store = scratch.store();
    store.collect(&ALL).unwrap();
    assert!(store.image(&image).unwrap().is_some());
    store.inventory().unwrap().remove_image(&image).unwrap();
    store.collect(&ALL).unwrap();
    assert!(store.has_snapshot(&layer).unwrap());
    assert!(store.container_directory(&id).fs().is_dir());
    store.keep_container(&id).unwrap().unwrap().remove().unwrap();
    assert!(!store.container_directory(&id).path().exists());
    assert!(matches!(store.keep_container(&id), Err(Error::NoSuchContainer { .. })));
    store.collect(&ALL).unwrap();
    assert!(!store.has_snapshot(&layer).unwrap());
}
