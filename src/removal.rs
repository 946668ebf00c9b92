//! Removing images: names first, then what has lost its last name, then what it was before. After Docker's rules, by which
//! `rmi` and `prune` say the same.
//!
//! | what stands against it | |
//! |---|---|
//! | another image was made on it | cannot be forced |
//! | a container of it runs | cannot be forced |
//! | it has names in several repositories, and was named by its id | must be forced |
//! | a container of it is there that does not run | must be forced |

use std::collections::BTreeSet;

use engine::Engine;
use oci::{ChainId, ImageId, Reference};
use store::{Collect, Family, Freed, Image, SnapshotId};

use crate::{report::Failure, text};

/// How images are removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// In spite of what can be overridden.
    pub(crate) force: bool,
    /// With what they were before, as far as nobody else needs it.
    pub(crate) parents: bool,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Removed {
    /// A name.
    Name(String),
    /// An image, or a layer under the name of its chain.
    Object(String),
}

/// A removal in progress.
#[derive(Debug)]
pub(crate) struct Removal<'a> {
    engine: &'a Engine,
    manner: Manner,
    removed: Vec<Removed>,
    /// The layers of the images that were removed.
    layers: Vec<(SnapshotId, ChainId)>,
    known_layers: BTreeSet<SnapshotId>,
}

/// Why an image stays.
struct Conflict {
    message: String,
    /// Whether it is because of a container.
    is_used: bool,
}

impl<'a> Removal<'a> {
    pub(crate) fn new(engine: &'a Engine, manner: Manner) -> Self {
        Self {
            engine,
            manner,
            removed: Vec::new(),
            layers: Vec::new(),
            known_layers: BTreeSet::new(),
        }
    }

    /// Returns what was removed since the last call.
    pub(crate) fn take_removed(&mut self) -> Vec<Removed> {
        std::mem::take(&mut self.removed)
    }

    /// Removes what a name or an id means.
    ///
    /// # Errors
    /// What stands against it. Nothing was removed then, but for a name that an image has lost.
    pub(crate) fn remove(&mut self, given: &str) -> Result<(), Failure> {
        let store = self.engine.store();
        let images = store.find_all(given)?;
        let reference = Reference::parse(given).ok().map(|reference| reference.tagged());
        match reference {
            Some(name) if self.is_name(&name, &images)? => self.remove_name(given, &name, &images),
            _ => images.iter().try_for_each(|image| self.remove_by_id(&image.id)),
        }
    }

    /// Removes an image with its only name, or in force with all names.
    pub(crate) fn remove_by_id(&mut self, id: &ImageId) -> Result<(), Failure> {
        let names = self.names(id)?;
        if are_one(&names) {
            if let Some(conflict) = self.conflict(id, self.manner.force, true)? {
                return Err(Failure::Conflict { message: conflict.message });
            }
            self.untag(id, &names)?;
        }
        self.remove_image(id, self.manner.force, false)
    }

    /// Brings what nothing needs any more off the disk, and what `what` says with it.
    pub(crate) fn finish(&mut self, what: &Collect) -> Result<Freed, Failure> {
        let store = self.engine.store();
        let freed = store.collect(what)?;
        for (snapshot, chain) in std::mem::take(&mut self.layers) {
            if !store.has_snapshot(&snapshot)? {
                self.removed.push(Removed::Object(chain.to_string()));
            }
        }
        Ok(freed)
    }

    fn is_name(&self, name: &Reference, images: &[Image]) -> Result<bool, Failure> {
        let is_digest = images.iter().any(|image| image.digests.contains(&pinned(name)));
        Ok(is_digest || self.engine.store().tags()?.iter().any(|(known, _)| known == name))
    }

    /// Takes a name away, and removes the images that had no other.
    fn remove_name(
        &mut self,
        given: &str,
        name: &Reference,
        images: &[Image],
    ) -> Result<(), Failure> {
        let store = self.engine.store();
        for image in images.iter().filter(|_| !self.manner.force) {
            let containers = store.containers_of_image(&image.id)?;
            if let (Some(container), true) = (containers.first(), are_one(&self.names(&image.id)?))
            {
                let (container, image) = (container.id.short(), short(&image.id));
                return Err(Failure::Conflict {
                    message: format!(
                        "conflict: unable to remove repository reference \"{given}\" (must force) - container {container} is using its referenced image {image}"
                    ),
                });
            }
        }
        store.untag(name)?;
        for image in images {
            store.remove_digest(&image.id, name)?;
        }
        self.removed.push(Removed::Name(name.familiar()));
        for image in images {
            self.forget_digests(&image.id, name)?;
            if self.names(&image.id)?.is_empty() {
                self.remove_image(&image.id, self.manner.force, true)?;
            }
        }
        Ok(())
    }

    /// Takes away the digests of a repository in which an image has no tag any more.
    fn forget_digests(&mut self, id: &ImageId, name: &Reference) -> Result<(), Failure> {
        let names = self.names(id)?;
        let same = |other: &Reference| is_same_repository(name, other);
        let has_tag = names.iter().any(|other| same(other) && other.digest().is_none());
        if name.digest().is_some() || has_tag {
            return Ok(());
        }
        let digests: Vec<Reference> = names.into_iter().filter(same).collect();
        self.untag(id, &digests)
    }

    fn untag(&mut self, id: &ImageId, names: &[Reference]) -> Result<(), Failure> {
        let store = self.engine.store();
        for name in names {
            store.untag_image(name, id)?;
            store.remove_digest(id, name)?;
            self.removed.push(Removed::Name(name.familiar()));
        }
        Ok(())
    }

    /// Removes an image, and then what it was before. `quiet`: what stands against it is no error, unless nobody would see
    /// the image any more.
    fn remove_image(&mut self, id: &ImageId, force: bool, quiet: bool) -> Result<(), Failure> {
        let store = self.engine.store();
        let before = store.family()?;
        let mut family = before.clone();
        if let Some(conflict) = self.conflict_in(&family, id, force, false)? {
            let dangles = self.names(id)?.is_empty() && !family.has_children(id);
            return match quiet && (!dangles || conflict.is_used) {
                true => Ok(()),
                false => Err(Failure::Conflict { message: conflict.message }),
            };
        }
        // Who descends from whom is looked up before: what has gone tells nothing.
        let mut next = Some(*id);
        while let Some(id) = next {
            let is_whole = !before.ancestors().contains(&id);
            if is_whole {
                self.remove_whole(&id)?;
                family = store.family()?;
            }
            self.removed.push(Removed::Object(id.to_string()));
            next = before.parent(&id).filter(|_| self.manner.parents);
            // What is not by itself has no names that would have to be looked for.
            let nameless = next.is_some_and(|parent| before.ancestors().contains(&parent));
            if let Some(parent) = next
                && self.conflict_in(&family, &parent, false, nameless)?.is_some()
            {
                break;
            }
        }
        Ok(())
    }

    fn remove_whole(&mut self, id: &ImageId) -> Result<(), Failure> {
        let store = self.engine.store();
        let Some(image) = store.image(id)? else { return Ok(()) };
        self.remember_layers(&image);
        self.keep_ancestors(&image)?;
        let names = self.names(id)?;
        self.untag(id, &names)?;
        store.remove_image(id)?;
        Ok(())
    }

    /// What a container was made from stays an image, though it was only what this one was before; and so does what this one
    /// was made on, if that is wanted.
    fn keep_ancestors(&self, image: &Image) -> Result<(), Failure> {
        let store = self.engine.store();
        let containers = store.containers()?;
        let parent = store.parent(image)?.filter(|_| !self.manner.parents);
        for ancestor in image.ancestor_ids() {
            let is_used = containers.iter().any(|container| container.image == ancestor);
            if is_used || parent == Some(ancestor) {
                store.make_whole(&ancestor)?;
            }
        }
        Ok(())
    }

    /// The top first.
    fn remember_layers(&mut self, image: &Image) {
        let chains = ChainId::of_each(&image.config.rootfs.diff_ids);
        for (snapshot, chain) in image.snapshots.iter().zip(chains).rev() {
            if self.known_layers.insert(*snapshot) {
                self.layers.push((*snapshot, chain));
            }
        }
    }

    fn conflict(
        &self,
        id: &ImageId,
        force: bool,
        named: bool,
    ) -> Result<Option<Conflict>, Failure> {
        self.conflict_in(&self.engine.store().family()?, id, force, named)
    }

    /// Returns what stands against removing an image. `named`: its names go too, and so do not.
    fn conflict_in(
        &self,
        family: &Family,
        id: &ImageId,
        force: bool,
        named: bool,
    ) -> Result<Option<Conflict>, Failure> {
        let store = self.engine.store();
        let conflict = |how: &str, why: &str, is_used| {
            let message = format!("conflict: unable to delete {} ({how}) - {why}", short(id));
            Ok(Some(Conflict { message, is_used }))
        };
        if family.has_children(id) {
            return conflict("cannot be forced", "image has dependent child images", false);
        }
        let containers = store.containers_of_image(id)?;
        for container in &containers {
            if store.container_state(&container.id)?.status.is_alive() {
                let why =
                    format!("image is being used by running container {}", container.id.short());
                return conflict("cannot be forced", &why, true);
            }
        }
        if force {
            return Ok(None);
        }
        if !named && !self.names(id)?.is_empty() {
            return conflict(
                "must be forced",
                "image is referenced in multiple repositories",
                false,
            );
        }
        if let Some(container) = containers.first() {
            let why = format!("image is being used by stopped container {}", container.id.short());
            return conflict("must be forced", &why, true);
        }
        Ok(None)
    }

    /// Returns the tags and the digests of an image.
    fn names(&self, id: &ImageId) -> Result<Vec<Reference>, Failure> {
        let store = self.engine.store();
        let tags = store.tags()?.into_iter().filter(|(_, tagged)| tagged == id);
        let mut names: Vec<Reference> = tags.map(|(name, _)| name).collect();
        let mut digests = store.digests_of(id)?;
        digests.retain(|digest| !names.contains(digest));
        names.extend(digests);
        Ok(names)
    }
}

/// Whether names are so few that an id means them: one tag at most, and digests of its repository only.
fn are_one(names: &[Reference]) -> bool {
    let mut tags = names.iter().filter(|name| name.digest().is_none());
    let (first, second) = (tags.next(), tags.next());
    let of = first.or(names.first());
    second.is_none() && names.iter().all(|name| of.is_none_or(|of| is_same_repository(of, name)))
}

fn is_same_repository(a: &Reference, b: &Reference) -> bool {
    (a.host(), a.path()) == (b.host(), b.path())
}

/// A digest is the same beside any tag.
fn pinned(name: &Reference) -> Reference {
    let Some(digest) = name.digest() else { return name.clone() };
    let plain = format!("{}/{}@{digest}", name.host(), name.path());
    Reference::parse(&plain).unwrap_or_else(|_| name.clone())
}

fn short(id: &ImageId) -> String {
    text::short_id(&id.to_string()).to_owned()
}
