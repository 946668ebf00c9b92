//! Whether layers are what their digests say, where it is not they that leave but the files that they show together: in a
//! directory, in one tar, out of a container.
//!
//! A layer that leaves as such is hashed on its way. Files of a merged root have no digest each, and a tar of all of them has none that
//! is written down anywhere. So the layers are looked at before, as many at once as there are processors:
//!
//! | layer | what is compared |
//! |---|---|
//! | made by this process | nothing: it was hashed just now |
//! | built here | its digest: it is packed once more, into nothing |
//! | loaded or pulled | the checksum of its files, which was taken while they were unpacked |
//! | the same, by a kiln that took none | how many bytes its files contain |
//!
//! The first costs what `type=oci` costs. For what was loaded or pulled it would be too much: the digest is of a tar that somebody
//! else made in another way, so that its blob would have to be unpacked again, and both packed. To read the files once, which
//! somebody is about to do anyway, costs a tenth of that. Owners and modes are not in the checksum: they are for `kiln fsck` to find.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use filetree::{Checksum, Flavour, Written};
use oci::DiffId;
use store::{SnapshotId, Store};

use crate::{
    error::{Error, Result},
    layer,
};

/// Compares layers, each with its digest in the image's config. They are held, or somebody's who keeps them.
///
/// # Errors
/// [`Error::Damaged`], [`Error::DamagedFiles`], [`Error::DamagedContents`]: the first layer that is not what it should be.
pub fn check(
    store: &Store,
    flavour: Flavour,
    layers: impl IntoIterator<Item = (SnapshotId, DiffId)>,
) -> Result<(), Error> {
    let layers: BTreeMap<SnapshotId, DiffId> =
        layers.into_iter().filter(|(id, _)| !store.has_made(id)).collect();
    let layers: Vec<_> = layers.into_iter().collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Ok(()));
    let work = || {
        while let Some((id, diff_id)) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = check_one(store, flavour, id, diff_id) {
                next.store(layers.len(), Ordering::Relaxed);
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
            }
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..processors.min(layers.len()) {
            scope.spawn(work);
        }
        work();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn check_one(store: &Store, flavour: Flavour, id: &SnapshotId, diff_id: &DiffId) -> Result<()> {
    let known = store.layer(id)?;
    if known.as_ref().is_none_or(|layer| layer.blob.is_none()) {
        return layer::measure(store, flavour, id, diff_id).map(|_| ());
    }
    let (Some(known), directory) = (known, store.snapshot_dir(id)) else { return Ok(()) };
    let checksum = known.checksum.as_deref().and_then(Checksum::parse);
    let found = match checksum {
        Some(_) => {
            let found = filetree::contents(&directory, &Written::default())?;
            (found.size.contents, Some(found.checksum))
        }
        None => (filetree::tree_size(&directory)?.contents, None),
    };
    let expected = Box::new(*diff_id);
    match known.contents {
        Some(contents) if contents != found.0 => {
            Err(Error::DamagedFiles { expected, contents, found: found.0 })
        }
        _ if checksum != found.1 => Err(Error::DamagedContents { expected }),
        _ => Ok(()),
    }
}
