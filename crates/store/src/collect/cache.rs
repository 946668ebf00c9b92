//! Which results of steps and which cache mounts are given up, and in which order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::{CacheRule, Collect, Which, size};
use crate::{Record, SnapshotId, error::Result, open::Inner, record::Kind};

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

impl Step {
    /// The snapshots that it needs.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = SnapshotId> {
        [Some(self.snapshot), self.below].into_iter().flatten()
    }
}

/// A cache mount, as far as collecting goes.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) name: String,
    pub(super) path: PathBuf,
    used: SystemTime,
}

impl Mount {
    /// How many bytes its files have on the disk.
    pub(super) fn size(&self) -> Result<u64> {
        size::on_disk(&self.path.join("fs"))
    }
}

/// What is given up, and what is not.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) going: Vec<Step>,
    pub(super) staying: Vec<Step>,
    pub(super) mounts: Vec<Mount>,
}

impl Inner {
    /// Chooses among what is cached. What living processes have leased stays found. What is `needed` otherwise takes no
    /// room, since it would not become free.
    pub(super) fn choose(
        &self,
        what: &Collect,
        leased: &BTreeSet<SnapshotId>,
        needed: &BTreeSet<SnapshotId>,
    ) -> Result<Choice> {
        let steps = self.steps_by_use()?;
        let (used, steps): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| leased.contains(&step.snapshot));
        let mounts = if what.mounts { self.mounts_by_use()? } else { Vec::new() };
        let mut choice = match what.cache {
            CacheRule::Keep => Choice { going: Vec::new(), staying: steps, mounts },
            CacheRule::All => Choice { going: steps, staying: Vec::new(), mounts },
            CacheRule::Only(which) => self.choose_some(which, needed, steps, mounts)?,
        };
        choice.staying.extend(used);
        Ok(choice)
    }

    fn choose_some(
        &self,
        which: Which,
        needed: &BTreeSet<SnapshotId>,
        steps: Vec<Step>,
        mounts: Vec<Mount>,
    ) -> Result<Choice> {
        let now = SystemTime::now();
        let is_old = |used| now.duration_since(used).is_ok_and(|unused| unused >= which.unused_for);
        let mut room = match which.room {
            Some(bytes) => Some(Room::of(self, &steps, &mounts, needed, bytes)?),
            None => None,
        };
        let mut choice = Choice::default();
        let mut mounts = mounts.into_iter().peekable();
        // Two lists in the order of their last use, as one.
        for step in steps {
            while let Some(mount) = mounts.next_if(|mount| mount.used <= step.used) {
                if is_old(mount.used) && Room::take_mount(&mut room, &mount) {
                    choice.mounts.push(mount);
                }
            }
            let may_go = is_old(step.used) && (which.of_images || !needed.contains(&step.snapshot));
            match may_go && Room::take_step(&mut room, &step) {
                true => choice.going.push(step),
                false => choice.staying.push(step),
            }
        }
        for mount in mounts {
            if is_old(mount.used) && Room::take_mount(&mut room, &mount) {
                choice.mounts.push(mount);
            }
        }
        Ok(choice)
    }

    /// Returns how many bytes the cache has that no image, no container and no living process needs.
    pub(super) fn room_of_cache(&self) -> Result<u64> {
        let mut needed = self.leased()?;
        let leased = needed.snapshots.clone();
        self.mark_containers(&BTreeSet::new(), &mut needed)?;
        needed.snapshots.extend(self.marks_of_images(&BTreeSet::new())?.snapshots);
        let mut steps = self.steps_by_use()?;
        steps.retain(|step| !leased.contains(&step.snapshot));
        let mounts = self.mounts_by_use()?;
        Ok(Room::of(self, &steps, &mounts, &needed.snapshots, 0)?.taken)
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

    /// Returns the cache mounts, the one unused for the longest time first.
    fn mounts_by_use(&self) -> Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for (name, path) in self.mount_directories()? {
            let used = self.mount_used(&path);
            mounts.push(Mount { name, path, used });
        }
        mounts.sort_by_key(|mount| mount.used);
        Ok(mounts)
    }
}

/// How much the cache may keep, and how much it has.
struct Room {
    allowed: u64,
    taken: u64,
    /// The size of each snapshot that counts, and how many steps need it.
    snapshots: BTreeMap<SnapshotId, (u64, usize)>,
    mounts: BTreeMap<String, u64>,
}

impl Room {
    fn of(
        inner: &Inner,
        steps: &[Step],
        mounts: &[Mount],
        needed: &BTreeSet<SnapshotId>,
        allowed: u64,
    ) -> Result<Self> {
        let mut room =
            Self { allowed, taken: 0, snapshots: BTreeMap::new(), mounts: BTreeMap::new() };
        for id in steps.iter().flat_map(Step::snapshots).filter(|id| !needed.contains(id)) {
            if let Some((_, count)) = room.snapshots.get_mut(&id) {
                *count += 1;
            } else {
                let size = inner.snapshot_size(&id)?;
                room.taken += size;
                room.snapshots.insert(id, (size, 1));
            }
        }
        for mount in mounts {
            let size = mount.size()?;
            room.taken += size;
            room.mounts.insert(mount.name.clone(), size);
        }
        Ok(room)
    }

    /// Whether a step has to go for the rest to fit, or there is no limit; then it takes no room any more.
    fn take_step(room: &mut Option<Self>, step: &Step) -> bool {
        let Some(room) = room else { return true };
        if room.taken <= room.allowed {
            return false;
        }
        for id in step.snapshots() {
            if let Some((size, count)) = room.snapshots.get_mut(&id) {
                *count -= 1;
                room.taken -= if *count == 0 { *size } else { 0 };
            }
        }
        true
    }

    /// The same for a cache mount.
    fn take_mount(room: &mut Option<Self>, mount: &Mount) -> bool {
        let Some(room) = room else { return true };
        if room.taken <= room.allowed {
            return false;
        }
        room.taken -= room.mounts.remove(&mount.name).unwrap_or(0);
        true
    }
}

/// How old memos have to be that go with what is given up; `None` if they stay.
pub(super) fn age_of_memos(rule: CacheRule) -> Option<Duration> {
    match rule {
        CacheRule::All => Some(Duration::ZERO),
        // Under a limit of room they stay: they are small.
        CacheRule::Only(Which { unused_for, room: None, of_images: true }) => Some(unused_for),
        CacheRule::Keep | CacheRule::Only(_) => None,
    }
}
