//! Archives that are read back, by this crate's tests and by skopeo.

use filetree::RootDir;
use oci::{Manifest, Reference, media_type};
use serde_json::Value;
use store::Image;

use super::*;
use crate::testing::{
    FLAVOUR, Scratch, blob, built_layer, contents, image, image_for, loaded_layer, packed,
    read_archive, skopeo,
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
        (vec![base], vec![reference("host.example/base")]),
        (vec![app.clone()], vec![reference("app"), reference("app:1")]),
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
    crate::save(&store, FLAVOUR, &[(vec![image], Vec::new())], Some(&path)).unwrap();
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
    let named = Named { images: std::slice::from_ref(&image), names: &[] };
    crate::write(&store, FLAVOUR, &named, &[], None, &output).unwrap();
    assert_eq!(store.find("app:3").unwrap().id, image.id);
}

#[test]
fn files_of_the_image_leave_without_layers() {
    let scratch = Scratch::new("local");
    let store = scratch.store();
    let built = built_layer(&store, &[("a/file", "contents")]);
    let image = image(&store, &[built], None);
    let root = RootDir::open(&store.snapshot_dir(&built.0)).unwrap();
    let named = Named { images: std::slice::from_ref(&image), names: &[] };
    let write = |value: &str| {
        crate::write(&store, FLAVOUR, &named, &[&root], None, &Output::parse(value).unwrap())
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
    let refused = crate::write(&store, FLAVOUR, &named, &[], None, &without);
    assert!(matches!(refused, Err(Error::NoRoot { .. })), "{refused:?}");
}

#[test]
fn several_platforms_are_an_index_and_this_machine_is_in_front() {
    let scratch = Scratch::new("save-platforms");
    let store = scratch.store();
    let layer = built_layer(&store, &[("file", "shared")]);
    let (host, other) = (Platform::host(), Platform::parse("linux/s390x").unwrap());
    let [foreign, own] = [&other, &host].map(|platform| image_for(&store, platform, &[layer]));
    let path = scratch.file("image.tar");
    let images = vec![foreign.clone(), own.clone()];
    let saved = || {
        let named = [(images.clone(), vec![reference("app")])];
        crate::save(&store, FLAVOUR, &named, Some(&path)).unwrap();
        std::fs::read(&path).unwrap()
    };
    assert_eq!(saved(), saved());
    let files = read_archive(&path);
    let entries: Value = serde_json::from_slice(contents(&files, "manifest.json")).unwrap();
    assert_eq!(entries.as_array().unwrap().len(), 1, "a name has one image there");
    assert_eq!(contents(&files, entries[0]["Config"].as_str().unwrap()), own.config_bytes);

    let layout = Index::parse(contents(&files, "index.json")).unwrap();
    let [entry] = &layout.manifests[..] else { panic!("{layout:?}") };
    assert_eq!(entry.media_type, media_type::OCI_INDEX);
    assert_eq!(entry.annotations.as_ref().unwrap()["org.opencontainers.image.ref.name"], "latest");
    let index = Index::parse(blob(&files, &entry.digest)).unwrap();
    let platforms: Vec<_> = index.manifests.iter().map(|m| m.platform.clone().unwrap()).collect();
    assert_eq!(platforms, [other, host]);
    for (manifest, image) in index.manifests.iter().zip([&foreign, &own]) {
        let manifest = Manifest::parse(blob(&files, &manifest.digest)).unwrap();
        assert_eq!(blob(&files, &manifest.config.digest), image.config_bytes);
    }
    let names: BTreeSet<_> = files.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), files.len(), "the layer of both is there once");
}

#[test]
fn files_for_several_platforms_have_a_directory_each() {
    let scratch = Scratch::new("split");
    let store = scratch.store();
    let layer = built_layer(&store, &[("file", "contents")]);
    let images = ["linux/s390x", "linux/arm/v7"]
        .map(|p| image_for(&store, &Platform::parse(p).unwrap(), &[layer]));
    let root = RootDir::open(&store.snapshot_dir(&layer.0)).unwrap();
    let write = |images: &[Image], value: &str| {
        let (named, output) = (Named { images, names: &[] }, Output::parse(value).unwrap());
        crate::write(&store, FLAVOUR, &named, &vec![&root; images.len()], None, &output)
    };
    let (directory, tar) = (scratch.file("out"), scratch.file("out.tar"));
    write(&images, directory.to_str().unwrap()).unwrap();
    write(&images, &format!("type=tar,dest={}", tar.display())).unwrap();
    for file in ["linux_s390x/file", "linux_arm_v7/file"] {
        assert_eq!(std::fs::read_to_string(directory.join(file)).unwrap(), "contents");
        assert_eq!(contents(&read_archive(&tar), file), b"contents");
    }
    let one = scratch.file("one");
    write(&images[..1], &format!("type=local,dest={},platform-split=1", one.display())).unwrap();
    assert!(one.join("linux_s390x/file").exists());

    for merged in ["type=local,dest=x,platform-split=false", "type=docker,dest=x", "type=docker"] {
        let output = Output::parse(merged).unwrap();
        assert!(output.check_platforms(2).is_err(), "{merged}");
        output.check_platforms(1).unwrap();
    }
    let twice = [images[0].clone(), images[0].clone()];
    let refused = write(&twice, scratch.file("twice").to_str().unwrap());
    assert!(matches!(refused, Err(Error::SamePlatform { .. })), "{refused:?}");
}
