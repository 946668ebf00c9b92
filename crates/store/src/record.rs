//! Records: small files, each of which makes something else visible.
//!
//! ```text
//! kiln-record 1 <kind> <key> sha256:<digest of the body>\n
//! <body: one JSON document>\n
//! ```
//!
//! The key is the file's name again, so that a copied or renamed file is found out. A record that does not read is
//! moved to `lost/`, where that can be written, and is absent from then on; one of a later version is absent and stays.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use oci::Digest;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Warning,
    error::{Error, Result, has_no_room, is_of_disk},
    layout::Tree,
    lock::Lock,
    open::Inner,
    tmp,
};

const VERSION: &str = "1";
const WORD: &str = "kiln-record";

/// How exactly the time of the last use is known. Finer would be a write for each record that a build looks up.
const USE_RESOLUTION: Duration = Duration::from_secs(60);

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What a snapshot is as a layer.
    Layer,
    /// A snapshot's layer, compressed.
    Packed,
    /// The snapshot of a loaded layer on top of others.
    Chain,
    /// A digest of something that does not change.
    Memo,
    /// What a step has made.
    Step,
    /// The steps of the last build of a Dockerfile.
    Trail,
    /// An image.
    Image,
    /// A name of an image.
    Tag,
    /// A container.
    Container,
}

impl Kind {
    /// All of them, each before those that point to it.
    pub(crate) const ALL: [Self; 9] = [
        Self::Layer,
        Self::Packed,
        Self::Chain,
        Self::Memo,
        Self::Step,
        Self::Trail,
        Self::Image,
        Self::Tag,
        Self::Container,
    ];

    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Packed => "packed",
            Self::Chain => "chain",
            Self::Memo => "memo",
            Self::Step => "step",
            Self::Trail => "trail",
            Self::Image => "image",
            Self::Tag => "tag",
            Self::Container => "container",
        }
    }
}

/// A record as found on disk.
#[derive(Debug)]
pub(crate) struct Found<T> {
    pub(crate) value: T,
    /// When it was written or last used.
    pub(crate) used: SystemTime,
}

impl Inner {
    /// Writes a record, replacing an older one of the same key.
    pub(crate) fn put<T: Serialize>(&self, kind: Kind, key: &str, value: &T) -> Result<()> {
        let lock = self.lock_shared()?;
        self.put_locked(&lock, kind, key, value)
    }

    /// Like [`Inner::put`], under a lock that the caller holds.
    pub(crate) fn put_locked<T: Serialize>(
        &self,
        _held: &Lock,
        kind: Kind,
        key: &str,
        value: &T,
    ) -> Result<()> {
        let path = self.layout.record(Tree::Fresh, kind, key);
        let temporary = self.process()?.new_path_beside("record-");
        let text = write(kind, key, value).map_err(|error| Error::Io {
            action: "write",
            path: path.clone(),
            source: error.into(),
        })?;
        let mut options = fs::OpenOptions::new();
        let created = options.write(true).create_new(true).mode(0o600).open(&temporary);
        created
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(Error::io("write", &temporary))?;
        tmp::publish(&temporary, &path)
    }

    /// Reads a record. One that is broken is moved aside, and an older one of the same key takes its place.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        kind: Kind,
        key: &str,
    ) -> Result<Option<Found<T>>> {
        for tree in Tree::LOOKUP {
            let path = self.layout.record(tree, kind, key);
            let Some((text, used)) = read_file(&path)? else { continue };
            match parse(kind, key, &text) {
                Ok(value) => return Ok(Some(Found { value, used })),
                Err(Broken::Version) => {}
                Err(Broken::Content(reason)) => self.set_aside(&path, reason)?,
            }
        }
        Ok(None)
    }

    /// Reads a record's value.
    pub(crate) fn get<T: DeserializeOwned>(&self, kind: Kind, key: &str) -> Result<Option<T>> {
        Ok(self.read(kind, key)?.map(|found| found.value))
    }

    /// Remembers that a record is in use: collecting begins with what has not been used for the longest time.
    pub(crate) fn touch(&self, kind: Kind, key: &str, used: SystemTime) -> Result<()> {
        let now = SystemTime::now();
        // A clock that was set back makes the difference an error: then it is written as well.
        if now.duration_since(used).is_ok_and(|age| age < USE_RESOLUTION) {
            return Ok(());
        }
        for tree in Tree::LOOKUP {
            let path = self.layout.record(tree, kind, key);
            match fs::File::open(&path).and_then(|file| file.set_modified(now)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Only the order of removal depends on it, and a store may be readable without being writable.
                Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => return Ok(()),
                Err(error) => return Err(Error::io("touch", path)(error)),
            }
        }
        Ok(())
    }

    /// Returns the keys of all records of a kind, sorted.
    pub(crate) fn keys(&self, kind: Kind) -> Result<BTreeSet<String>> {
        let mut keys = BTreeSet::new();
        for tree in Tree::LOOKUP {
            for path in tmp::directory_entries(&self.layout.records(tree, kind))? {
                let name = path.file_name().and_then(|name| name.to_str());
                keys.extend(name.map(str::to_owned));
            }
        }
        Ok(keys)
    }

    /// Removes a record; `false` if there was none. The lock keeps a sync from moving it meanwhile.
    pub(crate) fn remove(&self, _held: &Lock, kind: Kind, key: &str) -> Result<bool> {
        let mut removed = false;
        // The older one first: killed in between, the record is still what it was.
        for tree in [Tree::Kept, Tree::Fresh] {
            let path = self.layout.record(tree, kind, key);
            match fs::remove_file(&path) {
                Ok(()) => removed = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("remove", path)(error)),
            }
        }
        Ok(removed)
    }

    /// Removes the directories that the last fresh record of a kind has left empty, so that nothing seems to wait for the
    /// disk. Whoever is just writing one makes them again.
    pub(crate) fn forget_fresh(&self, kind: Kind) {
        let above = self.layout.fresh_directories();
        for directory in [self.layout.records(Tree::Fresh, kind)].iter().chain(&above) {
            // Not empty: something does wait. Only those of the records are asked.
            if !directory.ends_with("blobs") && fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }

    fn set_aside(&self, path: &Path, reason: String) -> Result<()> {
        let lost = self.layout.lost().join(tmp::unique());
        match tmp::publish(path, &lost) {
            Ok(()) => {}
            // Another process was quicker.
            Err(_) if !path.exists() => return Ok(()),
            // Where nothing can be written it stays where it is, and is as good as absent all the same.
            Err(error) if has_no_room(&error) => {}
            Err(error) => return Err(error),
        }
        self.warn(Warning::BrokenRecord { path: path.to_owned(), reason });
        Ok(())
    }
}

fn read_file(path: &Path) -> Result<Option<(Vec<u8>, SystemTime)>> {
    let mut file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::io("open", path))?,
    };
    let stat = file.metadata().map_err(Error::io("read", path))?;
    // A record never changes in place, so that it is as long as the kernel says: one call, and none to see that it ends.
    let mut text = vec![0; usize::try_from(stat.len()).unwrap_or(0)];
    file.read_exact(&mut text).map_err(Error::io("read", path))?;
    Ok(Some((text, stat.modified().map_err(Error::io("read", path))?)))
}

fn write<T: Serialize>(kind: Kind, key: &str, value: &T) -> serde_json::Result<String> {
    let body = serde_json::to_string(value)?;
    let digest = Digest::of(body.as_bytes());
    Ok(format!("{WORD} {VERSION} {} {key} {digest}\n{body}\n", kind.directory()))
}

/// Why a record is as good as absent.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Written by another version of kiln, which may want it back.
    Version,
    /// Not what was written.
    Content(String),
}

/// Reads the record in a file, `None` if there is no file. Nothing is moved aside.
///
/// # Errors
/// It may be right, and cannot be read just now: for want of memory or of descriptors, or of the permission.
pub(crate) fn read_strictly<T: DeserializeOwned>(
    kind: Kind,
    key: &str,
    path: &Path,
) -> Result<std::result::Result<Option<T>, Broken>> {
    match read_file(path) {
        Ok(None) => Ok(Ok(None)),
        Ok(Some((text, _))) => Ok(parse(kind, key, &text).map(Some)),
        Err(Error::Io { source, .. })
            if is_of_disk(&source) || source.kind() == io::ErrorKind::UnexpectedEof =>
        {
            Ok(Err(Broken::Content(source.to_string())))
        }
        Err(error) => Err(error),
    }
}

fn parse<T: DeserializeOwned>(kind: Kind, key: &str, text: &[u8]) -> Result<T, Broken> {
    let broken = |reason: &str| Broken::Content(reason.to_owned());
    let text = std::str::from_utf8(text).map_err(|_| broken("it is not text"))?;
    let (header, body) = text.split_once('\n').ok_or_else(|| broken("it has no header"))?;
    let body = body.strip_suffix('\n').ok_or_else(|| broken("it is cut off"))?;
    let fields: Vec<&str> = header.split(' ').collect();
    let [WORD, version, named_kind, named_key, digest] = fields[..] else {
        return Err(broken("its header is not one of a record"));
    };
    if version != VERSION {
        return Err(Broken::Version);
    }
    if (named_kind, named_key) != (kind.directory(), key) {
        return Err(broken("it is a record of something else"));
    }
    if Digest::of(body.as_bytes()).to_string() != digest {
        return Err(broken("its contents do not match its digest"));
    }
    serde_json::from_str(body).map_err(|error| Broken::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back_and_nothing_else_does() {
        let text = write(Kind::Memo, "k", &"value").unwrap();
        assert_eq!(parse::<String>(Kind::Memo, "k", text.as_bytes()).unwrap(), "value");
        let cases: [(&str, Vec<u8>); 8] = [
            ("empty", Vec::new()),
            ("no header", b"{}".to_vec()),
            ("cut off", text.as_bytes()[..text.len() - 3].to_vec()),
            ("extra", [text.as_bytes(), b"x\n"].concat()),
            ("flipped", text.replace("value", "valuf").into_bytes()),
            ("of another kind", text.replacen(" memo ", " step ", 1).into_bytes()),
            ("of another key", text.replacen(" k ", " l ", 1).into_bytes()),
            ("bytes", vec![0xff; 100]),
        ];
        for (name, bytes) in cases {
            let result = parse::<String>(Kind::Memo, "k", &bytes);
            assert!(matches!(result, Err(Broken::Content(_))), "{name}: {result:?}");
        }
        let newer = text.replacen(" 1 ", " 2 ", 1);
        let result = parse::<String>(Kind::Memo, "k", newer.as_bytes());
        assert!(matches!(result, Err(Broken::Version)), "{result:?}");
    }
}
