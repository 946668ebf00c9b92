//! Archives that are read back, by this crate's tests and by skopeo.

use filetree::RootDir;
use oci::{Manifest, Reference, media_type};
use serde_json::Value;

use super::*;
use crate::testing::{
    FLAVOUR, Scratch, blob, built_layer, contents, image, loaded_layer, packed, read_archive,
    skopeo,
};

fn reference(value: &str) -> Reference {
    Reference::parse(value).unwrap()
}

#[test]
fn images_in_one_archive_share_their_layers() {
    let scratch = Scratch::new("save");
    let store = scratch.store();
    let (id, diff_id, kept) = loaded_layer(&store, &[("etc/base", "base")]);
    let built = built_layer(&store, &[("app/main", "program")]);
    let base = image(&store, &[(id, diff_id)], None);
    let app = image(&store, &[(id, diff_id), built], None);
    let path = scratch.file("images.tar");
    let images = [
        (base, vec![reference("host.example/base")]),
        (app.clone(), vec![reference("app"), reference("app:1")]),
    ];
    crate::save(&store, FLAVOUR, &images, Some(&path)).unwrap();

    let files = read_archive(&path);
    let names: BTreeSet<_> = files.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), files.len(), "every file is in it once");
    let entries: Value = serde_json::from_slice(contents(&files, "manifest.json")).unwrap();
    assert_eq!(entries[0]["RepoTags"], serde_json::json!(["host.example/base:latest"]));
    assert_eq!(entries[1]["RepoTags"], serde_json::json!(["app:latest", "app:1"]));
    assert_eq!(contents(&files, entries[1]["Config"].as_str().unwrap()), app.config_bytes);
    let layers: Vec<_> =
        entries[1]["Layers"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    assert_eq!(layers[0], sink::blob_path(&kept.digest), "as it came");
    assert_eq!(contents(&files, layers[1]), packed(&store, &built.0), "as it was built");
    assert_eq!(entries[0]["Layers"][0], entries[1]["Layers"][0]);
    let repositories: Value = serde_json::from_slice(contents(&files, "repositories")).unwrap();
    assert!(repositories["app"]["1"].is_string());

    let index = Index::parse(contents(&files, "index.json")).unwrap();
    assert_eq!(index.manifests.len(), 3);
    let manifest = Manifest::parse(blob(&files, &index.manifests[2].digest)).unwrap();
    assert_eq!(manifest.layers[1].media_type, media_type::OCI_LAYER);

    for (name, count) in [("app:1", 2), ("host.example/base:latest", 1)] {
        if let Some(seen) = skopeo(&format!("docker-archive:{}:{name}", path.display())) {
            assert_eq!(seen["Labels"]["made-by"], "a test");
            assert_eq!(seen["Layers"].as_array().unwrap().len(), count);
        }
    }
}

#[test]
fn a_nameless_image_has_no_tags() {
    let scratch = Scratch::new("save-nameless");
    let store = scratch.store();
    let image = image(&store, &[built_layer(&store, &[("file", "")])], None);
    let path = scratch.file("image.tar");
    crate::save(&store, FLAVOUR, &[(image, Vec::new())], Some(&path)).unwrap();
    let files = read_archive(&path);
    let entries: Value = serde_json::from_slice(contents(&files, "manifest.json")).unwrap();
    assert_eq!(entries[0]["RepoTags"], Value::Null);
    assert!(files.iter().all(|(name, _)| name != "repositories"));
    if let Some(seen) = skopeo(&format!("docker-archive:{}", path.display())) {
        assert_eq!(seen["Os"], "linux");
    }
}

#[test]
fn without_a_destination_it_is_a_name_in_the_store() {
    let scratch = Scratch::new("docker-name");
    let store = scratch.store();
    let image = image(&store, &[], None);
    let output = Output::parse("type=docker,name=app:3").unwrap();
    let named = Named { image: &image, names: &[] };
    crate::write(&store, FLAVOUR, &named, None::<&RootDir>, None, &output).unwrap();
    assert_eq!(store.find("app:3").unwrap().id, image.id);
}

#[test]
fn files_of_the_image_leave_without_layers() {
    let scratch = Scratch::new("local");
    let store = scratch.store();
    let built = built_layer(&store, &[("a/file", "contents")]);
    let image = image(&store, &[built], None);
    let root = RootDir::open(&store.snapshot_dir(&built.0)).unwrap();
    let named = Named { image: &image, names: &[] };
    let write = |value: &str| {
        crate::write(&store, FLAVOUR, &named, &root, None, &Output::parse(value).unwrap())
    };
    let (directory, tar) = (scratch.file("deep/out"), scratch.file("out.tar"));
    write(directory.to_str().unwrap()).unwrap();
    assert_eq!(std::fs::read_to_string(directory.join("a/file")).unwrap(), "contents");
    std::fs::write(directory.join("own"), "").unwrap();
    write(directory.to_str().unwrap()).unwrap();
    assert!(directory.join("own").exists());
    write(&format!("type=tar,dest={}", tar.display())).unwrap();
    assert_eq!(contents(&read_archive(&tar), "a/file"), b"contents");
    let without = Output::parse("type=tar,dest=-").unwrap();
    let refused = crate::write(&store, FLAVOUR, &named, None::<&RootDir>, None, &without);
    assert!(matches!(refused, Err(Error::NoRoot { .. })), "{refused:?}");
}
