//! Tags: the names of images; and finding an image by what people write.
//!
//! A name stands for one image, or for one for each of several platforms: what a registry calls an index. There is no
//! document of it in the store; whoever writes one (`save`, `push`, `type=oci`) makes it of the images that
//! [`Store::find_all`] returns for the name, in that order. So an index has nothing that could disagree with its images.

use std::{collections::BTreeSet, time::SystemTime};

use oci::{Digest, ImageId, Platform, Reference};
use serde::{Deserialize, Serialize};

use crate::{
    Image, Store,
    error::{Error, Result},
    lock::Lock,
    open::Inner,
    record::Kind,
};

/// The body of a tag's record.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TagRecord {
    /// The long form.
    pub(crate) reference: String,
    image: ImageId,
    /// The images for further platforms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<ImageId>,
}

impl TagRecord {
    /// `None` if there is no image.
    fn of(reference: String, mut ids: Vec<ImageId>) -> Option<Self> {
        let mut seen = BTreeSet::new();
        ids.retain(|id| seen.insert(*id));
        let (image, others) = ids.split_first()?;
        Some(Self { reference, image: *image, others: others.to_vec() })
    }

    /// The same name with other images; `None` if there is none.
    pub(crate) fn with(self, ids: Vec<ImageId>) -> Option<Self> {
        Self::of(self.reference, ids)
    }

    pub(crate) fn images(&self) -> impl Iterator<Item = &ImageId> {
        std::iter::once(&self.image).chain(&self.others)
    }
}

impl Store {
    /// Gives an image a name, which it takes from the images that had it; what an image was before becomes one by itself.
    /// Without a tag or a digest in the reference, `latest` is meant. Writes nothing if that is so already.
    pub fn tag(&self, reference: &Reference, id: &ImageId) -> Result<(), Error> {
        self.tag_all(reference, &[*id])
    }

    /// Gives a name to images for several platforms, in the order that an index of them shall have; the name is taken
    /// from the images that had it. No images are no name: nothing changes.
    pub fn tag_all(&self, reference: &Reference, ids: &[ImageId]) -> Result<(), Error> {
        ids.iter().try_for_each(|id| self.make_whole(id))?;
        let lock = self.inner.lock_shared()?;
        self.inner.put_tag(&lock, reference, ids.to_vec())
    }

    /// Gives a name to an image, which it takes from the one for the same platform: those for other platforms keep it.
    pub fn tag_beside(&self, reference: &Reference, image: &Image) -> Result<(), Error> {
        // Exclusive: another process may be adding an image for another platform.
        let lock = self.inner.lock_exclusive()?;
        let platform = image.config.platform();
        let mut ids = Vec::new();
        let mut replaced = false;
        for known in self.inner.images_of_tag(&key(reference))? {
            if !known.config.platform().is_same(&platform) {
                ids.push(known.id);
            } else if !replaced {
                ids.push(image.id);
                replaced = true;
            }
        }
        if !replaced {
            ids.push(image.id);
        }
        self.inner.put_tag(&lock, reference, ids)
    }

    /// Takes a name away; returns the images that had it, none if there was no such name.
    pub fn untag(&self, reference: &Reference) -> Result<Vec<ImageId>, Error> {
        let lock = self.inner.lock_shared()?;
        let key = key(reference);
        let Some(record) = self.inner.get::<TagRecord>(Kind::Tag, &key)? else {
            return Ok(Vec::new());
        };
        self.inner.remove(&lock, Kind::Tag, &key)?;
        Ok(record.images().copied().collect())
    }

    /// Takes a name away from one image; others that have it keep it. Nothing happens if the image does not have it.
    pub fn untag_image(&self, reference: &Reference, id: &ImageId) -> Result<(), Error> {
        let lock = self.inner.lock_exclusive()?;
        let key = key(reference);
        let Some(record) = self.inner.get::<TagRecord>(Kind::Tag, &key)? else { return Ok(()) };
        let staying: Vec<ImageId> = record.images().filter(|known| *known != id).copied().collect();
        if staying.len() == record.images().count() {
            return Ok(());
        }
        match TagRecord::of(record.reference, staying) {
            Some(record) => self.inner.put_locked(&lock, Kind::Tag, &key, &record),
            None => self.inner.remove(&lock, Kind::Tag, &key).map(|_| ()),
        }
    }

    /// Returns all names with their images, in the order of the names; a name of several images comes once for each, in
    /// their order. A name whose image is gone is none.
    pub fn tags(&self) -> Result<Vec<(Reference, ImageId)>, Error> {
        let mut tags = Vec::new();
        for key in self.inner.keys(Kind::Tag)? {
            let Some(record) = self.inner.get::<TagRecord>(Kind::Tag, &key)? else { continue };
            let Ok(reference) = Reference::parse(&record.reference) else { continue };
            let there = record.images().filter(|id| self.inner.keys_contain_image(id));
            tags.extend(there.map(|id| (reference.clone(), *id)));
        }
        // Stable: the images of a name stay in their order.
        tags.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(tags)
    }

    /// Returns when an image was given a name last, of those it has.
    pub fn last_tagged(&self, id: &ImageId) -> Result<Option<SystemTime>, Error> {
        let mut last = None;
        for key in self.inner.keys(Kind::Tag)? {
            let Some(found) = self.inner.read::<TagRecord>(Kind::Tag, &key)? else { continue };
            if found.value.images().any(|tagged| tagged == id) {
                last = last.max(Some(found.used));
            }
        }
        Ok(last)
    }

    /// Returns the images that have exactly this name, none if there is no such name; a digest stands for the images
    /// whose manifest has it, or that a registry has under it, if they have a name in the same repository.
    pub fn find_named(&self, reference: &Reference) -> Result<Vec<Image>, Error> {
        let images = self.inner.images_of_tag(&key(reference))?;
        let Some(digest) = reference.digest().filter(|_| images.is_empty()) else {
            return Ok(images);
        };
        let is_there = |other: &Reference| {
            (other.host(), other.path()) == (reference.host(), reference.path())
        };
        let has_digest = |image: &Image| {
            image.manifest.as_ref().is_some_and(|manifest| manifest.digest == *digest)
                || image
                    .digests
                    .iter()
                    .any(|known| is_there(known) && known.digest() == Some(digest))
        };
        let mut found: Vec<Image> = Vec::new();
        for (other, id) in self.tags()? {
            if is_there(&other) && found.iter().all(|image| image.id != id) {
                found.extend(self.inner.image(&id)?.filter(has_digest));
            }
        }
        Ok(found)
    }

    /// Returns the image of this name that a platform likes best (`oci::Platform::preference`), `None` if it runs none of
    /// them.
    pub fn find_platform(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Image>, Error> {
        let images = self.find_named(reference)?;
        Ok(platform.choose(&images, platform_of).cloned())
    }

    /// Returns the image of this name: of several, that of this machine's platform, else the first one.
    pub fn find_reference(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        Ok(own(self.find_named(reference)?))
    }

    /// Finds an image by its id, by a reference in the short or the long form, or by the beginning of its id, in this
    /// order. Of several images of one name it is that of this machine's platform, else the first one.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::AmbiguousId`] if several ids begin like this.
    pub fn find(&self, name: &str) -> Result<Image, Error> {
        let found = own(self.find_all(name)?);
        found.ok_or_else(|| Error::NoSuchImage { name: name.to_owned() })
    }

    /// Finds what [`Store::find`] does, and of a name all its images, in their order. Several are what an index lists.
    ///
    /// # Errors
    /// Those of [`Store::find`]. There is one image at least.
    pub fn find_all(&self, name: &str) -> Result<Vec<Image>, Error> {
        if let Some(image) = self.find_id(name)? {
            return Ok(vec![image]);
        }
        if let Ok(reference) = Reference::parse(name) {
            let images = self.find_named(&reference)?;
            if !images.is_empty() {
                return Ok(images);
            }
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        let image = self.find_prefix(prefix)?;
        Ok(vec![image.ok_or_else(|| Error::NoSuchImage { name: name.to_owned() })?])
    }

    fn find_id(&self, name: &str) -> Result<Option<Image>> {
        let parsed = ImageId::parse(name).or_else(|_| ImageId::parse(&format!("sha256:{name}")));
        parsed.map_or(Ok(None), |id| self.inner.image(&id))
    }

    fn find_prefix(&self, prefix: &str) -> Result<Option<Image>> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if prefix.is_empty() || !prefix.bytes().all(is_digit) {
            return Ok(None);
        }
        let begins = |id: &ImageId| id.as_digest().to_hex().starts_with(prefix);
        let mut candidates: Vec<ImageId> =
            self.inner.image_ids()?.into_iter().filter(begins).collect();
        let ancestors = self.inner.ancestors(begins)?;
        let known = candidates.clone();
        candidates.extend(ancestors.iter().map(|it| it.id).filter(|id| !known.contains(id)));
        match candidates[..] {
            [] => Ok(None),
            [id] => self.inner.image(&id),
            _ => Err(Error::AmbiguousId { prefix: prefix.to_owned(), candidates }),
        }
    }
}

impl Inner {
    /// Writes a tag, unless it is so already. Of its images one at least has to be there.
    fn put_tag(&self, lock: &Lock, reference: &Reference, ids: Vec<ImageId>) -> Result<()> {
        if let Some(id) = ids.iter().find(|id| !self.keys_contain_image(id)) {
            return Err(Error::NoSuchImage { name: id.to_string() });
        }
        let Some(record) = TagRecord::of(name(reference), ids) else { return Ok(()) };
        let key = key(reference);
        if self.get::<TagRecord>(Kind::Tag, &key)?.as_ref() == Some(&record) {
            return Ok(());
        }
        self.put_locked(lock, Kind::Tag, &key, &record)
    }

    /// Takes images out of all names; returns the names that they had.
    pub(crate) fn untag_images(
        &self,
        lock: &Lock,
        goes: impl Fn(&ImageId) -> bool,
    ) -> Result<Vec<Reference>> {
        let mut names = Vec::new();
        for key in self.keys(Kind::Tag)? {
            let Some(record) = self.get::<TagRecord>(Kind::Tag, &key)? else { continue };
            if !record.images().any(&goes) {
                continue;
            }
            names.extend(Reference::parse(&record.reference));
            let staying = record.images().filter(|id| !goes(id)).copied().collect();
            match TagRecord::of(record.reference, staying) {
                Some(record) => self.put_locked(lock, Kind::Tag, &key, &record)?,
                None => drop(self.remove(lock, Kind::Tag, &key)?),
            }
        }
        names.sort();
        Ok(names)
    }

    /// Returns the images that have names.
    pub(crate) fn tagged_images(&self) -> Result<BTreeSet<ImageId>> {
        let mut ids = BTreeSet::new();
        for key in self.keys(Kind::Tag)? {
            if let Some(record) = self.get::<TagRecord>(Kind::Tag, &key)? {
                ids.extend(record.images());
            }
        }
        Ok(ids)
    }

    fn images_of_tag(&self, key: &str) -> Result<Vec<Image>> {
        let Some(record) = self.get::<TagRecord>(Kind::Tag, key)? else { return Ok(Vec::new()) };
        record.images().filter_map(|id| self.image(id).transpose()).collect()
    }

    fn keys_contain_image(&self, id: &ImageId) -> bool {
        let key = crate::image::key(id);
        crate::layout::Tree::LOOKUP
            .into_iter()
            .any(|tree| self.layout.record(tree, Kind::Image, &key).exists())
    }
}

/// Of the images of one name, that of this machine's platform, else the first one.
fn own(images: Vec<Image>) -> Option<Image> {
    let own = Platform::host().choose(&images, platform_of).cloned();
    own.or_else(|| images.into_iter().next())
}

fn platform_of(image: &Image) -> Option<Platform> {
    Some(image.config.platform())
}

/// Returns the name under which a reference is kept: with the tag that is meant; beside a digest, a tag means nothing.
fn name(reference: &Reference) -> String {
    let repository = format!("{}/{}", reference.host(), reference.path());
    match reference.digest() {
        Some(digest) => format!("{repository}@{digest}"),
        None => format!("{repository}:{}", reference.tag_or_latest()),
    }
}

/// Returns the key of a tag's record: a name can be longer than a file's, so it is hashed.
pub(crate) fn key(reference: &Reference) -> String {
    Digest::of(name(reference).as_bytes()).to_hex()
}

#[cfg(test)]
mod tests;
