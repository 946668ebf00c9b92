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
use store::{Collect, Freed, Image, Inventory, SnapshotId};

use crate::{report::Failure, text};

/// How images are removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// In spite of what can be overridden.
    pub(crate) force: bool,
    /// With what they were before, as far as nobody else needs it: no image, no container, no living process.
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

/// A removal in progress. Nobody else can change names, images or containers meanwhile, so nothing is printed until its end.
#[derive(Debug)]
pub(crate) struct Removal<'a> {
    engine: &'a Engine,
    manner: Manner,
    inventory: Inventory,
    removed: Vec<Removed>,
    /// The layers of the images that were removed.
    layers: Vec<(SnapshotId, ChainId)>,
    known_layers: BTreeSet<SnapshotId>,
}

/// A removal that has removed what it can; the disk still has what nothing needs any more.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    engine: &'a Engine,
    removed: Vec<Removed>,
    layers: Vec<(SnapshotId, ChainId)>,
}

/// Why an image stays.
struct Conflict {
    message: String,
    /// Whether it is because of a container.
    is_used: bool,
}

impl<'a> Removal<'a> {
    pub(crate) fn begin(engine: &'a Engine, manner: Manner) -> Result<Self, Failure> {
        let inventory = engine.store().inventory()?;
        let (removed, layers, known_layers) = (Vec::new(), Vec::new(), BTreeSet::new());
        Ok(Self { engine, manner, inventory, removed, layers, known_layers })
    }

    /// Returns the images that a name or an id means; none if it means nothing.
    pub(crate) fn meant(&self, given: &str) -> Result<Vec<ImageId>, Failure> {
        match self.inventory.find_all(given) {
            Err(store::Error::NoSuchImage { .. }) => Ok(Vec::new()),
            found => Ok(found?),
        }
    }

    /// Whether a living process uses an image, or has just made it.
    pub(crate) fn is_held(&self, id: &ImageId) -> bool {
        self.inventory.is_held(id)
    }

    /// Removes what a name or an id means.
    ///
    /// # Errors
    /// What stands against it. Nothing was removed then, but for a name that an image has lost.
    pub(crate) fn remove(&mut self, given: &str) -> Result<(), Failure> {
        let images = self.inventory.find_all(given)?;
        let reference = Reference::parse(given).ok().map(|reference| reference.tagged());
        match reference {
            Some(name) if self.is_name(&name, &images) => self.remove_name(given, &name, &images),
            _ => images.iter().try_for_each(|image| self.remove_by_id(image)),
        }
    }

    /// Removes an image with its only name, or in force with all names.
    fn remove_by_id(&mut self, id: &ImageId) -> Result<(), Failure> {
        let names = self.inventory.names_of(id);
        if are_one(&names) {
            if let Some(conflict) = self.conflict(id, self.manner.force, true)? {
                return Err(Failure::Conflict { message: conflict.message });
            }
            self.untag(id, &names)?;
        }
        self.remove_image(id, self.manner.force, false)
    }

    /// Lets others change names and images again.
    pub(crate) fn end(self) -> Ended<'a> {
        let Self { engine, removed, layers, .. } = self;
        Ended { engine, removed, layers }
    }

    fn is_name(&self, name: &Reference, images: &[ImageId]) -> bool {
        let is_digest = images.iter().any(|image| self.inventory.has_digest(image, name));
        is_digest || self.inventory.has_name(name)
    }

    /// Takes a name away, and removes the images that had no other.
    fn remove_name(
        &mut self,
        given: &str,
        name: &Reference,
        images: &[ImageId],
    ) -> Result<(), Failure> {
        for image in images.iter().filter(|_| !self.manner.force) {
            let containers = self.inventory.containers_of(image);
            if let (Some(container), true) =
                (containers.first(), are_one(&self.inventory.names_of(image)))
            {
                let (container, image) = (container.id.short(), short(image));
                return Err(Failure::Conflict {
                    message: format!(
                        "conflict: unable to remove repository reference \"{given}\" (must force) - container {container} is using its referenced image {image}"
                    ),
                });
            }
        }
        self.inventory.untag(name)?;
        for image in images {
            self.inventory.remove_digest(name, image)?;
        }
        self.removed.push(Removed::Name(name.familiar()));
        for image in images {
            self.forget_digests(image, name)?;
            if self.inventory.names_of(image).is_empty() {
                self.remove_image(image, self.manner.force, true)?;
            }
        }
        Ok(())
    }

    /// Takes away the digests of a repository in which an image has no tag any more.
    fn forget_digests(&mut self, id: &ImageId, name: &Reference) -> Result<(), Failure> {
        let names = self.inventory.names_of(id);
        let same = |other: &Reference| is_same_repository(name, other);
        let has_tag = names.iter().any(|other| same(other) && other.digest().is_none());
        if name.digest().is_some() || has_tag {
            return Ok(());
        }
        let digests: Vec<Reference> = names.into_iter().filter(same).collect();
        self.untag(id, &digests)
    }

    fn untag(&mut self, id: &ImageId, names: &[Reference]) -> Result<(), Failure> {
        for name in names {
            self.inventory.untag_image(name, id)?;
            self.removed.push(Removed::Name(name.familiar()));
        }
        Ok(())
    }

    /// Removes an image, and then what it was before. `quiet`: what stands against it is no error, unless nobody would see
    /// the image any more.
    fn remove_image(&mut self, id: &ImageId, force: bool, quiet: bool) -> Result<(), Failure> {
        if let Some(conflict) = self.conflict(id, force, false)? {
            let is_named = !self.inventory.names_of(id).is_empty();
            let dangles = !is_named && !self.inventory.family().has_children(id);
            return match quiet && (!dangles || conflict.is_used) {
                true => Ok(()),
                false => Err(Failure::Conflict { message: conflict.message }),
            };
        }
        for (number, (id, is_whole)) in self.line(id).into_iter().enumerate() {
            // What is not by itself has no names that would have to be looked for.
            if number > 0 && (self.is_held(&id) || self.conflict(&id, false, !is_whole)?.is_some())
            {
                break;
            }
            if is_whole {
                self.remove_whole(&id)?;
            }
            self.removed.push(Removed::Object(id.to_string()));
        }
        Ok(())
    }

    /// Returns an image and what it was made on, if that goes too, with whether each is an image by itself. Looked up before
    /// anything is removed: what has gone tells nothing.
    fn line(&self, id: &ImageId) -> Vec<(ImageId, bool)> {
        let family = self.inventory.family();
        let above = |id: &ImageId| family.parent(id).filter(|_| self.manner.parents);
        let mut seen = BTreeSet::new();
        std::iter::successors(Some(*id), above)
            // Nothing descends from itself; a record that says so was written by somebody else.
            .take_while(|id| seen.insert(*id))
            .map(|id| (id, !family.is_ancestor(&id)))
            .collect()
    }

    fn remove_whole(&mut self, id: &ImageId) -> Result<(), Failure> {
        let Some(image) = self.engine.store().image(id)? else { return Ok(()) };
        self.remember_layers(&image);
        self.keep_ancestors(&image)?;
        let names = self.inventory.names_of(id);
        self.untag(id, &names)?;
        self.inventory.remove_image(id)?;
        Ok(())
    }

    /// What a container was made from stays an image, though it was only what this one was before; and so does what this one
    /// was made on, if that is wanted.
    fn keep_ancestors(&mut self, image: &Image) -> Result<(), Failure> {
        let parent = image.ancestor_ids().next_back().filter(|_| !self.manner.parents);
        let ids: Vec<ImageId> = image.ancestor_ids().collect();
        for (number, id) in ids.iter().enumerate() {
            let is_used = !self.inventory.containers_of(id).is_empty();
            if (is_used || parent == Some(*id))
                && let Some(ancestor) = image.ancestor(number)
            {
                self.inventory.make_whole(&ancestor)?;
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

    /// Returns what stands against removing an image. `named`: its names go too, and so do not.
    fn conflict(
        &self,
        id: &ImageId,
        force: bool,
        named: bool,
    ) -> Result<Option<Conflict>, Failure> {
        let conflict = |how: &str, why: &str, is_used| {
            let message = format!("conflict: unable to delete {} ({how}) - {why}", short(id));
            Ok(Some(Conflict { message, is_used }))
        };
        if self.inventory.family().has_children(id) {
            return conflict("cannot be forced", "image has dependent child images", false);
        }
        let containers = self.inventory.containers_of(id);
        for container in containers {
            if self.inventory.container_state(container)?.status.is_alive() {
                let why =
                    format!("image is being used by running container {}", container.id.short());
                return conflict("cannot be forced", &why, true);
            }
        }
        if force {
            return Ok(None);
        }
        if !named && !self.inventory.names_of(id).is_empty() {
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
}

impl Ended<'_> {
    /// Returns what was removed since the last call.
    pub(crate) fn take_removed(&mut self) -> Vec<Removed> {
        std::mem::take(&mut self.removed)
    }

    /// Brings what nothing needs any more off the disk, and what `what` says with it.
    pub(crate) fn collect(&mut self, what: &Collect) -> Result<Freed, Failure> {
        let store = self.engine.store();
        let freed = store.collect(what)?;
        for (snapshot, chain) in std::mem::take(&mut self.layers) {
            if !store.has_snapshot(&snapshot)? {
                self.removed.push(Removed::Object(chain.to_string()));
            }
        }
        Ok(freed)
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

fn short(id: &ImageId) -> String {
    text::short_id(&id.to_string()).to_owned()
}
