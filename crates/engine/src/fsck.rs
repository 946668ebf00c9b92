//! Whether what is in the store is what it is said to be: every blob read, every layer packed again. And mending it: a layer
//! whose blob is right is unpacked again; what else is broken is dropped, with what points to it, so that the next build,
//! load or pull makes it again.
//!
//! Others may build meanwhile. The records are compared with each other while nobody changes them (`store::Survey`); then each
//! blob and each layer is held by a lease of its own for as long as it is read.

mod layer;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use oci::{BlobDigest, DiffId};
use store::{Broken, Counts, Finding, KeptBlob, Layer, SnapshotId, Survey};

use self::layer::Verdict;
use crate::{Engine, Error};

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The records, and how large things are.
    Fast,
    /// Every byte.
    Thorough,
}

/// What is to be looked at: all, or only what has turned out to be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suspects {
    /// Layers.
    pub layers: BTreeSet<DiffId>,
    /// Blobs.
    pub blobs: BTreeSet<BlobDigest>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What there is by the records.
    pub counts: Counts,
    /// The layers that were looked at.
    pub layers: usize,
    /// How many bytes their files contain.
    pub layer_bytes: u64,
    /// Layers that nothing is known of to compare them with.
    pub uncompared: usize,
    /// The blobs that were looked at.
    pub blobs: usize,
    /// How many bytes they have.
    pub blob_bytes: u64,
    broken: Broken,
    /// What the records of layers are to say.
    records: Vec<(SnapshotId, Layer)>,
    /// What layers are that have no record.
    unknown: Vec<(SnapshotId, Layer)>,
}

/// What was mended.
#[derive(Debug, Default)]
pub struct Mended {
    /// Layers that were unpacked again, or whose records were written again.
    pub remade: Vec<String>,
    /// How many layers have a digest now that had none, so that they can be compared.
    pub noted: usize,
    /// What is gone.
    pub dropped: BTreeSet<String>,
    /// What is still wrong.
    pub left: Vec<Finding>,
}

/// Checks the whole store; nothing is changed. With `repair`, what is wrong is mended then.
pub fn run(
    engine: &Engine,
    depth: Depth,
    repair: bool,
) -> Result<(Checked, Option<Mended>), Error> {
    let survey = engine.store.survey()?;
    let checked = check(engine, &survey, depth, None)?;
    let mended = if repair { Some(mend_found(engine, &survey, &checked)?) } else { None };
    Ok((checked, mended))
}

/// Looks at what has turned out to be wrong while it was used, and mends it.
pub fn mend(engine: &Engine, suspects: &Suspects) -> Result<Mended, Error> {
    let survey = engine.store.survey()?;
    let checked = check(engine, &survey, Depth::Thorough, Some(suspects))?;
    mend_found(engine, &survey, &checked)
}

/// Writes what is known of a layer again, whose record was lost. `None` if nothing is.
pub(crate) fn recall(engine: &Engine, id: &SnapshotId) -> Result<Option<Layer>, Error> {
    let survey = engine.store.survey()?;
    let Some(said) = survey.layers.get(id) else { return Ok(None) };
    match layer::check(engine, id, said, &BTreeSet::new(), Depth::Thorough)? {
        Verdict::Record(layer) => {
            engine.store.set_layer(id, &layer)?;
            Ok(Some(*layer))
        }
        Verdict::Broken(reason) => {
            let users = said.users.clone();
            Err(Error::DamagedLayer { id: *id, reason, users })
        }
        Verdict::Gone | Verdict::Good(_) | Verdict::Uncompared(..) => Ok(None),
    }
}

fn check(
    engine: &Engine,
    survey: &Survey,
    depth: Depth,
    suspects: Option<&Suspects>,
) -> Result<Checked, Error> {
    let mut checked = Checked { counts: survey.counts, ..Checked::default() };
    if suspects.is_none() {
        checked.findings.clone_from(&survey.findings);
    }
    let is_suspect = |digest: &BlobDigest| suspects.is_none_or(|all| all.blobs.contains(digest));
    let blobs: Vec<_> = survey.blobs.iter().filter(|(digest, _)| is_suspect(digest)).collect();
    let verdicts = each(&blobs, |(digest, kept)| blob(engine, digest, kept, depth))?;
    for ((digest, kept), verdict) in blobs.into_iter().zip(verdicts) {
        checked.blobs += 1;
        checked.blob_bytes += kept.size;
        if let Some(reason) = verdict {
            checked.broken.blobs.insert(*digest);
            checked.findings.push(Finding::of_blob(*digest, reason, kept.users.clone()));
        }
    }
    let is_suspect = |said: &store::Said| {
        let expected = layer::expected(said);
        suspects.is_none_or(|all| expected.is_some_and(|diff_id| all.layers.contains(&diff_id)))
    };
    let layers: Vec<_> = survey.layers.iter().filter(|(_, said)| is_suspect(said)).collect();
    let broken = &checked.broken.blobs;
    let verdicts = each(&layers, |(id, said)| layer::check(engine, id, said, broken, depth))?;
    for ((id, said), verdict) in layers.into_iter().zip(verdicts) {
        checked.take(*id, said, verdict);
    }
    Ok(checked)
}

impl Checked {
    fn take(&mut self, id: SnapshotId, said: &store::Said, verdict: Verdict) {
        self.layers += 1;
        let users = said.users.clone();
        match verdict {
            Verdict::Gone => self.layers -= 1,
            Verdict::Good(bytes) => self.layer_bytes += bytes,
            Verdict::Uncompared(bytes, found) => {
                self.layer_bytes += bytes;
                self.uncompared += 1;
                self.unknown.extend(found.map(|layer| (id, *layer)));
            }
            Verdict::Record(layer) => {
                let reason = match said.layer {
                    None => "the record of what it is is missing",
                    Some(_) => "its record says a wrong size",
                };
                self.findings.push(Finding::of_layer(id, reason.to_owned(), users));
                self.records.push((id, *layer));
            }
            Verdict::Broken(reason) => {
                self.broken.snapshots.insert(id);
                self.findings.push(Finding::of_layer(id, reason, users));
            }
        }
    }
}

/// Reads a blob; returns what is wrong with it. One that is gone meanwhile is not.
fn blob(
    engine: &Engine,
    digest: &BlobDigest,
    kept: &KeptBlob,
    depth: Depth,
) -> Result<Option<String>, Error> {
    let lease = engine.store.lease_for_reading()?;
    match lease.hold_blob(digest) {
        Err(store::Error::NoSuchBlob { .. }) => return Ok(None),
        held => held?,
    }
    if let Some(expected) = kept.expected.filter(|expected| *expected != kept.size) {
        return Ok(Some(format!("it has {} bytes instead of {expected}", kept.size)));
    }
    if depth == Depth::Fast {
        return Ok(None);
    }
    let mut reader = engine.store.open_blob(digest)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_damage(&error) => return Ok(Some(reason_of(&error))),
            Err(error) => return Err(Error::io("read", "a blob")(error)),
        }
    }
}

/// Whether an error says that the disk, or what is on it, is broken; others say that this process cannot read it now.
fn is_damage(error: &io::Error) -> bool {
    store::is_of_disk(error)
        || matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
        )
}

/// In words, with the causes.
fn reason_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => inner.to_string(),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn mend_found(engine: &Engine, survey: &Survey, checked: &Checked) -> Result<Mended, Error> {
    let mut mended = Mended::default();
    for (id, layer) in &checked.records {
        engine.store.set_layer(id, layer)?;
        mended.remade.push(format!("the record of layer `{}`", layer.diff_id));
    }
    // Steps that no image needed have never been packed, which would cost a build as much as one that does. They have just been
    // packed here, and from now on somebody knows what they were.
    for (id, layer) in &checked.unknown {
        engine.store.set_layer(id, layer)?;
    }
    mended.noted = checked.unknown.len();
    let mut broken = checked.broken.clone();
    let mut remade: BTreeMap<SnapshotId, SnapshotId> = BTreeMap::new();
    let mut order: Vec<SnapshotId> = broken.snapshots.iter().copied().collect();
    // From the bottom up: what is unpacked again is unpacked on what was.
    order.sort_by_key(|id| {
        let position = survey.layers.get(id).and_then(|said| said.position.as_ref());
        position.map_or(0, |position| position.below.len())
    });
    for id in order {
        let Some(said) = survey.layers.get(&id) else { continue };
        if let Some((new, layer)) = layer::unpack_again(engine, said, &broken, &remade)? {
            engine.store.replace_snapshot(&id, &new, &layer)?;
            mended.remade.push(format!("layer `{}`, from its blob", layer.diff_id));
            remade.insert(id, new);
            broken.snapshots.remove(&id);
        }
    }
    let repaired = engine.store.repair(&broken)?;
    (mended.dropped, mended.left) = (repaired.dropped, repaired.left);
    Ok(mended)
}

/// Does the same with each of many things, several at a time.
fn each<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let run = || {
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, result);
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..processors.min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}
