//! One layer from an archive or a registry into the store: verified, decompressed and unpacked while it is read once.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use filetree::{Contents, RootDir, Underneath, Written};
use oci::{ChainId, Descriptor, DiffId, Hasher, media_type};
use store::{BlobWriter, Layer, Open, Snapshot, SnapshotId};

use crate::{Engine, Error, rootfs};

/// A layer that is to be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// What messages call it.
    pub(crate) name: &'a str,
    /// What its manifest says about it; a docker archive says nothing.
    pub(crate) descriptor: Option<&'a Descriptor>,
    /// The digest that the image config has for it.
    pub(crate) diff_id: &'a DiffId,
    /// The name of the layer together with those below.
    pub(crate) chain: &'a ChainId,
}

/// Puts a layer into the store, on top of `below`. It becomes visible when all of it is there and right.
pub(crate) fn store(
    engine: &Engine,
    source: Source<'_>,
    input: impl Read + Send,
    below: &[SnapshotId],
) -> Result<SnapshotId, Error> {
    let refused = |reason: String| Error::Archive { name: source.name.to_owned(), reason };
    let blob = Shared(Arc::new(Mutex::new(engine.store().blob_writer()?)));
    let mut input = Tee { input, copy: blob.clone(), copied: 0, start: Vec::new() };
    let unpacked = unpack_verified(engine, &mut input, source, &lowers(engine, below)?)?;
    io::copy(&mut input, &mut io::sink()).map_err(|error| refused(error.to_string()))?;

    let Tee { copied, start, copy, .. } = input;
    drop(copy);
    let expected = source.descriptor;
    let digest =
        blob.into_inner()?.commit(expected.map(|d| &d.digest), expected.map(|d| d.size))?;
    let media_type = match expected {
        Some(descriptor) => descriptor.media_type.clone(),
        None => layer_media_type(&start).to_owned(),
    };
    let blob = Descriptor { media_type, digest, size: copied, annotations: None, platform: None };
    publish(engine, unpacked, blob, below.last(), source.chain)
}

/// A layer in a snapshot that nobody else sees yet.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) snapshot: Snapshot<Open>,
    diff_id: DiffId,
    size: u64,
    written: Written,
}

impl Unpacked {
    /// Returns what its files contain.
    pub(crate) fn contents(&self) -> Result<Contents, Error> {
        Ok(filetree::contents(self.snapshot.fs(), &self.written)?)
    }

    /// The digest of its tar.
    pub(crate) fn diff_id(&self) -> DiffId {
        self.diff_id
    }

    /// The size of its tar in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

/// Unpacks a layer into a snapshot of its own, if it is the one that the config names.
pub(crate) fn unpack_verified(
    engine: &Engine,
    input: impl Read + Send,
    source: Source<'_>,
    below: &dyn Underneath,
) -> Result<Unpacked, Error> {
    let snapshot = rootfs::fresh(engine, &[])?;
    let (diff_id, size, written) =
        unpack(engine, input, &snapshot, below).map_err(|error| match error {
            Error::Files(error) => {
                Error::Layer { name: source.name.to_owned(), source: Box::new(error) }
            }
            error => error,
        })?;
    if diff_id != *source.diff_id {
        let reason = format!("it is not the layer {} of the config", source.diff_id);
        return Err(Error::Archive { name: source.name.to_owned(), reason });
    }
    Ok(Unpacked { snapshot, diff_id, size, written })
}

/// Makes a layer visible, whose blob is in the store and whose layers below are.
pub(crate) fn publish(
    engine: &Engine,
    unpacked: Unpacked,
    blob: Descriptor,
    below: Option<&SnapshotId>,
    chain: &ChainId,
) -> Result<SnapshotId, Error> {
    if let Some(below) = below {
        rootfs::take_root_metadata(&engine.store().snapshot_dir(below), unpacked.snapshot.fs())?;
    }
    let contents = unpacked.contents()?;
    let Unpacked { snapshot, diff_id, size, .. } = unpacked;
    let snapshot = snapshot.seal()?;
    let layer = Layer {
        diff_id,
        size,
        contents: Some(contents.size.contents),
        holes: contents.size.holes,
        checksum: Some(contents.checksum.to_string()),
        blob: Some(blob),
        rewritten: None,
        fetch_again: false,
    };
    engine.store().set_layer(&snapshot, &layer)?;
    engine.store().set_snapshot_of_chain(chain, &snapshot)?;
    Ok(snapshot)
}

/// Opens the snapshots below a layer, the topmost first.
pub(crate) fn lowers(engine: &Engine, below: &[SnapshotId]) -> Result<Vec<RootDir>, Error> {
    let open = |id| Ok(RootDir::open(&engine.store().snapshot_dir(id))?);
    below.iter().rev().map(open).collect()
}

/// Decompresses a layer and unpacks it into `snapshot`; returns its digest and size as a tar, and what was written.
pub(crate) fn unpack(
    engine: &Engine,
    input: impl Read + Send,
    snapshot: &Snapshot<Open>,
    below: &dyn Underneath,
) -> Result<(DiffId, u64, Written), Error> {
    let budget = &engine.limits().layer;
    let root = RootDir::open(snapshot.fs())?;
    filetree::decompress_ahead(input, budget, |plain| {
        let mut plain = Hashed { input: plain, hasher: Hasher::sha256(), size: 0 };
        let unpacked = filetree::unpack_layer(&mut plain, &root, below, engine.flavour(), budget)?;
        // What stands behind the end of the archive belongs to the digest too.
        io::copy(&mut plain, &mut io::sink()).map_err(Error::io("read", "the end of a layer"))?;
        Ok((DiffId::new(plain.hasher.finish()), plain.size, unpacked.written))
    })?
}

fn layer_media_type(start: &[u8]) -> &'static str {
    match filetree::Compression::detect(start) {
        filetree::Compression::Gzip => media_type::OCI_LAYER_GZIP,
        filetree::Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    }
}

/// A blob writer that the reader of the same bytes feeds.
#[derive(Clone)]
struct Shared(Arc<Mutex<BlobWriter>>);

impl Shared {
    fn into_inner(self) -> Result<BlobWriter, Error> {
        let mutex = Arc::try_unwrap(self.0).map_err(|_| Error::Lost { what: "a blob" })?;
        Ok(mutex.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Copies what is read.
struct Tee<R> {
    input: R,
    copy: Shared,
    copied: u64,
    start: Vec<u8>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let bytes = &buffer[..count];
        if self.start.is_empty() {
            self.start = bytes[..count.min(512)].to_vec();
        }
        self.copied += count as u64;
        self.copy.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)?;
        Ok(count)
    }
}

/// Takes the digest of what is read.
struct Hashed<R> {
    input: R,
    hasher: Hasher,
    size: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}
