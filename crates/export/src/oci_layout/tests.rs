//! Layouts that are read back, by this crate's tests and by skopeo.

use std::io::Write;

use oci::{BlobDigest, Digest, Manifest, media_type};
use store::{Image, Layer, Store};

use super::*;
use crate::{
    Named,
    testing::{
        FLAVOUR, Scratch, blob, built_layer, contents, image, loaded_layer, read_archive, skopeo,
    },
};

fn reference(value: &str) -> Reference {
    Reference::parse(value).unwrap()
}

fn write(store: &Store, image: &Image, names: &[Reference], output: &str) -> Result<()> {
    let output = Output::parse(output).unwrap();
    let images = std::slice::from_ref(image);
    crate::write(store, FLAVOUR, &Named { images, names }, &[], None, &output).map(drop)
}

fn two_layers(store: &Store) -> Image {
    let (id, diff_id, _) = loaded_layer(store, &[("etc/base", "base")]);
    let built = built_layer(store, &[("app/main", "program")]);
    image(store, &[(id, diff_id), built], None)
}

#[test]
fn an_archive_is_a_layout() {
    let scratch = Scratch::new("oci");
    let store = scratch.store();
    let image = two_layers(&store);
    let path = scratch.file("image.tar");
    let names = [reference("host.example/app:1"), reference("app")];
    write(&store, &image, &names, &format!("type=oci,dest={}", path.display())).unwrap();

    let files = read_archive(&path);
    assert_eq!(contents(&files, "oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = Index::parse(contents(&files, "index.json")).unwrap();
    let called: Vec<_> = index
        .manifests
        .iter()
        .map(|entry| {
            let annotations = entry.annotations.as_ref().unwrap();
            (annotations[IMAGE_NAME].as_str(), annotations[REF_NAME].as_str())
        })
        .collect();
    assert_eq!(called, [("host.example/app:1", "1"), ("docker.io/library/app:latest", "latest")]);
    let manifest = Manifest::parse(blob(&files, &index.manifests[0].digest)).unwrap();
    assert_eq!(blob(&files, &manifest.config.digest), image.config_bytes);
    for layer in &manifest.layers {
        assert_eq!(layer.media_type, media_type::OCI_LAYER_GZIP);
        assert_eq!(blob(&files, &layer.digest).len() as u64, layer.size);
    }

    let again = scratch.file("again.tar");
    write(&store, &image, &names, &format!("type=oci,dest={}", again.display())).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());

    if let Some(seen) = skopeo(&format!("oci-archive:{}:1", path.display())) {
        assert_eq!(seen["Architecture"], "amd64");
        assert_eq!(seen["Labels"]["made-by"], "a test");
        assert_eq!(seen["Layers"].as_array().unwrap().len(), 2);
        assert_eq!(seen["Digest"], index.manifests[0].digest.to_string());
    }
}

#[test]
fn the_value_says_name_compression_and_words() {
    let scratch = Scratch::new("oci-keys");
    let store = scratch.store();
    let image = two_layers(&store);
    let path = scratch.file("image.tar");
    let value = format!(
        "type=oci,dest={},name=other:2,compression=uncompressed,force-compression=true,\
         oci-mediatypes=false,annotation.Made.By=me",
        path.display()
    );
    write(&store, &image, &[reference("app")], &value).unwrap();
    let files = read_archive(&path);
    let index = Index::parse(contents(&files, "index.json")).unwrap();
    assert_eq!(index.manifests.len(), 1);
    assert_eq!(index.manifests[0].annotations.as_ref().unwrap()[REF_NAME], "2");
    assert_eq!(index.manifests[0].media_type, media_type::DOCKER_MANIFEST);
    let manifest = Manifest::parse(blob(&files, &index.manifests[0].digest)).unwrap();
    assert_eq!(manifest.annotations.unwrap()["Made.By"], "me");
    assert_eq!(manifest.config.media_type, media_type::DOCKER_CONFIG);
    for (layer, diff_id) in manifest.layers.iter().zip(&image.config.rootfs.diff_ids) {
        assert_eq!(layer.digest.as_digest(), diff_id.as_digest());
        assert_eq!(layer.media_type, media_type::DOCKER_LAYER);
        blob(&files, &layer.digest);
    }
}

#[test]
fn a_manifest_that_the_image_came_with_is_kept() {
    let scratch = Scratch::new("oci-kept");
    let store = scratch.store();
    let (id, diff_id, layer) = loaded_layer(&store, &[("file", "contents")]);
    let config = Descriptor::of(media_type::OCI_CONFIG, &crate::testing::config(&[diff_id]));
    let mut manifest = Manifest::oci(config, vec![layer]);
    manifest.layers[0].media_type = media_type::OCI_LAYER_GZIP.to_owned();
    manifest.annotations = Some(BTreeMap::from([("key".to_owned(), "value".to_owned())]));
    let image = image(&store, &[(id, diff_id)], Some(&manifest));
    let path = scratch.file("image.tar");
    write(&store, &image, &[], &format!("type=oci,dest={}", path.display())).unwrap();
    let files = read_archive(&path);
    let index = Index::parse(contents(&files, "index.json")).unwrap();
    let digest = image.manifest.unwrap().digest;
    assert_eq!(index.manifests[0].digest.as_digest(), digest.as_digest());
    assert_eq!(index.manifests[0].annotations, None);
    assert_eq!(Manifest::parse(blob(&files, &index.manifests[0].digest)).unwrap(), manifest);
}

#[test]
fn a_directory_is_made_and_added_to() {
    let scratch = Scratch::new("oci-directory");
    let store = scratch.store();
    let path = scratch.file("layout");
    let value = format!("type=oci,tar=false,dest={}", path.display());
    let first = two_layers(&store);
    let second = image(&store, &[built_layer(&store, &[("second", "")])], None);
    write(&store, &first, &[reference("app:1")], &value).unwrap();
    write(&store, &second, &[reference("app:2")], &value).unwrap();
    write(&store, &second, &[reference("app:2")], &value).unwrap();
    let index = Index::parse(&fs::read(path.join("index.json")).unwrap()).unwrap();
    assert_eq!(index.manifests.len(), 2);
    for entry in &index.manifests {
        let bytes = fs::read(path.join(sink::blob_path(&entry.digest))).unwrap();
        for layer in Manifest::parse(&bytes).unwrap().layers {
            let bytes = fs::read(path.join(sink::blob_path(&layer.digest))).unwrap();
            assert_eq!(BlobDigest::new(Digest::of(&bytes)), layer.digest);
        }
    }
    let names: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for (tag, layers) in [("1", 2), ("2", 1)] {
        if let Some(seen) = skopeo(&format!("oci:{}:{tag}", path.display())) {
            assert_eq!(seen["Layers"].as_array().unwrap().len(), layers);
        }
    }

    // What is not a layout is not written into; an empty directory is.
    let other = scratch.file("other");
    fs::create_dir(&other).unwrap();
    let value = format!("type=oci,tar=false,dest={}", other.display());
    fs::write(other.join("letter"), "").unwrap();
    let refused = write(&store, &first, &[], &value);
    assert!(matches!(refused, Err(Error::ForeignDirectory { .. })), "{refused:?}");
    fs::remove_file(other.join("letter")).unwrap();
    write(&store, &first, &[], &value).unwrap();
    assert!(other.join("index.json").is_file());
}

#[test]
fn a_damaged_layer_leaves_no_archive() {
    let scratch = Scratch::new("oci-damaged");
    let store = scratch.store();
    let built = built_layer(&store, &[("file", "contents")]);
    let image = image(&store, &[built], None);
    fs::write(store.snapshot_dir(&built.0).join("file"), "damage!!").unwrap();
    for keys in ["", ",compression=uncompressed", ",tar=false,compression=uncompressed"] {
        let path = scratch.file("out");
        let written =
            write(&store, &image, &[], &format!("type=oci,dest={}{keys}", path.display()));
        assert!(matches!(written, Err(Error::Damaged { .. })), "{keys}: {written:?}");
        let left: Vec<_> =
            fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [scratch.file("store")], "{keys}");
    }
}

#[test]
fn a_blob_with_a_long_digest_has_a_long_name() {
    let scratch = Scratch::new("oci-512");
    let store = scratch.store();
    let built = built_layer(&store, &[("file", "contents")]);
    let tar = crate::testing::packed(&store, &built.0);
    let mut hasher = Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap().hasher();
    hasher.update(&tar);
    let digest = BlobDigest::new(hasher.finish());
    let mut writer = store.blob_writer_for(&digest).unwrap();
    writer.write_all(&tar).unwrap();
    writer.commit(Some(&digest), None).unwrap();
    let kept = Descriptor { digest, ..Descriptor::of(media_type::OCI_LAYER, &tar) };
    let layer = Layer {
        diff_id: built.1,
        size: tar.len() as u64,
        contents: None,
        holes: 0,
        checksum: None,
        blob: Some(kept),
        rewritten: None,
        fetch_again: false,
    };
    store.set_layer(&built.0, &layer).unwrap();
    let image = image(&store, &[built], None);
    let path = scratch.file("image.tar");
    write(&store, &image, &[], &format!("type=oci,dest={}", path.display())).unwrap();
    assert_eq!(contents(&read_archive(&path), &sink::blob_path(&digest)), tar);
}
