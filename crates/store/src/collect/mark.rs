//! What is needed: by images, by containers, by leases.

use std::{collections::BTreeSet, fs, io};

use oci::{BlobDigest, Descriptor, ImageId};

use crate::{
    Container, ContainerId, Layer, SnapshotId, Store,
    error::{Error, Result},
    lease::Held,
    lock::Lock,
    open::Inner,
    record::Kind,
    tmp,
};

/// What stays.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(crate) snapshots: BTreeSet<SnapshotId>,
    pub(crate) blobs: BTreeSet<BlobDigest>,
    pub(crate) images: BTreeSet<ImageId>,
}

impl Inner {
    /// Reads the leases of all living processes.
    pub(crate) fn leased(&self) -> Result<Marks> {
        let mut marks = Marks::default();
        for held in self.held()?.1 {
            match held {
                Held::Snapshot(id) => marks.snapshots.insert(id),
                Held::Blob(digest) => marks.blobs.insert(digest),
                Held::Image(id) => marks.images.insert(id),
            };
        }
        for id in marks.images.clone() {
            self.mark_image(&id, &mut marks)?;
        }
        Ok(marks)
    }

    /// Returns how many processes live, and what their leases name.
    pub(crate) fn held(&self) -> Result<(usize, BTreeSet<Held>)> {
        let mut processes = BTreeSet::new();
        let mut all = BTreeSet::new();
        for path in tmp::directory_entries(&self.layout.tmp())? {
            let lock = Lock::try_existing(&path).map_err(Error::io("lock", &path))?;
            if lock.is_some() {
                // Its owner is dead; the next command that opens the store removes it.
                continue;
            }
            processes.extend(tmp::process_of(&path).map(str::to_owned));
            let text = match fs::read_to_string(&path) {
                // Gone meanwhile: dropped by its owner, who needs nothing of it any more. Or no lease but the directory of a
                // process.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => continue,
                // What it names may be in use: nothing can be removed.
                text => text.map_err(Error::io("read", &path))?,
            };
            all.extend(text.lines().filter_map(Held::parse));
        }
        Ok((processes.len(), all))
    }

    /// Returns what containers stand on.
    pub(crate) fn snapshots_of_containers(&self) -> Result<BTreeSet<SnapshotId>> {
        let mut snapshots = BTreeSet::new();
        for key in self.keys(Kind::Container)? {
            let container = self.get::<Container>(Kind::Container, &key)?;
            snapshots.extend(container.into_iter().flat_map(|container| container.snapshots));
        }
        Ok(snapshots)
    }

    /// Marks what the images need that stay.
    pub(super) fn marks_of_images(&self, going: &BTreeSet<ImageId>) -> Result<Marks> {
        let mut marks = Marks::default();
        for id in self.image_ids()?.difference(going) {
            self.mark_image(id, &mut marks)?;
        }
        Ok(marks)
    }

    /// Marks what the containers that stay stand on, and their images.
    pub(super) fn mark_containers(
        &self,
        going: &BTreeSet<ContainerId>,
        marks: &mut Marks,
    ) -> Result<()> {
        for key in self.keys(Kind::Container)? {
            let Some(container) = self.get::<Container>(Kind::Container, &key)? else { continue };
            if going.contains(&container.id) {
                continue;
            }
            marks.snapshots.extend(container.snapshots);
            marks.images.insert(container.image);
            self.mark_image(&container.image, marks)?;
        }
        Ok(())
    }

    fn mark_image(&self, id: &ImageId, marks: &mut Marks) -> Result<()> {
        if let Some(image) = self.image(id)? {
            marks.snapshots.extend(image.snapshots);
            let manifest =
                image.manifest.map(|manifest| super::blob_of(manifest.digest.as_digest()));
            marks.blobs.extend(manifest);
        }
        Ok(())
    }

    /// Marks the blobs of the snapshots that stay.
    pub(super) fn mark_blobs(&self, marks: &mut Marks) -> Result<()> {
        for id in &marks.snapshots {
            let layer: Option<Layer> = self.get(Kind::Layer, &id.to_string())?;
            marks.blobs.extend(layer.and_then(|layer| layer.blob).map(|blob| blob.digest));
        }
        for key in self.keys(Kind::Packed)? {
            let id = crate::layer::snapshot_of_packed_key(&key);
            if id.is_some_and(|id| marks.snapshots.contains(&id)) {
                let blob: Option<Descriptor> = self.get(Kind::Packed, &key)?;
                marks.blobs.extend(blob.map(|blob| blob.digest));
            }
        }
        Ok(())
    }
}

impl Store {
    /// Returns the images that living processes use, or have just made.
    pub fn held_images(&self) -> Result<BTreeSet<ImageId>, Error> {
        Ok(self.inner.leased()?.images)
    }

    /// Returns the snapshots that living processes use.
    pub fn held_snapshots(&self) -> Result<BTreeSet<SnapshotId>, Error> {
        Ok(self.inner.leased()?.snapshots)
    }
}
