//! What there is on the disk, and what nothing else depends on.

use std::{fs, io::ErrorKind, path::PathBuf};

use oci::{BlobDigest, Digest};

use super::Examination;
use crate::{
    SnapshotId,
    error::{Error, Result},
    fsck::{Fix, Said, Subject},
    layout::Tree,
    record::Kind,
    tmp,
};

impl Examination<'_> {
    /// What there is on the disk.
    pub(super) fn objects(&mut self) -> Result<()> {
        for path in tmp::directory_entries(&self.inner.layout.snapshots())? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(id) = SnapshotId::parse(name) else {
                self.find(Subject::File(path.clone()), "it is no layer", Fix::File(path));
                continue;
            };
            if self.broken.snapshots.contains(&id) {
                continue;
            }
            if !tmp::is_directory(&self.inner.layout.snapshot_fs(&id))? {
                self.find(Subject::Layer(id), "it has no files", Fix::File(path));
                continue;
            }
            self.survey.layers.insert(id, Said::default());
        }
        for (tree, algorithm) in
            Tree::LOOKUP.into_iter().flat_map(|tree| [(tree, "sha256"), (tree, "sha512")])
        {
            for path in tmp::directory_entries(&self.inner.layout.blobs(tree, algorithm))? {
                let hex = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let digest = BlobDigest::parse(&format!("{algorithm}:{hex}"));
                let Ok(digest) = digest else {
                    self.find(Subject::File(path.clone()), "it is no blob", Fix::File(path));
                    continue;
                };
                if self.broken.blobs.contains(&digest) {
                    continue;
                }
                match path.symlink_metadata() {
                    Ok(stat) => self.survey.blobs.entry(digest).or_default().size = stat.len(),
                    Err(error) if tmp::is_gone(&error) => {
                        let reason = format!("it cannot be looked at: {error}");
                        self.find(Subject::Blob(digest), reason, Fix::File(path));
                    }
                    Err(error) => return Err(Error::io("look at", path)(error)),
                }
            }
        }
        Ok(())
    }

    /// What nothing depends on.
    pub(super) fn small_ones(&mut self) -> Result<()> {
        for (key, digest) in self.load::<String>(Kind::Memo)? {
            if crate::step::unhex(&digest).is_none() {
                let subject = Subject::Record { kind: "memo", key: key.clone() };
                self.find(subject, "it is no digest", Fix::Record(Kind::Memo, key));
            }
        }
        self.load::<crate::Trail>(Kind::Trail)?;
        Ok(())
    }

    /// What is kept outside layers, and what was put aside.
    pub(super) fn places(&mut self) -> Result<()> {
        for (name, path) in self.inner.mount_directories()? {
            self.survey.counts.mounts += 1;
            let id = match fs::read_to_string(path.join("id")) {
                Err(error) if !tmp::is_gone(&error) && error.kind() != ErrorKind::InvalidData => {
                    return Err(Error::io("read", path.join("id"))(error));
                }
                id => id.ok(),
            };
            let hash = |id: &str| Digest::of(id.as_bytes()).to_hex();
            // Several of one id have numbers behind it.
            let is_own = id.as_ref().is_some_and(|id| name.starts_with(&hash(id)));
            if !tmp::is_directory(&path.join("fs"))? {
                self.find(Subject::CacheMount(name), "it has no directory", Fix::File(path));
            } else if !is_own {
                self.find(Subject::CacheMount(name), "it does not know its id", Fix::File(path));
            }
        }
        for path in tmp::directory_entries(&self.inner.layout.volumes())? {
            self.survey.counts.volumes += 1;
            if !tmp::is_directory(&path.join("fs"))? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let fix = Fix::ByHand(format!("`{}` has no directory `fs`", path.display()));
                self.find(Subject::Volume(name), "it has no directory", fix);
            }
        }
        self.survey.counts.lost = tmp::directory_entries(&self.inner.layout.lost())?.len();
        self.strangers()
    }

    /// Directories of records that this version does not know would be those of a later one; files among them are nobody's.
    fn strangers(&mut self) -> Result<()> {
        let mut strange: Vec<PathBuf> = Vec::new();
        for tree in Tree::LOOKUP {
            let records = self.inner.layout.tree(tree).join("records");
            let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|stat| stat.is_file());
            strange.extend(tmp::directory_entries(&records)?.into_iter().filter(is_file));
        }
        for path in strange {
            self.find(Subject::File(path.clone()), "it is no record", Fix::File(path));
        }
        Ok(())
    }
}
