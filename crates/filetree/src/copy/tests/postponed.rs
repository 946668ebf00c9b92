//! What is left for when nothing is mounted any more: it makes no difference.

use crate::{Flavour, PackOptions, pack};

use super::*;

/// Files in directories that are there, that are new, and that are new below either; with further names across them.
fn context() -> TempDir {
    let context = TempDir::new();
    context.write("d/file", "one").write("d/new/a", "a").write("d/new/deep/er/b", "b");
    context.write("d/there/c", "c").write("d/there/new/c", "cc").dir("d/new/empty");
    context.link("d/new/link", "../file").write("e/new/a", "another").write("e/new/z", "z");
    context.write("d/new/large", vec![7; 1024 * 1024]);
    let path = |name: &str| context.path().join(name);
    for (name, again) in [
        ("d/file", "d/new/file"),
        ("d/new/a", "d/there/a"),
        ("d/new/deep/er/b", "d/new/b"),
        ("d/there/c", "d/new/deep/c"),
    ] {
        std::fs::hard_link(path(name), path(again)).unwrap();
    }
    context.mode("d/new/deep", 0o500).mode("d/new/a", 0o600).mode("d/there", 0o2750);
    context
}

/// What a copy makes of a directory in which some things are already.
fn copied(context: &TempDir, sources: &[&str], placement: &Placement, within: Within) -> TempDir {
    let root = TempDir::new();
    root.write("there/there/c", "old").dir("there/other").write("x/new/old", "old");
    let old = ["there/there/c", "there/there", "there/other", "there", "x/new/old", "x/new", "x"];
    for name in old {
        let file = std::fs::File::open(root.path().join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let (tree, root_dir) = (Tree::new(context.root(), Owners::Root), root.root());
    let sources: Vec<String> = sources.iter().map(|source| (*source).to_owned()).collect();
    let selection = select(&tree, &Wanted { sources: &sources, ..Wanted::default() }).unwrap();
    let mut layout = Layout::new(&root_dir, placement);
    match within {
        Within::AtOnce => layout.copy(&tree, &selection).unwrap(),
        Within::Postponed => layout.copy_last(&tree, &selection).unwrap(),
    }
    // The same directory, opened once more.
    let unfilled = layout.finish().lay(&root.root()).unwrap();
    unfilled.open(root.root()).unwrap().fill().unwrap();
    root
}

fn layer(root: &TempDir) -> Vec<u8> {
    let mut layer = Vec::new();
    pack(root.path(), Flavour::Trusted, &PackOptions::OWN, &mut layer).unwrap();
    layer
}

#[test]
fn what_is_postponed_is_the_same_in_the_end() {
    let context = context();
    let plain = Placement {
        dest: String::new(),
        owner: None,
        mode: None,
        created: Some(Timestamp::from_seconds(1_000_000)),
        budget: Budget::GENEROUS,
    };
    for sources in [&["d"][..], &["d", "e"], &["e", "d"], &["."], &["d/file"], &["d", "d/file"]] {
        for dest in ["/x", "/there/", "/a/b/c/", "/"] {
            let dest = if sources.len() > 1 {
                format!("{}/", dest.trim_end_matches('/'))
            } else {
                dest.to_owned()
            };
            let plain = Placement { dest, ..plain.clone() };
            let mode = Some(Chmod::parse("u=rwX,g=rX,o=").unwrap());
            let owner = is_root("owners").then_some((7, 8));
            let own = Placement { created: None, mode, owner, ..plain.clone() };
            for placement in [plain, own] {
                let [now, late] = [Within::AtOnce, Within::Postponed]
                    .map(|within| copied(&context, sources, &placement, within));
                assert_eq!(now.listing(), late.listing(), "{sources:?} {placement:?}");
                // A file gives the directory that it comes into the clock's time.
                let is_timeless = placement.created.is_some() && !sources.contains(&"d/file");
                let is_same = !is_timeless || layer(&now) == layer(&late);
                assert!(is_same, "{sources:?} {placement:?}");
            }
        }
    }
}

#[test]
fn only_what_is_in_new_directories_is_postponed() {
    let (context, root) = (context(), TempDir::new());
    root.dir("x/there");
    let (tree, root_dir) = (Tree::new(context.root(), Owners::Root), root.root());
    let wanted = Wanted { sources: &["d".to_owned()], ..Wanted::default() };
    let selection = select(&tree, &wanted).unwrap();
    let placement = Placement {
        dest: "/x".to_owned(),
        owner: None,
        mode: None,
        created: None,
        budget: Budget::GENEROUS,
    };
    let mut layout = Layout::new(&root_dir, &placement);
    layout.copy_last(&tree, &selection).unwrap();
    let before = paths(&root);
    assert!(before.contains(&"x/there/c c".to_owned()), "{before:?}");
    assert!(before.contains(&"x/new".to_owned()), "{before:?}");
    assert!(!before.iter().any(|path| path.starts_with("x/new/")), "{before:?}");
    let unfilled = layout.finish().lay(&root.root()).unwrap();
    assert!(!unfilled.is_empty(), "the large file comes later still");
    assert!(paths(&root).contains(&"x/new/deep/er/b b".to_owned()));
}
