//! Contexts of very many small files: all of them arrive, and each takes little memory.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufReader, Read};
use std::thread::sleep;
use std::time::Duration;

use tar::{Archive, EntryType};

use crate::support::context::Context;
use crate::support::env::TestEnv;
use crate::support::process::{Output, processor_time};

const DOCKERFILE: &str = "FROM busybox\nCOPY src /copied/\n";

/// How many files are in a directory, and how many directories in one above.
const WIDTH: u32 = 100;

/// How many there are, and what all their paths and contents add up to, in whatever order.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    count: u32,
    hashes: u64,
}

impl Sum {
    fn add(&mut self, path: &str, content: &[u8]) {
        let mut hasher = DefaultHasher::new();
        (path, content).hash(&mut hasher);
        self.count += 1;
        self.hashes = self.hashes.wrapping_add(hasher.finish());
    }
}

/// Makes a context of so many files; returns what they add up to.
fn fill(context: &Context, count: u32) -> Sum {
    let mut sum = Sum::default();
    for directory in 0..count / WIDTH {
        let name = format!("d{}/e{}", directory / WIDTH, directory % WIDTH);
        let path = context.path().join("src").join(&name);
        fs::create_dir_all(&path).unwrap();
        for file in 0..WIDTH {
            let name = format!("{name}/file-{file}.txt");
            let content = format!("this is {name}\n");
            fs::write(context.path().join("src").join(&name), &content).unwrap();
            sum.add(&name, content.as_bytes());
        }
    }
    // Files as young as the look at them are read again.
    sleep(Duration::from_millis(50));
    sum
}

/// What of an image's files was copied.
fn copied(env: &TestEnv, context: &Context) -> Sum {
    let (tar, mut sum) = (env.path("image.tar"), Sum::default());
    env.build(context, &["--output", &format!("type=tar,dest={}", tar.display())]).has_cached(1);
    let mut archive = Archive::new(BufReader::new(File::open(&tar).unwrap()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let Some(path) = path.strip_prefix("copied/") else { continue };
        if entry.header().entry_type() == EntryType::Regular {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            sum.add(path, &content);
        }
    }
    fs::remove_file(tar).unwrap();
    sum
}

/// A build that succeeded, and what it took.
struct Built {
    output: Output,
    /// The most memory that it had, in bytes.
    memory: u64,
    time: Duration,
}

fn build(env: &TestEnv, context: &Context) -> Built {
    let began = processor_time();
    let mut running = env.building(context, &[]).spawn();
    let mut memory = 0;
    while !running.is_over() {
        memory = running.peak_memory().unwrap_or(memory);
        sleep(Duration::from_millis(2));
    }
    let output = running.wait().ok();
    Built { output, memory, time: processor_time() - began }
}

/// Builds a context of so many files for the first time, unchanged, and with an edit.
fn thrice(env: &TestEnv, count: u32) -> [Built; 3] {
    let context = env.context(DOCKERFILE);
    let mut sum = fill(&context, count);
    let first = build(env, &context);
    let unchanged = build(env, &context);
    assert_eq!(unchanged.output.cached(), 1);

    context.write("src/d0/e1/file-one-more", "more");
    sum.add("d0/e1/file-one-more", b"more");
    let edited = build(env, &context);
    assert_eq!(edited.output.cached(), 0);
    assert_eq!(copied(env, &context), sum);
    [first, unchanged, edited]
}

/// A listing with what is remembered of each file, two digests of it among that, takes 180 bytes.
#[test]
fn a_file_of_a_context_takes_little_memory() {
    const MOST: u64 = 280;
    const FEW: u32 = 2_000;
    const MANY: u32 = 25_000;
    let env = TestEnv::new();
    let (few, many) = (thrice(&env, FEW), thrice(&env, MANY));
    for (few, many) in few.iter().zip(&many) {
        let each = many.memory.saturating_sub(few.memory) / u64::from(MANY - FEW);
        let (few, many) = (few.memory / 1024, many.memory / 1024);
        eprintln!("{each} bytes for each file: {few} KiB, then {many} KiB");
        assert!(each < MOST, "{each} bytes for each file: {few} KiB, then {many} KiB");
    }
}

mod long {
    use super::*;

    #[test]
    #[ignore = "long"]
    fn a_million_files_fit_into_300_megabytes() {
        let env = TestEnv::new();
        let built = thrice(&env, 1_000_000);
        for (what, Built { memory, time, .. }) in
            ["first", "unchanged", "edited"].iter().zip(&built)
        {
            eprintln!("{what}: {} MB, {time:?} of the processors", memory / 1_000_000);
        }
        for Built { memory, .. } in &built {
            assert!(*memory < 300_000_000, "{memory} bytes");
        }
        let [first, unchanged, _] = &built;
        assert!(unchanged.time * 3 < first.time, "{:?} of {:?}", unchanged.time, first.time);
    }
}
