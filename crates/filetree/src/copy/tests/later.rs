//! Large files: laid out empty, filled afterwards, and packed meanwhile.

use crate::{Flavour, PackOptions, pack, pack_filling};

use super::*;

const SIZE: usize = 5 * 1024 * 1024 + 77;

/// Bytes that are nowhere twice.
fn bytes(seed: u8) -> Vec<u8> {
    (0..SIZE).map(|at| (at as u8) ^ (at >> 8) as u8 ^ (at >> 16) as u8 ^ seed).collect()
}

fn select_all(tree: &Tree, sources: &[&str]) -> Selection {
    let sources: Vec<String> = sources.iter().map(|source| (*source).to_owned()).collect();
    select(tree, &Wanted { sources: &sources, ..Wanted::default() }).unwrap()
}

fn placed(dest: &str) -> Placement {
    Placement {
        dest: dest.to_owned(),
        owner: None,
        mode: None,
        created: None,
        budget: Budget::GENEROUS,
    }
}

fn layer(root: &TempDir) -> Vec<u8> {
    let mut layer = Vec::new();
    let options = PackOptions::OWN;
    pack(root.path(), Flavour::Trusted, &options, &mut layer).unwrap();
    layer
}

#[test]
fn a_layer_that_is_packed_meanwhile_is_the_layer() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("d/a/large", bytes(1)).write("d/a.b", bytes(2));
    context.write("d/other/large", bytes(3)).write("d/small", "s");
    std::fs::hard_link(context.path().join("d/a.b"), context.path().join("d/z")).unwrap();
    let tree = Tree::new(context.root(), Owners::Root);
    let (root_dir, placement) = (root.root(), placed("/x/"));
    let mut layout = Layout::new(&root_dir, &placement);
    let selection = select_all(&tree, &["d"]);
    layout.copy(&tree, &selection).unwrap();
    let unfilled = layout.finish().lay(&root_dir).unwrap();
    assert_eq!(std::fs::metadata(root.path().join("x/a.b")).unwrap().len(), 0);

    let filling = unfilled.open(root.root()).unwrap();
    let early = std::thread::scope(|scope| {
        let early = scope.spawn(|| {
            let mut layer = Vec::new();
            let options = PackOptions::OWN;
            let size = pack_filling(&filling, Flavour::Trusted, &options, &mut layer).unwrap();
            (layer, size)
        });
        // It waits for what is not there yet.
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!early.is_finished());
        filling.fill().unwrap();
        early.join().unwrap()
    });
    assert!(early.0 == layer(&root), "another layer");
    assert_eq!(early.1, crate::tree_size(root.path()).unwrap());
    assert!(std::fs::read(root.path().join("x/z")).unwrap() == bytes(2));
    let time = |dir: &TempDir, path: &str| {
        std::fs::metadata(dir.path().join(path)).unwrap().modified().unwrap()
    };
    assert_eq!(time(&root, "x/other/large"), time(&context, "d/other/large"));
}

#[test]
fn what_changes_meanwhile_is_an_error_for_both() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("large", bytes(1));
    let tree = Tree::new(context.root(), Owners::Root);
    let (root_dir, placement) = (root.root(), placed("/"));
    let mut layout = Layout::new(&root_dir, &placement);
    let selection = select_all(&tree, &["large"]);
    layout.copy(&tree, &selection).unwrap();
    let filling = layout.finish().lay(&root_dir).unwrap().open(root.root()).unwrap();
    context.write("large", bytes(2));
    std::thread::scope(|scope| {
        let early = scope.spawn(|| {
            let options = PackOptions::OWN;
            pack_filling(&filling, Flavour::Trusted, &options, &mut Vec::new())
        });
        let error = filling.fill().unwrap_err().to_string();
        assert_eq!(error, "`/large` changed while it was read");
        assert!(matches!(early.join().unwrap(), Err(Error::Changed { .. })));
    });
}

#[test]
fn a_file_that_is_replaced_is_not_filled() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("a/one", bytes(1)).write("a/two", bytes(2)).write("b/one", "small");
    let tree = Tree::new(context.root(), Owners::Root);
    let (root_dir, placement) = (root.root(), placed("/"));
    let mut layout = Layout::new(&root_dir, &placement);
    let selection = select_all(&tree, &["a", "b"]);
    layout.copy(&tree, &selection).unwrap();
    layout.write_file("two", b"a document").unwrap();
    assert!(layout.finish().lay(&root_dir).unwrap().is_empty());
    let read = |name| std::fs::read_to_string(root.path().join(name)).unwrap();
    assert_eq!((read("one"), read("two")), ("small".to_owned(), "a document".to_owned()));
}

#[test]
fn holes_of_a_large_file_stay_holes() {
    let (context, root) = (TempDir::new(), TempDir::new());
    let sparse = std::fs::File::create(context.path().join("sparse")).unwrap();
    sparse.set_len(64 * 1024 * 1024).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"x", 32 * 1024 * 1024).unwrap();
    Copy::from(&context, &root).run("sparse /").unwrap();
    let copy = std::fs::metadata(root.path().join("sparse")).unwrap();
    assert_eq!(copy.len(), 64 * 1024 * 1024);
    assert!(copy.blocks() < 4096, "{} blocks", copy.blocks());
}
