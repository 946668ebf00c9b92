//! Where a layer's bytes come from, and that they are the right ones.

use std::fs;

use super::*;
use crate::testing::{FLAVOUR, Scratch, built_layer, image, loaded_layer, packed};

const GZIP: LayerOptions = LayerOptions { compression: Compression::Gzip, force: false };
const PLAIN: LayerOptions = LayerOptions { compression: Compression::Uncompressed, force: false };
const FORCED: bool = true;

fn bytes(store: &Store, layer: &Layer) -> Vec<u8> {
    let mut bytes = Vec::new();
    layer.write(store, FLAVOUR, &mut bytes).unwrap();
    let described = (layer.descriptor.digest, layer.descriptor.size);
    let actual = BlobDigest::new(oci::Digest::of(&bytes));
    assert_eq!(described, (actual, bytes.len() as u64));
    bytes
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    filetree::decompress(bytes).unwrap().read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn a_built_layer_is_packed_again() {
    let scratch = Scratch::new("layer-built");
    let store = scratch.store();
    let built = built_layer(&store, &[("a/file", "contents")]);
    let tar = packed(&store, &built.0);
    let image = image(&store, &[built], None);

    let plain = layers(&store, FLAVOUR, &image, &PLAIN).unwrap();
    assert_eq!(bytes(&store, &plain[0]), tar);
    assert_eq!(plain[0].descriptor.media_type, media_type::OCI_LAYER);

    let gzip = layers(&store, FLAVOUR, &image, &GZIP).unwrap();
    assert_eq!(unzipped(&bytes(&store, &gzip[0])), tar);
    assert_eq!(gzip[0].descriptor.media_type, media_type::OCI_LAYER_GZIP);
    assert!(store.has_blob(&gzip[0].descriptor.digest).unwrap());

    let wanted = LayerOptions { compression: Compression::Zstd, force: false };
    let zstd = layers(&store, FLAVOUR, &image, &wanted).unwrap();
    assert_eq!(unzipped(&bytes(&store, &zstd[0])), tar);
    assert_eq!(zstd[0].descriptor.media_type, media_type::OCI_LAYER_ZSTD);

    // The second time nothing is packed: there is nothing to pack any more.
    fs::remove_file(store.snapshot_dir(&built.0).join("a/file")).unwrap();
    assert_eq!(layers(&store, FLAVOUR, &image, &GZIP).unwrap(), gzip);
    assert_eq!(layers(&store, FLAVOUR, &image, &wanted).unwrap(), zstd);
}

#[test]
fn a_layer_without_a_record_is_measured() {
    let scratch = Scratch::new("layer-unknown");
    let store = scratch.store();
    let known = built_layer(&store, &[("file", "contents")]);
    let open = store.create_snapshot().unwrap();
    fs::copy(store.snapshot_dir(&known.0).join("file"), open.fs().join("file")).unwrap();
    for name in ["file", "."] {
        let stat = fs::metadata(store.snapshot_dir(&known.0).join(name)).unwrap();
        let file = fs::File::open(open.fs().join(name)).unwrap();
        file.set_modified(stat.modified().unwrap()).unwrap();
    }
    let unknown = (open.seal().unwrap(), known.1);
    let image = image(&store, &[unknown], None);
    let plain = layers(&store, FLAVOUR, &image, &PLAIN).unwrap();
    assert_eq!(bytes(&store, &plain[0]), packed(&store, &known.0));
    assert_eq!(store.layer(&unknown.0).unwrap().unwrap().diff_id, known.1);
}

#[test]
fn a_loaded_layer_leaves_as_it_came() {
    let scratch = Scratch::new("layer-loaded");
    let store = scratch.store();
    let (id, diff_id, blob) = loaded_layer(&store, &[("file", "contents")]);
    let image = image(&store, &[(id, diff_id)], None);
    for options in [PLAIN, GZIP, LayerOptions { force: FORCED, ..GZIP }] {
        let kept = layers(&store, FLAVOUR, &image, &options).unwrap();
        assert_eq!(kept[0].descriptor, blob, "{options:?}");
        bytes(&store, &kept[0]);
    }
    let forced = LayerOptions { force: FORCED, ..PLAIN };
    let plain = layers(&store, FLAVOUR, &image, &forced).unwrap();
    assert_eq!(bytes(&store, &plain[0]), packed(&store, &id));

    // Without its blob it is packed, if that makes the same layer.
    store.drop_blob(&blob.digest).unwrap();
    let gzip = layers(&store, FLAVOUR, &image, &GZIP).unwrap();
    assert_ne!(gzip[0].descriptor, blob);
    assert_eq!(unzipped(&bytes(&store, &gzip[0])), packed(&store, &id));
}

#[test]
fn many_layers_come_in_their_order() {
    let scratch = Scratch::new("layer-many");
    let store = scratch.store();
    let mut wanted: Vec<_> = (0..12)
        .map(|number| built_layer(&store, &[(&format!("file-{number}"), "contents")]))
        .collect();
    wanted.push(wanted[3]);
    let image = image(&store, &wanted, None);
    let gzip = layers(&store, FLAVOUR, &image, &GZIP).unwrap();
    assert_eq!(gzip.len(), wanted.len());
    for (layer, (id, _)) in gzip.iter().zip(&wanted) {
        assert_eq!(unzipped(&bytes(&store, layer)), packed(&store, id));
    }
}

#[test]
fn damage_is_an_error_and_not_a_layer() {
    let scratch = Scratch::new("layer-damaged");
    let store = scratch.store();
    let built = built_layer(&store, &[("file", "contents")]);
    let (id, diff_id, blob) = loaded_layer(&store, &[("file", "other")]);
    let image = image(&store, &[built, (id, diff_id)], None);
    fs::write(store.snapshot_dir(&built.0).join("file"), "").unwrap();
    let packed = layers(&store, FLAVOUR, &image, &GZIP);
    assert!(matches!(packed, Err(Error::Damaged { .. })), "{packed:?}");
    let plain = layers(&store, FLAVOUR, &image, &PLAIN).unwrap();
    let written = plain[0].write(&store, FLAVOUR, &mut io::sink());
    assert!(matches!(written, Err(Error::Damaged { .. })), "{written:?}");

    let root = scratch.path().join("store");
    let hex = blob.digest.as_digest().to_hex();
    let found = find(&root, &hex).unwrap();
    fs::write(found, "damage").unwrap();
    let written = plain[1].write(&store, FLAVOUR, &mut io::sink());
    assert!(matches!(written, Err(Error::Copy { .. })), "{written:?}");
}

fn find(directory: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    fs::read_dir(directory).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() == name {
            return Some(path);
        }
        if path.is_dir() { find(&path, name) } else { None }
    })
}
