//! What is needed: by images, by leases, by the results of steps; and which results to give up first.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ffi::{CString, OsStr},
    fs, io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::SystemTime,
};

use oci::{BlobDigest, Descriptor, ImageId};
use rustix::fs::{AtFlags, FileType};

use crate::{
    Container, Layer, Record, SnapshotId,
    error::{Error, Result},
    lease::{self, Held},
    lock::Lock,
    open::Inner,
    record::Kind,
    remove, tmp,
};

/// How deep a tree is counted. Each level keeps a descriptor open, and what is deeper was made to exhaust something; it
/// is removed like everything else, only not counted before.
const COUNTED_DEPTH: usize = 256;

/// An entry that is still to be counted: its directory, its name, its depth.
type Waiting = (Rc<OwnedFd>, CString, usize);

/// What stays.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) snapshots: BTreeSet<SnapshotId>,
    pub(super) blobs: BTreeSet<BlobDigest>,
    pub(super) images: BTreeSet<ImageId>,
}

/// The record of a step, as far as collecting goes.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) key: String,
    pub(super) snapshot: SnapshotId,
    pub(super) below: Option<SnapshotId>,
    /// The last use of it, or of anything made on it.
    pub(super) used: SystemTime,
    depth: usize,
}

impl Inner {
    /// Reads the leases of all living processes.
    pub(super) fn leased(&self) -> Result<Marks> {
        let mut marks = Marks::default();
        for process in tmp::directory_entries(&self.layout.tmp())? {
            let lock = Lock::try_existing(&process).map_err(Error::io("lock", &process))?;
            if lock.is_some() {
                // Its owner is dead; the next command that opens the store removes it.
                continue;
            }
            for path in tmp::directory_entries(&process)? {
                let is_lease = |name: &OsStr| {
                    name.to_str().is_some_and(|name| name.starts_with(lease::PREFIX))
                };
                if path.file_name().is_some_and(is_lease) {
                    // Gone meanwhile: dropped by its owner, who needs nothing of it any more.
                    marks.add_lease(&fs::read_to_string(path).unwrap_or_default());
                }
            }
        }
        for id in marks.images.clone() {
            self.mark_image(&id, &mut marks)?;
        }
        Ok(marks)
    }

    /// Marks what the images need.
    pub(super) fn marks_of_images(&self) -> Result<Marks> {
        let mut marks = Marks::default();
        for id in self.image_ids()? {
            self.mark_image(&id, &mut marks)?;
        }
        Ok(marks)
    }

    /// Marks what the containers stand on, and their images.
    pub(super) fn mark_containers(&self, marks: &mut Marks) -> Result<()> {
        for key in self.keys(Kind::Container)? {
            let Some(container) = self.get::<Container>(Kind::Container, &key)? else { continue };
            marks.snapshots.extend(container.snapshots);
            marks.images.insert(container.image);
            self.mark_image(&container.image, marks)?;
        }
        Ok(())
    }

    fn mark_image(&self, id: &ImageId, marks: &mut Marks) -> Result<()> {
        if let Some(image) = self.image(id)? {
            marks.snapshots.extend(image.snapshots);
            let manifest =
                image.manifest.map(|manifest| super::blob_of(manifest.digest.as_digest()));
            marks.blobs.extend(manifest);
        }
        Ok(())
    }

    /// Marks the blobs of the snapshots that stay.
    pub(super) fn mark_blobs(&self, marks: &mut Marks) -> Result<()> {
        for id in &marks.snapshots {
            let layer: Option<Layer> = self.get(Kind::Layer, &id.to_string())?;
            marks.blobs.extend(layer.and_then(|layer| layer.blob).map(|blob| blob.digest));
        }
        for key in self.keys(Kind::Packed)? {
            let id = crate::layer::snapshot_of_packed_key(&key);
            if id.is_some_and(|id| marks.snapshots.contains(&id)) {
                let blob: Option<Descriptor> = self.get(Kind::Packed, &key)?;
                marks.blobs.extend(blob.map(|blob| blob.digest));
            }
        }
        Ok(())
    }

    /// Returns all records of steps whose snapshots are there, in the order in which they are to be given up: unused for
    /// the longest time first, and what was made on something before that.
    pub(super) fn steps_by_use(&self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for key in self.keys(Kind::Step)? {
            let Some(found) = self.read::<Record>(Kind::Step, &key)? else { continue };
            let Record { snapshot, below, .. } = found.value;
            if self.has_snapshot(&snapshot)? {
                steps.push(Step { key, snapshot, below, used: found.used, depth: 0 });
            }
        }
        let below: BTreeMap<SnapshotId, Option<SnapshotId>> =
            steps.iter().map(|step| (step.snapshot, step.below)).collect();
        let mut last_use: BTreeMap<SnapshotId, SystemTime> = BTreeMap::new();
        for step in &mut steps {
            let mut at = Some(step.snapshot);
            // Records are made bottom up, so that there is no circle; the bound is for one that somebody has written.
            while let Some(id) = at.filter(|_| step.depth <= below.len()) {
                let used = last_use.entry(id).or_insert(step.used);
                *used = step.used.max(*used);
                step.depth += 1;
                at = below.get(&id).copied().flatten();
            }
        }
        for step in &mut steps {
            step.used = last_use.get(&step.snapshot).copied().unwrap_or(step.used);
        }
        steps.sort_by_key(|step| (step.used, Reverse(step.depth)));
        Ok(steps)
    }

    /// Returns how many of `steps` have to go, from the first, for the rest to fit into `budget`. What others need takes
    /// no room here, since it would not become free.
    pub(super) fn over_budget(
        &self,
        steps: &[Step],
        needed: &BTreeSet<SnapshotId>,
        budget: u64,
    ) -> Result<usize> {
        let mut users: BTreeMap<SnapshotId, (u64, usize)> = BTreeMap::new();
        let counted = |step: &Step| {
            let snapshots = [Some(step.snapshot), step.below].into_iter().flatten();
            snapshots.filter(|id| !needed.contains(id)).collect::<Vec<_>>()
        };
        for id in steps.iter().flat_map(counted) {
            if let Some((_, count)) = users.get_mut(&id) {
                *count += 1;
            } else {
                users.insert(id, (self.snapshot_size(&id)?, 1));
            }
        }
        let mut total: u64 = users.values().map(|(size, _)| size).sum();
        for (index, step) in steps.iter().enumerate() {
            if total <= budget {
                return Ok(index);
            }
            for id in counted(step) {
                if let Some((size, count)) = users.get_mut(&id) {
                    *count -= 1;
                    total -= if *count == 0 { *size } else { 0 };
                }
            }
        }
        Ok(steps.len())
    }

    /// Returns about how many bytes of disk a snapshot takes, none if it is not there.
    pub(crate) fn snapshot_size(&self, id: &SnapshotId) -> Result<u64> {
        let layer: Option<Layer> = self.get(Kind::Layer, &id.to_string())?;
        if let Some(layer) = layer {
            return Ok(layer.size);
        }
        let path = self.layout.snapshot(id);
        match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::io("open", path)(error)),
            Ok(root) => tree_size(root.into()).map_err(Error::io("list", path)),
        }
    }
}

/// Adds up the disk usage of a tree.
fn tree_size(root: OwnedFd) -> rustix::io::Result<u64> {
    let mut waiting = list_sized(root, 0)?;
    let mut linked = BTreeSet::new();
    let mut size = 0;
    while let Some((parent, name, depth)) = waiting.pop() {
        let stat = rustix::fs::statat(&*parent, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if stat.st_nlink == 1 || is_directory || linked.insert(stat.st_ino) {
            size += remove::disk_usage(&stat);
        }
        if is_directory && depth < COUNTED_DEPTH {
            waiting.extend(list_sized(remove::open(parent.as_fd(), &name)?, depth + 1)?);
        }
    }
    Ok(size)
}

fn list_sized(directory: OwnedFd, depth: usize) -> rustix::io::Result<Vec<Waiting>> {
    let directory = Rc::new(directory);
    let entries = remove::list(directory.as_fd())?;
    Ok(entries.into_iter().map(|(name, _)| (Rc::clone(&directory), name, depth)).collect())
}

impl Marks {
    fn add_lease(&mut self, text: &str) {
        for held in text.lines().filter_map(Held::parse) {
            match held {
                Held::Snapshot(id) => self.snapshots.insert(id),
                Held::Blob(digest) => self.blobs.insert(digest),
                Held::Image(id) => self.images.insert(id),
            };
        }
    }
}
