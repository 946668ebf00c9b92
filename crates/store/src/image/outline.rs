//! Outlines: what a listing shows of an image, and of what it was after each of its steps.
//!
//! An outline of an ancestor has no document of its own: those of an image with hundreds of steps would be hundreds of times
//! as large as the image's.

use std::sync::Arc;

use oci::{Config, ImageId};

use super::{Ancestor, Image};
use crate::SnapshotId;

/// An image, or what one was before its last steps.
#[derive(Debug, Clone)]
pub struct Outline {
    id: ImageId,
    image: Arc<Image>,
    /// The number of the step; `None` for the image itself.
    number: Option<usize>,
}

impl Outline {
    /// Returns that of an image itself.
    pub fn of(image: Arc<Image>) -> Self {
        Self { id: image.id, image, number: None }
    }

    /// Returns those of all that an image was before, the first step first.
    pub fn of_ancestors(image: &Arc<Image>) -> impl Iterator<Item = Self> + '_ {
        let outline = |(number, id)| Self { id, image: Arc::clone(image), number: Some(number) };
        image.numbered_ancestors().map(outline)
    }

    /// The id, which an ancestor has too.
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// The image, of an ancestor the one that it became.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Whether it is the image itself.
    pub fn is_image(&self) -> bool {
        self.number.is_none()
    }

    /// When it was made, RFC 3339.
    pub fn created(&self) -> Option<&str> {
        match self.ancestor() {
            Some(ancestor) => {
                self.image.config.history.get(..ancestor.history)?.last()?.created.as_deref()
            }
            None => self.image.config.created.as_deref(),
        }
    }

    /// How many entries its history has.
    pub fn steps(&self) -> usize {
        self.ancestor().map_or(self.image.config.history.len(), |ancestor| ancestor.history)
    }

    /// The snapshots of its layers, bottom first.
    pub fn snapshots(&self) -> &[SnapshotId] {
        let layers = self.ancestor().map_or(self.image.snapshots.len(), |ancestor| ancestor.layers);
        self.image.snapshots.get(..layers).unwrap_or_default()
    }

    /// How many bytes the files of its layers contain, if that was written down with it.
    pub fn contents(&self) -> Option<u64> {
        self.image.contents.filter(|_| self.is_image())
    }

    /// What it says of itself.
    pub fn config(&self) -> &Config {
        self.ancestor().map_or(&self.image.config.config, |ancestor| ancestor.config.as_ref())
    }

    fn ancestor(&self) -> Option<&Ancestor> {
        self.image.ancestry.ancestors.get(self.number?)
    }
}
