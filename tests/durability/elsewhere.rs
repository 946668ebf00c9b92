//! Layers that somebody else has packed, in another way than kiln does: pulled from a registry, their files are compared with what
//! their blobs unpack to.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::corruption::{HARMS, Harm, files, harm};
use crate::support::base;
use crate::support::crafted::Crafted;
use crate::support::env::TestEnv;
use crate::support::registry::Registry;
use crate::support::requires;

/// Packed by GNU tar.
fn packed(directory: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("tar").arg("-C").arg(directory).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A registry, and in it an image of three layers that GNU tar has packed and skopeo has compressed.
struct Elsewhere {
    env: TestEnv,
    _registry: Registry,
    name: String,
}

impl Elsewhere {
    fn new() -> Option<Self> {
        let env = TestEnv::empty();
        let registry = Registry::start(&env.path(""))?;
        if !requires::program("skopeo") {
            return None;
        }
        let layout = Crafted::create(env.path("layout"));
        let layers = [fs::read(base::tar()).unwrap(), second(&env), third(&env)];
        layout.list(&[layout.image(&layers, |_| {})]);
        let name = registry.at("elsewhere/app:1");
        let mut copy = Command::new("skopeo");
        copy.args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]);
        copy.arg(format!("oci:{}", layout.path().display())).arg(format!("docker://{name}"));
        assert!(copy.status().unwrap().success());
        env.ok(&["pull", &name]);
        Some(Self { env, _registry: registry, name })
    }

    /// It is whole, all of it was compared, and it runs.
    #[track_caller]
    fn assert_whole(&self, what: &str) {
        let checked = self.env.ok(&["fsck"]).text();
        assert!(
            checked.contains("3 layers") && checked.contains("nothing is wrong"),
            "{what}: {checked}"
        );
        assert!(!checked.contains("nothing to compare with"), "{what}: {checked}");
        let script =
            "cat /made/same /made/second && test ! -e /bin/seq && test ! -e /made/gone && ls /deep";
        let said = self.env.ok(&["run", "--rm", &self.name, "sh", "-c", script]).text();
        assert_eq!(said, "second\nsecond\nthird", "{what}");
    }

    /// A file of each layer.
    fn victims(&self) -> [PathBuf; 3] {
        ["bin/busybox", "made/sub/*", "deep/third"]
            .map(|file| files(&self.env.store(), &format!("*/snapshots/*/{file}")).remove(0))
    }

    /// `fsck` finds what is wrong with a file, and names the layer by its place in the image.
    #[track_caller]
    fn found(&self, number: usize, what: &str) {
        let found = self.env.kiln(["fsck"]).run().fails(1);
        let image = format!("image `{}`, layer {}", self.name, number + 1);
        assert!(found.text().contains("its files are not those of its blob"), "{what}: {found}");
        assert!(found.text().contains(&image), "{what}: {found}");
    }
}

/// With what archives of others have: names that do not fit, links, other owners, whiteouts, an entry for the root.
fn second(env: &TestEnv) -> Vec<u8> {
    let tree = env.path("second");
    fs::create_dir_all(tree.join("made/sub")).unwrap();
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::write(tree.join("made/second"), "second\n").unwrap();
    fs::write(tree.join("made/gone"), "").unwrap();
    fs::hard_link(tree.join("made/second"), tree.join("made/same")).unwrap();
    symlink("second", tree.join("made/link")).unwrap();
    fs::write(tree.join("made/sub").join("long".repeat(40)), "x").unwrap();
    fs::write(tree.join("bin/.wh.seq"), "").unwrap();
    fs::set_permissions(tree.join("made/sub"), fs::Permissions::from_mode(0o2750)).unwrap();
    packed(&tree, &["--format=gnu", "--owner=one:5", "--group=two:6", "-cf", "-", "."])
}

/// Without an entry for the root, or for a directory.
fn third(env: &TestEnv) -> Vec<u8> {
    let tree = env.path("third");
    fs::create_dir_all(tree.join("deep")).unwrap();
    fs::create_dir_all(tree.join("made")).unwrap();
    fs::write(tree.join("deep/third"), "third\n").unwrap();
    fs::write(tree.join("made/.wh.gone"), "").unwrap();
    packed(&tree, &["--format=pax", "-cf", "-", "made/.wh.gone", "deep/third"])
}

#[test]
fn a_file_is_found_and_its_layer_made_again() {
    let Some(elsewhere) = Elsewhere::new() else { return };
    elsewhere.assert_whole("pulled");
    for kind in HARMS {
        for number in 0..3 {
            let what = format!("{kind:?} in layer {}", number + 1);
            harm(&elsewhere.victims()[number], kind);
            elsewhere.found(number, &what);
            let fast = elsewhere.env.kiln(["fsck", "--fast"]).run();
            // Sizes alone do not tell another byte.
            assert_eq!(fast.status.success(), kind == Harm::Flip, "{what}: {fast}");
            let repaired = elsewhere.env.ok(&["fsck", "--repair"]).text();
            assert!(repaired.contains("from its blob"), "{what}: {repaired}");
            elsewhere.assert_whole(&what);
        }
    }
}

/// What is added, or of somebody else, is as wrong as what is missing.
#[test]
fn what_is_not_of_the_layer_is_found() {
    let Some(elsewhere) = Elsewhere::new() else { return };
    type Harming = fn(&Path);
    let harms: [(&str, Harming); 4] = [
        ("another file", |path| fs::write(path.with_extension("new"), "").unwrap()),
        ("another mode", |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o4755)).unwrap();
        }),
        ("another owner", |path| std::os::unix::fs::chown(path, Some(7), None).unwrap()),
        ("another time", |path| {
            let file = fs::File::open(path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }),
    ];
    for (what, harm) in harms {
        harm(&elsewhere.victims()[1]);
        elsewhere.found(1, what);
        elsewhere.env.ok(&["fsck", "--repair"]);
        elsewhere.assert_whole(what);
    }
}

#[test]
fn without_its_blob_it_is_pulled_again() {
    let Some(elsewhere) = Elsewhere::new() else { return };
    let env = &elsewhere.env;
    let blobs = || files(&env.store(), "*/blobs/sha256/*");
    let largest = || blobs().into_iter().max_by_key(|path| fs::metadata(path).unwrap().len());
    for kind in [Harm::Flip, Harm::Remove] {
        // The blob alone: the files are right, and nothing is there to compare them with.
        let blob = largest().unwrap();
        harm(&blob, kind);
        let found = env.kiln(["fsck"]).run().fails(1).text();
        let digest = format!("sha256:{}", blob.file_name().unwrap().to_str().unwrap());
        assert!(
            found.contains(&format!("blob `{digest}`")) && found.contains(&elsewhere.name),
            "{found}"
        );
        env.ok(&["fsck", "--repair"]);
        env.ok(&["pull", &elsewhere.name]);
        // The layer that was there before.
        env.ok(&["prune", "-f"]);
        elsewhere.assert_whole("its blob");
        // Both: the image is lost, says so, and comes again from where it was.
        harm(&largest().unwrap(), kind);
        harm(&elsewhere.victims()[0], Harm::Truncate);
        let dropped = env.ok(&["fsck", "--repair"]).text();
        assert!(!dropped.contains("nothing is wrong\n"), "{dropped}");
        env.ok(&["pull", &elsewhere.name]);
        // The layer that was there before.
        env.ok(&["prune", "-f"]);
        elsewhere.assert_whole("both");
    }
}
