//! Whole trees as archives, as they are seen: merged, without whiteouts; several of them, one that somebody writes to, or one
//! thing of a tree.

use std::{io::Write, os::fd::AsFd, path::Path};

use rustix::{fs::FileType, io::Errno};

use super::{PackOptions, Packer, Times, walk::open_dir};
use crate::{Error, RootDir, root::Timestamp};

/// Writes a whole tree, as it is seen through overlay, as an archive; names that look like whiteouts are ordinary names.
/// With a `time`, all entries have it.
///
/// # Errors
/// [`Error::Changed`] when somebody writes into the tree. What was written by then is no archive.
pub fn pack_tree(
    root: &RootDir,
    time: Option<Timestamp>,
    out: &mut impl Write,
) -> Result<(), Error> {
    pack_trees(&[("", root)], time, out)
}

/// Writes several trees as one archive, each below a directory of this name, which looks like its root; below none if the
/// name is empty.
///
/// # Errors
/// Those of [`pack_tree`].
pub fn pack_trees(
    trees: &[(&str, &RootDir)],
    time: Option<Timestamp>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let times = time.map_or(Times::Own, Times::All);
    let mut packer = Packer::new(out, None, &PackOptions { times, ..PackOptions::OWN });
    for (name, root) in trees {
        // Files of two trees are not the same file.
        packer.links.clear();
        packer.put_tree(name.as_bytes(), root.as_fd())?;
    }
    packer.finish().map(|_| ())
}

/// Writes a whole tree that somebody writes to, as an archive. What changes meanwhile is in it as it was at some moment: a
/// file has the length that it had when its turn came, cut off or filled up with zeros, and what is gone by then is left out.
///
/// # Errors
/// Those of [`pack_tree`] but for [`Error::Changed`].
pub fn pack_living_tree(root: &RootDir, out: &mut impl Write) -> Result<(), Error> {
    let mut packer = Packer::new(out, None, &PackOptions::OWN);
    packer.out.living = true;
    packer.put_tree(b"", root.as_fd())?;
    packer.finish().map(|_| ())
}

/// One thing of a tree, with all that is in it.
#[derive(Debug, Clone, Copy)]
pub struct Pack<'a> {
    /// Where it is in the tree.
    pub path: &'a Path,
    /// What it is called in the archive; empty for a directory whose entries are meant, and not itself.
    pub name: &'a [u8],
    /// Whether a link stands for what it leads to.
    pub follow: bool,
    /// Whether somebody may write to the tree meanwhile: see [`pack_living_tree`].
    pub living: bool,
}

/// Writes one thing of a tree as an archive. A tree that is mounted in it is part of it.
///
/// # Errors
/// Those of [`pack_tree`]; [`Error::Io`] if there is nothing at the path.
pub fn pack_one(root: &RootDir, pack: &Pack<'_>, out: &mut impl Write) -> Result<(), Error> {
    let Pack { path, name, follow, living } = *pack;
    let stat = match follow {
        true => root.metadata(path),
        false => root.symlink_metadata(path),
    };
    let missing = || Error::io("open", path)(Errno::NOENT);
    let stat = stat.map_err(Error::io("open", path))?.ok_or_else(missing)?;
    let mut packer = Packer::new(out, None, &PackOptions::OWN);
    packer.out.living = living;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let directory = root.open_root(path)?;
        packer.put_tree(name, directory.as_fd())?;
    } else {
        let place = if follow { root.place(path)?.path() } else { path.to_owned() };
        let parent = root.open_parent(&place).map_err(Error::io("open", path))?;
        let (parent, file) = parent.ok_or_else(missing)?;
        let parent = open_dir(parent.as_fd(), c".").map_err(Error::io("open", path))?;
        packer.put_alone(parent, &file, name, &stat)?;
    }
    packer.finish().map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;
    use crate::{Budget, extract_beside, test_data::TempDir};

    /// What an archive of one thing of a tree becomes in an empty directory.
    fn packed(dir: &TempDir, path: &str, name: &str, follow: bool) -> Result<TempDir, Error> {
        let mut archive = Vec::new();
        let pack = Pack { path: Path::new(path), name: name.as_bytes(), follow, living: false };
        pack_one(&dir.root(), &pack, &mut archive)?;
        let to = TempDir::new();
        extract_beside(&archive[..], &to.root(), Some((0, 0)), &Budget::GENEROUS)?;
        Ok(to)
    }

    #[test]
    fn one_thing_under_another_name() {
        let dir = TempDir::new();
        dir.write("d/sub/f", "x").link("d/l", "sub/f").link("way", "d/sub");
        let read = |to: &TempDir, path: &str| fs::read_to_string(to.path().join(path)).unwrap();
        assert_eq!(read(&packed(&dir, "d/sub/f", "other", false).unwrap(), "other"), "x");
        assert_eq!(read(&packed(&dir, "way/f", "f", false).unwrap(), "f"), "x");
        assert_eq!(read(&packed(&dir, "d", "e", false).unwrap(), "e/sub/f"), "x");
        assert_eq!(read(&packed(&dir, "d", "", false).unwrap(), "sub/f"), "x");
        assert_eq!(read(&packed(&dir, "way", "w", true).unwrap(), "w/f"), "x");
        assert_eq!(read(&packed(&dir, "d/l", "m", true).unwrap(), "m"), "x");
        let link = packed(&dir, "d/l", "m", false).unwrap();
        assert_eq!(fs::read_link(link.path().join("m")).unwrap(), Path::new("sub/f"));
        assert!(matches!(packed(&dir, "none", "x", false), Err(Error::Io { .. })));
    }

    #[test]
    fn nothing_gives_way_to_another_kind() {
        let archive = |path: &str| {
            let dir = TempDir::new();
            dir.write(path, "new");
            let mut archive = Vec::new();
            pack_tree(&dir.root(), None, &mut archive).unwrap();
            archive
        };
        let to = TempDir::new();
        to.write("d/f", "old").write("file", "old").link("l", "d");
        let extract = |archive: Vec<u8>| {
            extract_beside(&archive[..], &to.root(), Some((0, 0)), &Budget::GENEROUS)
        };
        for (path, clash) in [("d", "d"), ("file/x", "file"), ("l/x", "l")] {
            let error = extract(archive(path)).unwrap_err();
            assert!(
                matches!(&error, Error::Clash { path, .. } if path == Path::new(clash)),
                "{error}"
            );
        }
        extract(archive("d/f")).unwrap();
        extract(archive("file")).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("d/f")).unwrap(), "new");
    }

    #[test]
    fn a_tree_that_somebody_writes_to() {
        let dir = TempDir::new();
        for number in 0..200 {
            dir.write(&format!("d{}/f{number}", number % 7), "x".repeat(100_000));
        }
        let path = dir.path().to_owned();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut round = 0;
                while !done.load(Ordering::Relaxed) {
                    round += 1;
                    for number in 0..200 {
                        let file = path.join(format!("d{}/f{number}", number % 7));
                        let length = (round * 7919 + number * 104_729) % 200_000;
                        drop(fs::write(&file, "y".repeat(length)));
                        if number % 5 == round % 5 {
                            drop(fs::remove_file(&file));
                        }
                    }
                    drop(fs::rename(path.join("d0"), path.join("moved")));
                    drop(fs::rename(path.join("moved"), path.join("d0")));
                }
            });
            // Also when something fails here.
            let _end = SetAtEnd(&done);
            for _ in 0..10 {
                let mut archive = Vec::new();
                pack_living_tree(&dir.root(), &mut archive).unwrap();
                // Whatever came: it is an archive to its end.
                let to = TempDir::new();
                let unpacked =
                    extract_beside(&archive[..], &to.root(), Some((0, 0)), &Budget::GENEROUS)
                        .unwrap();
                assert!(unpacked.entries > 7, "{unpacked:?}");
            }
        });
    }

    struct SetAtEnd<'a>(&'a AtomicBool);

    impl Drop for SetAtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
