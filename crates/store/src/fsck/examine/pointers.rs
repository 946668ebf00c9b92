//! What points to what: images, tags, steps, containers and leases to layers and blobs, and what is kept of a layer to it.
//! What somebody points to is needed from here on.

use std::fs;

use oci::{BlobDigest, Descriptor, Digest, ImageConfig, ImageId, Manifest, Reference};

use super::Examination;
use crate::{
    Container, Layer, Record, SnapshotId,
    error::Result,
    fsck::{Finding, Fix, Kept, Position, Subject, container_name},
    image::{self, ImageRecord},
    layer::snapshot_of_packed_key,
    lease::Held,
    record::Kind,
    tag::{self, TagRecord},
};

impl Examination<'_> {
    pub(super) fn images_and_tags(&mut self) -> Result<()> {
        let tags = self.load::<TagRecord>(Kind::Tag)?;
        for record in tags.values() {
            let name = Reference::parse(&record.reference);
            let name = name.map_or_else(|_| record.reference.clone(), |name| name.familiar());
            for id in record.images() {
                self.names.entry(*id).or_default().push(name.clone());
            }
        }
        for (key, record) in self.load::<ImageRecord>(Kind::Image)? {
            self.image(&key, record);
        }
        self.survey.counts.tags = tags.len();
        for (key, record) in tags {
            let reference = Reference::parse(&record.reference);
            let is_own = reference.as_ref().is_ok_and(|reference| tag::key(reference) == key);
            let name = reference.map_or_else(|_| record.reference.clone(), |name| name.familiar());
            if !is_own {
                self.find(
                    Subject::Tag(name),
                    "it is kept under another name",
                    Fix::Record(Kind::Tag, key),
                );
                continue;
            }
            let (there, gone): (Vec<ImageId>, Vec<ImageId>) =
                record.images().copied().partition(|id| self.images.contains_key(id));
            if let Some(gone) = gone.first() {
                let reason = format!("its image `{gone}` is missing");
                self.find(Subject::Tag(name), reason, Fix::Retag(key, there));
            }
        }
        Ok(())
    }

    fn image(&mut self, key: &str, record: ImageRecord) {
        let id = ImageId::new(Digest::of(record.config.as_bytes()));
        let wrong = |reason: String| (reason, Fix::Record(Kind::Image, key.to_owned()));
        let subject = Subject::Image(id);
        let config = match ImageConfig::parse(record.config.as_bytes()) {
            Err(error) => Err(wrong(format!("its config cannot be read: {error}"))),
            Ok(_) if image::key(&id) != key => {
                Err(wrong(format!("its config has another digest than its record `{key}`")))
            }
            Ok(config) if config.rootfs.diff_ids.len() != record.snapshots.len() => {
                Err(wrong("it has another number of layers than its config".to_owned()))
            }
            Ok(config) => match record.snapshots.iter().find(|id| !self.has(id)) {
                Some(missing) => Err(wrong(format!("its layer `{missing}` is missing"))),
                None => Ok(config),
            },
        };
        let config = match config {
            Ok(config) => config,
            Err((reason, fix)) => {
                let users = self.tags_of(&id);
                self.survey.findings.push(Finding { subject, reason, users, fix });
                return;
            }
        };
        let manifest = self.manifest(&id, &record);
        self.survey.counts.images += 1;
        let name = self.called(&id);
        let mut titles = config.history.iter().filter(|entry| !entry.empty_layer);
        for (index, snapshot) in record.snapshots.iter().enumerate() {
            self.needed.snapshots.insert(*snapshot);
            let title = titles.next().map(|entry| entry.created_by.clone()).unwrap_or_default();
            let position = Position {
                below: record.snapshots[..index].to_vec(),
                diff_id: config.rootfs.diff_ids[index],
                blob: manifest.as_ref().and_then(|manifest| manifest.layers.get(index).cloned()),
            };
            let step = if title.is_empty() { String::new() } else { format!(", `{title}`") };
            let user = format!("image `{name}`, layer {}{step}", index + 1);
            let Some(said) = self.survey.layers.get_mut(snapshot) else { continue };
            said.users.push(user);
            // The one that knows more.
            if said.position.as_ref().is_none_or(|known| known.blob.is_none()) {
                said.position = Some(position);
            }
        }
        self.images.insert(id, (record, config));
    }

    /// Returns the manifest that an image came with, if it is as it should be.
    fn manifest(&mut self, id: &ImageId, record: &ImageRecord) -> Option<Manifest> {
        let digest = BlobDigest::new(*record.manifest.as_ref()?.digest.as_digest());
        self.needed.blobs.insert(digest);
        let name = self.called(id);
        let Some(kept) = self.survey.blobs.get_mut(&digest) else {
            let reason = format!("its manifest `{digest}` is missing");
            let (subject, users) = (Subject::Image(*id), self.tags_of(id));
            let fix = Fix::WithoutManifest(*id);
            self.survey.findings.push(Finding { subject, reason, users, fix });
            return None;
        };
        kept.users.push(format!("image `{name}`, its manifest"));
        let (path, _) = self.inner.find_blob(&digest).ok()??;
        let bytes = fs::read(path).ok()?;
        // That the blob is not what its digest says is found where all blobs are read.
        let is_right = BlobDigest::new(Digest::of(&bytes)) == digest;
        Manifest::parse(&bytes).ok().filter(|_| is_right)
    }

    /// What people call an image: its first name, or its id.
    fn called(&self, id: &ImageId) -> String {
        let names = self.names.get(id).and_then(|names| names.first());
        names.cloned().unwrap_or_else(|| id.to_string())
    }

    fn tags_of(&self, id: &ImageId) -> Vec<String> {
        let names = self.names.get(id).into_iter().flatten();
        names.map(|name| format!("tag `{name}`")).collect()
    }

    pub(super) fn steps(&mut self) -> Result<()> {
        for (key, record) in self.load::<Record>(Kind::Step)? {
            let Record { snapshot, below, description, .. } = record;
            let missing = [Some(snapshot), below].into_iter().flatten().find(|id| !self.has(id));
            if let Some(missing) = missing {
                let reason = format!("its layer `{missing}` is missing");
                self.find(Subject::Step(description), reason, Fix::Record(Kind::Step, key));
                continue;
            }
            self.survey.counts.steps += 1;
            self.needed.snapshots.extend([Some(snapshot), below].into_iter().flatten());
            if let Some(said) = self.survey.layers.get_mut(&snapshot) {
                said.users.push(format!("cached step `{description}`"));
            }
        }
        Ok(())
    }

    pub(super) fn containers(&mut self) -> Result<()> {
        for container in self.load::<Container>(Kind::Container)?.into_values() {
            self.survey.counts.containers += 1;
            let name = container_name(&container.name, &container.id);
            let advice = || Fix::ByHand(format!("`kiln rm {name}` removes it"));
            if let Some(missing) = container.snapshots.iter().find(|id| !self.has(id)) {
                let reason = format!("its layer `{missing}` is missing or damaged");
                self.find(Subject::Container(name.clone()), reason, advice());
            }
            if !crate::tmp::is_directory(&self.inner.layout.container(&container.id))? {
                let reason = "what it has written is missing";
                self.find(Subject::Container(name.clone()), reason, advice());
            }
            let config = ImageConfig::parse(container.image_config.as_bytes());
            let diff_ids = config.map(|config| config.rootfs.diff_ids).unwrap_or_default();
            for (index, snapshot) in container.snapshots.iter().enumerate() {
                self.needed.snapshots.insert(*snapshot);
                let Some(said) = self.survey.layers.get_mut(snapshot) else { continue };
                said.users.push(format!("container `{name}`"));
                if let (None, Some(diff_id)) = (&said.position, diff_ids.get(index)) {
                    let below = container.snapshots[..index].to_vec();
                    said.position = Some(Position { below, diff_id: *diff_id, blob: None });
                }
            }
        }
        Ok(())
    }

    /// What living processes use. It may not be there yet: what is made is leased before it is visible.
    pub(super) fn leases(&mut self) -> Result<()> {
        let (processes, held) = self.inner.held()?;
        self.survey.counts.processes = processes;
        for held in held {
            match held {
                Held::Snapshot(id) => drop(self.needed.snapshots.insert(id)),
                Held::Blob(digest) => drop(self.needed.blobs.insert(digest)),
                Held::Image(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn layers(&mut self) -> Result<()> {
        for (key, layer) in self.load::<Layer>(Kind::Layer)? {
            let Some(id) = SnapshotId::parse(&key).filter(|id| self.has(id)) else {
                let subject = Subject::Record { kind: "layer", key: key.clone() };
                self.find(subject, "its layer is missing", Fix::Record(Kind::Layer, key));
                continue;
            };
            let said = self.survey.layers.get(&id).cloned().unwrap_or_default();
            if let Some(position) = said.position.filter(|at| at.diff_id != layer.diff_id) {
                let reason = format!(
                    "its record says `{}`, its image `{}`",
                    layer.diff_id, position.diff_id
                );
                let (subject, fix) = (Subject::Layer(id), Fix::Record(Kind::Layer, key));
                self.survey.findings.push(Finding { subject, reason, users: said.users, fix });
                continue;
            }
            if let Some(blob) = layer.blob.as_ref().filter(|_| !layer.fetch_again) {
                self.blob_of_layer(&id, blob, &said.users);
            }
            if let Some(said) = self.survey.layers.get_mut(&id) {
                said.layer = Some(layer);
            }
        }
        for (key, blob) in self.load::<Descriptor>(Kind::Packed)? {
            let Some(id) = snapshot_of_packed_key(&key).filter(|id| self.has(id)) else {
                let subject = Subject::Record { kind: "packed", key: key.clone() };
                self.find(subject, "its layer is missing", Fix::Record(Kind::Packed, key));
                continue;
            };
            // The blob may have been removed; if it is there, it is to be that one.
            if self.survey.blobs.contains_key(&blob.digest) {
                let users = self.survey.layers.get(&id).map(|said| said.users.clone());
                self.blob_of_layer(&id, &blob, &users.unwrap_or_default());
            }
        }
        Ok(())
    }

    fn blob_of_layer(&mut self, id: &SnapshotId, blob: &Descriptor, users: &[String]) {
        if self.needed.snapshots.contains(id) {
            self.needed.blobs.insert(blob.digest);
        }
        match self.survey.blobs.get_mut(&blob.digest) {
            Some(Kept { expected, users: known, .. }) => {
                *expected = Some(blob.size);
                known.extend_from_slice(users);
            }
            None => self.survey.findings.push(Finding {
                subject: Subject::Blob(blob.digest),
                reason: "it is missing".to_owned(),
                users: users.to_vec(),
                fix: Fix::WithoutBlob(*id),
            }),
        }
    }

    /// The layers as loaded images know them.
    pub(super) fn names_of_layers(&mut self) -> Result<()> {
        for (key, id) in self.load::<SnapshotId>(Kind::Chain)? {
            if !self.has(&id) {
                let subject = Subject::Record { kind: "chain", key: key.clone() };
                let reason = format!("its layer `{id}` is missing");
                self.find(subject, reason, Fix::Record(Kind::Chain, key));
            }
        }
        Ok(())
    }
}
