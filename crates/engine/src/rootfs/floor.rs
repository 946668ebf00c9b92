//! Floors: many layers mounted once, to stand on as if they were one.
//!
//! The kernel takes time for each layer of a mount, and each step of a build needs a mount or two. So that the last of 500
//! steps takes no longer than the first, what is far below is a read-only overlay of its own, which serves many steps; only
//! the layers above it are mounted with it each time.
//!
//! What an image's programs see is never put on a floor: files of a floor have another device number than their directories,
//! and there would be one level less for overlays that such programs mount themselves (the kernel's
//! `FILESYSTEM_MAX_STACK_DEPTH` is 2). Nor is there any where a program serves overlays, which finds layers by their paths.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sandbox::{MOST_LAYERS, Overlay, Rung};
use store::SnapshotId;

use super::directories;
use crate::{Engine, Error};

/// How many layers are mounted one by one before a new floor is made. A step mounts half of this many on average, and each time
/// that a floor is made all layers are mounted: of 500, that is least for this number.
const MOST_ABOVE: usize = 32;

/// How many floors are kept: stages side by side have one each.
const MOST_FLOORS: usize = 4;

/// The floors of this process. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Floors(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The one used last at the end.
    floors: Vec<Arc<Floor>>,
    /// Whether this kernel has none on a mount that is attached nowhere (before Linux 6.15).
    refused: bool,
}

/// The layers below.
#[derive(Debug)]
struct Floor {
    snapshots: Vec<SnapshotId>,
    overlay: Overlay,
}

/// Mounts `snapshots`, the bottom first, as this program sees them: `mount` gets the directories to mount, the top first.
pub(super) fn mount_on(
    engine: &Engine,
    snapshots: &[SnapshotId],
    mount: impl Fn(&[PathBuf]) -> Result<Overlay, Error>,
) -> Result<Overlay, Error> {
    if let Some(floor) = engine.floors.below(engine, snapshots)? {
        let mut lowers = directories(engine, &snapshots[floor.snapshots.len()..])?;
        lowers.push(floor.overlay.path());
        match mount(&lowers) {
            Ok(overlay) => return Ok(overlay),
            // What is wrong besides is wrong without a floor too.
            Err(_) => engine.floors.known().refused = true,
        }
    }
    mount(&directories(engine, snapshots)?)
}

impl Floors {
    /// Returns what the lower ones of `snapshots` are mounted as; `None` if they are few.
    fn below(
        &self,
        engine: &Engine,
        snapshots: &[SnapshotId],
    ) -> Result<Option<Arc<Floor>>, Error> {
        let known = {
            let mut known = self.known();
            // One with too many layers is for the kernel to refuse.
            let is_fit = engine.rung != Rung::FuseOverlay
                && (MOST_ABOVE + 1..=MOST_LAYERS).contains(&snapshots.len());
            if known.refused || !is_fit {
                return Ok(None);
            }
            known.find(snapshots)
        };
        if known.is_some() {
            return Ok(known);
        }
        let lowers = directories(engine, snapshots)?;
        if lowers.len() <= MOST_ABOVE {
            return Ok(None);
        }
        let overlay = Overlay::mount(engine.rung, &lowers, None, None)?;
        let floor = Arc::new(Floor { snapshots: snapshots.to_vec(), overlay });
        self.known().add(Arc::clone(&floor));
        Ok(Some(floor))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Returns the highest floor that can stand below all of `snapshots`.
    fn find(&mut self, snapshots: &[SnapshotId]) -> Option<Arc<Floor>> {
        let above = |floor: &Floor| {
            let above = snapshots.len().checked_sub(floor.snapshots.len())?;
            (above <= MOST_ABOVE && snapshots.starts_with(&floor.snapshots)).then_some(above)
        };
        let fitting = self.floors.iter().enumerate();
        let fitting = fitting.filter_map(|(place, floor)| Some((above(floor)?, place)));
        let (_, place) = fitting.min()?;
        let floor = self.floors.remove(place);
        self.floors.push(Arc::clone(&floor));
        Some(floor)
    }

    fn add(&mut self, floor: Arc<Floor>) {
        if self.floors.len() >= MOST_FLOORS {
            self.floors.remove(0);
        }
        self.floors.push(floor);
    }
}
