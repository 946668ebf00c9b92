//! Tags: the names of images; and finding an image by what people write.

use oci::{Digest, ImageId, Reference};
use serde::{Deserialize, Serialize};

use crate::{
    Image, Store,
    error::{Error, Result},
    record::Kind,
};

/// The body of a tag's record.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct TagRecord {
    /// The long form.
    reference: String,
    image: ImageId,
}

impl Store {
    /// Gives an image a name, which it takes from the image that had it. Without a tag or a digest in the reference,
    /// `latest` is meant. Writes nothing if that is so already.
    pub fn tag(&self, reference: &Reference, id: &ImageId) -> Result<(), Error> {
        let record = TagRecord { reference: name(reference), image: *id };
        let lock = self.inner.lock_shared()?;
        if !self.inner.keys_contain_image(id) {
            return Err(Error::NoSuchImage { name: id.to_string() });
        }
        let key = key(reference);
        if self.inner.get::<TagRecord>(Kind::Tag, &key)?.as_ref() == Some(&record) {
            return Ok(());
        }
        self.inner.put_locked(&lock, Kind::Tag, &key, &record)
    }

    /// Takes a name away; returns the image that had it.
    pub fn untag(&self, reference: &Reference) -> Result<Option<ImageId>, Error> {
        let lock = self.inner.lock_shared()?;
        let key = key(reference);
        let Some(record) = self.inner.get::<TagRecord>(Kind::Tag, &key)? else { return Ok(None) };
        self.inner.remove(&lock, Kind::Tag, &key)?;
        Ok(Some(record.image))
    }

    /// Returns all names with their images, in the order of the names. A name whose image is gone is none.
    pub fn tags(&self) -> Result<Vec<(Reference, ImageId)>, Error> {
        let mut tags = Vec::new();
        for key in self.inner.keys(Kind::Tag)? {
            let Some(record) = self.inner.get::<TagRecord>(Kind::Tag, &key)? else { continue };
            let Ok(reference) = Reference::parse(&record.reference) else { continue };
            if self.inner.keys_contain_image(&record.image) {
                tags.push((reference, record.image));
            }
        }
        tags.sort();
        Ok(tags)
    }

    /// Returns the image that has exactly this name; a digest stands for the image whose manifest has it, if it has a
    /// name in the same repository.
    pub fn find_reference(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        if let Some(record) = self.inner.get::<TagRecord>(Kind::Tag, &key(reference))?
            && let Some(image) = self.inner.image(&record.image)?
        {
            return Ok(Some(image));
        }
        let Some(digest) = reference.digest() else { return Ok(None) };
        for (other, id) in self.tags()? {
            if (other.host(), other.path()) != (reference.host(), reference.path()) {
                continue;
            }
            let image = self.inner.image(&id)?;
            let has_digest = |image: &Image| {
                image.manifest.as_ref().is_some_and(|manifest| manifest.digest == *digest)
            };
            if let Some(image) = image.filter(has_digest) {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Finds an image by its id, by a reference in the short or the long form, or by the beginning of its id, in this
    /// order.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::AmbiguousId`] if several ids begin like this.
    pub fn find(&self, name: &str) -> Result<Image, Error> {
        if let Some(image) = self.find_id(name)? {
            return Ok(image);
        }
        if let Ok(reference) = Reference::parse(name)
            && let Some(image) = self.find_reference(&reference)?
        {
            return Ok(image);
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        self.find_prefix(prefix)?.ok_or_else(|| Error::NoSuchImage { name: name.to_owned() })
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
        let candidates: Vec<ImageId> = self.inner.image_ids()?.into_iter().filter(begins).collect();
        match candidates[..] {
            [] => Ok(None),
            [id] => self.inner.image(&id),
            _ => Err(Error::AmbiguousId { prefix: prefix.to_owned(), candidates }),
        }
    }
}

impl crate::open::Inner {
    fn keys_contain_image(&self, id: &ImageId) -> bool {
        let key = crate::image::key(id);
        crate::layout::Tree::LOOKUP
            .into_iter()
            .any(|tree| self.layout.record(tree, Kind::Image, &key).exists())
    }
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
mod tests {
    use oci::ManifestDigest;

    use super::*;
    use crate::{StoredManifest, testing::Scratch};

    fn reference(value: &str) -> Reference {
        Reference::parse(value).unwrap()
    }

    /// Stores an image without layers, different for each number.
    fn image(store: &Store, number: u64) -> ImageId {
        store.put_image(format!(r#"{{"author":"{number}"}}"#).as_bytes(), &[], None).unwrap()
    }

    #[test]
    fn a_name_is_found_in_all_its_forms() {
        let scratch = Scratch::new("tag");
        let store = scratch.store();
        let (one, two) = (image(&store, 1), image(&store, 2));
        store.tag(&reference("app"), &one).unwrap();
        store.tag(&reference("host:5000/a/b:v1"), &two).unwrap();
        let hex = one.as_digest().to_hex();
        for name in [
            "app",
            "app:latest",
            "library/app",
            "docker.io/library/app:latest",
            &one.to_string(),
            &hex,
            &hex[..12],
            &format!("sha256:{}", &hex[..12]),
        ] {
            assert_eq!(store.find(name).unwrap().id, one, "{name}");
        }
        assert_eq!(store.find("host:5000/a/b:v1").unwrap().id, two);
        for name in ["app:1", "host:5000/a/b", "", "App", "sha256:", "zz", &"0".repeat(64)] {
            let found = store.find(name);
            assert!(matches!(found, Err(Error::NoSuchImage { .. })), "{name}: {found:?}");
        }
    }

    #[test]
    fn the_beginning_of_several_ids_is_ambiguous() {
        let scratch = Scratch::new("tag-prefix");
        let store = scratch.store();
        // Seventeen images: two at least begin with the same digit.
        let ids: Vec<ImageId> = (0..17).map(|number| image(&store, number)).collect();
        let first = |id: &ImageId| id.as_digest().to_hex()[..1].to_owned();
        let shared = ids
            .iter()
            .map(first)
            .find(|digit| ids.iter().filter(|id| first(id) == *digit).count() > 1)
            .unwrap();
        match store.find(&shared) {
            Err(Error::AmbiguousId { prefix, candidates }) => {
                assert_eq!(prefix, shared);
                assert!(candidates.len() > 1);
            }
            other => panic!("{other:?}"),
        }
        // A name goes before the beginning of an id.
        store.tag(&reference(&shared), &ids[0]).unwrap();
        assert_eq!(store.find(&shared).unwrap().id, ids[0]);
    }

    #[test]
    fn a_name_belongs_to_one_image() {
        let scratch = Scratch::new("tag-move");
        let store = scratch.store();
        let (one, two) = (image(&store, 1), image(&store, 2));
        store.tag(&reference("app"), &one).unwrap();
        store.tag(&reference("app:latest"), &two).unwrap();
        assert_eq!(store.tags().unwrap(), [(reference("app:latest"), two)]);
        assert_eq!(store.untag(&reference("app")).unwrap(), Some(two));
        assert_eq!(store.untag(&reference("app")).unwrap(), None);
        assert!(store.tags().unwrap().is_empty());
        let nowhere = ImageId::new(Digest::of(b"nowhere"));
        let wrong = store.tag(&reference("app"), &nowhere);
        assert!(matches!(wrong, Err(Error::NoSuchImage { .. })), "{wrong:?}");
    }

    #[test]
    fn a_digest_counts_in_its_own_repository_only() {
        let scratch = Scratch::new("tag-digest");
        let store = scratch.store();
        let digest = ManifestDigest::new(Digest::of(b"manifest"));
        let manifest =
            StoredManifest { digest, media_type: oci::media_type::OCI_MANIFEST.to_owned() };
        let id = store.put_image(b"{}", &[], Some(&manifest)).unwrap();
        store.tag(&reference("host.example/a:1"), &id).unwrap();
        let pinned = |name: &str| store.find(&format!("{name}@{digest}"));
        assert_eq!(pinned("host.example/a").unwrap().id, id);
        assert_eq!(pinned("host.example/a:2").unwrap().id, id);
        assert!(matches!(pinned("host.example/b"), Err(Error::NoSuchImage { .. })));

        // The digest of an index, under which it was pulled.
        let index = ManifestDigest::new(Digest::of(b"index"));
        store.tag(&reference(&format!("host.example/a:1@{index}")), &id).unwrap();
        assert_eq!(store.find(&format!("host.example/a@{index}")).unwrap().id, id);
        assert_eq!(store.tags().unwrap().len(), 2);
    }
}
