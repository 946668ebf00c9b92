//! How long trees take: which files an ignore file leaves, what a COPY's files contain with and without having read them before,
//! a snapshot to a layer, that layer to gzip, and back to a snapshot.

#![allow(clippy::unwrap_used, reason = "a measurement stops at its first surprise")]

use std::{
    fs,
    io::{Cursor, Read, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use filetree::{Budget, Flavour, Owners, PackOptions, Patterns, RootDir, StatCache, Tree, Wanted};

/// How many files there are; an unoptimised binary only shows that it still runs.
const FILES: usize = if cfg!(debug_assertions) { 1000 } else { 10_000 };

fn main() {
    let _scratch = Scratch;
    divan::main();
}

/// Everything that is made on the disk, removed at the end.
struct Scratch;

impl Scratch {
    fn path(name: &str) -> PathBuf {
        let directory = format!("kiln-bench-trees-{}", std::process::id());
        std::env::temp_dir().join(directory).join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind in the temporary directory at worst.
        let _ = fs::remove_dir_all(Self::path(""));
    }
}

fn names() -> impl Iterator<Item = String> {
    (0..FILES).map(|number| format!("src/d{}/file-{number}.txt", number / 100))
}

/// A directory with these files, of some hundred bytes each.
fn context() -> &'static Path {
    static CONTEXT: OnceLock<PathBuf> = OnceLock::new();
    CONTEXT.get_or_init(|| {
        let context = Scratch::path("context");
        for name in names() {
            let path = context.join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name.repeat(20)).unwrap();
        }
        // Files as young as the look at them are read again.
        std::thread::sleep(Duration::from_millis(50));
        context
    })
}

/// The context as the engine looks at it, with what the last look remembered.
fn tree(memory: &Path) -> Tree {
    let root = RootDir::open(context()).unwrap();
    Tree { stat_cache: Some(StatCache::load(memory).unwrap()), ..Tree::new(root, Owners::Root) }
}

/// What a build does about `COPY . /`: finds the files, asks what they contain, and remembers it.
fn look(memory: &Path) -> oci::ContentDigest {
    let tree = tree(memory);
    let wanted = Wanted { sources: &[".".to_owned()], ..Wanted::default() };
    let selection = filetree::select(&tree, &wanted).unwrap();
    assert!(selection.len() > FILES);
    let digest = selection.digest(&tree, &|_| true).unwrap();
    tree.stat_cache.unwrap().save().unwrap();
    digest
}

/// A file for a memory of its own, in which everything is remembered.
fn remembered(name: &str) -> PathBuf {
    let memory = Scratch::path(name);
    context();
    look(&memory);
    memory
}

#[divan::bench(args = [1, 10, 100, 1000])]
fn ignore(bencher: Bencher<'_, '_>, patterns: usize) {
    let kinds =
        ["**/*.o", "target", "src/*/generated-NUMBER*", "!keep/NUMBER", "docs/NUMBER/**/*.md"];
    let pattern =
        |number: usize| format!("{}\n", kinds[number % 5].replace("NUMBER", &number.to_string()));
    let text: String = (0..patterns).map(pattern).collect();
    let patterns = Patterns::parse(text.as_bytes()).unwrap();
    let names: Vec<String> = names().collect();
    let bencher = bencher.counter(ItemsCount::new(names.len()));
    bencher.bench(|| names.iter().filter(|name| patterns.excludes(name)).count());
}

#[divan::bench]
fn stat_cache_nothing_known(bencher: Bencher<'_, '_>) {
    let memory = remembered("nothing-known");
    let bencher = bencher.counter(ItemsCount::new(FILES));
    bencher.with_inputs(|| fs::remove_file(&memory).unwrap()).bench_values(|()| look(&memory));
}

#[divan::bench]
fn stat_cache_nothing_changed(bencher: Bencher<'_, '_>) {
    let memory = remembered("nothing-changed");
    bencher.counter(ItemsCount::new(FILES)).bench(|| look(&memory));
}

#[divan::bench]
fn stat_cache_one_changed(bencher: Bencher<'_, '_>) {
    let memory = remembered("one-changed");
    let changed = context().join("src/d3/file-333.txt");
    let mut edits = 0;
    let edit = || {
        edits += 1;
        fs::write(&changed, format!("edit {edits}")).unwrap();
    };
    bencher
        .counter(ItemsCount::new(FILES))
        .with_inputs(edit)
        .bench_local_values(|()| look(&memory));
}

/// The context as a layer.
fn packed() -> Vec<u8> {
    let mut tar = Vec::new();
    let options = PackOptions::OWN;
    filetree::pack(context(), Flavour::User, &options, &mut tar).unwrap();
    tar
}

#[divan::bench]
fn pack(bencher: Bencher<'_, '_>) {
    let length = packed().len();
    bencher.counter(BytesCount::new(length)).bench(packed);
}

#[divan::bench]
fn unpack(bencher: Bencher<'_, '_>) {
    let tar = packed();
    let mut number = 0;
    let empty = || {
        number += 1;
        let directory = Scratch::path(&format!("unpacked-{number}"));
        fs::create_dir_all(&directory).unwrap();
        directory
    };
    let nothing: Vec<RootDir> = Vec::new();
    let bencher = bencher.counter(BytesCount::new(tar.len()));
    bencher.with_inputs(empty).bench_local_values(|directory| {
        let root = RootDir::open(&directory).unwrap();
        let mut stream = Cursor::new(&tar);
        let budget = Budget::GENEROUS;
        filetree::unpack_layer(&mut stream, &root, &nothing, Flavour::User, &budget).unwrap()
    });
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let mut writer = filetree::gzip_writer(Vec::new());
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

#[divan::bench]
fn gzip(bencher: Bencher<'_, '_>) {
    let tar = packed();
    bencher.counter(BytesCount::new(tar.len())).bench(|| compressed(&tar));
}

#[divan::bench]
fn gunzip(bencher: Bencher<'_, '_>) {
    let tar = packed();
    let gzip = compressed(&tar);
    bencher.counter(BytesCount::new(tar.len())).bench(|| {
        let mut plain = Vec::with_capacity(tar.len());
        filetree::decompress(Cursor::new(&gzip)).unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(plain.len(), tar.len());
    });
}
