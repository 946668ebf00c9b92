//! What is broken on purpose, and what a look at the store says about it.

use std::fs;

use oci::{Digest, ImageConfig, ImageId, Platform, Reference};

use super::*;
use crate::{Record, testing::Scratch};

/// A store with a step, an image of it and a name of that.
fn filled(scratch: &Scratch) -> (Store, SnapshotId, ImageId) {
    let store = scratch.store();
    let snapshot = store.create_snapshot().unwrap();
    fs::write(snapshot.fs().join("f"), "contents").unwrap();
    let id = snapshot.seal().unwrap();
    let diff_id = DiffId::new(Digest::of(b"its tar"));
    let contents = Some(8);
    let layer = Layer {
        diff_id,
        size: 7,
        contents,
        holes: 0,
        checksum: None,
        blob: None,
        rewritten: None,
        fetch_again: false,
    };
    store.set_layer(&id, &layer).unwrap();
    let record = Record {
        snapshot: id,
        below: None,
        began: None,
        created: "2026-01-01T00:00:00Z".to_owned(),
        description: "RUN make".to_owned(),
        ingredients: Vec::new(),
    };
    store.put_record(&[1; 32], &record).unwrap();
    let mut config = ImageConfig::scratch(&Platform::host());
    config.rootfs.diff_ids = vec![diff_id];
    let image = store.put_image(&oci::json::to_bytes(&config), &[id], None).unwrap();
    store.tag(&Reference::parse("app").unwrap(), &image).unwrap();
    (store, id, image)
}

fn subjects(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| finding.subject.to_string()).collect()
}

#[test]
fn a_whole_store_is_whole() {
    let scratch = Scratch::new("whole");
    let (store, id, _) = filled(&scratch);
    let survey = store.survey().unwrap();
    assert_eq!(subjects(&survey.findings), [""; 0]);
    let said = &survey.layers[&id];
    assert_eq!(said.users, ["image `app:latest`, layer 1", "cached step `RUN make`"]);
    let Counts { records, images, tags, steps, unneeded, .. } = survey.counts;
    assert_eq!((records, images, tags, steps, unneeded), (4, 1, 1, 1, 0));
    assert_eq!(store.repair(&Broken::default()).unwrap().dropped, BTreeSet::new());
}

#[test]
fn what_points_to_nothing_goes_with_what_points_to_it() {
    let scratch = Scratch::new("dangling");
    let (store, id, image) = filled(&scratch);
    fs::remove_dir_all(store.inner.layout.snapshot(&id)).unwrap();
    let survey = store.survey().unwrap();
    let wanted = [
        format!("image `{image}`"),
        "tag `app:latest`".to_owned(),
        "cached step `RUN make`".to_owned(),
        format!("record `layer/{id}`"),
    ];
    assert_eq!(subjects(&survey.findings), wanted);
    // Nothing was changed.
    assert_eq!(subjects(&store.survey().unwrap().findings), wanted);
    let repaired = store.repair(&Broken::default()).unwrap();
    assert_eq!(subjects(&repaired.left), [""; 0]);
    assert_eq!(store.tags().unwrap(), []);
    assert_eq!(store.record(&[1; 32]).unwrap(), None);
    assert_eq!(subjects(&store.survey().unwrap().findings), [""; 0]);
}

#[test]
fn what_is_broken_is_removed_unless_it_is_in_use() {
    for in_use in [false, true] {
        let scratch = Scratch::new("broken");
        let (store, id, _) = filled(&scratch);
        // What a process has made, it holds.
        drop(store);
        let store = scratch.store();
        let lease = store.lease().unwrap();
        if in_use {
            lease.hold(&id).unwrap();
        }
        let broken = Broken { snapshots: BTreeSet::from([id]), ..Broken::default() };
        let dropped = store.repair(&broken).unwrap().dropped;
        assert!(dropped.contains("tag `app:latest`"), "{dropped:?}");
        assert_eq!(store.has_snapshot(&id).unwrap(), in_use);
        assert_eq!(subjects(&store.survey().unwrap().findings), [""; 0]);
    }
}

#[test]
fn another_snapshot_takes_the_place_everywhere() {
    let scratch = Scratch::new("replaced");
    let (store, id, image) = filled(&scratch);
    let layer = store.layer(&id).unwrap().unwrap();
    drop(store);
    let store = scratch.store();
    let new = store.create_snapshot().unwrap().seal().unwrap();
    store.replace_snapshot(&id, &new, &layer).unwrap();
    assert_eq!(store.image(&image).unwrap().unwrap().snapshots, [new]);
    assert_eq!(store.record(&[1; 32]).unwrap().unwrap().snapshot, new);
    assert_eq!(store.layer(&new).unwrap(), Some(layer));
    assert!(!store.has_snapshot(&id).unwrap());
    assert_eq!(subjects(&store.survey().unwrap().findings), [""; 0]);
}

#[test]
fn a_broken_record_is_named_and_left_where_it_is() {
    let scratch = Scratch::new("record");
    let (store, id, _) = filled(&scratch);
    let path = store.inner.layout.record(crate::layout::Tree::Fresh, Kind::Layer, &id.to_string());
    fs::write(&path, "").unwrap();
    let survey = store.survey().unwrap();
    assert_eq!(subjects(&survey.findings), [format!("record `layer/{id}`")]);
    assert!(path.exists());
    store.repair(&Broken::default()).unwrap();
    assert!(!path.exists());
    // What it is can be found out again; no image is lost.
    assert_eq!(store.tags().unwrap().len(), 1);
}
