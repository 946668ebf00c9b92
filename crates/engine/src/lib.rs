//! Builds images: resolves bases, schedules stages, and lives the life of each step.
//!
//! The rooms, in reading order:
//!
//! - `build`: the whole story of one build, on one screen. `check`: what can be said of a Dockerfile without it.
//! - [`request`]: what a build is asked for. [`event`]: what it tells while it runs. [`cancel`]: how it is ended.
//! - `context`: the build context and the named ones, as trees to copy from. `include`: the files that a Dockerfile may be
//!   made of. `remote`: files of the web and of git
//!   repositories.
//! - `epoch`: the time of a context, for SOURCE_DATE_EPOCH.
//! - [`lock`]: what names of images stood for. `resolve`: from base names to images; asks the plan's maker again until it has all it needs.
//! - `schedule`: stages side by side.
//! - `step`: the life of one step: key, probe, execute, seal, record. `contents`: which files a key depends on.
//! - `room`: the limit of the store.
//! - `trail`: why a step was not in the cache.
//! - `op`: the operations that touch a root file system. `rootfs`: snapshots as a root file system.
//!   `sealed`: what is known of them.
//! - `foreign`: commands for other platforms than this machine's.
//! - `commit`: layers and the image config. `times`: SOURCE_DATE_EPOCH in them.
//! - [`fsck`]: whether what is in the store is what it is said to be, and mending it.
//! - [`load`] and [`pull`]: archives and registries' images into the store. [`container`]: `kiln run`.
//!
//! Invariants: nothing here prints; a step's key is made by `plan`, never here; only a sealed snapshot is stacked; the
//! kernel, the file system and the store are reached through their crates only.

pub mod cancel;
pub mod container;
pub mod event;
pub mod fsck;
pub mod limits;
pub mod load;
pub mod lock;
pub mod pull;
pub mod request;

mod build;
mod check;
mod commit;
mod contents;
mod context;
mod epoch;
mod error;
mod foreign;
mod include;
mod op;
mod remote;
mod resolve;
mod room;
mod rootfs;
mod schedule;
mod sealed;
mod step;
mod times;
mod trail;

pub use build::{Built, BuiltTarget, build};
pub use cancel::Cancel;
pub use check::{Checked, check};
pub use error::{Error, Mistake, Place};
pub use event::{Event, Events, Heading, Moment, StepNumber, Stream};
pub use foreign::Obstacle;
pub use limits::{LimitName, Limits};
pub use lock::{Lock, LockMode};
pub use request::{
    BuildRequest, ContextSource, DockerfileSource, Entitlement, NamedContext, Secret, Target,
    is_web,
};
pub use rootfs::{Rootfs, merged};
pub use times::Times;

use std::sync::{Arc, OnceLock};

use filetree::Flavour;
use oci::ImageId;
use registry::Client;
use sandbox::Rung;
use store::{Image, Layer, SnapshotId, Store};

use crate::{
    rootfs::{Floors, Trees},
    sealed::Sealed,
};

/// A store, and the rung of the isolation ladder on which steps run. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Engine {
    store: Store,
    rung: Rung,
    registries: Option<Registries>,
    lock: Option<Arc<Lock>>,
    sealed: Sealed,
    floors: Floors,
    trees: Trees,
    /// Why it is none above.
    missed: Arc<Vec<String>>,
    limits: Limits,
}

/// A client, and how it is made.
#[derive(Debug, Clone)]
struct Registries {
    connect: fn() -> Result<Client, registry::Error>,
    client: Arc<OnceLock<Client>>,
}

impl Engine {
    /// Works with an open store on a rung that was entered.
    pub fn new(store: Store, rung: Rung) -> Self {
        Self {
            store,
            rung,
            registries: None,
            lock: None,
            sealed: Sealed::default(),
            floors: Floors::default(),
            trees: Trees::default(),
            missed: Arc::default(),
            limits: Limits::STANDARD,
        }
    }

    /// Knows why it stands on no rung above.
    #[must_use]
    pub fn with_missed(self, missed: Vec<String>) -> Self {
        Self { missed: Arc::new(missed), ..self }
    }

    /// Why it stands on no rung above.
    pub fn missed(&self) -> &[String] {
        &self.missed
    }

    /// Takes as much from elsewhere as these limits say.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Pulls bases that the store does not have, by a client that is made when the first one is to be pulled: most builds can do
    /// without, and without all that is to be read for one.
    #[must_use]
    pub fn with_registries(self, connect: fn() -> Result<Client, registry::Error>) -> Self {
        Self { registries: Some(Registries { connect, client: Arc::default() }), ..self }
    }

    /// Takes names of images for what a lock says that they stand for, and remembers there what it does not say yet.
    #[must_use]
    pub fn with_lock(self, lock: Arc<Lock>) -> Self {
        Self { lock: Some(lock), ..self }
    }

    /// How much is taken of what comes from elsewhere.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whoever talks to registries, if anybody does.
    ///
    /// # Errors
    /// What is to be known of registries cannot be read.
    pub(crate) fn registries(&self) -> Result<Option<Client>, Error> {
        let Some(Registries { connect, client }) = &self.registries else { return Ok(None) };
        if let Some(client) = client.get() {
            return Ok(Some(client.clone()));
        }
        // Who is later than another thread takes what that has made: they are to share their connections.
        let new = connect()?;
        Ok(Some(client.get_or_init(|| new).clone()))
    }

    /// Whether nothing may be fetched.
    pub(crate) fn is_offline(&self) -> Result<bool, Error> {
        Ok(self.registries()?.is_some_and(|client| client.is_offline()))
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The rung on which steps and containers run.
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// Returns an image that is in the store.
    pub fn image(&self, id: &ImageId) -> Result<Image, Error> {
        let image = self.store.image(id)?;
        image.ok_or_else(|| Error::NoSuchImage { name: id.to_string() })
    }

    /// Returns the size of an image as Docker counts it: what the files of each of its layers contain, in bytes.
    pub fn image_size(&self, image: &Image) -> Result<u64, Error> {
        image.contents.map_or_else(|| self.layers_size(&image.snapshots), Ok)
    }

    /// Returns how many bytes the files of all these layers contain.
    pub fn layers_size(&self, snapshots: &[SnapshotId]) -> Result<u64, Error> {
        snapshots.iter().map(|snapshot| self.layer_size(snapshot)).sum()
    }

    /// Returns how many bytes the files of a layer contain. Counts them if nobody has yet.
    pub fn layer_size(&self, snapshot: &SnapshotId) -> Result<u64, Error> {
        self.sealed.size(snapshot, || self.count_size(snapshot))
    }

    fn count_size(&self, snapshot: &SnapshotId) -> Result<u64, Error> {
        let known = self.store.layer(snapshot)?;
        if let Some(contents) = known.as_ref().and_then(|layer| layer.contents) {
            return Ok(contents);
        }
        let size = filetree::tree_size(&self.store.snapshot_dir(snapshot))?;
        if let Some(layer) = known {
            let (contents, holes) = (Some(size.contents), size.holes);
            self.store.set_layer(snapshot, &Layer { contents, holes, ..layer })?;
        }
        Ok(size.contents)
    }

    /// How snapshots mark deletions on this rung.
    pub fn flavour(&self) -> Flavour {
        match self.rung {
            Rung::Root => Flavour::Trusted,
            Rung::UserNamespace | Rung::FuseOverlay | Rung::OneId => Flavour::User,
            Rung::Chroot | Rung::FilesOnly => Flavour::Names,
        }
    }
}
