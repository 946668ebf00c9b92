//! A finished image in the store becomes files: an archive, a layout, a directory; or what a registry has. Nothing here
//! builds anything.
//!
//! Reading order: `output` (what `--output` says), `exporter` (the trait and the table), one file for each way out
//! (`oci_layout`, `docker_archive`, `directory`, `tarball`, `tag`, and `push`), then what they share: `manifest` and
//! `layer` (the image as descriptors and bytes), `index` (the images of one name), `sink` (an archive or a directory of
//! blobs), `annotation` (what is said of them besides), `destination` (files that are there as a whole or not at all).
//!
//! Invariants:
//! - A destination is written to a temporary beside it and renamed: what fails leaves what was there before.
//! - Layers are written as they were loaded, verified against their digest; built ones are packed again, and have the
//!   digest that the image's config says, or the export fails. What it is that is compared before files leave without their
//!   layers: `check`.
//! - The same image exported twice makes the same bytes: no time, no user, no host in them.

#![forbid(unsafe_code)]

mod annotation;
mod check;
mod destination;
mod directory;
mod docker_archive;
mod error;
mod exporter;
mod index;
mod layer;
mod manifest;
mod oci_layout;
mod output;
mod push;
mod sink;
mod tag;
mod tarball;

#[cfg(test)]
mod testing;

use std::path::Path;

use filetree::{Flavour, RootDir, Timestamp};
use oci::{Descriptor, Reference};
use store::{Image, Lease, Store};

pub use annotation::Annotations;
pub use check::check;
pub use destination::Destination;
pub use error::Error;
pub use exporter::{EXPORTERS, Exporter, Named};
pub use index::Assembly;
pub use layer::{Compression, Layer, LayerOptions, layers};
pub use manifest::{Assembled, MediaTypes, assemble};
pub use output::Output;
pub use push::{PushOptions, Pusher};

/// Writes an image, or those for several platforms, as `output` says; returns what describes the manifest or the index of
/// what was written, if that has one. `roots` are their merged root file systems; only outputs for which
/// [`Output::needs_root`] holds look at them, for the others there need be none. Files of such outputs have the time of the
/// [epoch](Output::epoch), of which `epoch` is that of the build; in an image the times are what they are.
///
/// # Errors
/// What was at the destination before is still there.
pub fn write(
    store: &Store,
    flavour: Flavour,
    image: &Named<'_>,
    roots: &[&RootDir],
    epoch: Option<i64>,
    output: &Output,
) -> Result<Option<Descriptor>, Error> {
    let lease = store.lease_for_reading()?;
    image.images.iter().try_for_each(|image| hold(&lease, image))?;
    if output.needs_root() {
        let layers = |image: &Image| {
            let diff_ids = image.config.rootfs.diff_ids.clone();
            image.snapshots.clone().into_iter().zip(diff_ids)
        };
        check(store, flavour, image.images.iter().flat_map(layers))?;
    }
    let time = output.epoch(epoch).map(Timestamp::from_seconds);
    let from = exporter::From { store, flavour, image, roots, time };
    output.exporter().write(&from, output)
}

/// Holds an image, or the layers of one that is not in the store.
fn hold(lease: &Lease, image: &Image) -> Result<(), Error> {
    match lease.hold_image(&image.id) {
        Err(store::Error::NoSuchImage { .. }) => {
            image.snapshots.iter().try_for_each(|id| Ok(lease.hold(id)?))
        }
        held => held.map(drop).map_err(Error::from),
    }
}

/// Writes images with their names to one archive, in the form of `docker save`; to standard output without a path.
/// Layers that several of them have are in it once. Images for several platforms are one entry of the layout in it, an
/// index; older readers see that of this machine's platform.
///
/// # Errors
/// What was at the path before is still there.
pub fn save(
    store: &Store,
    flavour: Flavour,
    images: &[(Vec<Image>, Vec<Reference>)],
    path: Option<&Path>,
) -> Result<(), Error> {
    let lease = store.lease_for_reading()?;
    for image in images.iter().flat_map(|(images, _)| images) {
        lease.hold_image(&image.id)?;
    }
    let images: Vec<Named<'_>> =
        images.iter().map(|(images, names)| Named { images, names }).collect();
    let destination = path.map_or(Destination::Stdout, |path| Destination::Path(path.to_owned()));
    docker_archive::write(store, flavour, &images, &docker_archive::LAYERS, &destination).map(drop)
}
