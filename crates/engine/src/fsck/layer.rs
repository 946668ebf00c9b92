//! Whether the files of a layer are those that its digest says; and unpacking them again.
//!
//! What was built here packs to its digest. What came from elsewhere was packed by others, in their own way: it is unpacked
//! again from its blob, and both are packed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use filetree::PackOptions;
use oci::{BlobDigest, ChainId, Descriptor, DiffId, Measured};
use store::{Broken, Layer, Position, Said, SnapshotId};

use super::{Depth, is_damage, reason_of};
use crate::{
    Engine, Error, commit,
    load::layer::{self, Source, Unpacked},
    rootfs,
};

/// What is to be said of a layer.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It was removed meanwhile.
    Gone,
    /// It is right; its files contain so many bytes.
    Good(u64),
    /// Nothing is known to compare it with. Where that is because nobody has ever packed it, it is this.
    Uncompared(u64, Option<Box<Layer>>),
    /// It is right, and its record is not: this would be.
    Record(Box<Layer>),
    /// Something else than it should be.
    Broken(String),
}

/// The digest that a layer should have, if anybody knows.
pub(super) fn expected(said: &Said) -> Option<DiffId> {
    let of_record = said.layer.as_ref().map(|layer| layer.diff_id);
    of_record.or_else(|| said.position.as_ref().map(|position| position.diff_id))
}

/// Compares a layer with its digest; or only its size with what was written down.
pub(super) fn check(
    engine: &Engine,
    id: &SnapshotId,
    said: &Said,
    broken: &BTreeSet<BlobDigest>,
    depth: Depth,
) -> Result<Verdict, Error> {
    let lease = engine.store.lease_for_reading()?;
    match lease.hold(id) {
        Err(store::Error::NoSuchSnapshot { .. }) => return Ok(Verdict::Gone),
        held => held?,
    }
    let directory = engine.store.snapshot_dir(id);
    let verdict = match depth {
        Depth::Fast => measure(&directory, said),
        Depth::Thorough => compare(engine, &directory, said, broken),
    };
    match verdict {
        Err(error) if damage_in(&error) => Ok(Verdict::Broken(reason_of(&error))),
        verdict => verdict,
    }
}

fn measure(directory: &Path, said: &Said) -> Result<Verdict, Error> {
    let contents = filetree::tree_size(directory)?.contents;
    let Some(known) = said.layer.as_ref().and_then(|layer| layer.contents) else {
        return Ok(Verdict::Uncompared(contents, None));
    };
    if known == contents {
        return Ok(Verdict::Good(contents));
    }
    Ok(Verdict::Broken(format!("its files contain {contents} bytes instead of {known}")))
}

fn compare(
    engine: &Engine,
    directory: &Path,
    said: &Said,
    broken: &BTreeSet<BlobDigest>,
) -> Result<Verdict, Error> {
    let expected = expected(said);
    // Of what was never packed, no more is read than would be packed.
    let most = if expected.is_none() { engine.limits().layer.bytes } else { u64::MAX };
    let found = match pack(engine, directory, most) {
        // The result of a step that cannot become a layer: it is what the step has left.
        Err(Error::Files(
            filetree::Error::WhiteoutName { .. } | filetree::Error::LayerSize { .. },
        )) if expected.is_none() => {
            return Ok(Verdict::Uncompared(filetree::tree_size(directory)?.contents, None));
        }
        found => found?,
    };
    let contents = found.contents.unwrap_or(0);
    let Some(expected) = expected else {
        return Ok(Verdict::Uncompared(contents, Some(Box::new(found))));
    };
    if found.diff_id == expected {
        return Ok(with_record(said, found, contents));
    }
    let recorded = said.layer.as_ref().and_then(|layer| layer.blob.clone());
    let blob = recorded.or_else(|| said.position.as_ref().and_then(|at| at.blob.clone()));
    let Some(blob) = blob else {
        return Ok(Verdict::Broken(format!("its files have the digest `{}`", found.diff_id)));
    };
    let is_there = !broken.contains(&blob.digest) && engine.store.has_blob(&blob.digest)?;
    let Some(position) = said.position.as_ref().filter(|_| is_there) else {
        return Ok(Verdict::Uncompared(contents, None));
    };
    let again = unpack(engine, position, &position.below, &blob)?;
    let (diff_id, size) = (again.diff_id(), again.size());
    if pack(engine, again.snapshot.fs(), u64::MAX)?.diff_id != found.diff_id {
        let reason = format!("its files are not those of its blob `{}`", blob.digest);
        return Ok(Verdict::Broken(reason));
    }
    let checksum = Some(again.contents()?.checksum.to_string());
    let right = Layer { diff_id, size, checksum, blob: Some(blob), ..found };
    Ok(with_record(said, right, contents))
}

/// The files are right; is the record, too?
fn with_record(said: &Said, right: Layer, contents: u64) -> Verdict {
    let Some(known) = &said.layer else { return Verdict::Record(Box::new(right)) };
    // Records of an earlier version do not say how much the files contain.
    if known.size == right.size && known.contents.is_none_or(|known| known == contents) {
        return Verdict::Good(contents);
    }
    let Layer { size, contents, holes, .. } = right;
    Verdict::Record(Box::new(Layer { size, contents, holes, ..known.clone() }))
}

fn pack(engine: &Engine, directory: &Path, most: u64) -> Result<Layer, Error> {
    let mut out = Measured::new(io::sink());
    let options = PackOptions { bytes: most, ..PackOptions::OWN };
    let within = filetree::pack(directory, engine.flavour(), &options, &mut out)?;
    Ok(commit::packed(out, within))
}

/// Unpacks a blob on top of other layers.
fn unpack(
    engine: &Engine,
    position: &Position,
    below: &[SnapshotId],
    blob: &Descriptor,
) -> Result<Unpacked, Error> {
    let name = blob.digest.to_string();
    let diff_id = &position.diff_id;
    let chain = ChainId::bottom(*diff_id);
    let source = Source { name: &name, descriptor: Some(blob), diff_id, chain: &chain };
    let mut input = engine.store.open_blob(&blob.digest)?;
    let lowers = layer::lowers(engine, below)?;
    let unpacked = layer::unpack_verified(engine, &mut input, source, &lowers)?;
    // Only at its end is it known that the blob is right.
    io::copy(&mut input, &mut io::sink()).map_err(Error::io("read", "the end of a layer"))?;
    if let Some(below) = below.last() {
        rootfs::take_root_metadata(&engine.store.snapshot_dir(below), unpacked.snapshot.fs())?;
    }
    Ok(unpacked)
}

/// Unpacks a broken layer again, if its blob and the layers below it are right; returns the new snapshot.
pub(super) fn unpack_again(
    engine: &Engine,
    said: &Said,
    broken: &Broken,
    remade: &BTreeMap<SnapshotId, SnapshotId>,
) -> Result<Option<(SnapshotId, Layer)>, Error> {
    let Some(position) = &said.position else { return Ok(None) };
    let recorded = said.layer.as_ref().and_then(|layer| layer.blob.clone());
    let Some(blob) = recorded.or_else(|| position.blob.clone()) else { return Ok(None) };
    if broken.blobs.contains(&blob.digest) || !engine.store.has_blob(&blob.digest)? {
        return Ok(None);
    }
    let below: Vec<SnapshotId> =
        position.below.iter().map(|id| *remade.get(id).unwrap_or(id)).collect();
    if below.iter().any(|id| broken.snapshots.contains(id)) {
        return Ok(None);
    }
    let unpacked = match unpack(engine, position, &below, &blob) {
        Err(error) if damage_in(&error) => return Ok(None),
        unpacked => unpacked?,
    };
    let (diff_id, size) = (unpacked.diff_id(), unpacked.size());
    let contents = unpacked.contents()?;
    let rewritten = said.layer.as_ref().and_then(|layer| layer.rewritten);
    let layer = Layer {
        diff_id,
        size,
        contents: Some(contents.size.contents),
        holes: contents.size.holes,
        checksum: Some(contents.checksum.to_string()),
        blob: Some(blob),
        rewritten,
        fetch_again: false,
    };
    Ok(Some((unpacked.snapshot.seal()?, layer)))
}

/// Whether an error is due to what is on the disk.
fn damage_in(error: &Error) -> bool {
    use filetree::Error::{Archive, WhiteoutName};
    let is_layer = |error| matches!(error, &Archive { .. } | &WhiteoutName { .. });
    match error {
        Error::Archive { .. } => return true,
        Error::Files(error) if is_layer(error) => return true,
        _ => {}
    }
    let mut cause = Some(error as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return is_damage(error);
        }
        // What is passed through as it is has its cause as its own.
        cause = error.source();
    }
    false
}
