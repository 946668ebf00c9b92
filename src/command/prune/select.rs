//! What `prune` removes, and how much that is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use engine::{
    Engine,
    container::{self, volumes},
};
use jiff::Timestamp;
use oci::{ImageConfig, ImageId, Reference};
use store::{Collect, Container, Family, Image, Volume, Without};

use super::{Images, Order, Volumes};
use crate::{filter::Filters, report::Failure};

/// What goes.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pub(super) containers: Vec<Container>,
    /// With how much they contain.
    pub(super) volumes: Vec<(Volume, u64)>,
    pub(super) images: Vec<SelectedImage>,
}

/// An image that goes.
#[derive(Debug)]
pub(super) struct SelectedImage {
    pub(super) id: ImageId,
    /// Its names, or its id if it has none: what is given to `rmi`, one after the other.
    pub(super) given: Vec<String>,
}

/// What would go, and how much it is.
#[derive(Debug)]
pub(super) struct Preview {
    containers: Vec<String>,
    volumes: Vec<String>,
    images: Vec<String>,
    objects: Vec<String>,
    pub(super) bytes: u64,
}

impl Preview {
    /// Headings, and what stands below them.
    pub(super) fn sections(&self) -> [(&'static str, &[String]); 4] {
        [
            ("Would delete containers:", &self.containers),
            ("Would delete volumes:", &self.volumes),
            ("Would delete images:", &self.images),
            ("Would delete build cache objects:", &self.objects),
        ]
    }
}

/// Returns how long what was made before a time has been there.
pub(super) fn age(until: Option<Timestamp>, now: Timestamp) -> Duration {
    until.map_or(Duration::ZERO, |until| now.duration_since(until).try_into().unwrap_or_default())
}

/// Finds what goes.
pub(super) fn select(
    engine: &Engine,
    order: &Order<'_>,
    filters: &Filters,
    until: Option<Timestamp>,
) -> Result<Selected, Failure> {
    let mut selected = Selected::default();
    if order.containers {
        selected.containers = containers(engine, filters, until)?;
    }
    if let Some(which) = order.volumes {
        selected.volumes = volumes(engine, which, &selected.containers, filters)?;
    }
    if let Some(which) = order.images {
        selected.images = images(engine, which, &selected.containers, filters, until)?;
    }
    Ok(selected)
}

fn containers(
    engine: &Engine,
    filters: &Filters,
    until: Option<Timestamp>,
) -> Result<Vec<Container>, Failure> {
    let store = engine.store();
    let all = store.containers()?;
    let states = store.container_states(&all)?;
    let mut selected = Vec::new();
    for (container, state) in all.into_iter().zip(states) {
        let created = Timestamp::try_from(container.created).ok();
        let is_old = until.is_none_or(|until| created.is_some_and(|created| created < until));
        if !state.status.is_alive() && is_old && filters.fit_labels(&labels(&container)?) {
            selected.push(container);
        }
    }
    Ok(selected)
}

/// Returns the volumes that only containers have that go.
fn volumes(
    engine: &Engine,
    which: Volumes,
    going: &[Container],
    filters: &Filters,
) -> Result<Vec<(Volume, u64)>, Failure> {
    let going: Vec<String> = going.iter().map(|container| container.id.to_string()).collect();
    let mut selected = Vec::new();
    for volume in engine.store().volumes()? {
        let users = volumes::users(engine, &volume.name)?;
        let is_free = users.iter().all(|user| going.contains(user));
        let is_meant = volume.anonymous || which == Volumes::All;
        if is_meant && is_free && filters.fit_labels(&volume.labels) {
            let directory = engine.store().volume_directory(&volume.name);
            let size = filetree::tree_size(&directory).map_err(engine::Error::from)?;
            selected.push((volume, size.on_disk()));
        }
    }
    Ok(selected)
}

/// The labels of a container: its image's, and its own over them.
fn labels(container: &Container) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = ImageConfig::parse(container.image_config.as_bytes())?.config.labels;
    labels.extend(container::Settings::of(container)?.options.labels);
    Ok(labels)
}

fn images(
    engine: &Engine,
    which: Images,
    going: &[Container],
    filters: &Filters,
    until: Option<Timestamp>,
) -> Result<Vec<SelectedImage>, Failure> {
    let store = engine.store();
    let mut named: BTreeMap<ImageId, Vec<Reference>> = BTreeMap::new();
    for (name, id) in store.tags()? {
        named.entry(id).or_default().push(name);
    }
    let mut staying: BTreeSet<ImageId> = store
        .containers()?
        .into_iter()
        .filter(|container| going.iter().all(|going| going.id != container.id))
        .map(|container| container.image)
        .collect();
    let all = store.images()?;
    let family = Family::of(&all);
    // Later than the images: whoever makes one holds it before it can be seen.
    staying.extend(store.held_images()?);
    let mut selected = Vec::new();
    for image in all {
        let names = named.get(&image.id).into_iter().flatten();
        let names: Vec<_> = names.chain(&image.digests).collect();
        let has_tag = names.iter().any(|name| name.digest().is_none());
        let is_parent = names.is_empty() && family.has_children(&image.id);
        if is_parent || staying.contains(&image.id) || (has_tag && which == Images::Dangling) {
            continue;
        }
        let is_old = until.is_none_or(|until| created(&image).is_some_and(|it| it <= until));
        if !is_old || !filters.fit_labels(&image.config.config.labels) {
            continue;
        }
        let given = match names.is_empty() {
            true => vec![image.id.to_string()],
            false => names.iter().map(|name| name.familiar()).collect(),
        };
        selected.push(SelectedImage { id: image.id, given });
    }
    Ok(selected)
}

fn created(image: &Image) -> Option<Timestamp> {
    image.config.created.as_deref()?.parse().ok()
}

/// Returns what would go, without removing anything.
pub(super) fn preview(
    engine: &Engine,
    selected: &Selected,
    what: &Collect,
) -> Result<Preview, Failure> {
    let without = Without {
        images: with_parents(engine, selected)?,
        containers: selected.containers.iter().map(|container| container.id).collect(),
    };
    let freed = engine.store().preview(what, &without)?;
    let mut bytes = freed.bytes;
    for container in &selected.containers {
        bytes += container::written_size(engine, container)?.on_disk();
    }
    bytes += selected.volumes.iter().map(|(_, size)| size).sum::<u64>();
    let image = |image: &SelectedImage| match image.given.as_slice() {
        [id] if *id == image.id.to_string() => id.clone(),
        names => format!("{} ({})", image.id, names.join(", ")),
    };
    Ok(Preview {
        containers: selected.containers.iter().map(|c| format!("{} ({})", c.id, c.name)).collect(),
        volumes: selected.volumes.iter().map(|(volume, _)| volume.name.clone()).collect(),
        images: selected.images.iter().map(image).collect(),
        objects: freed.objects,
        bytes,
    })
}

/// Adds what the images were made on, as far as nothing else needs it.
fn with_parents(engine: &Engine, selected: &Selected) -> Result<BTreeSet<ImageId>, Failure> {
    let store = engine.store();
    let mut going: BTreeSet<ImageId> = selected.images.iter().map(|image| image.id).collect();
    let named: BTreeSet<ImageId> = store.tags()?.into_iter().map(|(_, id)| id).collect();
    let images = store.images()?;
    let used: BTreeSet<ImageId> = store
        .containers()?
        .into_iter()
        .filter(|container| selected.containers.iter().all(|going| going.id != container.id))
        .map(|container| container.image)
        .collect();
    let below = |image: &Image| -> Vec<ImageId> {
        image.ancestry.base.into_iter().chain(image.ancestor_ids()).collect()
    };
    loop {
        let (gone, staying): (Vec<&Image>, Vec<&Image>) =
            images.iter().partition(|image| going.contains(&image.id));
        let below_gone: BTreeSet<ImageId> = gone.iter().flat_map(|image| below(image)).collect();
        let needed: BTreeSet<ImageId> = staying.iter().flat_map(|image| below(image)).collect();
        let is_free = |image: &&&Image| {
            let is_named = named.contains(&image.id) || !image.digests.is_empty();
            let is_needed = needed.contains(&image.id) || used.contains(&image.id);
            below_gone.contains(&image.id) && !is_named && !is_needed
        };
        let more: Vec<ImageId> = staying.iter().filter(is_free).map(|image| image.id).collect();
        if more.is_empty() {
            return Ok(going);
        }
        going.extend(more);
    }
}
