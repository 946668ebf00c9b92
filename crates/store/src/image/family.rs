//! Families: which image was made on which.

use std::collections::{BTreeMap, BTreeSet};

use oci::ImageId;

use super::Image;
use crate::{Store, error::Error};

/// The images of a store, and which of them was made on which: what was after a step on what was before it, and the first
/// step on its base.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Family {
    parents: BTreeMap<ImageId, ImageId>,
    children: BTreeMap<ImageId, BTreeSet<ImageId>>,
    ancestors: BTreeSet<ImageId>,
}

impl Store {
    /// Returns what an image was made on, if that is here: what it was before its last step, or its base.
    pub fn parent(&self, image: &Image) -> Result<Option<ImageId>, Error> {
        if let Some(before) = image.ancestor_ids().next_back() {
            return Ok(Some(before));
        }
        let Some(base) = image.ancestry.base else { return Ok(None) };
        Ok(self.inner.image(&base)?.map(|base| base.id))
    }

    /// Returns who descends from whom. Reads the record of each image.
    pub fn family(&self) -> Result<Family, Error> {
        let mut family = Family::default();
        let images = self.images()?;
        let whole: BTreeSet<ImageId> = images.iter().map(|image| image.id).collect();
        let mut bases = Vec::new();
        for image in &images {
            let mut below = None;
            for id in image.ancestor_ids().chain([image.id]) {
                match below {
                    Some(parent) => family.add(parent, id),
                    None => bases.extend(image.ancestry.base.map(|base| (base, id))),
                }
                if !whole.contains(&id) {
                    family.ancestors.insert(id);
                }
                below = Some(id);
            }
        }
        for (base, id) in bases {
            // One that was removed all the same is nobody's parent.
            if whole.contains(&base) || family.ancestors.contains(&base) {
                family.add(base, id);
            }
        }
        Ok(family)
    }
}

impl Family {
    fn add(&mut self, parent: ImageId, child: ImageId) {
        if parent != child {
            self.parents.insert(child, parent);
            self.children.entry(parent).or_default().insert(child);
        }
    }

    /// Returns what an image was made on, if that is here.
    pub fn parent(&self, id: &ImageId) -> Option<ImageId> {
        self.parents.get(id).copied()
    }

    /// Whether an image was made on this one.
    pub fn has_children(&self, id: &ImageId) -> bool {
        self.children.contains_key(id)
    }

    /// Returns what images were before, and are not by themselves.
    pub fn ancestors(&self) -> &BTreeSet<ImageId> {
        &self.ancestors
    }
}
