//! Every record against its checksum, its key and what it points to. Pointers are followed one kind after the other: what
//! is found missing here is missing for what points to it in turn. What is on the disk is in `there`, what points to it in
//! `pointers`.

mod pointers;
mod there;

use std::collections::{BTreeMap, BTreeSet};

use oci::{BlobDigest, ImageConfig, ImageId};
use serde::de::DeserializeOwned;

use super::{Broken, Finding, Fix, Subject, Survey};
use crate::{
    Layer, SnapshotId,
    error::Result,
    image::ImageRecord,
    layout::Tree,
    lock::Lock,
    open::Inner,
    record::{self, Kind},
};

/// A survey in the making.
struct Examination<'a> {
    inner: &'a Inner,
    broken: &'a Broken,
    survey: Survey,
    images: BTreeMap<ImageId, (ImageRecord, ImageConfig)>,
    /// What people call each image.
    names: BTreeMap<ImageId, Vec<String>>,
    needed: Needed,
}

#[derive(Default)]
struct Needed {
    snapshots: BTreeSet<SnapshotId>,
    blobs: BTreeSet<BlobDigest>,
}

impl Inner {
    /// Under the exclusive lock.
    pub(super) fn survey(&self, _lock: &Lock, broken: &Broken) -> Result<Survey> {
        let mut examination = Examination {
            inner: self,
            broken,
            survey: Survey::default(),
            images: BTreeMap::new(),
            names: BTreeMap::new(),
            needed: Needed::default(),
        };
        examination.objects()?;
        examination.small_ones()?;
        examination.images_and_tags()?;
        examination.steps()?;
        examination.containers()?;
        examination.leases()?;
        examination.layers()?;
        examination.names_of_layers()?;
        examination.places()?;
        examination.count_unneeded();
        Ok(examination.survey)
    }
}

impl Examination<'_> {
    fn find(&mut self, subject: Subject, reason: impl Into<String>, fix: Fix) {
        let (reason, users) = (reason.into(), Vec::new());
        self.survey.findings.push(Finding { subject, reason, users, fix });
    }

    /// Reads all records of a kind. Those that cannot be read are findings; an older one of the same key takes the place.
    fn load<T: DeserializeOwned>(&mut self, kind: Kind) -> Result<BTreeMap<String, T>> {
        let mut all = BTreeMap::new();
        for key in self.inner.keys(kind)? {
            self.survey.counts.records += 1;
            for tree in Tree::LOOKUP {
                let path = self.inner.layout.record(tree, kind, &key);
                let reason = match record::read_strictly(kind, &key, &path)? {
                    Ok(None) => continue,
                    Ok(Some(value)) => {
                        all.entry(key.clone()).or_insert(value);
                        continue;
                    }
                    Err(record::Broken::Version) => {
                        self.survey.counts.later += 1;
                        continue;
                    }
                    Err(record::Broken::Content(reason)) => reason,
                };
                let subject = Subject::Record { kind: kind.directory(), key: key.clone() };
                self.find(subject, reason, Fix::File(path));
            }
        }
        Ok(all)
    }

    fn has(&self, id: &SnapshotId) -> bool {
        self.survey.layers.contains_key(id)
    }

    fn count_unneeded(&mut self) {
        let Survey { counts, layers, blobs, .. } = &mut self.survey;
        for said in layers
            .iter()
            .filter(|(id, _)| !self.needed.snapshots.contains(id))
            .map(|(_, said)| said)
        {
            counts.unneeded += 1;
            let bytes = said.layer.as_ref().and_then(Layer::on_disk);
            counts.unneeded_bytes += bytes.unwrap_or(0);
        }
        for kept in
            blobs.iter().filter(|(id, _)| !self.needed.blobs.contains(id)).map(|(_, kept)| kept)
        {
            counts.unneeded += 1;
            counts.unneeded_bytes += kept.size;
        }
    }
}
