//! The source tree itself: what a reviewer would otherwise have to look for.
//!
//! Everything here reads the files as text. A rule that needs more than text belongs to clippy.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::base::source;

/// The page that says which test tries which attack.
const THREATS: &str = "tests/threats.md";

/// All files below a folder of the source tree whose names end like this.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![source().join(folder)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file of the project: the binary, the crates and the tests.
fn rust_files() -> Vec<PathBuf> {
    ["src", "crates", "tests"].iter().flat_map(|folder| files(folder, ".rs")).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The path of a file as a reader names it.
fn shown(path: &Path) -> String {
    path.strip_prefix(source()).unwrap().display().to_string()
}

/// The paths of those files for which this holds; none may be.
#[track_caller]
fn none_is(
    files: impl IntoIterator<Item = PathBuf>,
    what: &str,
    wrong: impl Fn(&str, &str) -> bool,
) {
    let found: Vec<_> = files
        .into_iter()
        .filter(|path| wrong(&shown(path), &read(path)))
        .map(|path| shown(&path))
        .collect();
    assert!(found.is_empty(), "{what}: {found:#?}");
}

/// Lines of code: without comments, and without what follows the tests of a file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn every_file_says_what_is_in_it() {
    none_is(rust_files(), "no `//!` in the first line", |_, text| !text.starts_with("//! "));
}

#[test]
fn no_file_is_called_mod_or_helpers() {
    let nameless =
        ["mod.rs", "util.rs", "utils.rs", "helpers.rs", "common.rs", "misc.rs", "types.rs"];
    none_is(rust_files(), "a name that says nothing", |path, _| {
        nameless.iter().any(|name| path.ends_with(&format!("/{name}")))
    });
}

/// Modules that are compiled for tests only: their declarations stand below `#[cfg(test)]`.
fn test_modules() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in files("crates", ".rs") {
        let text = read(&path);
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            let name = pair[1].trim_start_matches("pub(crate) ").strip_prefix("mod ");
            found.extend(name.and_then(|name| name.strip_suffix(';')).map(str::to_owned));
        }
    }
    found
}

#[test]
fn only_the_binary_prints() {
    let tests = test_modules();
    none_is(files("crates", ".rs"), "prints", |path, text| {
        let macros = ["println!(", "print!(", "eprintln!(", "eprint!("];
        // Examples print what they measure.
        path.contains("/src/")
            && !path.trim_end_matches(".rs").split('/').any(|name| tests.contains(name))
            && code(text).any(|line| macros.iter().any(|name| line.contains(name)))
    });
}

#[test]
fn only_one_file_is_unsafe() {
    none_is(rust_files(), "unsafe code", |path, text| {
        let is_unsafe = |line: &str| {
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                .iter()
                .any(|word| line.contains(word))
        };
        // This file names what it looks for.
        path != "crates/sandbox/src/sys.rs" && path != "tests/tidy.rs" && code(text).any(is_unsafe)
    });
}

#[test]
fn every_crate_inherits_the_lints() {
    none_is(files("crates", "Cargo.toml"), "no `[lints] workspace = true`", |_, text| {
        !text.contains("[lints]\nworkspace = true")
    });
}

/// The packages that kiln is made with by decision; others come and go.
#[test]
fn the_chosen_packages_are_at_work() {
    let manifests = files("crates", "Cargo.toml").into_iter().chain([source().join("Cargo.toml")]);
    let manifests: Vec<_> = manifests.map(|path| read(&path)).collect();
    let chosen =
        ["nom", "tokio", "sha2", "tar", "walkdir", "ignore", "serde_json", "libc", "indicatif"];
    for package in chosen {
        let line = format!("{package}.workspace = true");
        let is_used = manifests.iter().any(|text| {
            let used = text.split("[dependencies]").nth(1).unwrap_or_default();
            let used = used.split("[dev-dependencies]").next().unwrap_or_default();
            used.lines().any(|own| own == line)
        });
        assert!(is_used, "`{package}` is used by nothing that is shipped");
    }
}

#[test]
fn every_test_file_is_in_the_list() {
    let list = read(&source().join("tests/all.rs"));
    let mut listed = BTreeSet::from(["all.rs".to_owned()]);
    let mut folder = None;
    for line in list.lines().map(str::trim) {
        let line = line.trim_start_matches("pub(crate) ");
        if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            folder = Some(name);
        } else if line == "}" {
            folder = None;
        } else if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'))
        {
            listed.insert(
                folder.map_or(format!("{name}.rs"), |folder| format!("{folder}/{name}.rs")),
            );
        }
    }
    let there: BTreeSet<_> = files("tests", ".rs")
        .iter()
        .map(|path| shown(path).trim_start_matches("tests/").to_owned())
        // Programs of another workspace.
        .filter(|name| !name.starts_with("fuzz/entries/"))
        .collect();
    assert_eq!(there, listed);
}

/// What a manifest says its crate depends on, of the crates of this project.
fn arrows_of(manifest: &str, crates: &BTreeSet<String>) -> BTreeSet<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| crates.contains(*name))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_arrow_table_is_what_the_manifests_say() {
    let manifests = files("crates", "Cargo.toml");
    let name =
        |path: &Path| path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let crates: BTreeSet<String> = manifests.iter().map(|path| name(path)).collect();
    let actual: BTreeMap<_, _> =
        manifests.iter().map(|path| (name(path), arrows_of(&read(path), &crates))).collect();

    // Rows of the form: | `store` | what it owns | `oci` |
    let map = read(&source().join("crates/README.md"));
    let mut drawn = BTreeMap::new();
    for row in map.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, first, _, last, _] = cells[..] else { continue };
        let first = first.trim_matches('`');
        if crates.contains(first) {
            let arrows = last.split(',').map(|word| word.trim().trim_matches('`').to_owned());
            drawn.insert(first.to_owned(), arrows.filter(|word| word != "–").collect());
        }
    }
    assert_eq!(drawn, actual, "crates/README.md against the manifests");
}

#[test]
fn every_instruction_has_a_case() {
    let keywords: BTreeSet<_> = files("crates/dockerfile/src/instruction", ".rs")
        .iter()
        .filter(|path| path.parent().unwrap().ends_with("instruction"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let instructions = [
        "add",
        "arg",
        "cmd",
        "copy",
        "entrypoint",
        "env",
        "expose",
        "from",
        "healthcheck",
        "label",
        "maintainer",
        "onbuild",
        "run",
        "shell",
        "stopsignal",
        "user",
        "volume",
        "workdir",
    ];
    for name in instructions {
        assert!(keywords.contains(name), "crates/dockerfile/src/instruction/{name}.rs");
        let case = source().join("testdata/build").join(name);
        assert!(case.join("Dockerfile").exists(), "{}", case.display());
        assert!(case.join("expect").exists(), "{}", case.display());
        let used = read(&case.join("Dockerfile"))
            .lines()
            .any(|line| line.to_lowercase().starts_with(name));
        assert!(used, "{} is about something else", case.display());
    }
}

#[test]
fn links_of_the_documents_resolve() {
    for document in ["README.md", "crates/README.md", "crates/STYLE.md", THREATS] {
        let path = source().join(document);
        let text = read(&path);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = link.split('#').next().unwrap();
            assert!(path.parent().unwrap().join(target).exists(), "{document} links to {link}");
        }
    }
}

#[test]
fn files_that_the_map_names_exist() {
    let map = read(&source().join("crates/README.md"));
    // Rows of "Where do I …": | I want to … | `dockerfile/src/word.rs` |
    for row in map.lines().filter(|line| line.starts_with("| ")) {
        for name in row
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| word.contains('/') && !word.contains(['<', '{', ' ', ':']))
        {
            let places = [source().join("crates").join(name), source().join(name)];
            assert!(places.iter().any(|place| place.exists()), "crates/README.md names `{name}`");
        }
    }
}

/// Words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Where a test may be that is named by its file: of a crate, of the binary, or below `tests`.
fn places_of(file: &str) -> Vec<PathBuf> {
    let path = file.replace("::", "/");
    let (first, rest) = path.split_once('/').unwrap_or((&path, ""));
    let places = match first {
        "kiln" => vec![format!("src/{rest}.rs"), format!("src/{rest}/tests.rs")],
        name if source().join("crates").join(name).exists() => {
            ["src/REST.rs", "src/REST/tests.rs", "tests/REST.rs", "tests/all/REST.rs"]
                .map(|place| format!("crates/{name}/{}", place.replace("REST", rest)))
                .to_vec()
        }
        _ => vec![format!("tests/{path}.rs")],
    };
    // Tests that were too long for one file.
    let parts = places.iter().filter_map(|place| place.strip_suffix("/tests.rs"));
    let parts = parts.map(|place| format!("{place}/tests"));
    let parts =
        parts.filter(|place| source().join(place).exists()).flat_map(|it| files(&it, ".rs"));
    let whole = places.iter().map(|place| source().join(place)).filter(|place| place.exists());
    whole.chain(parts).collect()
}

/// Whether this file has a test of this name: a function, a row in the table of a harness of its own, or a module of tests
/// that a macro makes.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let (function, module) = (format!("fn {name}("), format!("mod {name} {{"));
    let is_test = |number: usize| {
        let above = lines[..number].iter().rev().take_while(|line| line.starts_with("#["));
        above.copied().any(|line| line.ends_with("test]"))
    };
    let is_function = |line: &str| line.trim_start_matches("async ").starts_with(&function);
    lines.iter().enumerate().any(|(number, line)| is_function(line) && is_test(number))
        || text.contains(&format!("(\"{name}\", {name})"))
        || lines.contains(&module.as_str())
}

/// Names are `file::test`, and `::test` for another one of the same file.
#[test]
fn threats_are_tried_by_tests_that_exist() {
    let page = read(&source().join(THREATS));
    let mut missing = Vec::new();
    let mut rows = 0;
    for (number, line) in (1..).zip(page.lines()) {
        let mut file = "";
        for (before, test) in quoted(line).filter_map(|word| word.rsplit_once("::")) {
            file = if before.is_empty() { file } else { before };
            if !places_of(file).iter().any(|place| has_test(&read(place), test)) {
                missing.push(format!("{THREATS}:{number}: no test `{file}::{test}`"));
            }
        }
        // Rows of the form: | what is tried | what happens | `file::test` |
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let is_row = line.starts_with("| ") && !line.starts_with("| what is tried");
        if is_row {
            rows += 1;
            let is_tried = cells.len() == 5 && quoted(cells[3]).any(|word| word.contains("::"));
            if !is_tried {
                missing.push(format!(
                    "{THREATS}:{number}: a row of three cells, the last with a test"
                ));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(rows > 100, "{rows} rows are left");
}

#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let tests =
        ["run.sh", "quickstart.sh", "base.sh", "bench.sh"].map(|name| format!("tests/{name}"));
    for script in tests.into_iter().chain([".ci/run".to_owned()]) {
        let mode = fs::metadata(source().join(&script)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script}");
    }
}
