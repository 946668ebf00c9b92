//! Containers: what is to be run, on which image, and the snapshot that it writes into.
//!
//! A container is a record, which says everything that is needed to start it again, and a directory with what it has
//! written (`fs/`, `work/`) and what became of it (`state`, `log`). The record keeps the snapshots of the image: what a
//! container stands on is not collected. Whether it runs is told by a lock on the directory, never by a process id: see
//! `keep`. Its names for people are in `name`, its states in `state` and `health`.

mod directory;
mod health;
mod id;
mod keep;
mod name;
mod state;

use std::time::SystemTime;

use oci::ImageId;
use serde::{Deserialize, Serialize};

pub use self::{
    directory::ContainerDirectory,
    health::{Health, HealthCheck, HealthStatus},
    id::ContainerId,
    keep::Kept,
    state::{ContainerState, PublishedPort, Status},
};
use crate::{
    Open, Snapshot, SnapshotId, Store,
    error::{Error, Result},
    lock::Lock,
    open::Inner,
    record::Kind,
};

/// A container: everything that is needed to start it, again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its name; no two containers have the same.
    pub name: String,
    /// When it was made.
    pub created: SystemTime,
    /// The image.
    pub image: ImageId,
    /// The image as the user called it.
    pub image_name: String,
    /// The image's config, as it was stored: a container outlives the names of its image.
    pub image_config: String,
    /// The snapshots of the image's layers, the bottom first.
    pub snapshots: Vec<SnapshotId>,
    /// How it differs from what the image says: for the engine, which alone looks inside.
    pub options: serde_json::Value,
}

/// A container that is to be made.
#[derive(Debug, Clone)]
pub struct ContainerDraft {
    /// The name it shall have.
    pub name: String,
    /// The image.
    pub image: ImageId,
    /// The image as the user called it.
    pub image_name: String,
    /// The image's config, as it was stored.
    pub image_config: String,
    /// The snapshots of the image's layers, the bottom first; the caller holds them (or the image) by a lease.
    pub snapshots: Vec<SnapshotId>,
    /// What the engine has to say about it.
    pub options: serde_json::Value,
}

impl Store {
    /// Makes a container that writes into `snapshot`. It is there as a whole or not at all; its state is
    /// [`Status::Created`].
    ///
    /// # Errors
    /// [`Error::ContainerNameInUse`], [`Error::ContainerName`]: the snapshot is removed then.
    pub fn create_container(
        &self,
        id: ContainerId,
        draft: ContainerDraft,
        snapshot: Snapshot<Open>,
    ) -> Result<Container, Error> {
        let gate = self.inner.containers_gate()?;
        self.check_free(&gate, &draft.name)?;
        let container = Container {
            id,
            name: draft.name,
            created: SystemTime::now(),
            image: draft.image,
            image_name: draft.image_name,
            image_config: draft.image_config,
            snapshots: draft.snapshots,
            options: draft.options,
        };
        // Under one lock, or a collection could find the directory before the record is there.
        let lock = self.inner.lock_shared()?;
        snapshot.move_to(&self.inner.layout.container(&id))?;
        let put = self.inner.put_locked(&lock, Kind::Container, &id.to_string(), &container);
        if put.is_err() {
            self.inner.discard(&self.inner.layout.container(&id));
        }
        put.map(|()| container)
    }

    /// Returns a container, `None` if it is not there.
    pub fn container(&self, id: &ContainerId) -> Result<Option<Container>, Error> {
        self.inner.get(Kind::Container, &id.to_string())
    }

    /// Returns all containers, the newest first.
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        let mut containers: Vec<Container> = Vec::new();
        for key in self.inner.keys(Kind::Container)? {
            containers.extend(self.inner.get(Kind::Container, &key)?);
        }
        containers.sort_by_key(|container| (std::cmp::Reverse(container.created), container.id));
        Ok(containers)
    }

    /// Finds a container by its id, its name, or the beginning of its id, in this order.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`]; [`Error::AmbiguousContainer`] if several ids begin like this.
    pub fn find_container(&self, name: &str) -> Result<Container, Error> {
        let absent = || Error::NoSuchContainer { name: name.to_owned() };
        if let Some(id) = ContainerId::parse(name) {
            return self.container(&id)?.ok_or_else(absent);
        }
        let containers = self.containers()?;
        // Docker's own names begin with a slash.
        let plain = name.strip_prefix('/').unwrap_or(name);
        if let Some(found) = containers.iter().find(|container| container.name == plain) {
            return Ok(found.clone());
        }
        let begins = |id: &ContainerId| !name.is_empty() && id.to_string().starts_with(name);
        let mut found = containers.into_iter().filter(|container| begins(&container.id));
        match (found.next(), found.next()) {
            (None, _) => Err(absent()),
            (Some(only), None) => Ok(only),
            (Some(first), Some(second)) => {
                let candidates = [first.id, second.id].into_iter().chain(found.map(|it| it.id));
                Err(Error::AmbiguousContainer {
                    prefix: name.to_owned(),
                    candidates: candidates.collect(),
                })
            }
        }
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`Error::ContainerNameInUse`], also by the container itself; [`Error::ContainerName`].
    pub fn rename_container(&self, id: &ContainerId, name: &str) -> Result<Container, Error> {
        let gate = self.inner.containers_gate()?;
        self.check_free(&gate, name)?;
        let lock = self.inner.lock_shared()?;
        let found = self.container(id)?;
        let found = found.ok_or_else(|| Error::NoSuchContainer { name: id.to_string() })?;
        let container = Container { name: name.to_owned(), ..found };
        self.inner.put_locked(&lock, Kind::Container, &id.to_string(), &container)?;
        Ok(container)
    }

    fn check_free(&self, _gate: &Lock, name: &str) -> Result<()> {
        if !name::is_valid(name) {
            return Err(Error::ContainerName { name: name.to_owned() });
        }
        match self.containers()?.into_iter().find(|container| container.name == name) {
            Some(Container { id, .. }) => {
                Err(Error::ContainerNameInUse { name: name.to_owned(), id })
            }
            None => Ok(()),
        }
    }
}

impl Inner {
    /// Taken for a moment by who names a container or tries its lock, so that a look at a lock is never taken for a use.
    pub(crate) fn containers_gate(&self) -> Result<Lock> {
        Lock::exclusive(&self.layout.containers_lock())
    }
}

#[cfg(test)]
mod tests;
