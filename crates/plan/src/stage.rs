//! Stages: FROM … up to the next FROM, and the plan that they make up.

use std::fmt;

use oci::{ImageConfig, ImageId, Platform, Reference};

use crate::Step;

/// All stages that a target needs, each after the stages it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The stages; a [`StageId`] is an index into this list.
    pub stages: Vec<Stage>,
    /// The stage whose result is the image.
    pub target: StageId,
    /// `SOURCE_DATE_EPOCH`: the time of the image and of what its history adds to the base's, in seconds since 1970.
    pub epoch: Option<i64>,
}

impl Plan {
    /// Returns a stage of this plan.
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.0]
    }
}

/// The place of a stage in its [`Plan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub usize);

/// One stage of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its place in the plan.
    pub id: StageId,
    /// Its number in the Dockerfile, counted from 0.
    pub index: usize,
    /// `AS name`, in lower case.
    pub name: Option<String>,
    /// What its image runs on.
    pub platform: Platform,
    /// What it starts from.
    pub base: Base,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What its image says of itself: the base's config with every edit of the steps, and the base's history. The
    /// engine adds the layers, the history of the steps and the times.
    pub config: ImageConfig,
}

impl Stage {
    /// Returns what people call the stage: its name, or `stage-N`.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("stage-{}", self.index))
    }
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// FROM scratch: nothing.
    Scratch,
    /// An earlier stage of the plan.
    Stage(StageId),
    /// An image.
    Image {
        /// As the Dockerfile names it.
        reference: Reference,
        /// What it was resolved to.
        id: ImageId,
    },
    /// A named build context.
    Context {
        /// The name of the context.
        name: String,
        /// What it was resolved to if it is an image; a directory has none, and its files are the root file system.
        id: Option<ImageId>,
    },
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scratch => f.write_str("scratch"),
            Self::Stage(id) => write!(f, "stage {}", id.0),
            Self::Image { reference, .. } => write!(f, "{reference}"),
            Self::Context { name, .. } => f.write_str(name),
        }
    }
}
