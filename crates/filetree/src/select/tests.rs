//! Which files a COPY names, with wildcards, ignore files and exclusions.

use super::*;
use crate::{RootDir, test_data::TempDir, tree::Owners};

struct Asked {
    tree: Tree,
}

impl Asked {
    fn new(context: &TempDir, ignore: &str) -> Self {
        let ignore = Some(Patterns::parse(ignore.as_bytes()).unwrap());
        Self { tree: Tree { ignore, ..Tree::new(context.root(), Owners::Root) } }
    }

    fn select(
        &self,
        sources: &[&str],
        exclude: &[&str],
        parents: bool,
    ) -> Result<Selection, Error> {
        let owned = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let (sources, exclude) = (owned(sources), owned(exclude));
        select(
            &self.tree,
            &Wanted { sources: &sources, exclude: &exclude, parents, ..Wanted::default() },
        )
    }

    /// Selects and shows: `name` for a file, `name/` and what it holds for a directory.
    #[track_caller]
    fn check(&self, sources: &[&str], expected: &[&str]) {
        assert_eq!(show(&self.select(sources, &[], false).unwrap()), expected, "{sources:?}");
    }

    #[track_caller]
    fn fails(&self, source: &str) -> Error {
        self.select(&[source], &[], false).unwrap_err()
    }
}

fn show(selection: &Selection) -> Vec<String> {
    let mut lines = Vec::new();
    for one in &selection.matches {
        let name = one.name.to_string_lossy();
        let Some(listing) = &one.listing else {
            lines.push(name.into_owned());
            continue;
        };
        lines.push(format!("{name}/"));
        let mut stack = vec![(String::new(), 0)];
        while let Some((path, dir)) = stack.pop() {
            for entry in listing.dirs[dir].entries().rev() {
                if let Some(dir) = entry.dir {
                    stack.push((format!("{path}{}/", entry.name.to_string_lossy()), dir));
                }
            }
            let entries = listing.dirs[dir].entries();
            lines.extend(entries.map(|entry| format!("  {path}{}", entry.name.to_string_lossy())));
        }
    }
    lines
}

fn context() -> TempDir {
    let context = TempDir::new();
    context
        .write("a.txt", "a")
        .write("b.md", "b")
        .write("dir/a.txt", "da")
        .write("dir/sub/c.log", "c");
    context.write("x/f.txt", "xf").write("y/f.txt", "yf").write("y/.h", "h").write("q?", "q");
    context.link("link.txt", "/a.txt").link("dlink", "dir/sub").link("lost.txt", "nowhere");
    context.link("evil", "../../../../../etc/passwd");
    context
}

#[test]
fn sources() {
    let context = context();
    let asked = Asked::new(&context, "");
    asked.check(
        &["a.txt", "/b.md", "../../a.txt", "dir/../x/./f.txt"],
        &["a.txt", "b.md", "a.txt", "f.txt"],
    );
    asked.check(&["dir"], &["dir/", "  a.txt", "  sub", "  sub/c.log"]);
    asked.check(&["dir/."], &["dir/", "  a.txt", "  sub", "  sub/c.log"]);
    asked.check(&["link.txt", "dlink"], &["link.txt", "dlink/", "  c.log"]);
    asked.check(&["dlink/c.log"], &["c.log"]);
    let link = asked.select(&["link.txt"], &[], false).unwrap();
    assert_eq!((link.bytes(), link.len()), (1, 1));
    assert_eq!(link.matches[0].path, Path::new("a.txt"));
    for missing in ["nope", "lost.txt", "evil", "a.txt/x"] {
        let error = asked.fails(missing);
        assert_eq!(error.to_string(), format!("\"/{missing}\": not found"));
        assert!(matches!(error, Error::NotFound { excluded: None, .. }));
    }
}

#[test]
fn wildcards() {
    let context = context();
    let asked = Asked::new(&context, "lost.txt");
    asked.check(&["*.txt"], &["a.txt", "link.txt"]);
    asked.check(&["*/f.txt"], &["f.txt", "f.txt"]);
    asked.check(&["[xy]"], &["x/", "  f.txt", "y/", "  .h", "  f.txt"]);
    asked.check(&["y/*"], &[".h", "f.txt"]);
    asked.check(&["**/f.txt"], &["f.txt", "f.txt"]);
    asked.check(&["*.nope", "dir/*/*/*"], &[]);
    asked.check(&["q[?]", "d*/c.log"], &["q?"]);
    assert!(asked.select(&["*.nope"], &[], false).unwrap().is_empty());
    assert!(matches!(asked.fails("[a-"), Error::Pattern(_)));
    assert!(matches!(asked.fails("nodir/*"), Error::NotFound { .. }));
    // A link that a wildcard finds must lead somewhere, as one that is named.
    let all = Asked::new(&context, "");
    assert_eq!(all.fails("lo*").to_string(), "\"/lost.txt\": not found");
}

#[test]
fn hidden_sources() {
    let context = context();
    let asked = Asked::new(&context, "# comment\n*.txt\ndir\n!dir/sub\nlink*\nevil\n");
    let error = asked.fails("a.txt");
    let Error::NotFound { path, excluded: Some(rule), .. } = &error else { panic!("{error}") };
    assert_eq!((&path[..], rule.line, &rule.pattern[..]), ("/a.txt", 2, "*.txt"));
    asked.check(&["dir"], &["dir/", "  sub", "  sub/c.log"]);
    asked.check(&["dlink"], &["dlink/", "  c.log"]);
    asked.check(
        &["*"],
        &[
            "b.md",
            "dir/",
            "  sub",
            "  sub/c.log",
            "dlink/",
            "  c.log",
            "q?",
            "x/",
            "  f.txt",
            "y/",
            "  .h",
            "  f.txt",
        ],
    );
    assert!(matches!(asked.fails("link.txt"), Error::NotFound { excluded: Some(_), .. }));
    let nothing = Asked::new(&context, "x\ny/**\n");
    assert!(matches!(nothing.fails("x"), Error::NotFound { excluded: Some(_), .. }));
    nothing.check(&["y"], &["y/"]);
    nothing.check(&["x*"], &[]);
}

#[test]
fn excludes_are_relative_to_the_source() {
    let context = context();
    let asked = Asked::new(&context, "");
    let shown =
        |sources: &[&str], exclude: &[&str]| show(&asked.select(sources, exclude, false).unwrap());
    assert_eq!(shown(&["dir"], &["sub"]), ["dir/", "  a.txt"]);
    assert_eq!(shown(&["dir"], &["dir/sub"]), ["dir/", "  a.txt", "  sub", "  sub/c.log"]);
    assert_eq!(shown(&["dir"], &["*", "!sub/c.log"]), ["dir/", "  sub", "  sub/c.log"]);
    assert_eq!(shown(&["dir"], &["**"]), ["dir/"]);
    assert_eq!(shown(&["a.txt", "*.md"], &["*.txt", "*.md"]), ["a.txt", "b.md"]);
    assert!(asked.select(&["dir"], &["["], false).is_err());
}

#[test]
fn parents() {
    let context = context();
    let asked = Asked::new(&context, "");
    let shown = |sources: &[&str]| show(&asked.select(sources, &[], true).unwrap());
    assert_eq!(shown(&["dir/sub"]), ["/", "  dir", "  dir/sub", "  dir/sub/c.log"]);
    assert_eq!(shown(&["dir/./sub"]), ["dir/", "  sub", "  sub/c.log"]);
    assert_eq!(shown(&["./dir/./sub/./c.log"]), ["dir/", "  sub", "  sub/c.log"]);
    assert_eq!(shown(&["**/*.log"]), ["/", "  dir", "  dir/sub", "  dir/sub/c.log"]);
    assert_eq!(shown(&["[xy]/./f.txt"]), ["x/", "  f.txt", "y/", "  f.txt"]);
    assert_eq!(shown(&["no*/thing"]), ["/"]);
    let missing = asked.select(&["dir/no"], &[], true).unwrap_err();
    assert_eq!(missing.to_string(), "\"/dir/no\": not found");
    assert!(asked.select(&["dir/./no"], &[], true).is_err());
}

#[test]
fn what_is_not_named_is_not_opened() {
    let context = context();
    context.dir("secret").write("secret/x", "x").mode("secret", 0);
    let asked = Asked::new(&context, "secret");
    asked.check(&["dir"], &["dir/", "  a.txt", "  sub", "  sub/c.log"]);
    // A FIFO is named by its metadata only: opening it would wait for ever.
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(context.root(), "fifo", fifo, mode, 0).unwrap();
    asked.check(&["fifo"], &["fifo"]);
    let digest = asked.select(&["fifo"], &[], false).unwrap().digest(&asked.tree, &|_| true);
    assert!(digest.is_ok());
    context.mode("secret", 0o755);
}

#[test]
fn missing_sources_are_left_out_if_they_may_be() {
    let context = context();
    let asked = Asked::new(&context, "hidden\n");
    context.write("hidden", "h");
    let select = |sources: &[&str], parents: bool| {
        let sources: Vec<String> = sources.iter().map(|text| text.to_string()).collect();
        let wanted = Wanted { sources: &sources, parents, if_exists: true, ..Wanted::default() };
        super::select(&asked.tree, &wanted)
    };
    for (sources, expected) in [
        (&["a.txt", "none", "b.md"][..], &["a.txt", "b.md"][..]),
        (&["none"], &[]),
        (&["none/*.txt"], &[]),
        (&["a.txt/below"], &[]),
        (&["hidden"], &[]),
        // A link that leads nowhere.
        (&["lost.txt"], &[]),
    ] {
        assert_eq!(show(&select(sources, false).unwrap()), expected, "{sources:?}");
    }
    assert!(select(&["none/./x", "none"], true).unwrap().is_empty());
    assert!(matches!(select(&["[", "none"], false), Err(Error::Pattern(_))));
    // What appears changes the digest.
    let digest = |sources| select(sources, false).unwrap().digest(&asked.tree, &|_| true).unwrap();
    let before = digest(&["a.txt", "none"]);
    assert_eq!(before, digest(&["a.txt", "other"]));
    context.write("none", "");
    assert_ne!(before, digest(&["a.txt", "none"]));
}

#[test]
fn names_that_are_not_text() {
    use std::os::unix::ffi::OsStringExt;
    let context = TempDir::new();
    let name = OsString::from_vec(b"a\xff\n*".to_vec());
    std::fs::write(context.path().join(&name), "x").unwrap();
    let asked = Asked::new(&context, "b*");
    let selection = asked.select(&["a*"], &[], false).unwrap();
    assert_eq!(selection.matches[0].name, name);
    assert_eq!(asked.select(&["."], &[], false).unwrap().len(), 2);
}

#[test]
fn large_trees_are_complete() {
    let context = TempDir::new();
    for dir in 0..60 {
        for file in 0..20 {
            context.write(&format!("d{dir}/s/f{file}"), "x");
        }
    }
    let tree = Tree::new(RootDir::open(context.path()).unwrap(), Owners::Root);
    let sources = [".".to_owned()];
    let wanted = Wanted { sources: &sources, ..Wanted::default() };
    let one = select(&tree, &wanted).unwrap();
    assert_eq!((one.len(), one.bytes()), (1 + 60 * 2 + 60 * 20, 60 * 20));
    let other = select(&tree, &wanted).unwrap();
    assert_eq!(one.digest(&tree, &|_| true).unwrap(), other.digest(&tree, &|_| true).unwrap());
}

#[test]
fn a_file_that_no_layer_may_hold_is_named() {
    let dir = TempDir::new();
    dir.write("a", [1; 600]).write("d/e/f", [1; 700]).write("d/g", [1; 10]);
    let asked = Asked::new(&dir, "");
    let refused = |sources: &[&str], allowed| {
        let refused =
            asked.select(sources, &[], false).unwrap().refuse_larger(&asked.tree, allowed);
        refused.err().map(|error| match error {
            Error::LayerSize { path, size, .. } => (path.to_str().unwrap().to_owned(), size),
            error => panic!("{error:?}"),
        })
    };
    for (sources, allowed, expected) in [
        (&["."][..], 700, None),
        (&["."], 699, Some(("/d/e/f", 700))),
        (&["d/e"], 699, Some(("/d/e/f", 700))),
        (&["a"], 600, None),
        (&["d/g", "a"], 599, Some(("/a", 600))),
    ] {
        let expected = expected.map(|(path, size)| (path.to_owned(), size));
        assert_eq!(refused(sources, allowed), expected, "{sources:?} {allowed}");
    }
    // One that is to be extracted is no file of the layer; one that only could be is, and so is one in a directory.
    let mut archive = Vec::new();
    crate::pack_tree(&dir.root(), None, &mut archive).unwrap();
    dir.write("archive", &archive).write("d/archive", &archive);
    let asked = Asked::new(&dir, "");
    let added = |source: &str| {
        let sources = [source.to_owned()];
        let wanted = Wanted { sources: &sources, archives: true, ..Wanted::default() };
        select(&asked.tree, &wanted).unwrap().refuse_larger(&asked.tree, 100)
    };
    added("archive").unwrap();
    for source in ["a", "d"] {
        assert!(matches!(added(source), Err(Error::LayerSize { .. })), "{source}");
    }
}
