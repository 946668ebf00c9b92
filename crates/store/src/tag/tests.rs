//! Names: how they are found, and how they move.

use oci::ManifestDigest;

use super::*;
use crate::{StoredManifest, testing::Scratch};

fn reference(value: &str) -> Reference {
    Reference::parse(value).unwrap()
}

/// Stores an image without layers, different for each number.
fn image(store: &Store, number: u64) -> ImageId {
    store.put_image(format!(r#"{{"author":"{number}"}}"#).as_bytes(), &[], None).unwrap()
}

#[test]
fn a_name_is_found_in_all_its_forms() {
    let scratch = Scratch::new("tag");
    let store = scratch.store();
    let (one, two) = (image(&store, 1), image(&store, 2));
    store.tag(&reference("app"), &one).unwrap();
    store.tag(&reference("host:5000/a/b:v1"), &two).unwrap();
    let hex = one.as_digest().to_hex();
    for name in [
        "app",
        "app:latest",
        "library/app",
        "docker.io/library/app:latest",
        &one.to_string(),
        &hex,
        &hex[..12],
        &format!("sha256:{}", &hex[..12]),
    ] {
        assert_eq!(store.find(name).unwrap().id, one, "{name}");
    }
    assert_eq!(store.find("host:5000/a/b:v1").unwrap().id, two);
    for name in ["app:1", "host:5000/a/b", "", "App", "sha256:", "zz", &"0".repeat(64)] {
        let found = store.find(name);
        assert!(matches!(found, Err(Error::NoSuchImage { .. })), "{name}: {found:?}");
    }
}

#[test]
fn the_beginning_of_several_ids_is_ambiguous() {
    let scratch = Scratch::new("tag-prefix");
    let store = scratch.store();
    // Seventeen images: two at least begin with the same digit.
    let ids: Vec<ImageId> = (0..17).map(|number| image(&store, number)).collect();
    let first = |id: &ImageId| id.as_digest().to_hex()[..1].to_owned();
    let shared = ids
        .iter()
        .map(first)
        .find(|digit| ids.iter().filter(|id| first(id) == *digit).count() > 1)
        .unwrap();
    match store.find(&shared) {
        Err(Error::AmbiguousId { prefix, candidates }) => {
            assert_eq!(prefix, shared);
            assert!(candidates.len() > 1);
        }
        other => panic!("{other:?}"),
    }
    // A name goes before the beginning of an id.
    store.tag(&reference(&shared), &ids[0]).unwrap();
    assert_eq!(store.find(&shared).unwrap().id, ids[0]);
}

#[test]
fn a_name_belongs_to_one_image() {
    let scratch = Scratch::new("tag-move");
    let store = scratch.store();
    let (one, two) = (image(&store, 1), image(&store, 2));
    store.tag(&reference("app"), &one).unwrap();
    store.tag(&reference("app:latest"), &two).unwrap();
    assert_eq!(store.tags().unwrap(), [(reference("app:latest"), two)]);
    store.inventory().unwrap().untag(&reference("app:latest")).unwrap();
    assert!(store.tags().unwrap().is_empty());
    let nowhere = ImageId::new(Digest::of(b"nowhere"));
    let wrong = store.tag(&reference("app"), &nowhere);
    assert!(matches!(wrong, Err(Error::NoSuchImage { .. })), "{wrong:?}");
}

#[test]
fn a_digest_counts_in_its_own_repository_only() {
    let scratch = Scratch::new("tag-digest");
    let store = scratch.store();
    let digest = ManifestDigest::new(Digest::of(b"manifest"));
    let manifest = StoredManifest { digest, media_type: oci::media_type::OCI_MANIFEST.to_owned() };
    let id = store.put_image(b"{}", &[], Some(&manifest)).unwrap();
    store.tag(&reference("host.example/a:1"), &id).unwrap();
    let pinned = |name: &str| store.find(&format!("{name}@{digest}"));
    assert_eq!(pinned("host.example/a").unwrap().id, id);
    assert_eq!(pinned("host.example/a:2").unwrap().id, id);
    assert!(matches!(pinned("host.example/b"), Err(Error::NoSuchImage { .. })));

    // The digest of an index, under which it was pulled.
    let index = ManifestDigest::new(Digest::of(b"index"));
    store.tag(&reference(&format!("host.example/a:1@{index}")), &id).unwrap();
    assert_eq!(store.find(&format!("host.example/a@{index}")).unwrap().id, id);
    assert_eq!(store.tags().unwrap().len(), 2);
}
#[test]
fn a_name_has_an_image_for_each_platform() {
    let scratch = Scratch::new("tag-platforms");
    let store = scratch.store();
    let [own, other, newer] = ["own", "other", "newer"].map(|author| {
        let host = Platform::host();
        let platform = match author {
            "own" => host,
            _ => Platform { architecture: "s390x".to_owned(), variant: None, ..host },
        };
        let text = format!(
            r#"{{"architecture":"{}","author":"{author}","os":"{}"}}"#,
            platform.architecture, platform.os
        );
        store.put_image(text.as_bytes(), &[], None).unwrap()
    });
    let ids = |name: &str| -> Vec<ImageId> {
        store.find_all(name).unwrap().iter().map(|image| image.id).collect()
    };
    let app = reference("app");
    store.tag_all(&app, &[other, own, other]).unwrap();
    assert_eq!(ids("app"), [other, own]);
    assert_eq!(ids(&own.to_string()), [own]);
    assert_eq!(store.find("app").unwrap().id, own, "this machine's goes before the first");
    let s390x = Platform::parse("linux/s390x").unwrap();
    assert_eq!(store.find_platform(&app, &s390x).unwrap().unwrap().id, other);
    let riscv = Platform::parse("linux/riscv64").unwrap();
    assert_eq!(store.find_platform(&app, &riscv).unwrap(), None);
    assert_eq!(
        store.tags().unwrap(),
        [("app:latest", other), ("app:latest", own)].map(|(n, id)| (reference(n), id))
    );

    let image = store.image(&newer).unwrap().unwrap();
    store.tag_beside(&app, &image).unwrap();
    assert_eq!(ids("app"), [newer, own], "in the place of the one for the same platform");
    store.tag_beside(&reference("fresh"), &image).unwrap();
    assert_eq!(ids("fresh"), [newer]);
    assert_eq!(store.find("fresh").unwrap().id, newer, "there is no other");

    store.inventory().unwrap().remove_image(&newer).unwrap();
    assert_eq!(ids("app"), [own], "the name stays with what is left");
    assert!(store.find("fresh").is_err());
    store.tag(&app, &other).unwrap();
    assert_eq!(ids("app"), [other], "a name given anew is of that image alone");
}
