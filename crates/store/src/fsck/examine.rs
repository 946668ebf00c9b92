//! Every record against its checksum, its key and what it points to. Pointers are followed one kind after the other: what
//! is found missing here is missing for what points to it in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use oci::{BlobDigest, Descriptor, Digest, ImageConfig, ImageId, Manifest, Reference};
use serde::de::DeserializeOwned;

use super::{Broken, Finding, Fix, Kept, Position, Said, Subject, Survey, container_name};
use crate::{
    Container, Layer, Record, SnapshotId,
    error::Result,
    image::{self, ImageRecord},
    layer::snapshot_of_packed_key,
    layout::Tree,
    lease::Held,
    lock::Lock,
    open::Inner,
    record::{self, Kind},
    tag::{self, TagRecord},
    tmp,
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
                let reason = match record::read_strictly(kind, &key, &path) {
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

    /// What there is on the disk.
    fn objects(&mut self) -> Result<()> {
        for path in tmp::directory_entries(&self.inner.layout.snapshots())? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(id) = SnapshotId::parse(name) else {
                self.find(Subject::File(path.clone()), "it is no layer", Fix::File(path));
                continue;
            };
            if self.broken.snapshots.contains(&id) {
                continue;
            }
            if !self.inner.layout.snapshot_fs(&id).is_dir() {
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
                let (Ok(digest), Ok(stat)) = (digest, path.symlink_metadata()) else {
                    self.find(Subject::File(path.clone()), "it is no blob", Fix::File(path));
                    continue;
                };
                if !self.broken.blobs.contains(&digest) {
                    self.survey.blobs.entry(digest).or_default().size = stat.len();
                }
            }
        }
        Ok(())
    }

    /// What nothing depends on.
    fn small_ones(&mut self) -> Result<()> {
        for (key, digest) in self.load::<String>(Kind::Memo)? {
            if crate::step::unhex(&digest).is_none() {
                let subject = Subject::Record { kind: "memo", key: key.clone() };
                self.find(subject, "it is no digest", Fix::Record(Kind::Memo, key));
            }
        }
        self.load::<crate::Trail>(Kind::Trail)?;
        Ok(())
    }

    fn images_and_tags(&mut self) -> Result<()> {
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

    fn has(&self, id: &SnapshotId) -> bool {
        self.survey.layers.contains_key(id)
    }

    fn steps(&mut self) -> Result<()> {
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

    fn containers(&mut self) -> Result<()> {
        for container in self.load::<Container>(Kind::Container)?.into_values() {
            self.survey.counts.containers += 1;
            let name = container_name(&container.name, &container.id);
            let advice = || Fix::ByHand(format!("`kiln rm {name}` removes it"));
            if let Some(missing) = container.snapshots.iter().find(|id| !self.has(id)) {
                let reason = format!("its layer `{missing}` is missing or damaged");
                self.find(Subject::Container(name.clone()), reason, advice());
            }
            if !self.inner.layout.container(&container.id).is_dir() {
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
    fn leases(&mut self) -> Result<()> {
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

    fn layers(&mut self) -> Result<()> {
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
    fn names_of_layers(&mut self) -> Result<()> {
        for (key, id) in self.load::<SnapshotId>(Kind::Chain)? {
            if !self.has(&id) {
                let subject = Subject::Record { kind: "chain", key: key.clone() };
                let reason = format!("its layer `{id}` is missing");
                self.find(subject, reason, Fix::Record(Kind::Chain, key));
            }
        }
        Ok(())
    }

    /// What is kept outside layers, and what was put aside.
    fn places(&mut self) -> Result<()> {
        for (name, path) in self.inner.mount_directories()? {
            self.survey.counts.mounts += 1;
            let id = fs::read_to_string(path.join("id")).ok();
            let hash = |id: &str| Digest::of(id.as_bytes()).to_hex();
            // Several of one id have numbers behind it.
            let is_own = id.as_ref().is_some_and(|id| name.starts_with(&hash(id)));
            if !path.join("fs").is_dir() {
                self.find(Subject::CacheMount(name), "it has no directory", Fix::File(path));
            } else if !is_own {
                self.find(Subject::CacheMount(name), "it does not know its id", Fix::File(path));
            }
        }
        for path in tmp::directory_entries(&self.inner.layout.volumes())? {
            self.survey.counts.volumes += 1;
            if !path.join("fs").is_dir() {
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

    fn count_unneeded(&mut self) {
        let Survey { counts, layers, blobs, .. } = &mut self.survey;
        for said in layers
            .iter()
            .filter(|(id, _)| !self.needed.snapshots.contains(id))
            .map(|(_, said)| said)
        {
            counts.unneeded += 1;
            let contents = said.layer.as_ref().and_then(|layer| layer.contents);
            counts.unneeded_bytes += contents.unwrap_or(0);
        }
        for kept in
            blobs.iter().filter(|(id, _)| !self.needed.blobs.contains(id)).map(|(_, kept)| kept)
        {
            counts.unneeded += 1;
            counts.unneeded_bytes += kept.size;
        }
    }
}
