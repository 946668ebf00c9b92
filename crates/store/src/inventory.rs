//! The inventory: which images there are, under which names, who descends from whom, and which containers there are. Read
//! once, and true while it is held: nobody else can change any of it meanwhile. So removing thousands of images reads each
//! record once, and not all of them for each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use oci::{ImageId, ManifestDigest, Reference};

use crate::{
    Container, ContainerState, Family, Image, Store,
    error::{Error, Result},
    image::Line,
    lock::Lock,
    open::Inner,
    record::Kind,
    tag::{self, Place},
};

/// Everything that has to be known to remove images. Who holds it must call nothing of the store that takes its lock:
/// that would wait for itself.
#[derive(Debug)]
pub struct Inventory {
    inner: Arc<Inner>,
    family: Family,
    /// The images of each name, in their order.
    names: BTreeMap<Reference, Vec<ImageId>>,
    known: BTreeMap<ImageId, Known>,
    /// The images of each manifest or index, wherever; those too that have been removed.
    listed_in: BTreeMap<ManifestDigest, BTreeSet<ImageId>>,
    /// The containers of each image, the newest first.
    containers_of: BTreeMap<ImageId, Vec<Container>>,
    /// The images that living processes use, or have just made.
    held: BTreeSet<ImageId>,
    lock: Lock,
    _gate: Lock,
}

/// How an image is called.
#[derive(Debug, Default)]
struct Known {
    names: BTreeSet<Reference>,
    /// Under which digests it can be had from registries.
    digests: BTreeSet<Reference>,
    /// That of its own manifest.
    manifest: Option<ManifestDigest>,
}

impl Store {
    /// Takes the inventory. Others wait until it is dropped, so nothing slow should be done meanwhile.
    pub fn inventory(&self) -> Result<Inventory, Error> {
        // In the order in which who makes a container takes them.
        let gate = self.inner.containers_gate()?;
        let lock = self.inner.lock_exclusive()?;
        let mut inventory = Inventory {
            inner: Arc::clone(&self.inner),
            family: Family::default(),
            names: BTreeMap::new(),
            known: BTreeMap::new(),
            listed_in: BTreeMap::new(),
            containers_of: BTreeMap::new(),
            held: self.inner.leased()?.images,
            lock,
            _gate: gate,
        };
        self.inner.each_image(|image| inventory.add(&image))?;
        for (name, id) in self.tags()? {
            inventory.known.entry(id).or_default().names.insert(name.clone());
            inventory.names.entry(name).or_default().push(id);
        }
        for container in self.containers()? {
            inventory.containers_of.entry(container.image).or_default().push(container);
        }
        Ok(inventory)
    }
}

impl Inventory {
    fn add(&mut self, image: &Image) {
        self.family.add(image.id, Line::of(image));
        let manifest = image.manifest.as_ref().map(|manifest| manifest.digest);
        let digests = image.digests.iter().filter_map(Reference::digest).copied();
        for digest in digests.chain(manifest) {
            self.listed_in.entry(digest).or_default().insert(image.id);
        }
        let known = self.known.entry(image.id).or_default();
        known.digests.clone_from(&image.digests);
        known.manifest = manifest;
    }

    /// Finds what [`Store::find_all`] does.
    ///
    /// # Errors
    /// Those of [`Store::find`]. There is one image at least.
    pub fn find_all(&self, name: &str) -> Result<Vec<ImageId>, Error> {
        tag::look_up(self, name)
    }

    /// Whether an image has this name, with a tag or with a digest.
    pub fn has_name(&self, name: &Reference) -> bool {
        self.names.contains_key(name)
    }

    /// Returns the tags and the digests of an image: those that it was given first.
    pub fn names_of(&self, id: &ImageId) -> Vec<Reference> {
        let Some(Known { names, digests, .. }) = self.known.get(id) else { return Vec::new() };
        names.iter().chain(digests.difference(names)).cloned().collect()
    }

    /// Whether an image can be had from a registry under this reference, whose digest counts.
    pub fn has_digest(&self, id: &ImageId, reference: &Reference) -> bool {
        self.known.get(id).is_some_and(|known| known.digests.contains(&pinned(reference)))
    }

    /// Whether a living process uses an image, or has just made it.
    pub fn is_held(&self, id: &ImageId) -> bool {
        self.held.contains(id)
    }

    /// Returns who descends from whom.
    pub fn family(&self) -> &Family {
        &self.family
    }

    /// Returns the containers made from an image, the newest first.
    pub fn containers_of(&self, id: &ImageId) -> &[Container] {
        self.containers_of.get(id).map_or(&[], Vec::as_slice)
    }

    /// Returns what became of a container, as [`Store::container_state`] does.
    pub fn container_state(&self, container: &Container) -> Result<ContainerState, Error> {
        self.inner.true_state(&container.id)
    }

    /// Takes a name away from all images that have it, as a tag and as a digest.
    pub fn untag(&mut self, name: &Reference) -> Result<(), Error> {
        self.inner.untag(&self.lock, name)?;
        for id in self.names.remove(name).unwrap_or_default() {
            self.forget(&id, name);
        }
        Ok(())
    }

    /// Takes a name away from one image, as a tag and as a digest; others that have it keep it.
    pub fn untag_image(&mut self, name: &Reference, id: &ImageId) -> Result<(), Error> {
        if self.known.get(id).is_some_and(|known| known.names.contains(name)) {
            self.inner.untag_image(&self.lock, name, id)?;
        }
        if let Some(ids) = self.names.get_mut(name) {
            ids.retain(|known| known != id);
            if ids.is_empty() {
                self.names.remove(name);
            }
        }
        self.forget(id, name);
        self.remove_digest(name, id)
    }

    /// Forgets that a registry has an image under this reference; nothing happens if it is not known.
    pub fn remove_digest(&mut self, name: &Reference, id: &ImageId) -> Result<(), Error> {
        let Some(known) = self.known.get_mut(id) else { return Ok(()) };
        if known.digests.remove(&pinned(name)) {
            self.inner.remove_digest(&self.lock, id, name)?;
        }
        Ok(())
    }

    /// Removes an image, and it from its names; a name of images for other platforms too stays with those. Its snapshots and
    /// blobs go when they are collected; a build or a container that uses them holds them.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`].
    pub fn remove_image(&mut self, id: &ImageId) -> Result<(), Error> {
        for name in self.names_of(id) {
            self.untag_image(&name, id)?;
        }
        if !self.inner.remove(&self.lock, Kind::Image, &crate::image::key(id))? {
            return Err(Error::NoSuchImage { name: id.to_string() });
        }
        self.family.remove(id);
        self.known.remove(id);
        Ok(())
    }

    /// Makes what an image was before its last steps an image by itself, so that it stays when this one goes. One that is
    /// one already stays as it is.
    pub fn make_whole(&mut self, ancestor: &Image) -> Result<(), Error> {
        if self.family.is_whole(&ancestor.id) {
            return Ok(());
        }
        let Image { config_bytes, snapshots, ancestry, .. } = ancestor;
        self.inner.put_made_image(&self.lock, config_bytes, snapshots, None, ancestry)?;
        self.add(ancestor);
        Ok(())
    }

    fn forget(&mut self, id: &ImageId, name: &Reference) {
        if let Some(known) = self.known.get_mut(id) {
            known.names.remove(name);
        }
    }
}

impl Place for Inventory {
    type Found = ImageId;

    fn by_id(&self, id: &ImageId) -> Result<Option<ImageId>> {
        Ok(self.family.is_here(id).then_some(*id))
    }

    fn by_reference(&self, reference: &Reference) -> Result<Vec<ImageId>> {
        if let Some(ids) = self.names.get(&pinned(&reference.tagged())) {
            return Ok(ids.clone());
        }
        let Some(digest) = reference.digest() else { return Ok(Vec::new()) };
        // As for `Store::find_named`: a digest counts in its own repository only.
        let is_there = |other: &Reference| {
            (other.host(), other.path()) == (reference.host(), reference.path())
        };
        let is_meant = |id: &&ImageId| {
            self.known.get(id).is_some_and(|Known { names, digests, manifest }| {
                let is_its_own = *manifest == Some(*digest);
                names.iter().any(is_there) && (is_its_own || digests.contains(&pinned(reference)))
            })
        };
        let listed = self.listed_in.get(digest).into_iter().flatten();
        Ok(listed.filter(is_meant).copied().collect())
    }

    fn by_digits(&self, digits: &str) -> Result<BTreeSet<ImageId>> {
        Ok(self.family.beginning_with(digits))
    }
}

/// A digest is the same beside any tag.
fn pinned(name: &Reference) -> Reference {
    match name.digest() {
        Some(_) => Reference::parse(&tag::name(name)).unwrap_or_else(|_| name.clone()),
        None => name.clone(),
    }
}

#[cfg(test)]
mod tests;
