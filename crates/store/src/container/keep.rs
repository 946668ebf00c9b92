//! Who keeps a container: the process that holds the lock on its directory.
//!
//! A container that runs has a process that keeps it; that process holds the lock from before the start until after the
//! end, and alone writes the state. The kernel frees the lock when the process dies, however it dies: a container without
//! a keeper does not run, whatever its state says. Trying the lock only to look would make a start at the same moment
//! fail, so both happen under the gate `locks/containers`, which is held for a moment only.

use std::{os::fd::OwnedFd, sync::Arc};

use crate::{
    Container, ContainerId, ContainerState, Store,
    container::state::{self, Boot},
    error::{Error, Result},
    lock::Lock,
    open::Inner,
    record::Kind,
    tmp,
};

/// A container that this process keeps until it drops this.
#[derive(Debug)]
pub struct Kept {
    container: Container,
    inner: Arc<Inner>,
    lock: Lock,
}

impl Store {
    /// Takes a container, to start or to remove it. `None` if somebody keeps it.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`]: it is gone.
    pub fn keep_container(&self, id: &ContainerId) -> Result<Option<Kept>, Error> {
        let _gate = self.inner.containers_gate()?;
        let absent = || Error::NoSuchContainer { name: id.to_string() };
        let container = self.container(id)?.ok_or_else(absent)?;
        let lock = self.inner.try_lock(id)?;
        let inner = Arc::clone(&self.inner);
        Ok(lock.map(|lock| Kept { container, inner, lock }))
    }

    /// Whether somebody keeps a container, to run it or for a moment; not so if it is gone.
    pub fn is_container_kept(&self, id: &ContainerId) -> Result<bool, Error> {
        let _gate = self.inner.containers_gate()?;
        if self.container(id)?.is_none() {
            return Ok(false);
        }
        Ok(self.inner.try_lock(id)?.is_none())
    }

    /// Returns what became of a container: the truth, also after its keeper was killed or the machine was started again.
    pub fn container_state(&self, id: &ContainerId) -> Result<ContainerState, Error> {
        let _gate = self.inner.containers_gate()?;
        self.inner.true_state(id)
    }

    /// Returns what became of all of these, looked up at once.
    pub fn container_states(&self, containers: &[Container]) -> Result<Vec<ContainerState>, Error> {
        if containers.is_empty() {
            return Ok(Vec::new());
        }
        let _gate = self.inner.containers_gate()?;
        containers.iter().map(|container| self.inner.true_state(&container.id)).collect()
    }
}

impl Kept {
    /// The container, as it was when it was taken.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Returns the state that was written last, settled if its keeper did not come to that.
    pub fn state(&self) -> Result<ContainerState, Error> {
        Ok(state::settle(self.inner.written_state(&self.container.id)?))
    }

    /// Says what became of the container.
    pub fn set_state(&self, state: &ContainerState) -> Result<(), Error> {
        self.inner.write_state(&self.container.id, state)
    }

    /// Returns a further descriptor of the lock, for a process that may outlive this one.
    pub fn lock_descriptor(&self) -> Result<OwnedFd, Error> {
        let path = || self.inner.layout.container(&self.container.id);
        self.lock.descriptor().map_err(|error| Error::io("lock", path())(error))
    }

    /// Empties the overlay's work directory. The kernel refuses one that was used by a mount without syncs, and no mount
    /// uses it now.
    pub fn clear_work(&self) -> Result<(), Error> {
        let directory = super::directory::of(&self.inner.layout, &self.container.id);
        match tmp::remove_tree(directory.work()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", directory.work())(error))
            }
            _ => tmp::create_directories(directory.work()),
        }
    }

    /// Removes the container with everything it has written; returns the bytes of disk that were freed.
    ///
    /// The record goes first: killed in between, the container is gone, and a later collection removes the rest.
    pub fn remove(self) -> Result<u64, Error> {
        let id = &self.container.id;
        let trash = self.inner.trash();
        {
            let lock = self.inner.lock_shared()?;
            self.inner.remove(&lock, Kind::Container, &id.to_string())?;
            self.inner.forget_fresh(Kind::Container);
            let directory = self.inner.layout.container(id);
            trash.throw(&directory)?;
        }
        trash.empty()
    }
}

impl Inner {
    /// Under the gate.
    fn try_lock(&self, id: &ContainerId) -> Result<Option<Lock>> {
        let path = self.layout.container(id);
        // A directory that is lost is no reason not to remove the rest.
        tmp::create_directories(&path)?;
        Lock::try_existing(&path).map_err(Error::io("lock", path))
    }

    fn written_state(&self, id: &ContainerId) -> Result<(ContainerState, Boot)> {
        state::read(&self.container_state_path(id), self.layout.boot())
    }

    fn write_state(&self, id: &ContainerId, state: &ContainerState) -> Result<()> {
        let temporary = self.process()?.new_path("state-");
        state::write(&self.container_state_path(id), &temporary, self.layout.boot(), state)
    }

    fn container_state_path(&self, id: &ContainerId) -> std::path::PathBuf {
        super::directory::of(&self.layout, id).state()
    }

    /// Under the gate: what was written, if somebody keeps the container; else what must have become of it, which is
    /// written down, so that it stays the same.
    pub(crate) fn true_state(&self, id: &ContainerId) -> Result<ContainerState> {
        let written = self.written_state(id)?;
        if !written.0.status.is_alive() {
            return Ok(written.0);
        }
        let Some(_lock) = self.try_lock(id)? else { return Ok(written.0) };
        // Its keeper may have ended in good order between the two looks.
        let settled = state::settle(self.written_state(id)?);
        // A store may be readable without being writable; then it is settled again the next time.
        let _ = self.write_state(id, &settled);
        Ok(settled)
    }
}
