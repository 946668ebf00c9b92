//! Records of the store: whatever stands in one, it is read, or moved aside with a warning, and the others are as they were.

use std::fs;
use std::path::{Path, PathBuf};

use oci::{ChainId, Descriptor, DiffId, Digest, ImageConfig, ImageId, Platform, Reference};
use serde_json::json;
use store::{
    CacheRule, Collect, ContainerDraft, ContainerId, ImageRule, Layer, Record, SnapshotId, Store,
    Without,
};

use super::scratch::Scratch;

thread_local! {
    /// Made once for all inputs of a fuzzer: making it costs more than trying an input.
    static WORLD: World = World::new();
}

/// Tries one input: which record, whether it is a body under a header that fits it, and the text.
pub(crate) fn check(data: &[u8]) {
    let [which, how, text @ ..] = data else { return };
    WORLD.with(|world| world.check(usize::from(*which), how & 1 == 0, text));
}

/// A store with a record of each kind.
struct World {
    scratch: Scratch,
    store: Store,
    image: ImageId,
    layer: SnapshotId,
    container: ContainerId,
    chain: ChainId,
    /// The files of the records, sorted by their names, with what is in them.
    records: Vec<(PathBuf, Vec<u8>)>,
}

const KEY: [u8; 32] = [7; 32];

impl World {
    fn new() -> Self {
        let scratch = Scratch::new("records");
        let store = Store::open(&scratch.path().join("store")).unwrap();
        let layer = store.create_snapshot().unwrap().seal().unwrap();
        let diff_id = DiffId::new(Digest::of(b"layer"));
        let blob = Some(Descriptor::of(oci::media_type::OCI_LAYER, b"blob"));
        let of_layer = Layer {
            diff_id,
            size: 1,
            contents: Some(1),
            holes: 0,
            checksum: Some("xxh64-1-0123456789abcdef".to_owned()),
            blob,
            rewritten: Some(1),
            fetch_again: false,
        };
        store.set_layer(&layer, &of_layer).unwrap();
        store.set_packed(&layer, "gzip-6", &Descriptor::of("x", b"packed")).unwrap();
        let chain = ChainId::bottom(diff_id);
        store.set_snapshot_of_chain(&chain, &layer).unwrap();
        store.put_memo(&KEY, &[8; 32]).unwrap();
        let step = Record {
            snapshot: layer,
            below: None,
            began: Some("1970-01-01T00:00:00Z".into()),
            created: "1970-01-01T00:00:00Z".into(),
            description: "RUN true".into(),
            ingredients: vec![("a".into(), "b".into())],
        };
        store.put_record(&KEY, &step).unwrap();
        store.put_trail(&KEY, &store::Trail::default()).unwrap();
        let mut config = ImageConfig::scratch(&Platform::host());
        config.rootfs.diff_ids.push(diff_id);
        let config = oci::json::to_bytes(&config);
        let image = store.put_image(&config, &[layer], None).unwrap();
        store.tag(&Reference::parse("team/app:1").unwrap(), &image).unwrap();
        let container = ContainerId::new_random();
        let draft = ContainerDraft {
            name: "some".into(),
            image,
            image_name: "team/app:1".into(),
            image_config: String::from_utf8(config).unwrap(),
            snapshots: vec![layer],
            options: json!({}),
        };
        let snapshot = store.create_snapshot().unwrap();
        store.create_container(container, draft, snapshot).unwrap();
        drop(store.take_warnings());
        let mut records = Vec::new();
        find(&scratch.path().join("store"), &mut records);
        records.sort();
        assert_eq!(records.len(), 9, "one of each kind");
        Self { scratch, store, image, layer, container, chain, records }
    }

    fn check(&self, which: usize, is_body: bool, text: &[u8]) {
        let (path, whole) = &self.records[which % self.records.len()];
        let text = if is_body { with_body(whole, text) } else { text.to_vec() };
        fs::write(path, &text).unwrap();
        self.look_at_all();
        let warnings = self.store.take_warnings();
        if path.exists() {
            assert!(warnings.is_empty(), "{warnings:?}");
        } else {
            assert!(!warnings.is_empty(), "a record vanished without a word");
            assert!(warnings.iter().all(|warning| !warning.to_string().is_empty()));
        }
        // As it was, for the next input.
        fs::write(path, whole).unwrap();
        let lost = self.scratch.path().join("store/lost");
        if lost.exists() {
            fs::remove_dir_all(lost).unwrap();
        }
        assert_eq!(self.look_at_all(), 9, "the store has suffered");
    }

    /// Reads all there is, and returns how many of the records were there.
    fn look_at_all(&self) -> usize {
        let store = &self.store;
        drop(store.cached_steps().unwrap());
        drop(store.containers().unwrap());
        drop(store.images().unwrap());
        drop(store.find_all("team/app:1"));
        let what = Collect { images: ImageRule::All, cache: CacheRule::All, mounts: true };
        drop(store.preview(&what, &Without::default()));
        let tags = store.tags().unwrap();
        [
            store.image(&self.image).unwrap().is_some(),
            tags.iter().any(|(_, id)| *id == self.image),
            store.layer(&self.layer).unwrap().is_some(),
            store.packed(&self.layer, "gzip-6").unwrap().is_some(),
            store.snapshot_of_chain(&self.chain).unwrap() == Some(self.layer),
            store.memo(&KEY).unwrap() == Some([8; 32]),
            store.record(&KEY).unwrap().is_some(),
            store.trail(&KEY).unwrap().is_some(),
            store.container(&self.container).unwrap().is_some(),
        ]
        .into_iter()
        .filter(|is_there| *is_there)
        .count()
    }
}

/// The header of a record, with the digest of another body.
fn with_body(whole: &[u8], body: &[u8]) -> Vec<u8> {
    let header = whole.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let end = header.iter().rposition(|byte| *byte == b' ').unwrap_or(0);
    let digest = Digest::of(body).to_string();
    [&header[..=end], digest.as_bytes(), b"\n", body, b"\n"].concat()
}

fn find(dir: &Path, records: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, records);
        } else if let Ok(text) = fs::read(&path)
            && text.starts_with(b"kiln-record ")
        {
            records.push((path, text));
        }
    }
}
