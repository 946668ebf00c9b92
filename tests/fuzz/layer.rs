//! Layers into a directory: one on the other, beside a directory that must stay as it is. What comes out can be packed, and
//! unpacked again, and is the same then.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use filetree::{Budget, Error, Flavour, PackOptions, RootDir, pack, unpack_layer};

use super::scratch::Scratch;
use super::tar::mended;

/// Small, so that an input costs little; a second layer may hold as much again.
const BUDGET: Budget = Budget { entries: 64, bytes: 1 << 20, ratio: 1, depth: 24 };

/// Tries one input: how many blocks the first layer has, with a bit for mended checksums, then two layers.
pub(crate) fn check(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let bytes = if how & 1 == 0 { bytes.to_vec() } else { mended(bytes) };
    let (first, second) = bytes.split_at((usize::from(how >> 1) * 512).min(bytes.len()));
    let scratch = Scratch::new("layer");
    let victim = scratch.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("hello"), "canary\n").unwrap();
    let before = portrait(&victim);
    if let Ok(lower) = unpack(scratch.path(), "1", first, &[]) {
        drop(unpack(scratch.path(), "2", second, &[lower]));
    }
    assert_eq!(portrait(&victim), before);
    let mut names: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| !matches!(name.to_str(), Some("1" | "2" | "again" | "victim")));
    assert!(names.is_empty(), "{names:?} were made");
}

fn unpack(dir: &Path, name: &str, layer: &[u8], lowers: &[RootDir]) -> Result<RootDir, Error> {
    let (path, root) = root(dir, name);
    let unpacked = unpack_layer(&mut &layer[..], &root, &lowers, Flavour::User, &BUDGET)?;
    assert!(unpacked.bytes <= BUDGET.bytes && unpacked.entries <= BUDGET.entries);

    let tar = packed(&path);
    let (path, again) = self::root(dir, "again");
    // Hard links and directories that were implied are entries too.
    let budget = Budget { entries: 4096, bytes: 8 << 20, ratio: 1, depth: 64 };
    if let Err(error) = unpack_layer(&mut &tar[..], &again, &lowers, Flavour::User, &budget) {
        panic!("what was packed is refused: {error:?}");
    }
    assert!(packed(&path) == tar, "what was packed is something else");
    Scratch::remove(&path);
    Ok(root)
}

fn root(dir: &Path, name: &str) -> (std::path::PathBuf, RootDir) {
    let path = dir.join(name);
    fs::create_dir(&path).unwrap();
    let root = RootDir::open(&path).unwrap();
    (path, root)
}

fn packed(path: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    pack(path, Flavour::User, &PackOptions::OWN, &mut tar).unwrap();
    tar
}

/// All that there is to see of the victim.
fn portrait(dir: &Path) -> Vec<String> {
    let of = |path: &Path| {
        let stat = path.symlink_metadata().unwrap();
        let (mode, uid, nlink, mtime) = (stat.mode(), stat.uid(), stat.nlink(), stat.mtime_nsec());
        format!("{path:?} {mode:o} {uid} {nlink} {mtime} {:?}", fs::read(path).ok())
    };
    let mut lines = vec![of(dir)];
    lines.extend(fs::read_dir(dir).unwrap().map(|entry| of(&entry.unwrap().path())));
    lines.sort();
    lines
}
