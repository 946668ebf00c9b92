//! What an inventory says, and that it says what the store says, whatever was removed.

use std::fs;

use oci::Digest;

use super::*;
use crate::{StoredManifest, testing::Scratch};

fn reference(value: &str) -> Reference {
    Reference::parse(value).unwrap()
}

/// Stores an image without layers, different for each number, that so many steps have made on a base.
fn image(store: &Store, number: usize, base: Option<ImageId>, steps: usize) -> ImageId {
    let entry = |step: usize| format!(r#"{{"created_by":"{}","empty_layer":true}}"#, step * number);
    let history: Vec<String> = (0..=steps).map(entry).collect();
    let config = format!(r#"{{"author":"{number}","history":[{}]}}"#, history.join(","));
    let ancestor =
        |history| crate::Ancestor { history, layers: 0, config: Arc::default(), id: None };
    let ancestors = (1..=steps).map(ancestor).collect();
    let ancestry = crate::Ancestry { base, ancestors };
    store.put_made_image(config.as_bytes(), &[], None, &ancestry).unwrap()
}

/// All that is asked of an inventory.
fn answers(inventory: &Inventory, ids: &[ImageId]) -> String {
    let family = inventory.family();
    let answer = |id: &ImageId| {
        let (parent, has_children) = (family.parent(id), family.has_children(id));
        let (is_whole, is_ancestor) = (family.is_whole(id), family.is_ancestor(id));
        let names = inventory.names_of(id);
        format!("{id}: {parent:?} {has_children} {is_whole} {is_ancestor} {names:?}\n")
    };
    ids.iter().map(answer).collect()
}

#[test]
fn an_inventory_stays_true_while_images_are_removed() {
    let scratch = Scratch::new("inventory");
    let store = scratch.store();
    let base = image(&store, 1, None, 0);
    let one = image(&store, 2, Some(base), 3);
    let two = image(&store, 3, Some(one), 2);
    let three = image(&store, 4, Some(base), 0);
    for (name, id) in [("base", base), ("one:1", one), ("one:2", one), ("two", two)] {
        store.tag(&reference(name), &id).unwrap();
    }
    // An ancestor that is an image by itself too.
    let first = store.image(&one).unwrap().unwrap().ancestor(0).unwrap().id;
    store.tag(&reference("first"), &first).unwrap();
    let ids = [base, one, two, three].into_iter();
    let before = [one, two].map(|id| store.image(&id).unwrap().unwrap());
    let before = before.iter().flat_map(Image::ancestor_ids);
    let ids: Vec<ImageId> = ids.chain(before).collect();
    assert_eq!(ids.len(), 9);

    let mut inventory = store.inventory().unwrap();
    inventory.untag(&reference("one:2").tagged()).unwrap();
    let check = |inventory: Inventory| {
        let expected = answers(&inventory, &ids);
        drop(inventory);
        let read_again = store.inventory().unwrap();
        assert_eq!(answers(&read_again, &ids), expected);
        read_again
    };
    inventory = check(inventory);
    assert_eq!(inventory.names_of(&one), [reference("one:1")]);
    for id in [two, three, one, first, base] {
        inventory.remove_image(&id).unwrap();
        inventory = check(inventory);
        assert!(!inventory.family().is_whole(&id));
    }
    let left = ids.iter().filter(|id| inventory.find_all(&id.to_string()).is_ok());
    assert_eq!(left.count(), 0);
}

#[test]
fn it_finds_what_the_store_finds() {
    let scratch = Scratch::new("inventory-find");
    let store = scratch.store();
    let digest = oci::ManifestDigest::new(Digest::of(b"manifest"));
    let manifest = StoredManifest { digest, media_type: oci::media_type::OCI_MANIFEST.to_owned() };
    let pulled = store.put_image(b"{}", &[], Some(&manifest)).unwrap();
    let index = oci::ManifestDigest::new(Digest::of(b"index"));
    store.add_digest(&pulled, &reference(&format!("host.example/a@{index}"))).unwrap();
    store.tag(&reference("host.example/a:1"), &pulled).unwrap();
    store.tag(&reference("host.example/b:1"), &pulled).unwrap();
    let built = image(&store, 1, None, 20);
    store.tag(&reference("app"), &built).unwrap();
    store.tag_all(&reference("both"), &[built, pulled]).unwrap();
    let before = store.image(&built).unwrap().unwrap().ancestor(7).unwrap().id;
    let hex = before.as_digest().to_hex();
    let names = [
        "app".to_owned(),
        "docker.io/library/app:latest".to_owned(),
        "app:2".to_owned(),
        "both".to_owned(),
        "nothing".to_owned(),
        String::new(),
        "sha256:".to_owned(),
        "zz".to_owned(),
        pulled.to_string(),
        before.to_string(),
        hex[..12].to_owned(),
        hex[..20].to_owned(),
        format!("sha256:{}", &hex[..13]),
        format!("{hex}0"),
        "0".repeat(64),
        format!("host.example/a@{digest}"),
        format!("host.example/b:2@{digest}"),
        format!("host.example/c@{digest}"),
        format!("host.example/a@{index}"),
        format!("host.example/b@{index}"),
    ];
    let digits = "0123456789abcdef".chars().map(|digit| digit.to_string());
    for name in names.into_iter().chain(digits) {
        let of_store = match store.find_all(&name) {
            Ok(images) => Ok(images.iter().map(|image| image.id).collect::<Vec<_>>()),
            Err(error) => Err(error.to_string()),
        };
        let found = store.inventory().unwrap().find_all(&name).map_err(|error| error.to_string());
        assert_eq!(found, of_store, "{name}");
    }
}

#[test]
fn an_ancestor_stays_that_was_made_whole() {
    let scratch = Scratch::new("inventory-whole");
    let store = scratch.store();
    let one = image(&store, 2, None, 3);
    let ancestor = store.image(&one).unwrap().unwrap().ancestor(1).unwrap();
    let mut inventory = store.inventory().unwrap();
    inventory.make_whole(&ancestor).unwrap();
    inventory.remove_image(&one).unwrap();
    assert_eq!(inventory.find_all(&ancestor.id.to_string()).unwrap(), [ancestor.id]);
    assert!(inventory.remove_image(&one).is_err());
    drop(inventory);
    // Its record says how large it is, as that of every image that is made.
    let whole = Image { contents: Some(0), ..ancestor };
    assert_eq!(store.image(&whole.id).unwrap(), Some(whole));
}

#[test]
fn a_record_is_read_once_for_all_that_is_removed() {
    let scratch = Scratch::new("inventory-once");
    let store = scratch.store();
    let ids: Vec<ImageId> = (1..40).map(|number| image(&store, number, None, 2)).collect();
    for (number, id) in ids.iter().enumerate() {
        store.tag(&reference(&format!("app:{number}")), id).unwrap();
    }
    let mut inventory = store.inventory().unwrap();
    // What is not there any more cannot be read again.
    let kept = scratch.root().join("boot-b0/records/image");
    let aside = scratch.path().join("aside");
    fs::rename(&kept, &aside).unwrap();
    fs::create_dir(&kept).unwrap();
    for (number, id) in ids.iter().enumerate() {
        let name = reference(&format!("app:{number}")).tagged();
        assert_eq!(inventory.find_all(&name.to_string()).unwrap(), [*id]);
        assert_eq!(inventory.find_all(&id.as_digest().to_hex()[..12]).unwrap(), [*id]);
        inventory.untag(&name).unwrap();
        let record = id.to_string().replace(':', "-");
        fs::rename(aside.join(&record), kept.join(&record)).unwrap();
        inventory.remove_image(id).unwrap();
    }
    drop(inventory);
    assert!(store.tags().unwrap().is_empty() && store.images().unwrap().is_empty());
}
