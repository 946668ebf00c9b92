//! Taking out what is broken: first what points to it, then it.

use oci::{Descriptor, ImageId};

use super::{Broken, Finding, Fix, Repaired, Subject};
use crate::{
    Container, Layer, Record, SnapshotId,
    error::Result,
    image::{self, ImageRecord},
    layer::{packed_key_of, snapshot_of_packed_key},
    layout::Tree,
    lock::Lock,
    open::Inner,
    record::Kind,
    tag::TagRecord,
    tmp,
    trash::Trash,
};

/// Each round takes out what the last one has left pointing to nothing: a tag to an image to a layer. More rounds than
/// kinds of records means that something cannot be taken out.
const MOST_ROUNDS: usize = 2 * Kind::ALL.len();

impl Inner {
    pub(super) fn repair(&self, broken: &Broken) -> Result<Repaired> {
        let trash = self.trash();
        let mut repaired = Repaired::default();
        {
            let lock = self.lock_exclusive()?;
            for _ in 0..MOST_ROUNDS {
                let findings = self.survey(&lock, broken)?.findings;
                let mut is_done = true;
                for finding in findings.iter().filter(|finding| finding.advice().is_none()) {
                    is_done = false;
                    self.fix(&lock, finding, &trash)?;
                    repaired.dropped.extend(in_words(finding));
                }
                if is_done {
                    repaired.left = findings;
                    break;
                }
            }
            self.remove_broken(broken, &trash, &mut repaired)?;
            // Put aside so that it is in nobody's way; now it is looked at, and told.
            for path in tmp::directory_entries(&self.layout.lost())? {
                trash.throw(&path)?;
            }
        }
        trash.empty()?;
        Ok(repaired)
    }

    fn fix(&self, lock: &Lock, finding: &Finding, trash: &Trash<'_>) -> Result<()> {
        match &finding.fix {
            Fix::File(path) => trash.throw(path).map(drop),
            Fix::Record(kind, key) => self.remove(lock, *kind, key).map(|_| ()),
            Fix::WithoutBlob(id) => self.forget_blob(lock, id),
            Fix::WithoutManifest(id) => {
                let key = image::key(id);
                let Some(record) = self.get::<ImageRecord>(Kind::Image, &key)? else {
                    return Ok(());
                };
                let record = ImageRecord { manifest: None, ..record };
                self.put_locked(lock, Kind::Image, &key, &record)
            }
            Fix::Retag(key, there) => self.retag(lock, key, there),
            Fix::Snapshot | Fix::Blob | Fix::ByHand(_) => Ok(()),
        }
    }

    /// The layer is what it was; to leave as it came, it has to be had again.
    fn forget_blob(&self, lock: &Lock, id: &SnapshotId) -> Result<()> {
        let key = id.to_string();
        let Some(layer) = self.get::<Layer>(Kind::Layer, &key)? else { return Ok(()) };
        self.put_locked(lock, Kind::Layer, &key, &Layer { fetch_again: true, ..layer })
    }

    fn retag(&self, lock: &Lock, key: &str, there: &[ImageId]) -> Result<()> {
        let Some(record) = self.get::<TagRecord>(Kind::Tag, key)? else { return Ok(()) };
        match record.with(there.to_vec()) {
            Some(record) => self.put_locked(lock, Kind::Tag, key, &record),
            None => self.remove(lock, Kind::Tag, key).map(|_| ()),
        }
    }

    fn remove_broken(
        &self,
        broken: &Broken,
        trash: &Trash<'_>,
        repaired: &mut Repaired,
    ) -> Result<()> {
        for digest in &broken.blobs {
            for tree in Tree::LOOKUP {
                trash.throw(&self.layout.blob(tree, digest))?;
            }
            repaired.dropped.insert(Subject::Blob(*digest).to_string());
        }
        let used = self.leased()?.snapshots;
        let containers = self.snapshots_of_containers()?;
        for id in &broken.snapshots {
            if !used.contains(id) && !containers.contains(id) {
                trash.throw(&self.layout.snapshot(id))?;
                repaired.dropped.insert(Subject::Layer(*id).to_string());
            }
        }
        Ok(())
    }

    pub(super) fn replace_snapshot(
        &self,
        old: &SnapshotId,
        new: &SnapshotId,
        layer: &Layer,
    ) -> Result<()> {
        let trash = self.trash();
        {
            let lock = self.lock_exclusive()?;
            self.put_locked(&lock, Kind::Layer, &new.to_string(), layer)?;
            self.repoint(&lock, old, new)?;
            self.remove(&lock, Kind::Layer, &old.to_string())?;
            if !self.leased()?.snapshots.contains(old) {
                trash.throw(&self.layout.snapshot(old))?;
            }
        }
        trash.empty().map(drop)
    }

    /// Lets everything point to another snapshot.
    fn repoint(&self, lock: &Lock, old: &SnapshotId, new: &SnapshotId) -> Result<()> {
        let replace = |ids: &mut Vec<SnapshotId>| {
            let is_there = ids.contains(old);
            ids.iter_mut().filter(|id| *id == old).for_each(|id| *id = *new);
            is_there
        };
        for key in self.keys(Kind::Chain)? {
            if self.get::<SnapshotId>(Kind::Chain, &key)?.as_ref() == Some(old) {
                self.put_locked(lock, Kind::Chain, &key, new)?;
            }
        }
        for key in self.keys(Kind::Image)? {
            let Some(mut record) = self.get::<ImageRecord>(Kind::Image, &key)? else { continue };
            if replace(&mut record.snapshots) {
                self.put_locked(lock, Kind::Image, &key, &record)?;
            }
        }
        for key in self.keys(Kind::Container)? {
            let Some(mut record) = self.get::<Container>(Kind::Container, &key)? else { continue };
            if replace(&mut record.snapshots) {
                self.put_locked(lock, Kind::Container, &key, &record)?;
            }
        }
        for key in self.keys(Kind::Step)? {
            let Some(mut record) = self.get::<Record>(Kind::Step, &key)? else { continue };
            let mut ids = vec![record.snapshot];
            ids.extend(record.below);
            if replace(&mut ids) {
                record.snapshot = ids[0];
                record.below = ids.get(1).copied();
                self.put_locked(lock, Kind::Step, &key, &record)?;
            }
        }
        for key in self.keys(Kind::Packed)? {
            if snapshot_of_packed_key(&key).as_ref() != Some(old) {
                continue;
            }
            if let Some(blob) = self.get::<Descriptor>(Kind::Packed, &key)? {
                self.put_locked(lock, Kind::Packed, &packed_key_of(&key, new), &blob)?;
            }
            self.remove(lock, Kind::Packed, &key)?;
        }
        Ok(())
    }
}

/// What is gone with a finding. Of what people do not know by name, nothing is said.
fn in_words(finding: &Finding) -> Option<String> {
    match (&finding.subject, &finding.fix) {
        (Subject::Image(_), Fix::WithoutManifest(_)) => None,
        (Subject::Record { .. }, Fix::File(_)) => Some(finding.subject.to_string()),
        (Subject::Record { .. }, _) | (Subject::Blob(_), Fix::WithoutBlob(_)) => None,
        (Subject::Layer(_), Fix::Record(..)) => None,
        (Subject::Image(_), _) if !finding.users.is_empty() => {
            Some(format!("{} ({})", finding.subject, finding.users.join(", ")))
        }
        _ => Some(finding.subject.to_string()),
    }
}
