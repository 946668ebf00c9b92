//! Ancestors: what an image was before its last steps. Each is an image that can be looked into and run.
//!
//! Nothing is stored of an ancestor but what its image does not say: the config after that step. Its layers and its history
//! are the beginning of the image's, so its own config document, and the id that is that document's digest, are made when
//! somebody asks. A build with the same first steps has the same ancestors.

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
}

impl Ancestry {
    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.base.is_none() && self.ancestors.is_empty()
    }
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
}

impl Serialize for Ancestry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut before: Option<&Config> = None;
        let mut ancestors = Vec::with_capacity(self.ancestors.len());
        for Ancestor { history, layers, config } in &self.ancestors {
            let is_new = before != Some(config.as_ref());
            let (history, layers, config) = (*history, *layers, config.as_ref());
            let stored = is_new.then(|| config.clone());
            ancestors.push(StoredAncestor { history, layers, config: stored });
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
            let StoredAncestor { history, layers, .. } = ancestor;
            ancestors.push(Ancestor { history, layers, config: Arc::clone(&config) });
        }
        Ok(Self { base: stored.base, ancestors })
    }
}

impl Image {
    /// Returns what the image was after the step of this number, counted from the first; `None` if there is none, or if it
    /// does not fit the image.
    pub fn ancestor(&self, number: usize) -> Option<Self> {
        let Ancestor { history, layers, config } = self.ancestry.ancestors.get(number)?;
        let entries = self.config.history.get(..*history)?;
        let snapshots = self.snapshots.get(..*layers)?;
        let mut document = ImageConfig {
            config: config.as_ref().clone(),
            created: entries.last().and_then(|entry| entry.created.clone()),
            history: entries.to_vec(),
            // The longest part is not copied to be cut.
            rootfs: oci::RootFs { diff_ids: Vec::new(), ..self.config.rootfs.clone() },
            ..self.config.clone()
        };
        document.rootfs.diff_ids = self.config.rootfs.diff_ids.get(..*layers)?.to_vec();
        let config_bytes = json::to_bytes(&document);
        let ancestry = Ancestry {
            base: self.ancestry.base,
            ancestors: self.ancestry.ancestors[..number].to_vec(),
        };
        Some(Self {
            id: ImageId::new(Digest::of(&config_bytes)),
            config: document,
            config_bytes,
            snapshots: snapshots.to_vec(),
            manifest: None,
            digests: BTreeSet::new(),
            ancestry,
        })
    }

    /// Returns all that the image was before, the first step first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        (0..self.ancestry.ancestors.len()).filter_map(|number| self.ancestor(number))
    }
}

impl Inner {
    /// Returns the ancestors of all images whose ids are wanted, each once.
    pub(crate) fn ancestors(&self, is_wanted: impl Fn(&ImageId) -> bool) -> Result<Vec<Image>> {
        let mut found: Vec<Image> = Vec::new();
        for id in self.image_ids()? {
            let Some(image) = self.whole_image(&id)? else { continue };
            for ancestor in image.ancestors().filter(|ancestor| is_wanted(&ancestor.id)) {
                if found.iter().all(|known| known.id != ancestor.id) {
                    found.push(ancestor);
                }
            }
        }
        Ok(found)
    }
}

impl Store {
    /// Makes an ancestor an image by itself, so that it stays when its image goes. One that is one already stays as it is.
    pub fn make_whole(&self, id: &ImageId) -> Result<(), Error> {
        if self.inner.whole_image(id)?.is_none()
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
    use crate::{SnapshotId, testing::Scratch};

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
            Ancestor { history: 1, layers: 1, config: with(&[]) },
            Ancestor { history: 2, layers: 1, config: with(&["A=1"]) },
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
        let before: Vec<Image> = image.ancestors().collect();
        assert_eq!(before.len(), 2);
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

        let family = store.family().unwrap();
        assert_eq!(family.parent(&id), Some(before[1].id));
        assert_eq!(family.parent(&before[1].id), Some(before[0].id));
        assert_eq!(family.parent(&before[0].id), Some(base));
        assert_eq!(family.parent(&base), None);
        for image in store.images().unwrap().iter().chain(&before) {
            assert_eq!(store.parent(image).unwrap(), family.parent(&image.id));
        }
        assert!(family.has_children(&base) && !family.has_children(&id));
        assert_eq!(family.ancestors().len(), 2);
    }

    #[test]
    fn two_images_share_their_first_steps() {
        let scratch = Scratch::new("ancestor-shared");
        let store = scratch.store();
        let base = store.put_image(b"{}", &[], None).unwrap();
        let (one, _) = built(&store, base, "RUN two");
        let (two, _) = built(&store, base, "RUN three");
        assert_ne!(one, two);
        let family = store.family().unwrap();
        assert_eq!(family.ancestors().len(), 2);
        assert_eq!(family.parent(&one), family.parent(&two));
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
        store.remove_image(&id).unwrap();
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
        store.remove_image(&id).unwrap();
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
        let ancestor = |history, layers| Ancestor { history, layers, config: Arc::default() };
        let ancestors = vec![ancestor(1, 0), ancestor(0, 1)];
        let ancestry = Ancestry { base: None, ancestors };
        let id = store.put_made_image(b"{}", &[], None, &ancestry).unwrap();
        assert_eq!(store.image(&id).unwrap().unwrap().ancestors().count(), 0);
        assert!(store.family().unwrap().ancestors().is_empty());
    }
}
