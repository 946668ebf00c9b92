//! Layers and the image config: what the steps made becomes an image.
//!
//! A layer's digest is computed while later steps run; only the image config waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use filetree::{Filling, PackOptions, TreeSize};
use jiff::Timestamp;
use oci::{DiffId, History, ImageConfig, Measured};
use plan::{Base, StageId};
use store::{Ancestry, Image, Layer, Lease, SnapshotId};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet, spawn_blocking},
};

use crate::{
    Engine, Error, fsck,
    schedule::{Build, Tip, processors},
    times::Undated,
};

/// The `comment` of history entries, which says who wrote them.
const COMMENT: &str = "kiln.dockerfile.v0";

/// How layers are packed: with the times of the files in their snapshots, and no larger than kiln itself would take them.
fn options(engine: &Engine) -> PackOptions<'static> {
    PackOptions { bytes: engine.limits().layer.bytes, ..PackOptions::OWN }
}

const LOST: Error = Error::Lost { what: "the packing of a layer" };

/// The present time as image configs write it.
pub(crate) fn now() -> String {
    Timestamp::now().to_string()
}

/// Returns the history entry of a step that ended in `tip`.
pub(crate) fn entry(created_by: &str, makes_layer: bool, tip: &Tip) -> History {
    History {
        created: if makes_layer { tip.created.clone() } else { None },
        created_by: created_by.to_owned(),
        author: String::new(),
        comment: COMMENT.to_owned(),
        empty_layer: !makes_layer,
    }
}

/// Returns the history entry of a layer that no instruction made: the files of a context that is a base.
pub(crate) fn base_entry(created: String) -> History {
    let comment = COMMENT.to_owned();
    History { created: Some(created), comment, ..History::default() }
}

/// The layers that are being packed in the background.
#[derive(Debug, Default)]
pub(crate) struct Packing {
    state: Mutex<State>,
    /// As many are packed at once as there are processors; what is packed is read, and nothing of the others is in memory.
    places: OnceLock<Arc<Semaphore>>,
    hopeless: Arc<Hopeless>,
}

/// The snapshots that cannot be packed. No build is to find them made, or it would fail like this one without a try: what is
/// recorded of them is forgotten, and so is what was made on them.
#[derive(Debug, Default)]
struct Hopeless(Mutex<BTreeSet<SnapshotId>>);

impl Hopeless {
    /// Packs a sealed snapshot, or forgets it.
    fn pack(&self, engine: &Engine, snapshot: SnapshotId) -> Result<(), Error> {
        let packed = layer(engine, snapshot).map(|_| ());
        match &packed {
            // With a higher limit it is as good as any.
            Ok(()) | Err(Error::Files(filetree::Error::LayerSize { .. })) => {}
            Err(Error::Files(_)) => {
                self.snapshots().insert(snapshot);
                engine.store().forget_steps(&snapshot)?;
            }
            // A store without room says nothing about the files.
            Err(_) => {}
        }
        packed
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeSet<SnapshotId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    begun: BTreeSet<SnapshotId>,
    /// What need not be packed, and not be looked up again.
    known: BTreeMap<SnapshotId, DiffId>,
    tasks: JoinSet<Result<(), Error>>,
}

/// A layer that is packed before its snapshot is sealed.
#[derive(Debug)]
pub(crate) struct Early(JoinHandle<Result<Layer, Error>>);

/// Starts to pack a snapshot whose large files are being filled.
pub(crate) fn early(engine: &Engine, filling: &Arc<Filling>) -> Early {
    let (engine, filling) = (engine.clone(), Arc::clone(filling));
    Early(spawn_blocking(move || {
        pack(|out| filetree::pack_filling(&filling, engine.flavour(), &options(&engine), out))
    }))
}

impl Packing {
    /// Packs a sealed snapshot while later steps run, unless its layer is known. `at` says where it went wrong.
    ///
    /// What cannot be packed stays on disk as a snapshot that nothing names, until a collection takes it; its step is not
    /// recorded any more, and is run again by the next build.
    pub(crate) fn begin(
        &self,
        build: &Build,
        snapshot: SnapshotId,
        at: impl FnOnce(Error) -> Error + Send + 'static,
    ) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.begun.insert(snapshot) {
            return Ok(());
        }
        if let Some(layer) = build.engine.store().layer(&snapshot)? {
            state.known.insert(snapshot, layer.diff_id);
            return Ok(());
        }
        let places = self.places.get_or_init(|| Arc::new(Semaphore::new(processors())));
        let (engine, places) = (build.engine.clone(), Arc::clone(places));
        let hopeless = Arc::clone(&self.hopeless);
        let pack = move || hopeless.pack(&engine, snapshot).map_err(at);
        match Arc::clone(&places).try_acquire_owned() {
            // Without a task that waits for it, which would be woken at both ends.
            Ok(place) => state.tasks.spawn_blocking(move || {
                let _place = place;
                pack()
            }),
            Err(_) => state.tasks.spawn(async move {
                // Never closed.
                let _place = places.acquire().await;
                spawn_blocking(pack).await.unwrap_or(Err(LOST))
            }),
        };
        Ok(())
    }

    /// Takes over what was packed early, now that its snapshot is sealed. If that went wrong, it is packed again.
    pub(crate) fn adopt(
        &self,
        build: &Build,
        snapshot: SnapshotId,
        early: Early,
        at: impl FnOnce(Error) -> Error + Send + 'static,
    ) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.begun.insert(snapshot);
        let (engine, hopeless) = (build.engine.clone(), Arc::clone(&self.hopeless));
        state.tasks.spawn(async move {
            let early = early.0.await.unwrap_or(Err(LOST));
            let packed = spawn_blocking(move || match early {
                Ok(layer) => Ok(engine.store().set_layer(&snapshot, &layer)?),
                Err(_) => hopeless.pack(&engine, snapshot),
            });
            packed.await.unwrap_or(Err(LOST)).map_err(at)
        });
        Ok(())
    }

    /// Takes back what was just recorded of a step, if it has turned out meanwhile that its snapshot cannot be packed, or one
    /// that it was made on.
    pub(crate) fn withhold(
        &self,
        engine: &Engine,
        snapshot: &SnapshotId,
        below: &[SnapshotId],
    ) -> Result<(), Error> {
        let is_hopeless = {
            let hopeless = self.hopeless.snapshots();
            !hopeless.is_empty()
                && below.iter().chain([snapshot]).any(|snapshot| hopeless.contains(snapshot))
        };
        if is_hopeless {
            engine.store().forget_steps(snapshot)?;
        }
        Ok(())
    }

    /// What a snapshot is as a layer, if that was known before this build.
    fn known(&self, snapshot: &SnapshotId) -> Option<DiffId> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.known.get(snapshot).copied()
    }

    /// Waits until all is packed that was begun.
    pub(crate) async fn finish(&self) -> Result<(), Error> {
        let mut tasks = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut state.tasks)
        };
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap_or(Err(LOST))?;
        }
        Ok(())
    }
}

/// Returns what a sealed snapshot is as a layer; packs it if no one has yet.
pub(crate) fn layer(engine: &Engine, snapshot: SnapshotId) -> Result<Layer, Error> {
    if let Some(layer) = engine.store().layer(&snapshot)? {
        return Ok(layer);
    }
    let directory = engine.store().snapshot_dir(&snapshot);
    let layer = pack(|out| filetree::pack(&directory, engine.flavour(), &options(engine), out))?;
    engine.store().set_layer(&snapshot, &layer)?;
    Ok(layer)
}

/// Returns what a layer is that `write` packs.
fn pack(
    write: impl FnOnce(&mut Measured<io::Sink>) -> Result<TreeSize, filetree::Error>,
) -> Result<Layer, Error> {
    let mut out = Measured::new(io::sink());
    let within = write(&mut out)?;
    Ok(packed(out, within))
}

/// What a layer is that was packed into `out`, with so much `within`.
pub(crate) fn packed<W: Write>(out: Measured<W>, within: TreeSize) -> Layer {
    let size = out.size();
    let diff_id = DiffId::new(out.finish().0);
    Layer {
        diff_id,
        size,
        contents: Some(within.contents),
        holes: within.holes,
        checksum: None,
        blob: None,
        rewritten: None,
        fetch_again: false,
    }
}

/// Returns what a target has made. Layers that are not packed yet are packed now.
pub(crate) fn finish(
    build: &Build,
    plan::Target { stage, epoch }: &plan::Target,
) -> Result<Undated, Error> {
    let target = &*build.result(*stage)?;
    let mut diff_ids = Vec::with_capacity(target.snapshots.len());
    for snapshot in &target.snapshots {
        if let Some(diff_id) = build.packing.known(snapshot) {
            diff_ids.push(diff_id);
            continue;
        }
        let known = match build.engine.store().layer(snapshot)? {
            // What the base was packed by is not always what packs it here: its record was lost.
            None => fsck::recall(&build.engine, snapshot)?,
            known => known,
        };
        let known = known.map_or_else(|| layer(&build.engine, *snapshot), Ok)?;
        diff_ids.push(known.diff_id);
    }

    let mut config = build.plan.stage(*stage).config.clone();
    config.rootfs = oci::RootFs { diff_ids, ..oci::RootFs::default() };
    let mut ancestry = Ancestry { base: target.base, ancestors: Vec::new() };
    for stage in stages_below(build, *stage) {
        let past = &build.result(stage)?.past;
        config.history.truncate(past.below);
        config.history.extend_from_slice(&past.history);
        ancestry.ancestors.extend_from_slice(&past.ancestors);
    }
    date(&mut config, target);
    // After its last step it is the image itself.
    ancestry.ancestors.retain(|ancestor| ancestor.history < config.history.len());
    Ok(Undated {
        config,
        inherited: target.inherited,
        snapshots: target.snapshots.clone(),
        ancestry,
        made: target.made.clone(),
        epoch: *epoch,
    })
}

/// The stages that a stage starts from, and itself; the one at the bottom first.
fn stages_below(build: &Build, stage: StageId) -> Vec<StageId> {
    let mut stages = vec![stage];
    while let Some(stage) = stages.last()
        && let Base::Stage(below) = build.plan.stage(*stage).base
    {
        stages.push(below);
    }
    stages.reverse();
    stages
}

/// Puts an image into the store, held with its layers by `lease`.
pub(crate) fn put(lease: &Lease, image: &Image) -> Result<Image, Error> {
    Ok(lease.put_made_image(&image.config_bytes, &image.snapshots, &image.ancestry)?)
}

/// Gives a time to what has none: an entry without a layer has that of the layer before it, or of the first new layer, or
/// else of the base; the image has that of its last entry. So an image whose steps were all cached is the same image again.
fn date(config: &mut ImageConfig, target: &Tip) {
    let (base, new) = config.history.split_at(target.inherited.min(config.history.len()));
    let created = |entry: &History| entry.created.clone();
    let first = new.iter().find_map(created);
    let mut last = first
        .or_else(|| base.iter().rev().find_map(created))
        .or_else(|| target.base_created.clone());
    for entry in config.history.iter_mut().skip(target.inherited) {
        match &entry.created {
            Some(created) => last = Some(created.clone()),
            None => entry.created.clone_from(&last),
        }
    }
    config.created = last;
}
