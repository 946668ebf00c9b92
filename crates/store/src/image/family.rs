//! Families: which image was made on which.

use std::collections::{BTreeMap, BTreeSet};

use oci::ImageId;

use super::Image;
use crate::{Store, error::Error};

/// The images of a store, and which of them was made on which: what was after a step on what was before it, and the first
/// step on its base. Images can leave it, at the cost of their own steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Family {
    /// The images by themselves.
    whole: BTreeMap<ImageId, Line>,
    /// Of how many images each is what they were before.
    befores: BTreeMap<ImageId, usize>,
    /// What each was made on, and by how many images that is told; of a base too that is not here any more.
    parents: BTreeMap<ImageId, BTreeMap<ImageId, usize>>,
    /// The other way round.
    children: BTreeMap<ImageId, BTreeSet<ImageId>>,
}

/// What an image descends from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Line {
    base: Option<ImageId>,
    /// What it was before, the first step first.
    ancestors: Vec<ImageId>,
}

impl Line {
    pub(crate) fn of(image: &Image) -> Self {
        Self { base: image.ancestry.base, ancestors: image.ancestor_ids().collect() }
    }

    /// Returns who was made on whom, as pairs of a parent and its child.
    fn pairs(&self, id: ImageId) -> impl Iterator<Item = (ImageId, ImageId)> {
        let below = self.base.iter().chain(&self.ancestors).copied();
        let on_top: Vec<ImageId> = self.ancestors.iter().copied().chain([id]).collect();
        // Without a base the first one was made on nothing.
        let skipped = usize::from(self.base.is_none());
        let pairs = below.zip(on_top.into_iter().skip(skipped)).collect::<Vec<_>>();
        pairs.into_iter().filter(|(parent, child)| parent != child)
    }
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
}

impl Family {
    /// Returns who descends from whom among these images.
    pub fn of<'a>(images: impl IntoIterator<Item = &'a Image>) -> Self {
        let mut family = Self::default();
        images.into_iter().for_each(|image| family.add(image.id, Line::of(image)));
        family
    }

    /// Takes up an image that is not in it.
    pub(crate) fn add(&mut self, id: ImageId, line: Line) {
        for (parent, child) in line.pairs(id) {
            *self.parents.entry(child).or_default().entry(parent).or_default() += 1;
            self.children.entry(parent).or_default().insert(child);
        }
        for before in &line.ancestors {
            *self.befores.entry(*before).or_default() += 1;
        }
        self.whole.insert(id, line);
    }

    /// Lets an image go, and what it was before as far as no other one was that.
    pub(crate) fn remove(&mut self, id: &ImageId) {
        let Some(line) = self.whole.remove(id) else { return };
        for (parent, child) in line.pairs(*id) {
            let Some(parents) = self.parents.get_mut(&child) else { continue };
            if !lower(parents, &parent) {
                continue;
            }
            if parents.is_empty() {
                self.parents.remove(&child);
            }
            if let Some(children) = self.children.get_mut(&parent) {
                children.remove(&child);
                if children.is_empty() {
                    self.children.remove(&parent);
                }
            }
        }
        for before in &line.ancestors {
            lower(&mut self.befores, before);
        }
    }

    /// Returns what an image was made on, if that is here.
    pub fn parent(&self, id: &ImageId) -> Option<ImageId> {
        self.parents.get(id)?.keys().find(|parent| self.is_here(parent)).copied()
    }

    /// Whether an image was made on this one, which is here.
    pub fn has_children(&self, id: &ImageId) -> bool {
        self.children.contains_key(id)
    }

    /// Whether an image is one by itself.
    pub fn is_whole(&self, id: &ImageId) -> bool {
        self.whole.contains_key(id)
    }

    /// Whether it is something that an image was before, and no image by itself.
    pub fn is_ancestor(&self, id: &ImageId) -> bool {
        self.befores.contains_key(id) && !self.is_whole(id)
    }

    /// Returns all that are here whose digits begin like this.
    pub(crate) fn beginning_with(&self, digits: &str) -> BTreeSet<ImageId> {
        let Ok(least) = ImageId::parse(&format!("sha256:{digits:0<64}")) else {
            return BTreeSet::new();
        };
        let begins = |id: &&ImageId| id.as_digest().to_hex().starts_with(digits);
        let whole = self.whole.range(least..).map(|(id, _)| id).take_while(begins);
        let ancestors = self.befores.range(least..).map(|(id, _)| id).take_while(begins);
        whole.chain(ancestors).copied().collect()
    }

    /// Whether it is an image, or what one was before.
    pub(crate) fn is_here(&self, id: &ImageId) -> bool {
        self.is_whole(id) || self.befores.contains_key(id)
    }
}

/// Counts one less; returns whether none is left.
fn lower(counts: &mut BTreeMap<ImageId, usize>, id: &ImageId) -> bool {
    let Some(count) = counts.get_mut(id) else { return false };
    *count -= 1;
    let is_none = *count == 0;
    if is_none {
        counts.remove(id);
    }
    is_none
}
