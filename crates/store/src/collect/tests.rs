//! What goes and what stays.

use std::{fs, time::Duration};

use oci::{Descriptor, DiffId, ImageId, ManifestDigest, Reference, media_type};

use super::*;
use crate::{Layer, Record, Sharing, StoredManifest, testing::Scratch};

const GARBAGE: Collect = Collect { images: ImageRule::Keep, cache: CacheRule::Keep, mounts: false };
const ALL: Collect = Collect { images: ImageRule::All, cache: CacheRule::All, mounts: true };

/// A sealed snapshot with a file of `size` bytes.
fn snapshot(store: &Store, size: usize) -> SnapshotId {
    let open = store.create_snapshot().unwrap();
    fs::write(open.fs().join("file"), vec![1; size]).unwrap();
    open.seal().unwrap()
}

fn step(store: &Store, key: u8, snapshot: SnapshotId, below: Option<SnapshotId>, age: u64) {
    let record = Record {
        snapshot,
        below,
        began: None,
        created: String::new(),
        description: String::new(),
        ingredients: Vec::new(),
    };
    store.put_record(&[key; 32], &record).unwrap();
    if age == 0 {
        // As it is. In a race with a collection it may even be gone already.
        return;
    }
    let name = oci::ContentDigest::new([key; 32]).to_string();
    let path = store.inner.layout.record(Tree::Fresh, Kind::Step, &name);
    let used = SystemTime::now() - Duration::from_secs(age);
    fs::File::open(path).unwrap().set_modified(used).unwrap();
}

fn image(store: &Store, layers: &[SnapshotId], manifest: Option<&StoredManifest>) -> ImageId {
    let diff_id = DiffId::new(Digest::of(b"tar"));
    let ids = vec![format!("\"{diff_id}\""); layers.len()].join(",");
    let author = layers.first().map(ToString::to_string).unwrap_or_default();
    let config =
        format!(r#"{{"author":"{author}","rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#);
    store.put_image(config.as_bytes(), layers, manifest).unwrap()
}

fn tag(store: &Store, name: &str, id: &ImageId) {
    store.tag(&Reference::parse(name).unwrap(), id).unwrap();
}

/// Opens the store anew, so that nothing is held as made by it.
fn reopened(scratch: &Scratch, store: Store) -> Store {
    drop(store);
    scratch.store()
}

#[test]
fn what_nothing_names_goes_and_what_an_image_names_stays() {
    let scratch = Scratch::new("collect");
    let store = scratch.store();
    let (used, unused) = (snapshot(&store, 1), snapshot(&store, 100_000));
    let layer_blob = store.put_blob(b"layer").unwrap();
    let manifest_blob = store.put_blob(b"manifest").unwrap();
    let packed_blob = store.put_blob(b"packed").unwrap();
    let unused_blob = store.put_blob(b"unused").unwrap();
    let layer = Layer {
        diff_id: DiffId::new(Digest::of(b"tar")),
        size: 3,
        contents: None,
        holes: 0,
        checksum: None,
        blob: Some(Descriptor::of(media_type::OCI_LAYER_GZIP, b"layer")),
        rewritten: None,
        fetch_again: false,
    };
    store.set_layer(&used, &layer).unwrap();
    store.set_layer(&unused, &Layer { blob: None, ..layer.clone() }).unwrap();
    let packed = Descriptor::of(media_type::OCI_LAYER_GZIP, b"packed");
    store.set_packed(&used, "gzip-6", &packed).unwrap();
    store.set_packed(&unused, "gzip-6", &packed).unwrap();
    let manifest = StoredManifest {
        digest: ManifestDigest::new(Digest::of(b"manifest")),
        media_type: media_type::OCI_MANIFEST.to_owned(),
    };
    let id = image(&store, &[used], Some(&manifest));
    tag(&store, "app", &id);
    // Some of it in the other tree.
    store.sync().unwrap();

    assert_eq!(store.collect(&GARBAGE).unwrap(), Freed::default(), "made by this process");
    let store = reopened(&scratch, store);
    let freed = store.collect(&GARBAGE).unwrap();
    assert_eq!((freed.snapshots, freed.blobs, freed.images), (1, 1, 0));
    assert!(freed.bytes >= 100_000, "{freed:?}");
    assert!(!store.has_snapshot(&unused).unwrap() && !store.has_blob(&unused_blob).unwrap());
    assert_eq!(store.layer(&unused).unwrap(), None);
    assert_eq!(store.packed(&unused, "gzip-6").unwrap(), None);
    for blob in [layer_blob, manifest_blob, packed_blob] {
        assert!(store.has_blob(&blob).unwrap());
    }
    assert_eq!(store.layer(&used).unwrap(), Some(layer));
    assert_eq!(store.find("app").unwrap().snapshots, [used]);

    assert_eq!(store.collect(&ALL).unwrap().images, 1);
    assert!(store.find("app").is_err());
    assert!(!store.has_snapshot(&used).unwrap());
    assert_eq!(store.collect(&ALL).unwrap(), Freed::default());
}

#[test]
fn untagged_images_go_when_asked() {
    let scratch = Scratch::new("collect-untagged");
    let store = scratch.store();
    let (named, nameless) = (snapshot(&store, 1), snapshot(&store, 1));
    let id = image(&store, &[named], None);
    tag(&store, "app", &id);
    image(&store, &[nameless, named], None);
    let store = reopened(&scratch, store);
    assert_eq!(store.collect(&GARBAGE).unwrap(), Freed::default());
    let freed = store.collect(&Collect { images: ImageRule::Untagged, ..GARBAGE }).unwrap();
    assert_eq!((freed.images, freed.snapshots), (1, 1));
    assert_eq!(store.find("app").unwrap().id, id);
}

#[test]
fn what_is_held_stays_until_its_holder_lets_go() {
    let scratch = Scratch::new("collect-lease");
    let store = scratch.store();
    let (cached, layer) = (snapshot(&store, 1), snapshot(&store, 1));
    let blob = store.put_blob(b"blob").unwrap();
    step(&store, 1, cached, None, 0);
    let id = image(&store, &[layer], None);
    let store = reopened(&scratch, store);

    let lease = store.lease().unwrap();
    lease.hold(&cached).unwrap();
    lease.hold_blob(&blob).unwrap();
    lease.hold_image(&id).unwrap();
    let other = scratch.store();
    let freed = other.collect(&ALL).unwrap();
    assert_eq!(freed, Freed::default());
    assert!(other.has_snapshot(&cached).unwrap() && other.has_snapshot(&layer).unwrap());
    assert!(other.has_blob(&blob).unwrap() && other.image(&id).unwrap().is_some());

    drop(lease);
    let freed = other.collect(&ALL).unwrap();
    assert_eq!((freed.snapshots, freed.blobs, freed.images), (2, 1, 1));
    let lease = store.lease().unwrap();
    assert!(matches!(lease.hold(&cached), Err(Error::NoSuchSnapshot { .. })));
    assert!(matches!(lease.hold_blob(&blob), Err(Error::NoSuchBlob { .. })));
    assert!(matches!(lease.hold_image(&id), Err(Error::NoSuchImage { .. })));
}

#[test]
fn results_go_by_age_or_budget_the_upper_ones_first() {
    let scratch = Scratch::new("collect-cache");
    let store = scratch.store();
    let lower = snapshot(&store, 100_000);
    let upper = snapshot(&store, 100_000);
    let old = snapshot(&store, 100_000);
    // The lower one was looked up before the upper one, but what was made on it has been used since.
    step(&store, 1, lower, None, 5000);
    step(&store, 2, upper, Some(lower), 10);
    step(&store, 3, old, None, 3000);
    store.put_memo(&[1; 32], &[1; 32]).unwrap();
    let store = reopened(&scratch, store);

    let by_age = Collect { cache: CacheRule::unused_for(Duration::from_secs(1000)), ..GARBAGE };
    let freed = store.collect(&by_age).unwrap();
    assert_eq!((freed.records, freed.snapshots), (1, 1));
    assert!(!store.has_snapshot(&old).unwrap());
    assert!(store.memo(&[1; 32]).unwrap().is_some());

    let generous = Collect { cache: CacheRule::budget(1_000_000), ..GARBAGE };
    assert_eq!(store.collect(&generous).unwrap(), Freed::default());
    let tight = Collect { cache: CacheRule::budget(150_000), ..GARBAGE };
    let freed = store.collect(&tight).unwrap();
    assert_eq!((freed.records, freed.snapshots), (1, 1));
    assert!(store.has_snapshot(&lower).unwrap() && !store.has_snapshot(&upper).unwrap());

    let nothing = Collect { cache: CacheRule::All, ..GARBAGE };
    assert_eq!(store.collect(&nothing).unwrap().snapshots, 1);
    assert_eq!(store.memo(&[1; 32]).unwrap(), None);
}

#[test]
fn a_budget_does_not_count_what_an_image_needs() {
    let scratch = Scratch::new("collect-budget");
    let store = scratch.store();
    let layer = snapshot(&store, 1_000_000);
    step(&store, 1, layer, None, 100);
    tag(&store, "app", &image(&store, &[layer], None));
    let store = reopened(&scratch, store);
    let tight = Collect { cache: CacheRule::budget(10_000), ..GARBAGE };
    assert_eq!(store.collect(&tight).unwrap(), Freed::default());
}

#[test]
fn cache_mounts_in_use_stay() {
    let scratch = Scratch::new("collect-mounts");
    let store = scratch.store();
    let used = store.cache_mount("used", Sharing::Shared, |_| Ok(())).unwrap();
    drop(store.cache_mount("unused", Sharing::Shared, |_| Ok(())).unwrap());
    assert_eq!(store.collect(&GARBAGE).unwrap().mounts, 0);
    assert_eq!(store.collect(&ALL).unwrap().mounts, 1);
    assert!(used.path().is_dir());
    assert_eq!(store.cache_mounts().unwrap().len(), 1);
}

#[test]
fn builds_and_collections_do_not_meet() {
    let scratch = Scratch::new("collect-race");
    let store = scratch.store();
    std::thread::scope(|scope| {
        let builds: Vec<_> = (0..3_u8)
            .map(|number| {
                let scratch = &scratch;
                scope.spawn(move || {
                    for _ in 0..40 {
                        let store = scratch.store();
                        build(&store, number);
                    }
                })
            })
            .collect();
        while builds.iter().any(|build| !build.is_finished()) {
            store.collect(&ALL).unwrap();
        }
        for build in builds {
            build.join().unwrap();
        }
    });
    store.collect(&ALL).unwrap();
    assert!(store.inner.snapshots().unwrap().is_empty());
}

/// Uses what is cached, or makes it, like a build: and finds it there to the end.
fn build(store: &Store, number: u8) {
    let lease = store.lease().unwrap();
    let cached = store.record(&[number; 32]).unwrap().filter(|r| lease.hold(&r.snapshot).is_ok());
    let layer = cached.map_or_else(
        || {
            let made = snapshot(store, 10);
            step(store, number, made, None, 0);
            made
        },
        |record| record.snapshot,
    );
    let id = image(store, &[layer], None);
    assert_eq!(fs::read(store.snapshot_dir(&layer).join("file")).unwrap().len(), 10);
    assert_eq!(store.image(&id).unwrap().unwrap().snapshots, [layer]);
}

#[test]
fn what_no_image_has_goes_first_and_mounts_with_it() {
    let scratch = Scratch::new("collect-only");
    let store = scratch.store();
    let (layer, cached) = (snapshot(&store, 1000), snapshot(&store, 500));
    step(&store, 1, layer, None, 100);
    step(&store, 2, cached, Some(layer), 100);
    tag(&store, "app", &image(&store, &[layer], None));
    let mount = store.cache_mount("m", Sharing::Shared, |_| Ok(())).unwrap();
    fs::write(mount.path().join("file"), [1; 2000]).unwrap();
    drop(mount);
    let store = reopened(&scratch, store);
    let only = |unused_for, room| Collect {
        cache: CacheRule::Only(Which { unused_for, room, of_images: false }),
        mounts: true,
        ..GARBAGE
    };
    // All of it fits.
    let generous = store.collect(&only(Duration::ZERO, Some(2500))).unwrap();
    assert_eq!(generous, Freed::default());
    // The step was used longer ago than the mount.
    let tight = store.preview(&only(Duration::ZERO, Some(2499)), &Without::default()).unwrap();
    assert_eq!((tight.bytes, tight.objects), (500, vec![cached.to_string()]));
    let tight = store.preview(&only(Duration::ZERO, Some(100)), &Without::default()).unwrap();
    assert_eq!((tight.bytes, tight.records, tight.mounts), (2500, 1, 1));
    assert!(store.has_snapshot(&cached).unwrap(), "nothing was changed");
    let old = store.collect(&only(Duration::from_secs(50), None)).unwrap();
    assert_eq!((old.bytes, old.objects), (500, vec![cached.to_string()]));
    assert!(store.has_snapshot(&layer).unwrap());
    let rest = store.collect(&only(Duration::ZERO, None)).unwrap();
    assert_eq!((rest.bytes, rest.records, rest.mounts), (2000, 0, 1));
    assert_eq!(store.cached_steps().unwrap().len(), 1, "that of the image");
}

#[test]
fn a_preview_says_what_would_go() {
    let scratch = Scratch::new("collect-preview");
    let store = scratch.store();
    let (one, two) = (snapshot(&store, 1000), snapshot(&store, 500));
    let blob = store.put_blob(&[7; 300]).unwrap();
    let layer = Layer {
        diff_id: DiffId::new(Digest::of(b"tar")),
        size: 3,
        contents: None,
        holes: 0,
        checksum: None,
        blob: Some(Descriptor::of(media_type::OCI_LAYER_GZIP, &[7; 300])),
        rewritten: None,
        fetch_again: false,
    };
    assert_eq!(layer.blob.as_ref().unwrap().digest, blob);
    store.set_layer(&two, &layer).unwrap();
    let (base, child) = (image(&store, &[one], None), image(&store, &[two, one], None));
    let store = reopened(&scratch, store);
    let preview = |images: &[ImageId]| {
        let without = Without { images: images.iter().copied().collect(), ..Without::default() };
        store.preview(&GARBAGE, &without).unwrap()
    };
    assert_eq!(preview(&[]), Freed::default());
    assert_eq!(preview(&[base]).bytes, 0, "the other one has it too");
    let freed = preview(&[child]);
    assert_eq!((freed.bytes, freed.snapshots, freed.blobs), (800, 1, 1));
    assert_eq!(preview(&[base, child]).bytes, 1800);
    for id in [base, child] {
        store.inventory().unwrap().remove_image(&id).unwrap();
    }
    assert_eq!(store.collect(&GARBAGE).unwrap().bytes, 1800);
}

#[test]
fn an_image_that_is_used_keeps_its_layers_when_it_is_removed() {
    let scratch = Scratch::new("collect-used");
    let store = scratch.store();
    let layer = snapshot(&store, 1000);
    let id = image(&store, &[layer], None);
    let store = reopened(&scratch, store);
    let lease = store.lease().unwrap();
    lease.hold_image(&id).unwrap();
    let other = scratch.store();
    other.inventory().unwrap().remove_image(&id).unwrap();
    assert_eq!(other.collect(&ALL).unwrap(), Freed::default());
    assert!(other.has_snapshot(&layer).unwrap());
    drop(lease);
    assert_eq!(other.collect(&ALL).unwrap().bytes, 1000);
}
