//! What the tests of this crate share: a store with images in it, and programs that read what was written.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use filetree::{Flavour, PackOptions};
use oci::{
    BlobDigest, Descriptor, DiffId, Digest, Manifest, ManifestDigest, Platform, json, media_type,
};
use store::{Image, Layer, SnapshotId, Store, StoredManifest};

pub(crate) const FLAVOUR: Flavour = Flavour::Trusted;

/// A directory that is removed with everything in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kiln-export-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.0.join("store")).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind in the temporary directory at worst.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Seals a layer of files, and records what it is.
pub(crate) fn built_layer(store: &Store, files: &[(&str, &str)]) -> (SnapshotId, DiffId) {
    let open = store.create_snapshot().unwrap();
    for (path, contents) in files {
        let path = open.fs().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    let id = open.seal().unwrap();
    let tar = packed(store, &id);
    let diff_id = DiffId::new(Digest::of(&tar));
    let layer = Layer {
        diff_id,
        size: tar.len() as u64,
        contents: None,
        holes: 0,
        checksum: None,
        blob: None,
        rewritten: None,
        fetch_again: false,
    };
    store.set_layer(&id, &layer).unwrap();
    (id, diff_id)
}

pub(crate) fn packed(store: &Store, id: &SnapshotId) -> Vec<u8> {
    let mut tar = Vec::new();
    let options = PackOptions::OWN;
    filetree::pack(&store.snapshot_dir(id), FLAVOUR, &options, &mut tar).unwrap();
    tar
}

/// Seals a layer that came as a blob of gzip, which no packing of ours would make again.
pub(crate) fn loaded_layer(
    store: &Store,
    files: &[(&str, &str)],
) -> (SnapshotId, DiffId, Descriptor) {
    let (id, diff_id) = built_layer(store, files);
    let tar = packed(store, &id);
    let mut gzip = filetree::gzip_writer(Vec::new());
    // Two members are one stream.
    gzip.write_all(&tar[..512]).unwrap();
    let mut bytes = gzip.finish().unwrap();
    let mut gzip = filetree::gzip_writer(Vec::new());
    gzip.write_all(&tar[512..]).unwrap();
    bytes.extend(gzip.finish().unwrap());
    store.put_blob(&bytes).unwrap();
    let blob = Descriptor::of(media_type::DOCKER_LAYER_GZIP, &bytes);
    let size = tar.len() as u64;
    store
        .set_layer(
            &id,
            &Layer {
                diff_id,
                size,
                contents: None,
                holes: 0,
                checksum: None,
                blob: Some(blob.clone()),
                rewritten: None,
                fetch_again: false,
            },
        )
        .unwrap();
    (id, diff_id, blob)
}

/// Stores an image of these layers.
pub(crate) fn image(
    store: &Store,
    layers: &[(SnapshotId, DiffId)],
    manifest: Option<&Manifest>,
) -> Image {
    let config = config(&layers.iter().map(|(_, diff_id)| *diff_id).collect::<Vec<_>>());
    let manifest = manifest.map(|manifest| {
        let bytes = json::to_bytes(manifest);
        store.put_blob(&bytes).unwrap();
        StoredManifest {
            digest: ManifestDigest::new(Digest::of(&bytes)),
            media_type: manifest.media_type.clone().unwrap(),
        }
    });
    let snapshots: Vec<_> = layers.iter().map(|(id, _)| *id).collect();
    let id = store.put_image(&config, &snapshots, manifest.as_ref()).unwrap();
    store.image(&id).unwrap().unwrap()
}

/// Stores an image of these layers for a platform.
pub(crate) fn image_for(
    store: &Store,
    platform: &Platform,
    layers: &[(SnapshotId, DiffId)],
) -> Image {
    let mut config = oci::ImageConfig::scratch(platform);
    config.rootfs.diff_ids = layers.iter().map(|(_, diff_id)| *diff_id).collect();
    let snapshots: Vec<_> = layers.iter().map(|(id, _)| *id).collect();
    let id = store.put_image(&json::to_bytes(&config), &snapshots, None).unwrap();
    store.image(&id).unwrap().unwrap()
}

pub(crate) fn config(diff_ids: &[DiffId]) -> Vec<u8> {
    let mut config = oci::ImageConfig {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        ..oci::ImageConfig::default()
    };
    config.rootfs.diff_ids = diff_ids.to_vec();
    config.config.labels.insert("made-by".to_owned(), "a test".to_owned());
    json::to_bytes(&config)
}

/// Reads an archive: names and contents, in its order.
pub(crate) fn read_archive(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.push((name, bytes));
    }
    files
}

pub(crate) fn contents<'a>(files: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    &files.iter().find(|(file, _)| file == name).unwrap_or_else(|| panic!("no {name}")).1
}

pub(crate) fn blob<'a>(files: &'a [(String, Vec<u8>)], digest: &BlobDigest) -> &'a [u8] {
    let bytes = contents(files, &crate::sink::blob_path(digest));
    assert_eq!(&BlobDigest::new(Digest::of(bytes)), digest);
    bytes
}

/// Lets `skopeo inspect` read an image; `None`, with a word on stderr, where there is no skopeo.
pub(crate) fn skopeo(name: &str) -> Option<serde_json::Value> {
    let output = match Command::new("skopeo").args(["inspect", name]).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: there is no skopeo here");
            return None;
        }
        output => output.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo inspect {name}: {errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
