//! Boots that end without a warning.

use oci::{Digest, ImageId, Reference};

use crate::{Error, Record, Store, Warning, layout::Tree, record::Kind, testing::Scratch};

fn reference(value: &str) -> Reference {
    Reference::parse(value).unwrap()
}

fn record(store: &Store) -> Record {
    Record {
        snapshot: store.create_snapshot().unwrap().seal().unwrap(),
        below: None,
        began: None,
        created: String::new(),
        description: String::new(),
        ingredients: Vec::new(),
    }
}

fn tagged(store: &Store, name: &str) -> ImageId {
    let config = format!(r#"{{"author":"{name}"}}"#);
    let id = store.put_image(config.as_bytes(), &[], None).unwrap();
    store.tag(&reference(name), &id).unwrap();
    id
}

#[test]
fn what_no_sync_has_covered_ends_with_the_boot() {
    let scratch = Scratch::new("sync");
    let store = scratch.store_in("b1");
    let kept = tagged(&store, "kept");
    let kept_record = record(&store);
    store.put_record(&[1; 32], &kept_record).unwrap();
    let kept_blob = store.put_blob(b"kept").unwrap();
    assert!(store.sync().unwrap() >= 4);
    assert_eq!(store.sync().unwrap(), 0);
    // Seen the same after it as before.
    assert_eq!(store.find("kept").unwrap().id, kept);

    tagged(&store, "lost");
    store.put_record(&[2; 32], &record(&store)).unwrap();
    let lost_blob = store.put_blob(b"lost").unwrap();
    store.tag(&reference("kept"), &store.find("lost").unwrap().id).unwrap();
    drop(store);

    // In the same boot, all of it.
    let store = scratch.store_in("b1");
    assert!(store.record(&[2; 32]).unwrap().is_some());
    assert_eq!(store.find("kept").unwrap().id, store.find("lost").unwrap().id);
    assert!(store.take_warnings().is_empty());
    drop(store);

    let store = scratch.store_in("b2");
    assert_eq!(store.find("kept").unwrap().id, kept, "the name means what it meant when synced");
    assert_eq!(store.record(&[1; 32]).unwrap(), Some(kept_record));
    assert_eq!(store.read_blob(&kept_blob).unwrap(), b"kept");
    assert!(store.find("lost").is_err());
    assert_eq!(store.record(&[2; 32]).unwrap(), None);
    assert!(!store.has_blob(&lost_blob).unwrap());
    let warnings = store.take_warnings();
    assert!(matches!(warnings[..], [Warning::Dropped { records: 4 }]), "{warnings:?}");
    drop(store);

    let store = scratch.store_in("b2");
    assert!(store.take_warnings().is_empty(), "told once");
}

#[test]
fn a_record_replaced_during_a_sync_waits_for_the_next() {
    let scratch = Scratch::new("sync-replaced");
    let store = scratch.store_in("b1");
    store.put_memo(&[1; 32], &[1; 32]).unwrap();
    store.put_memo(&[2; 32], &[1; 32]).unwrap();
    let listed = store.inner.list_fresh().unwrap();
    store.put_memo(&[1; 32], &[9; 32]).unwrap();
    for file in &listed {
        file.keep().unwrap();
    }
    assert_eq!(store.memo(&[1; 32]).unwrap(), Some([9; 32]));
    assert_eq!(store.memo(&[2; 32]).unwrap(), Some([1; 32]));
    drop(store);
    let store = scratch.store_in("b2");
    assert_eq!(store.memo(&[1; 32]).unwrap(), None);
    assert_eq!(store.memo(&[2; 32]).unwrap(), Some([1; 32]));
}

#[test]
fn a_lookup_never_misses_what_is_being_kept() {
    let scratch = Scratch::new("sync-lookup");
    let store = scratch.store();
    let id = tagged(&store, "name");
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| {
            for _ in 0..50 {
                // Written anew each time, so that there is something to move.
                store.inventory().unwrap().untag(&reference("other")).unwrap();
                store.tag(&reference("other"), &id).unwrap();
                store.sync().unwrap();
            }
        });
        while !syncing.is_finished() {
            assert_eq!(store.find("name").unwrap().id, id);
        }
        syncing.join().unwrap();
    });
}

#[test]
fn nothing_is_durable_after_a_failed_sync() {
    let scratch = Scratch::new("sync-poisoned");
    let store = scratch.store_in("b1");
    store.put_memo(&[1; 32], &[1; 32]).unwrap();
    std::fs::write(store.inner.layout.poisoned(), "").unwrap();
    assert!(matches!(store.sync(), Err(Error::Poisoned { .. })));
    assert_eq!(store.memo(&[1; 32]).unwrap(), Some([1; 32]));
    let store = scratch.store_in("b2");
    assert_eq!(store.memo(&[1; 32]).unwrap(), None);
    store.put_memo(&[1; 32], &[1; 32]).unwrap();
    assert_eq!(store.sync().unwrap(), 1);
}

#[test]
fn waiting_is_counted_from_the_first_unsynced_record() {
    let scratch = Scratch::new("sync-age");
    let store = scratch.store();
    let age = std::time::Duration::ZERO;
    assert_eq!(store.unsynced_for().unwrap(), None);
    assert!(!store.sync_if_old(age).unwrap());
    store.put_memo(&[1; 32], &[1; 32]).unwrap();
    assert!(!store.sync_if_old(std::time::Duration::from_secs(60)).unwrap());
    assert!(store.sync_if_old(age).unwrap());
    assert_eq!(store.unsynced_for().unwrap(), None);
    let key = oci::ContentDigest::new([1; 32]).to_string();
    assert!(store.inner.layout.record(Tree::Kept, Kind::Memo, &key).exists());
}

#[test]
fn a_removed_name_does_not_come_back() {
    let scratch = Scratch::new("sync-untag");
    let store = scratch.store_in("b1");
    let id = tagged(&store, "name");
    store.sync().unwrap();
    store.inventory().unwrap().untag(&reference("name")).unwrap();
    assert!(store.find("name").is_err());
    let id_again = ImageId::new(Digest::of(br#"{"author":"name"}"#));
    assert_eq!(id, id_again);
    assert!(store.image(&id).unwrap().is_some());
}
