//! COPY onto real directories: what lands where, with which mode, owner and time.

mod later;
mod postponed;
mod replay;

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::{
    Patterns, Wanted,
    select::select,
    test_data::{TempDir, is_root},
};

/// A COPY in a test: flags as in a Dockerfile, then sources, then the destination.
struct Copy<'a> {
    tree: Tree,
    root: &'a TempDir,
}

impl<'a> Copy<'a> {
    fn from(context: &TempDir, root: &'a TempDir) -> Self {
        let own = std::fs::read(context.path().join("Dockerfile.dockerignore"));
        let ignore = own.or_else(|_| std::fs::read(context.path().join(".dockerignore")));
        let ignore = ignore.ok().map(|file| Patterns::parse(&file).unwrap());
        let tree = Tree { ignore, ..Tree::new(context.root(), Owners::Root) };
        Self { tree, root }
    }

    fn from_stage(stage: &TempDir, root: &'a TempDir) -> Self {
        Self { tree: Tree::new(stage.root(), Owners::Keep), root }
    }

    fn run(&self, line: &str) -> Result<(), Error> {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let dest = words.pop().unwrap();
        self.run_words(words, &dest)
    }

    fn run_words(&self, words: Vec<String>, dest: &str) -> Result<(), Error> {
        let (mut exclude, mut sources) = (Vec::new(), Vec::new());
        let mut parents = false;
        let mut placement = Placement {
            dest: dest.to_owned(),
            owner: None,
            mode: None,
            created: None,
            budget: Budget::GENEROUS,
        };
        for word in words {
            match word.split_once('=') {
                Some(("--exclude", pattern)) => exclude.push(pattern.to_owned()),
                Some(("--chmod", mode)) => placement.mode = Some(Chmod::parse(mode)?),
                Some(("--chown", owner)) => {
                    placement.owner = Some(crate::resolve_owner(&self.root.root(), owner)?);
                }
                _ if word == "--parents" => parents = true,
                _ => sources.push(word),
            }
        }
        let wanted = Wanted { sources: &sources, exclude: &exclude, parents, ..Wanted::default() };
        copy(&self.tree, &select(&self.tree, &wanted)?, &self.root.root(), &placement)
    }

    #[track_caller]
    fn fails(&self, line: &str) -> String {
        self.run(line).unwrap_err().to_string()
    }
}

fn paths(root: &TempDir) -> Vec<String> {
    root.listing().iter().map(|line| line.split_once('/').unwrap().1.to_owned()).collect()
}

#[test]
fn files_and_directories() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("f", "f").write("d/a", "a").write("d/sub/b", "b").dir("d/empty");
    let copy = Copy::from(&context, &root);
    root.dir("tmp");
    for line in
        ["f /new", "f /tmp", "f /x/y/z", "f /dir/", "d /c", "d/ /e/", "d/. /tmp/.", "../f /up"]
    {
        copy.run(line).unwrap();
    }
    assert_eq!(
        paths(&root),
        [
            "c",
            "c/a a",
            "c/empty",
            "c/sub",
            "c/sub/b b",
            "dir",
            "dir/f f",
            "e",
            "e/a a",
            "e/empty",
            "e/sub",
            "e/sub/b b",
            "new f",
            "tmp",
            "tmp/a a",
            "tmp/empty",
            "tmp/f f",
            "tmp/sub",
            "tmp/sub/b b",
            "up f",
            "x",
            "x/y",
            "x/y/z f",
        ]
    );
}

#[test]
fn what_does_not_fit() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("src/x", "x").write("file", "f").write("dirs/x/y", "y");
    root.dir("d/x").write("a", "a").dir("real").link("l/x", "/real");
    let copy = Copy::from(&context, &root);
    assert_eq!(copy.fails("src /d"), "cannot replace to directory /d/x with file");
    assert_eq!(copy.fails("src /a"), "cannot copy to non-directory: /a");
    assert_eq!(copy.fails("dirs /l"), "cannot copy to non-directory: /l/x");
    assert_eq!(copy.fails("file /a/b"), "\"/a\": not a directory");
    assert_eq!(copy.fails("file /a/"), "\"/a\": not a directory");
    assert_eq!(copy.fails("nope /x"), "\"/nope\": not found");
    assert_eq!(copy.fails("file/x /x"), "\"/file/x\": not found");
}

#[test]
fn links_in_the_destination() {
    let (context, root, outside) = (TempDir::new(), TempDir::new(), TempDir::new());
    context.write("f", "f").write("d/g", "g");
    root.dir("real/sub").link("link", "/real").link("real/rel", "sub").link("flink", "/real/file");
    root.link("dangling", "/made/later").link("up", "../../../../up-there").link("loop", "loop");
    root.link("out", &outside.path().display().to_string());
    let copy = Copy::from(&context, &root);
    for line in [
        "f /link/a",
        "f /link/",
        "d /link/d",
        "d /link",
        "f /link/rel/b",
        "f /flink",
        "f /dangling/x",
    ] {
        copy.run(line).unwrap();
    }
    for path in
        ["real/a", "real/f", "real/d/g", "real/g", "real/sub/b", "real/file", "made/later/x"]
    {
        assert!(root.path().join(path).symlink_metadata().unwrap().is_file(), "{path}");
    }
    copy.run("f /up/x").unwrap();
    assert!(root.path().join("up-there/x").is_file());
    copy.run("f /out/x").unwrap();
    assert!(outside.listing().is_empty());
    assert!(copy.fails("f /loop/x").contains("too many symbolic links"));
}

#[test]
fn links_below_the_destination_are_replaced() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("src/f", "new");
    root.write("d/target", "old").link("d/f", "target");
    Copy::from(&context, &root).run("src /d").unwrap();
    assert_eq!(std::fs::read(root.path().join("d/target")).unwrap(), b"old");
    assert!(root.path().join("d/f").symlink_metadata().unwrap().is_file());
}

#[test]
fn looks() {
    if !is_root("looks") {
        return;
    }
    let (context, stage, root) = (TempDir::new(), TempDir::new(), TempDir::new());
    context.write("d/x", "x").mode("d/x", 0o4755).dir("d/closed").mode("d/closed", 0o500);
    context.write("d/w", "w").mode("d/w", 0o666).owner("d/x", 9, 10).mode("d/x", 0o4755);
    context.dir("d/sgid").mode("d/sgid", 0o2775).mode("d", 0o700);
    stage
        .write("o/f", "f")
        .owner("o/f", 7, 8)
        .mode("o/f", 0o2750)
        .link("o/l", "f")
        .owner("o/l", 3, 4);
    stage.dir("o/d").owner("o/d", 7, 8);
    root.dir("old/sgid").mode("old", 0o711).owner("old", 3, 4).owner("old/sgid", 5, 5);
    let copy = Copy::from(&context, &root);
    copy.run("d /new").unwrap();
    copy.run("d /old").unwrap();
    copy.run("--chown=1:2 --chmod=751 d /p/q").unwrap();
    copy.run("--chmod=u=rwX,go= d/w /s/w").unwrap();
    Copy::from_stage(&stage, &root).run("o /stage").unwrap();
    assert_eq!(
        root.listing(),
        [
            "d 755 0:0 /new",
            "d 500 0:0 /new/closed",
            "d 2775 0:0 /new/sgid",
            "f 666 0:0 /new/w w",
            "f 4755 0:0 /new/x x",
            "d 711 3:4 /old",
            "d 500 0:0 /old/closed",
            "d 2775 0:0 /old/sgid",
            "f 666 0:0 /old/w w",
            "f 4755 0:0 /old/x x",
            "d 751 1:2 /p",
            "d 751 1:2 /p/q",
            "d 751 1:2 /p/q/closed",
            "d 751 1:2 /p/q/sgid",
            "f 751 1:2 /p/q/w w",
            "f 751 1:2 /p/q/x x",
            "d 755 0:0 /s",
            "f 600 0:0 /s/w w",
            "d 755 0:0 /stage",
            "d 755 7:8 /stage/d",
            "f 2750 7:8 /stage/f f",
            "l 777 3:4 /stage/l -> f",
        ]
    );
}

#[test]
fn times() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("d/sub/f", "f").link("d/l", "f").write("g", "g");
    let stamp = Timestamp { seconds: 1_000_000_000, nanoseconds: 123_456_789 };
    for path in ["d/sub/f", "d/sub", "d/l", "d", "g"] {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(context.root(), path, &stamp.to_timestamps(), flags).unwrap();
    }
    let created = Timestamp { seconds: 77, nanoseconds: 1 };
    let tree = Tree::new(context.root(), Owners::Root);
    let copy_to = |source: &str, dest: &str, created| {
        let sources = [source.to_owned()];
        let wanted = Wanted { sources: &sources, ..Wanted::default() };
        let placement = Placement {
            dest: dest.into(),
            owner: None,
            mode: None,
            created,
            budget: Budget::GENEROUS,
        };
        copy(&tree, &select(&tree, &wanted).unwrap(), &root.root(), &placement).unwrap();
    };
    copy_to("d", "/new/dir", None);
    copy_to("g", "/file/g", None);
    copy_to("d", "/fixed/dir", Some(created));
    copy_to("g", "/fixed/g", Some(created));
    copy_to("g", "/file/made/", Some(created));
    let time = |path: &str| {
        let metadata = root.path().join(path).symlink_metadata().unwrap();
        (metadata.mtime(), metadata.mtime_nsec())
    };
    for path in ["new/dir/sub/f", "new/dir/sub", "new/dir/l", "file/g"] {
        assert_eq!(time(path), (1_000_000_000, 123_456_789), "{path}");
    }
    for path in ["dir", "dir/sub/f", "dir/sub", "dir/l", "g", "../file/made", "../file/made/g"] {
        assert_eq!(time(&format!("fixed/{path}")), (77, 1), "{path}");
    }
    let before = time("file");
    assert_ne!(before, (77, 1));
    // A directory that is merged into keeps its own time.
    Copy::from(&context, &root).run("d /file").unwrap();
    assert_eq!(time("file"), before);
    // Unless there is one for all.
    copy_to("d", "/file", Some(created));
    assert_eq!(time("file"), (77, 1));
}

#[test]
fn hard_links_stay_inside_one_tree() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("d/a", "same").dir("d/c").write("other/x", "y");
    for name in ["d/b", "d/c/e", "outside"] {
        std::fs::hard_link(context.path().join("d/a"), context.path().join(name)).unwrap();
    }
    root.write("d/b", "old");
    Copy::from(&context, &root).run("d outside /d").unwrap();
    let inode = |path: &str| root.path().join(path).metadata().unwrap().ino();
    assert_eq!(inode("d/a"), inode("d/b"));
    assert_eq!(inode("d/a"), inode("d/c/e"));
    assert_ne!(inode("d/a"), inode("d/outside"));
}

#[test]
fn special_files() {
    let (context, stage, root) = (TempDir::new(), TempDir::new(), TempDir::new());
    for dir in [&context, &stage] {
        dir.dir("d");
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(dir.root(), "d/fifo", fifo, mode, 0).unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("d/socket")).unwrap());
    }
    Copy::from(&context, &root).run("d /context").unwrap();
    Copy::from_stage(&stage, &root).run("d /stage").unwrap();
    let kinds: Vec<char> = root.listing().iter().map(|line| line.chars().next().unwrap()).collect();
    assert_eq!(kinds, ['d', 'p', 'f', 'd', 'p', 's'], "{:?}", root.listing());
}

#[test]
fn devices() {
    if !is_root("devices") {
        return;
    }
    let (context, root) = (TempDir::new(), TempDir::new());
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let kind = rustix::fs::FileType::CharacterDevice;
    let null = rustix::fs::makedev(1, 3);
    context.dir("d");
    if rustix::fs::mknodat(context.root(), "d/null", kind, mode, null).is_err() {
        eprintln!("skipped: devices cannot be made here");
        return;
    }
    Copy::from(&context, &root).run("d /d").unwrap();
    assert_eq!(root.listing(), ["d 755 0:0 /d".to_owned(), format!("c 644 0:0 /d/null {null}")]);
}

#[test]
fn attributes() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("d/f", "f");
    let file = std::fs::File::open(context.path().join("d/f")).unwrap();
    let carrier = crate::xattr::Carrier::Open(file.as_fd());
    if carrier.set(b"user.a", b"value").is_err() {
        eprintln!("skipped: no attributes here");
        return;
    }
    Copy::from(&context, &root).run("d /d").unwrap();
    let file = std::fs::File::open(root.path().join("d/f")).unwrap();
    let carrier = crate::xattr::Carrier::Open(file.as_fd());
    assert_eq!(carrier.value(b"user.a").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn large_files_and_holes() {
    use std::os::unix::fs::FileExt;
    let (context, root) = (TempDir::new(), TempDir::new());
    let data: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    context.write("large", &data).write("edge", &data[..data::SMALL]);
    context.write("over", &data[..data::SMALL + 1]).write("sparse", "");
    let sparse = std::fs::File::options().write(true).open(context.path().join("sparse")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    sparse.write_all_at(b"middle", 20 << 20).unwrap();
    Copy::from(&context, &root).run("* /").unwrap();
    for name in ["large", "edge", "over", "sparse"] {
        let read = |dir: &TempDir| std::fs::read(dir.path().join(name)).unwrap();
        assert!(read(&context) == read(&root), "{name} differs");
    }
    let blocks = |dir: &TempDir| dir.path().join("sparse").metadata().unwrap().blocks();
    assert!(blocks(&root) <= blocks(&context) + 64, "the holes were filled");
}

/// Between the moment in which it was looked at and the one in which it is read: an error, or what was there then.
#[test]
fn whatever_becomes_of_a_source_its_key_is_for_what_is_copied() {
    type Change = (&'static str, fn(&Path));
    let changes: [Change; 9] = [
        ("it grows", |path| std::fs::write(path, "before, and more").unwrap()),
        ("it shrinks", |path| std::fs::write(path, "b").unwrap()),
        ("it is emptied", |path| std::fs::write(path, "").unwrap()),
        ("other bytes", |path| std::fs::write(path, "BEFORE").unwrap()),
        ("another file", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::write(path, "after!").unwrap();
        }),
        ("it goes", |path| std::fs::remove_file(path).unwrap()),
        ("a directory", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
        ("a link out", |path| {
            std::fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        }),
        ("a pipe", |path| {
            std::fs::remove_file(path).unwrap();
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        }),
    ];
    for (case, change) in changes {
        let (context, root) = (TempDir::new(), TempDir::new());
        context.write("d/f", "before");
        let tree = Tree::new(context.root(), Owners::Root);
        let sources = ["d".to_owned()];
        let wanted = Wanted { sources: &sources, ..Wanted::default() };
        let selection = select(&tree, &wanted).unwrap();
        // The clock that stamps files has ticks.
        std::thread::sleep(std::time::Duration::from_millis(25));
        change(&context.path().join("d/f"));
        assert!(selection.digest(&tree, &|_| true).is_err(), "{case}: it has a key");
        let placement = Placement {
            dest: "/d".into(),
            owner: None,
            mode: None,
            created: None,
            budget: Budget::GENEROUS,
        };
        let copied = copy(&tree, &selection, &root.root(), &placement);
        assert!(copied.is_err(), "{case}: it is copied");
    }
}

#[test]
fn a_source_that_changes_is_an_error() {
    let (context, root) = (TempDir::new(), TempDir::new());
    context.write("d/f", "before").write("d/gone", "x");
    let tree = Tree::new(context.root(), Owners::Root);
    let sources = ["d".to_owned()];
    let wanted = Wanted { sources: &sources, ..Wanted::default() };
    let selection = select(&tree, &wanted).unwrap();
    context.write("d/f", "after, and longer");
    let placement = Placement {
        dest: "/d".into(),
        owner: None,
        mode: None,
        created: None,
        budget: Budget::GENEROUS,
    };
    let error = copy(&tree, &selection, &root.root(), &placement).unwrap_err();
    assert!(matches!(&error, Error::Changed { path } if path == Path::new("/d/f")), "{error}");
    assert!(matches!(selection.digest(&tree, &|_| true), Err(Error::Changed { .. })));
}

#[test]
fn heredocs() {
    let root = TempDir::new();
    let place = |dest: &str, mode: Option<&str>| Placement {
        dest: dest.to_owned(),
        owner: None,
        mode: mode.map(|mode| Chmod::parse(mode).unwrap()),
        created: Some(Timestamp { seconds: 9, nanoseconds: 0 }),
        budget: Budget::GENEROUS,
    };
    write_file(&root, &place("/a", None), "EOF", b"hello").unwrap();
    write_file(&root, &place("/dir/", None), "one.txt", b"1").unwrap();
    write_file(&root, &place("/dir", Some("0400")), "two.txt", b"2").unwrap();
    write_file(&root, &place("/a", None), "EOF", b"again").unwrap();
    let lines: Vec<String> = root.listing().iter().map(|line| line.replace(" 0:0", "")).collect();
    let expected = ["f 644 /a again", "d 755 /dir", "f 644 /dir/one.txt 1", "f 400 /dir/two.txt 2"];
    if is_root("the owners of heredocs") {
        assert_eq!(lines, expected);
    }
    assert_eq!(root.path().join("dir/one.txt").metadata().unwrap().mtime(), 9);
}

#[test]
fn deep_trees() {
    let (context, root) = (TempDir::new(), TempDir::new());
    // Deeper than a path of two letters and a slash each can be long, and than there are descriptors; no deeper, as the kernel
    // looks each name up again for every directory below it.
    const DEPTH: usize = 1500;
    let mut dir = context.root();
    for _ in 0..DEPTH {
        rustix::fs::mkdirat(&dir, "dd", rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        dir = dir.open_root(Path::new("dd")).unwrap();
    }
    let copy = Copy::from(&context, &root);
    copy.run("dd /d").unwrap();
    let mut dir = root.root().open_root(Path::new("d")).unwrap();
    for _ in 1..DEPTH {
        dir = dir.open_root(Path::new("dd")).unwrap();
    }
    assert!(dir.is_empty().unwrap());
}

/// The budget of a build that changes nothing, and of one that copies all. Run it optimised: `--ignored`.
#[test]
#[ignore = "a measurement, for an optimised build"]
fn ten_thousand_files() {
    let (context, root, cache) = (TempDir::new(), TempDir::new(), TempDir::new());
    for number in 0..10_000 {
        context.write(&format!("d/{}/f{number}", number / 100), vec![number as u8; 4096]);
    }
    context.write(".dockerignore", "**/*.log\nnode_modules\n!keep.log\n");
    std::thread::sleep(std::time::Duration::from_millis(50));
    let file = cache.path().join("cache");
    let sources = [".".to_owned()];
    let wanted = Wanted { sources: &sources, ..Wanted::default() };
    let time = |what: &str, work: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        work();
        let taken = start.elapsed();
        eprintln!("{what}: {taken:?}");
        taken.as_millis()
    };
    let tree = |root: RootDir| {
        let ignore = std::fs::read(context.path().join(".dockerignore")).unwrap();
        let ignore = Some(Patterns::parse(&ignore).unwrap());
        let stat_cache = Some(crate::StatCache::load(&file).unwrap());
        Tree { ignore, stat_cache, ..Tree::new(root, Owners::Root) }
    };
    let first = tree(context.root());
    let mut selection = None;
    time("select", &mut || selection = Some(select(&first, &wanted).unwrap()));
    let selection = selection.unwrap();
    time("digest, cold", &mut || {
        selection.digest(&first, &|_| true).unwrap();
    });
    time("save", &mut || first.stat_cache.as_ref().unwrap().save().unwrap());
    let unchanged = time("load, select and digest, warm", &mut || {
        let tree = tree(context.root());
        select(&tree, &wanted).unwrap().digest(&tree, &|_| true).unwrap();
    });
    let placement = Placement {
        dest: "/c/".into(),
        owner: None,
        mode: None,
        created: None,
        budget: Budget::GENEROUS,
    };
    let copied = time("copy", &mut || copy(&first, &selection, &root.root(), &placement).unwrap());
    assert!(unchanged <= 60, "{unchanged} ms for an unchanged context");
    assert!(copied < 500, "{copied} ms for a copy");
}

/// Replays the recorded cases whose Dockerfiles only copy from the context.
#[test]
fn recorded_results() {
    if !is_root("the replay of recorded results") {
        return;
    }
    let conformance = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let (mut count, mut failed) = (0, Vec::new());
    for (cases, expected) in [("cases", "expected"), ("cases-buildah", "expected-buildah")] {
        let Ok(dir) = std::fs::read_dir(conformance.join(cases)) else {
            eprintln!("skipped: no recorded results");
            return;
        };
        for case in dir {
            let case = case.unwrap();
            let name = case.file_name().into_string().unwrap();
            // Names that are no Unicode are beyond this parser.
            let read = |path: PathBuf| -> serde_json::Value {
                serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap_or_default()
            };
            let recorded = conformance.join(expected).join(format!("{name}.json"));
            if recorded.exists() {
                let (case, recorded) = (read(case.path().join("case.json")), read(recorded));
                let run = std::panic::catch_unwind(|| replay::run(&name, &case, &recorded));
                count += usize::from(run.as_ref().is_ok_and(|ran| *ran));
                failed.extend(run.is_err().then_some(name));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
    assert!(count > 60, "only {count} cases were replayed");
}

fn write_file(
    root: &TempDir,
    placement: &Placement,
    name: &str,
    content: &[u8],
) -> Result<(), Error> {
    Layout::new(&root.root(), placement).write_file(name, content)
}
