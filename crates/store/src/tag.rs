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

/// How many digits of an id people read in listings.
const LISTED_DIGITS: usize = 12;

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
        // Somebody may have removed one since it was looked up: a name of nothing is never written.
        if let Some(gone) = self.inner.missing_image(ids)? {
            return Err(Error::NoSuchImage { name: gone.to_string() });
        }
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

    /// Returns all names with their images, in the order of the names; a name of several images comes once for each, in
    /// their order. A name whose image is gone is none.
    pub fn tags(&self) -> Result<Vec<(Reference, ImageId)>, Error> {
        let mut tags = Vec::new();
        let ids = self.inner.image_ids()?;
        for key in self.inner.keys(Kind::Tag)? {
            let Some(record) = self.inner.get::<TagRecord>(Kind::Tag, &key)? else { continue };
            let Ok(reference) = Reference::parse(&record.reference) else { continue };
            let there = record.images().filter(|id| ids.contains(id));
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
        look_up(self, name)
    }
}

/// Where images are looked up by what people write.
pub(crate) trait Place {
    /// What is found of an image.
    type Found;

    /// The image of an id, or what an image was before.
    fn by_id(&self, id: &ImageId) -> Result<Option<Self::Found>>;

    /// The images of a name, in their order.
    fn by_reference(&self, reference: &Reference) -> Result<Vec<Self::Found>>;

    /// The ids that begin with these digits, also of what images were before.
    fn by_digits(&self, digits: &str) -> Result<BTreeSet<ImageId>>;
}

/// Finds images by an id, a reference or the beginning of an id, in this order; one at least.
pub(crate) fn look_up<P: Place>(place: &P, name: &str) -> Result<Vec<P::Found>> {
    let absent = || Error::NoSuchImage { name: name.to_owned() };
    let id = ImageId::parse(name).or_else(|_| ImageId::parse(&format!("sha256:{name}")));
    if let Ok(id) = id
        && let Some(found) = place.by_id(&id)?
    {
        return Ok(vec![found]);
    }
    if let Ok(reference) = Reference::parse(name) {
        let found = place.by_reference(&reference)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if prefix.is_empty() || !prefix.bytes().all(is_digit) {
        return Err(absent());
    }
    let candidates: Vec<ImageId> = place.by_digits(prefix)?.into_iter().collect();
    match candidates[..] {
        [] => Err(absent()),
        [id] => Ok(vec![place.by_id(&id)?.ok_or_else(absent)?]),
        _ => Err(Error::AmbiguousId { prefix: prefix.to_owned(), candidates }),
    }
}

impl Place for Store {
    type Found = Image;

    fn by_id(&self, id: &ImageId) -> Result<Option<Image>> {
        self.inner.image(id)
    }

    fn by_reference(&self, reference: &Reference) -> Result<Vec<Image>> {
        self.find_named(reference)
    }

    fn by_digits(&self, digits: &str) -> Result<BTreeSet<ImageId>> {
        let begins = |id: &ImageId| id.as_digest().to_hex().starts_with(digits);
        let mut found: BTreeSet<ImageId> =
            self.inner.image_ids()?.into_iter().filter(begins).collect();
        // So many digits, which listings print, mean one: then the records need not be read to see what images were before.
        if found.is_empty() || digits.len() < LISTED_DIGITS {
            found.extend(self.inner.ancestors(begins)?.iter().map(|it| it.id));
        }
        Ok(found)
    }
}

impl Inner {
    /// Writes a tag, unless it is so already. Of its images one at least has to be there.
    fn put_tag(&self, lock: &Lock, reference: &Reference, ids: Vec<ImageId>) -> Result<()> {
        if let Some(id) = self.missing_image(&ids)? {
            return Err(Error::NoSuchImage { name: id.to_string() });
        }
        let Some(record) = TagRecord::of(name(reference), ids) else { return Ok(()) };
        let key = key(reference);
        if self.get::<TagRecord>(Kind::Tag, &key)?.as_ref() == Some(&record) {
            return Ok(());
        }
        self.put_locked(lock, Kind::Tag, &key, &record)
    }

    /// Takes a name away from all images that have it.
    pub(crate) fn untag(&self, lock: &Lock, reference: &Reference) -> Result<()> {
        self.remove(lock, Kind::Tag, &key(reference)).map(drop)
    }

    /// Takes a name away from one image; others that have it keep it. Nothing happens if the image does not have it.
    pub(crate) fn untag_image(
        &self,
        lock: &Lock,
        reference: &Reference,
        id: &ImageId,
    ) -> Result<()> {
        let key = key(reference);
        match self.get::<TagRecord>(Kind::Tag, &key)? {
            Some(record) => self.take_out(lock, &key, record, |known| known == id),
            None => Ok(()),
        }
    }

    /// Takes images out of a name.
    fn take_out(
        &self,
        lock: &Lock,
        key: &str,
        record: TagRecord,
        goes: impl Fn(&ImageId) -> bool,
    ) -> Result<()> {
        let staying: Vec<ImageId> = record.images().filter(|id| !goes(id)).copied().collect();
        if staying.len() == record.images().count() {
            return Ok(());
        }
        match TagRecord::of(record.reference, staying) {
            Some(record) => self.put_locked(lock, Kind::Tag, key, &record),
            None => self.remove(lock, Kind::Tag, key).map(drop),
        }
    }

    /// Takes images out of all names.
    pub(crate) fn untag_images(&self, lock: &Lock, goes: impl Fn(&ImageId) -> bool) -> Result<()> {
        for key in self.keys(Kind::Tag)? {
            if let Some(record) = self.get::<TagRecord>(Kind::Tag, &key)? {
                self.take_out(lock, &key, record, &goes)?;
            }
        }
        Ok(())
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

    /// Whether there is a record of an image.
    pub(crate) fn has_image_record(&self, id: &ImageId) -> Result<bool> {
        let key = crate::image::key(id);
        for tree in crate::layout::Tree::LOOKUP {
            let path = self.layout.record(tree, Kind::Image, &key);
            if path.try_exists().map_err(Error::io("find", path))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the first of some images that there is no record of.
    fn missing_image(&self, ids: &[ImageId]) -> Result<Option<ImageId>> {
        for id in ids {
            if !self.has_image_record(id)? {
                return Ok(Some(*id));
            }
        }
        Ok(None)
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
pub(crate) fn name(reference: &Reference) -> String {
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
