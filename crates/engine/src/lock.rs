//! `kiln.lock`: what the names of images stood for, so that a build starts from the same bases until somebody wants newer
//! ones. It stands in the build context, beside what else a repository keeps.
//!
//! ```text
//! # What the names of images stand for, written by `kiln build --lock`; `--lock=update` writes it anew.
//! docker.io/library/busybox:latest sha256:<digest of the index, or of the manifest where there is none>
//! ```
//!
//! One line for each name, in the long form, sorted: the same for every platform, user and machine.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use oci::{ManifestDigest, Reference};

use crate::Error;

/// The name of the file.
pub const FILE: &str = "kiln.lock";

/// Bytes that no lock has: that of ten thousand images has a tenth.
const MOST: u64 = 16 << 20;

const HEAD: &str = "# What the names of images stand for, written by `kiln build --lock`; `--lock=update` writes it anew.\n";

/// What is done about names that the lock does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// They are added.
    Use,
    /// So they are, and the others are asked about again.
    Update,
    /// They are an error.
    Frozen,
}

/// What names of images stand for.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    mode: LockMode,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pins: BTreeMap<String, ManifestDigest>,
    /// The names that this build has asked a registry about.
    fresh: Vec<String>,
    changed: bool,
}

/// What the lock says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pin {
    /// It stands for this.
    To(Reference),
    /// Nothing yet; what it stands for is to be remembered.
    Open,
}

impl Lock {
    /// Reads the lock of a directory; there need not be one.
    ///
    /// # Errors
    /// [`Error::Lock`] with the line that is wrong. What is no file, is too large or is a link out of the directory is none: the
    /// directory may be somebody else's.
    pub fn open(directory: &Path, mode: LockMode) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let pins = match crate::context::of_directory(directory, FILE, MOST)? {
            Some(bytes) => {
                let text = String::from_utf8(bytes).map_err(|_| Error::Lock {
                    path: path.clone(),
                    line: 1,
                    reason: "it is no text",
                })?;
                parse(&path, &text)?
            }
            None => BTreeMap::new(),
        };
        let state = State { pins, fresh: Vec::new(), changed: false };
        Ok(Self { path, mode, state: Mutex::new(state) })
    }

    /// Returns what a name stands for. One with a digest needs nobody to say it.
    pub(crate) fn pin(&self, reference: &Reference) -> Result<Option<Pin>, Error> {
        if reference.digest().is_some() {
            return Ok(None);
        }
        let name = reference.tagged().to_string();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = self.mode == LockMode::Update && !state.fresh.contains(&name);
        match state.pins.get(&name).filter(|_| !is_old) {
            Some(digest) => Ok(Some(Pin::To(Reference::parse(&format!("{name}@{digest}"))?))),
            None if self.mode == LockMode::Frozen => {
                let name = reference.tagged().familiar();
                let reason = "add it by `--lock` instead of `--lock=frozen`";
                Err(Error::NotLocked { name, path: self.path.clone(), reason })
            }
            None => Ok(Some(Pin::Open)),
        }
    }

    /// Remembers what a name stands for now.
    pub(crate) fn set(&self, reference: &Reference, digest: ManifestDigest) {
        let name = reference.tagged().to_string();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.changed |= state.pins.insert(name.clone(), digest) != Some(digest);
        state.fresh.push(name);
    }

    /// Writes the lock, if there is anything new in it. The file is replaced as a whole.
    pub(crate) fn save(&self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.changed {
            return Ok(());
        }
        let mut text = HEAD.to_owned();
        for (name, digest) in &state.pins {
            text.push_str(&format!("{name} {digest}\n"));
        }
        let written = self.replace(&text);
        written.map_err(Error::io("write", &self.path))?;
        state.changed = false;
        Ok(())
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut temporary = self.path.clone();
        temporary.set_file_name(format!(".{FILE}.{}", std::process::id()));
        // What a killed process has left, or somebody else has put there: nothing is written through a link.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(&temporary)?;
        let written =
            file.write_all(text.as_bytes()).and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            // The error that counts is the first one.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, ManifestDigest>, Error> {
    let mut pins = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |reason| Error::Lock { path: path.to_owned(), line: index + 1, reason };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, digest) =
            line.split_once(' ').ok_or_else(|| wrong("it is not a name and a digest"))?;
        let name = Reference::parse(name).map_err(|_| wrong("its name is none of an image"))?;
        let digest = ManifestDigest::parse(digest.trim());
        let digest = digest.map_err(|_| wrong("its digest is none"))?;
        if name.digest().is_some() {
            return Err(wrong("its name has a digest already"));
        }
        if pins.insert(name.tagged().to_string(), digest).is_some() {
            return Err(wrong("its name is there twice"));
        }
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use oci::Digest;

    use super::*;

    fn digest(text: &str) -> ManifestDigest {
        ManifestDigest::new(Digest::of(text.as_bytes()))
    }

    fn reference(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    /// A directory of its own, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("kiln-lock-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn nothing_is_read_or_written_through_links() {
        use std::os::unix::fs::symlink;
        let place = Place::new("links");
        let (lock, victim) = (place.0.join(FILE), place.0.join("victim"));
        fs::write(&victim, "kept").unwrap();
        let inside = place.0.join("inside");
        fs::create_dir_all(&inside).unwrap();
        symlink(&victim, inside.join(FILE)).unwrap();
        assert!(matches!(Lock::open(&inside, LockMode::Use), Err(Error::Io { .. })));
        fs::create_dir_all(&lock).unwrap();
        assert!(Lock::open(&place.0, LockMode::Use).is_err());
        fs::remove_dir(&lock).unwrap();

        symlink(&victim, place.0.join(format!(".{FILE}.{}", std::process::id()))).unwrap();
        let new = Lock::open(&place.0, LockMode::Use).unwrap();
        new.set(&reference("busybox"), digest("one"));
        new.save().unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert!(fs::symlink_metadata(&lock).unwrap().is_file());
        // An end is not waited for.
        File::options().write(true).open(&lock).unwrap().set_len(MOST + 1).unwrap();
        assert!(Lock::open(&place.0, LockMode::Use).is_err());
    }

    #[test]
    fn what_was_written_is_read_and_sorted() {
        let place = Place::new("write");
        let lock = Lock::open(&place.0, LockMode::Use).unwrap();
        assert_eq!(lock.pin(&reference("b")).unwrap(), Some(Pin::Open));
        lock.set(&reference("b"), digest("b"));
        lock.set(&reference("host.example/a:1"), digest("a"));
        lock.save().unwrap();
        let text = fs::read_to_string(place.0.join(FILE)).unwrap();
        let expected = format!(
            "{HEAD}docker.io/library/b:latest {}\nhost.example/a:1 {}\n",
            digest("b"),
            digest("a")
        );
        assert_eq!(text, expected);

        let lock = Lock::open(&place.0, LockMode::Frozen).unwrap();
        let pinned = reference(&format!("b:latest@{}", digest("b")));
        assert_eq!(lock.pin(&reference("library/b")).unwrap(), Some(Pin::To(pinned.clone())));
        assert_eq!(lock.pin(&pinned).unwrap(), None);
        assert!(matches!(lock.pin(&reference("b:2")), Err(Error::NotLocked { .. })));
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1);
    }

    #[test]
    fn an_update_asks_about_each_name_once() {
        let place = Place::new("update");
        let lock = Lock::open(&place.0, LockMode::Use).unwrap();
        lock.set(&reference("a"), digest("old"));
        lock.save().unwrap();
        let lock = Lock::open(&place.0, LockMode::Update).unwrap();
        assert_eq!(lock.pin(&reference("a")).unwrap(), Some(Pin::Open));
        lock.set(&reference("a"), digest("new"));
        let pinned = reference(&format!("a:latest@{}", digest("new")));
        assert_eq!(lock.pin(&reference("a")).unwrap(), Some(Pin::To(pinned)));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let path = Path::new("kiln.lock");
        let right = format!("a {}\n", digest("a"));
        for (text, line) in [
            ("<<<<<<< HEAD\n".to_owned(), 1),
            (format!("# x\n\n{right}b\n"), 4),
            (format!("{right}B {}\n", digest("a")), 2),
            (format!("{right}b sha256:00\n"), 2),
            (format!("{right}a:latest {}\n", digest("b")), 2),
            (format!("a@{} {}\n", digest("a"), digest("a")), 1),
        ] {
            match parse(path, &text) {
                Err(Error::Lock { line: at, .. }) => assert_eq!(at, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
