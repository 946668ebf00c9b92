//! Ancestors: what an image was before its last steps. Each is an image that can be looked into and run.
//!
//! Nothing is stored of an ancestor but what its image does not say: the config after that step, and its id. Its layers and
//! its history are the beginning of the image's, so its own config document is made when somebody asks. The id is that
//! document's digest, and is computed when the image is stored: to find one ancestor of an image with hundreds of steps,
//! nobody has to make hundreds of documents. A build with the same first steps has the same ancestors.

use std::{collections::BTreeSet, sync::Arc};

use oci::{Config, Digest, ImageConfig, ImageId, json};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Image;
use crate::{
    Store,
    error::{Error, Result},
    open::Inner,
};

/// How an image was made here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ancestry {
    /// The image that the first step was made on; `None` for what began with nothing.
    pub base: Option<ImageId>,
    /// What it was after each step but the last, the first step first.
    pub ancestors: Vec<Ancestor>,
}

/// What an image was after one of its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// How many entries its history has.
    pub history: usize,
    /// How many layers it has.
    pub layers: usize,
    /// What it says of itself.
    pub config: Arc<Config>,
    /// The digest of its document, once the image is stored; `None` too for what does not fit the image.
    pub id: Option<ImageId>,
}

impl Ancestry {
    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.base.is_none() && self.ancestors.is_empty()
    }

    /// Whether it is the same but for the ids.
    fn is_as(&self, other: &Self) -> bool {
        fn parts(it: &Ancestor) -> (usize, usize, &Config) {
            (it.history, it.layers, it.config.as_ref())
        }
        self.base == other.base
            && self.ancestors.iter().map(parts).eq(other.ancestors.iter().map(parts))
    }

    /// Returns it with the ids of the ancestors of an image; `known` is what is known of the same image already.
    pub(super) fn with_ids(&self, image: &ImageConfig, known: Option<&Self>) -> Self {
        let has_ids = |known: &&Self| known.ancestors.iter().all(|ancestor| ancestor.id.is_some());
        if let Some(known) = known.filter(has_ids).filter(|known| known.is_as(self)) {
            return known.clone();
        }
        let mut whole = self.clone();
        // From the last step back, so that one document is enough: each is the one behind it, cut.
        let mut document = image.clone();
        let mut length = (usize::MAX, usize::MAX);
        for ancestor in whole.ancestors.iter_mut().rev() {
            if ancestor.history > length.0 || ancestor.layers > length.1 {
                document = image.clone();
            }
            length = (ancestor.history, ancestor.layers);
            let fits = cut(&mut document, ancestor);
            ancestor.id = fits.then(|| ImageId::new(Digest::of(&json::to_bytes(&document))));
        }
        whole
    }
}

/// Makes an image's document what it was as an ancestor; `false` if there is less of it than that.
fn cut(document: &mut ImageConfig, ancestor: &Ancestor) -> bool {
    let Ancestor { history, layers, config, .. } = ancestor;
    if document.history.len() < *history || document.rootfs.diff_ids.len() < *layers {
        return false;
    }
    document.history.truncate(*history);
    document.rootfs.diff_ids.truncate(*layers);
    document.created = document.history.last().and_then(|entry| entry.created.clone());
    if document.config != **config {
        document.config = config.as_ref().clone();
    }
    true
}

/// As it is stored: a config only where it is another one than before.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<ImageId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ancestors: Vec<StoredAncestor>,
}

#[derive(Serialize, Deserialize)]
struct StoredAncestor {
    history: usize,
    layers: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<Config>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<ImageId>,
}

impl Serialize for Ancestry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut before: Option<&Config> = None;
        let mut ancestors = Vec::with_capacity(self.ancestors.len());
        for Ancestor { history, layers, config, id } in &self.ancestors {
            let is_new = before != Some(config.as_ref());
            let (history, layers, config, id) = (*history, *layers, config.as_ref(), *id);
            let stored = is_new.then(|| config.clone());
            ancestors.push(StoredAncestor { history, layers, config: stored, id });
            before = Some(config);
        }
        Stored { base: self.base, ancestors }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ancestry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let mut config: Arc<Config> = Arc::default();
        let mut ancestors = Vec::with_capacity(stored.ancestors.len());
        for ancestor in stored.ancestors {
            if let Some(new) = ancestor.config {
                config = Arc::new(new);
            }
            let StoredAncestor { history, layers, id, .. } = ancestor;
            ancestors.push(Ancestor { history, layers, config: Arc::clone(&config), id });
        }
        Ok(Self { base: stored.base, ancestors })
    }
}

impl Image {
    /// Returns what the image was after the step of this number, counted from the first; `None` if there is none, or if it
    /// does not fit the image.
    pub fn ancestor(&self, number: usize) -> Option<Self> {
        let ancestor = self.ancestry.ancestors.get(number)?;
        let mut config = self.config.clone();
        if !cut(&mut config, ancestor) {
            return None;
        }
        let config_bytes = json::to_bytes(&config);
        let ancestry = Ancestry {
            base: self.ancestry.base,
            ancestors: self.ancestry.ancestors[..number].to_vec(),
        };
        Some(Self {
            id: ImageId::new(Digest::of(&config_bytes)),
            config,
            config_bytes,
            snapshots: self.snapshots.get(..ancestor.layers)?.to_vec(),
            manifest: None,
            digests: BTreeSet::new(),
            ancestry,
            contents: None,
        })
    }

    /// Returns the ids of all that the image was before, the first step first.
    pub fn ancestor_ids(&self) -> impl DoubleEndedIterator<Item = ImageId> + '_ {
        self.numbered_ancestors().map(|(_, id)| id)
    }

    /// Returns the numbers and the ids of what the image was before.
    pub(super) fn numbered_ancestors(
        &self,
    ) -> impl DoubleEndedIterator<Item = (usize, ImageId)> + '_ {
        // Records of an earlier version have no ids.
        let id = |number: usize, ancestor: &Ancestor| {
            ancestor.id.or_else(|| self.ancestor(number).map(|ancestor| ancestor.id))
        };
        let ancestors = self.ancestry.ancestors.iter().enumerate();
        ancestors.filter_map(move |(number, ancestor)| Some((number, id(number, ancestor)?)))
    }
}

impl Inner {
    /// Returns the ancestors of all images whose ids are wanted, each once.
    pub(crate) fn ancestors(&self, is_wanted: impl Fn(&ImageId) -> bool) -> Result<Vec<Image>> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        self.each_image(|image| {
            for (number, id) in image.numbered_ancestors() {
                if is_wanted(&id) && seen.insert(id) {
                    found.extend(image.ancestor(number));
                }
            }
        })?;
        Ok(found)
    }
}

impl Store {
    /// Makes an ancestor an image by itself, so that it stays when its image goes. One that is one already stays as it is.
    pub fn make_whole(&self, id: &ImageId) -> Result<(), Error> {
        if !self.inner.has_image_record(id)?
            && let Some(image) = self.inner.image(id)?
        {
            self.put_made_image(&image.config_bytes, &image.snapshots, None, &image.ancestry)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use oci::{DiffId, History, Reference};

    use super::*;
    use crate::{Family, Outline, SnapshotId, testing::Scratch};

    /// An image that RUN, ENV and RUN have made on a base.
    fn built(store: &Store, base: ImageId, last: &str) -> (ImageId, Vec<SnapshotId>) {
        let layer = || store.create_snapshot().unwrap().seal().unwrap();
        let snapshots = vec![layer(), layer()];
        let entry = |created_by: &str, empty_layer| History {
            created: Some("2026-01-02T03:04:05Z".to_owned()),
            created_by: created_by.to_owned(),
            empty_layer,
            ..History::default()
        };
        let with = |env: &[&str]| {
            Arc::new(Config {
                env: env.iter().map(|e| (*e).to_owned()).collect(),
                ..Config::default()
            })
        };
        let config = ImageConfig {
            config: Config { env: vec!["A=1".to_owned()], ..Config::default() },
            history: vec![entry("RUN one", false), entry("ENV A=1", true), entry(last, false)],
            rootfs: oci::RootFs {
                diff_ids: vec![DiffId::new(Digest::of(b"1")), DiffId::new(Digest::of(b"2"))],
                ..oci::RootFs::default()
            },
            ..ImageConfig::default()
        };
        let ancestors = vec![
            Ancestor { history: 1, layers: 1, config: with(&[]), id: None },
            Ancestor { history: 2, layers: 1, config: with(&["A=1"]), id: None },
        ];
        let ancestry = Ancestry { base: Some(base), ancestors };
        let bytes = json::to_bytes(&config);
        (store.put_made_image(&bytes, &snapshots, None, &ancestry).unwrap(), snapshots)
    }

    #[test]
    fn an_ancestor_is_an_image() {
        let scratch = Scratch::new("ancestor");
        let store = scratch.store();
        let base = store.put_image(b"{}", &[], None).unwrap();
        let (id, snapshots) = built(&store, base, "RUN two");
        let image = store.image(&id).unwrap().unwrap();
        let before = [0, 1].map(|number| image.ancestor(number).unwrap());
        assert_eq!(image.ancestor_ids().collect::<Vec<_>>(), before.each_ref().map(|it| it.id));
        let outlines: Vec<Outline> = Outline::of_ancestors(&Arc::new(image)).collect();
        for (outline, ancestor) in outlines.iter().zip(&before) {
            assert_eq!(outline.id(), ancestor.id);
            assert_eq!(outline.created(), ancestor.config.created.as_deref());
            assert_eq!(outline.steps(), ancestor.config.history.len());
            assert_eq!(outline.snapshots(), ancestor.snapshots);
            assert_eq!(*outline.config(), ancestor.config.config);
            assert!(!outline.is_image() && outline.image().id == id);
        }
        for ancestor in &before {
            assert_eq!(store.image(&ancestor.id).unwrap().as_ref(), Some(ancestor));
            assert_eq!(ancestor.id, ImageId::new(Digest::of(&ancestor.config_bytes)));
            assert_eq!(ancestor.snapshots, snapshots[..1]);
            let hex = ancestor.id.as_digest().to_hex();
            assert_eq!(store.find(&hex[..12]).unwrap().id, ancestor.id);
            assert!(!store.is_whole_image(&ancestor.id).unwrap());
        }
        assert_eq!(before[0].config.history.len(), 1);
        assert_eq!(before[0].config.config.env, [""; 0]);
        assert_eq!(before[1].config.config.env, ["A=1"]);
        assert_eq!(store.images().unwrap().len(), 2);

        let family = Family::of(&store.images().unwrap());
        assert_eq!(family.parent(&id), Some(before[1].id));
        assert_eq!(family.parent(&before[1].id), Some(before[0].id));
        assert_eq!(family.parent(&before[0].id), Some(base));
        assert_eq!(family.parent(&base), None);
        for image in store.images().unwrap().iter().chain(&before) {
            assert_eq!(store.parent(image).unwrap(), family.parent(&image.id));
        }
        assert!(family.has_children(&base) && !family.has_children(&id));
        assert!(before.iter().all(|it| family.is_ancestor(&it.id)));
    }

    #[test]
    fn a_record_without_ids_is_as_good() {
        let scratch = Scratch::new("ancestor-ids");
        let store = scratch.store();
        let base = store.put_image(b"{}", &[], None).unwrap();
        let (id, _) = built(&store, base, "RUN two");
        let image = store.image(&id).unwrap().unwrap();
        let mut earlier = image.clone();
        earlier.ancestry.ancestors.iter_mut().for_each(|ancestor| ancestor.id = None);
        assert_eq!(earlier.ancestor_ids().count(), 2);
        assert!(earlier.ancestor_ids().eq(image.ancestor_ids()));
        // Made again, it is what it was.
        let again = store.put_made_image(
            &earlier.config_bytes,
            &earlier.snapshots,
            None,
            &earlier.ancestry,
        );
        assert_eq!(again.unwrap(), id);
        assert_eq!(store.image(&id).unwrap(), Some(image));
    }

    #[test]
    fn two_images_share_their_first_steps() {
        let scratch = Scratch::new("ancestor-shared");
        let store = scratch.store();
        let base = store.put_image(b"{}", &[], None).unwrap();
        let (one, _) = built(&store, base, "RUN two");
        let (two, _) = built(&store, base, "RUN three");
        assert_ne!(one, two);
        let family = Family::of(&store.images().unwrap());
        let before = family.parent(&one).unwrap();
        assert_eq!(family.parent(&two), Some(before));
        assert!(family.is_ancestor(&before));
    }

    #[test]
    fn a_name_makes_it_stay() {
        let scratch = Scratch::new("ancestor-tag");
        let store = scratch.store();
        let base = store.put_image(b"{}", &[], None).unwrap();
        let (id, snapshots) = built(&store, base, "RUN two");
        let [first, second] =
            [0, 1].map(|n| store.image(&id).unwrap().unwrap().ancestor(n).unwrap());
        store.tag(&Reference::parse("step").unwrap(), &second.id).unwrap();
        store.inventory().unwrap().remove_image(&id).unwrap();
        assert_eq!(store.find("step").unwrap(), second);
        assert_eq!(store.image(&first.id).unwrap(), Some(first));
        assert_eq!(store.find("step").unwrap().snapshots, snapshots[..1]);
    }

    #[test]
    fn what_holds_an_ancestor_holds_its_layers() {
        let scratch = Scratch::new("ancestor-lease");
        let store = scratch.store();
        let base = store.put_image(b"{}", &[], None).unwrap();
        let (id, snapshots) = built(&store, base, "RUN two");
        let first = store.image(&id).unwrap().unwrap().ancestor(0).unwrap();
        drop(store);
        let store = scratch.store();
        let lease = store.lease().unwrap();
        lease.hold_image(&first.id).unwrap();
        store.inventory().unwrap().remove_image(&id).unwrap();
        let all = crate::Collect {
            images: crate::ImageRule::All,
            cache: crate::CacheRule::All,
            mounts: false,
        };
        scratch.store().collect(&all).unwrap();
        assert!(store.has_snapshot(&snapshots[0]).unwrap());
        assert!(!store.has_snapshot(&snapshots[1]).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_no_ancestor() {
        let scratch = Scratch::new("ancestor-wrong");
        let store = scratch.store();
        let config = Arc::default();
        let ancestor =
            |history, layers| Ancestor { history, layers, config: Arc::clone(&config), id: None };
        let ancestors = vec![ancestor(1, 0), ancestor(0, 1)];
        let ancestry = Ancestry { base: None, ancestors };
        let id = store.put_made_image(b"{}", &[], None, &ancestry).unwrap();
        let image = store.image(&id).unwrap().unwrap();
        assert_eq!(
            (image.ancestor_ids().count(), image.ancestor(0), image.ancestor(1)),
            (0, None, None)
        );
        assert_eq!(Family::of(&store.images().unwrap()).parent(&id), None);
    }
}
