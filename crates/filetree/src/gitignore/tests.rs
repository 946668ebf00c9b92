//! Trees with `.gitignore` files, and what of them is found.

use super::{Depth, git_ignored};
use crate::{Patterns, test_data::TempDir};

/// A repository of its own with these files, in which some say what is ignored.
fn repository(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new();
    std::fs::create_dir(dir.path().join(".git")).unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    dir
}

fn found(dir: &std::path::Path, hidden: &str, depth: Depth) -> Vec<String> {
    let hidden = Patterns::parse(hidden.as_bytes()).unwrap();
    let found = git_ignored(dir, Some(&hidden), depth).unwrap();
    found.into_iter().map(|it| format!("{} {}", it.path, it.pattern)).collect()
}

#[test]
fn what_is_there_and_ignored_by_git_only() {
    let dir = repository(&[
        (".gitignore", "/target\n*.log\n!keep.log\nnothing\n\\\n"),
        ("target/debug/app", ""),
        ("src/main.rs", ""),
        ("src/a.log", ""),
        ("src/keep.log", ""),
        ("web/.gitignore", "node_modules/\n"),
        ("web/node_modules/x/index.js", ""),
        ("docs/target", ""),
    ]);
    let all = found(dir.path(), "", Depth::All);
    assert_eq!(all, ["src/a.log *.log", "target/ /target", "web/node_modules/ node_modules/"]);
    assert_eq!(found(dir.path(), "", Depth::Top), ["target/ /target"]);
    assert_eq!(found(dir.path(), "target\n**/node_modules\n", Depth::All), ["src/a.log *.log"]);
}

#[test]
fn rules_above_the_context_count_up_to_the_repository() {
    let dir = repository(&[
        (".gitignore", "*.tmp\n/app/out\n"),
        ("app/out/x", ""),
        ("app/a.tmp", ""),
        ("app/b", ""),
    ]);
    let app = dir.path().join("app");
    assert_eq!(found(&app, "", Depth::Top), ["a.tmp *.tmp", "out/ /app/out"]);
    std::fs::remove_dir(dir.path().join(".git")).unwrap();
    assert_eq!(found(&app, "", Depth::Top), [] as [&str; 0]);
}

#[test]
fn links_and_pipes_are_left_alone() {
    let dir = repository(&[("a/x.log", "")]);
    std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join(".gitignore"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    std::fs::write(dir.path().join("a/.gitignore"), "*.log\n").unwrap();
    assert_eq!(found(dir.path(), "", Depth::All), ["a/x.log *.log"]);
}
