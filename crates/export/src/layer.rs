//! Layers as they leave: the blob that was loaded or pulled, or the snapshot packed again.

use std::{
    io::{self, BufReader, BufWriter, Read, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use filetree::{Flavour, PackOptions, TreeSize};
use oci::{BlobDigest, Descriptor, DiffId, Measured, media_type};
use store::{BlobWriter, Image, SnapshotId, Store};

use crate::error::{Error, Result};

/// For small writes into and out of files.
const BUFFER: usize = 256 * 1024;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: quickest to write and to read.
    Uncompressed,
    /// gzip.
    Gzip,
    /// Zstandard: smaller, and quicker to make and to read; not for the oldest engines.
    Zstd,
}

impl Compression {
    /// Names what `filetree` makes of a layer in this way: to be changed with its bytes.
    fn profile(self) -> Option<&'static str> {
        match self {
            Self::Uncompressed => None,
            Self::Gzip => Some("gzip-libdeflate-5-1m"),
            Self::Zstd => Some("zstd-3-2m"),
        }
    }
}

/// How layers leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerOptions {
    /// How layers that were built are compressed.
    pub compression: Compression,
    /// Whether those that were loaded or pulled are compressed in this way too, and not left as they came.
    pub force: bool,
}

impl LayerOptions {
    /// Whether a blob that was loaded or pulled leaves as it came.
    fn take(&self, blob: &Descriptor) -> bool {
        !self.force || compression_of(&blob.media_type) == Some(self.compression)
    }
}

/// A layer that is ready to be written. Its bytes are produced when they are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its bytes; the media type is as kept, or an OCI one.
    pub descriptor: Descriptor,
    source: Source,
}

/// Where the bytes of a layer come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A blob in the store.
    Blob(BlobDigest),
    /// A snapshot, packed.
    Snapshot(SnapshotId, DiffId),
    /// A blob in the store, decompressed.
    Decompressed(BlobDigest, DiffId),
}

impl Layer {
    /// The blob in the store that has its bytes, if one has.
    pub(crate) fn blob(&self) -> Option<&BlobDigest> {
        match &self.source {
            Source::Blob(digest) => Some(digest),
            Source::Snapshot(..) | Source::Decompressed(..) => None,
        }
    }

    /// Writes the layer's bytes. They are those of the descriptor, or there is an error at the end.
    pub fn write(&self, store: &Store, flavour: Flavour, out: &mut dyn Write) -> Result<(), Error> {
        match self.source {
            Source::Blob(digest) => {
                let mut blob = store.open_blob(&digest)?;
                let copied = copy(&mut blob, out);
                copied.map_err(|source| Error::Copy { digest: Box::new(digest), source })
            }
            Source::Snapshot(id, diff_id) => {
                let mut out = Measured::new(out);
                pack(store, flavour, &id, &mut out)?;
                verify(out, &diff_id).map(|_| ())
            }
            Source::Decompressed(digest, diff_id) => {
                let mut out = Measured::new(out);
                decompress(store, &digest, &mut out)?;
                verify(out, &diff_id).map(|_| ())
            }
        }
    }
}

/// BuildKit's annotation of layers with other times than those of their files: which epoch they were set to.
const REWRITTEN: &str = "buildkit/rewritten-timestamp";

/// Prepares an image's layers, bottom first. Those that have to be compressed are, several at a time, and are kept in the
/// store so that the next export finds them.
pub fn layers(
    store: &Store,
    flavour: Flavour,
    image: &Image,
    options: &LayerOptions,
) -> Result<Vec<Layer>, Error> {
    let wanted: Vec<_> =
        image.snapshots.iter().copied().zip(image.config.rootfs.diff_ids.iter().copied()).collect();
    let next = AtomicUsize::new(0);
    let ready = Mutex::new(Vec::with_capacity(wanted.len()));
    let work = || {
        while let Some((id, diff_id)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let layer = prepare(store, flavour, *id, *diff_id, options, |_| Ok(()));
            ready.lock().unwrap_or_else(PoisonError::into_inner).push((*id, layer));
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        // This thread is one of them; for layers that are there, no other is needed.
        let missing = wanted.iter().filter(|(id, _)| needs_work(store, id, options)).count();
        for _ in 1..processors.min(missing) {
            scope.spawn(work);
        }
        work();
    });
    let ready = ready.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut ready: std::collections::BTreeMap<_, _> = ready.into_iter().collect();
    // A snapshot that is in an image twice was prepared twice, with one result.
    let mut layers: Vec<Layer> = Vec::with_capacity(wanted.len());
    for (index, (id, _)) in wanted.iter().enumerate() {
        match ready.remove(id) {
            Some(layer) => layers.push(layer?),
            None => {
                let same = wanted[..index].iter().position(|(earlier, _)| earlier == id);
                layers.extend(same.map(|same| layers[same].clone()));
            }
        }
    }
    Ok(layers)
}

/// Whether preparing a layer may take long. A guess: what cannot be read is found out when it is prepared.
pub(crate) fn needs_work(store: &Store, id: &SnapshotId, options: &LayerOptions) -> bool {
    let has = |blob: &Descriptor| store.has_blob(&blob.digest).unwrap_or(false);
    let kept = store.layer(id).ok().flatten().and_then(|layer| layer.blob);
    let Some(profile) = options.compression.profile() else { return false };
    let packed = || store.packed(id, profile).ok().flatten();
    !kept.is_some_and(|blob| !options.force && has(&blob))
        && !packed().is_some_and(|blob| has(&blob))
}

/// Prepares one layer, and says what was done to it. If it has to be compressed, `begun` gets what is written.
pub(crate) fn prepare(
    store: &Store,
    flavour: Flavour,
    id: SnapshotId,
    diff_id: DiffId,
    options: &LayerOptions,
    begun: impl FnOnce(&mut BlobWriter) -> Result<()>,
) -> Result<Layer> {
    let layer = find_or_make(store, flavour, id, diff_id, options, begun)?;
    annotated(store, &id, layer)
}

/// Returns what a layer is that was compressed in this way before and of which the bytes are gone. To have them, it is
/// prepared again; it will be the same.
pub(crate) fn remembered(
    store: &Store,
    id: SnapshotId,
    options: &LayerOptions,
) -> Result<Option<Layer>> {
    let Some(profile) = options.compression.profile() else { return Ok(None) };
    if kept(store, store.layer(&id)?.as_ref())?.is_some_and(|blob| options.take(&blob)) {
        return Ok(None);
    }
    let Some(descriptor) = store.packed(&id, profile)? else { return Ok(None) };
    if store.has_blob(&descriptor.digest)? {
        return Ok(None);
    }
    let source = Source::Blob(descriptor.digest);
    annotated(store, &id, Layer { descriptor, source }).map(Some)
}

fn annotated(store: &Store, id: &SnapshotId, mut layer: Layer) -> Result<Layer> {
    if let Some(epoch) = store.layer(id)?.and_then(|layer| layer.rewritten) {
        let annotations = layer.descriptor.annotations.get_or_insert_default();
        annotations.insert(REWRITTEN.to_owned(), epoch.to_string());
    }
    Ok(layer)
}

fn find_or_make(
    store: &Store,
    flavour: Flavour,
    id: SnapshotId,
    diff_id: DiffId,
    options: &LayerOptions,
    begun: impl FnOnce(&mut BlobWriter) -> Result<()>,
) -> Result<Layer> {
    let known = store.layer(&id)?;
    let kept = kept(store, known.as_ref())?;
    if let Some(blob) = kept.as_ref().filter(|blob| options.take(blob)) {
        return Ok(Layer { descriptor: blob.clone(), source: Source::Blob(blob.digest) });
    }
    let bytes = match &kept {
        Some(blob) => Source::Decompressed(blob.digest, diff_id),
        None => Source::Snapshot(id, diff_id),
    };
    match options.compression.profile() {
        Some(profile) => {
            let compressing = Compressing { store, flavour, compression: options.compression };
            compressing.layer(profile, &id, &diff_id, bytes, begun)
        }
        None => {
            let size = match known {
                Some(layer) => layer.size,
                None => measure(store, flavour, &id, &diff_id)?,
            };
            let descriptor = Descriptor {
                digest: BlobDigest::new(*diff_id.as_digest()),
                size,
                ..Descriptor::of(media_type::OCI_LAYER, b"")
            };
            Ok(Layer { descriptor, source: bytes })
        }
    }
}

/// Returns the blob that a layer was loaded or pulled as, if it is still there.
fn kept(store: &Store, layer: Option<&store::Layer>) -> Result<Option<Descriptor>> {
    Ok(match layer.and_then(|layer| layer.blob.clone()) {
        Some(blob) if store.has_blob(&blob.digest)? => Some(blob),
        _ => None,
    })
}

/// Returns how a media type says that a layer is compressed; `None` in another way.
pub(crate) fn compression_of(media_type: &str) -> Option<Compression> {
    match media_type {
        media_type::OCI_LAYER | media_type::DOCKER_LAYER => Some(Compression::Uncompressed),
        media_type::OCI_LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => Some(Compression::Gzip),
        media_type::OCI_LAYER_ZSTD => Some(Compression::Zstd),
        _ => None,
    }
}

/// Compresses layers into the store.
#[derive(Debug, Clone, Copy)]
struct Compressing<'a> {
    store: &'a Store,
    flavour: Flavour,
    compression: Compression,
}

impl Compressing<'_> {
    /// Compresses one layer, unless it is there.
    fn layer(
        self,
        profile: &str,
        id: &SnapshotId,
        diff_id: &DiffId,
        bytes: Source,
        begun: impl FnOnce(&mut BlobWriter) -> Result<()>,
    ) -> Result<Layer> {
        let store = self.store;
        if let Some(descriptor) = store.packed(id, profile)?
            && store.has_blob(&descriptor.digest)?
        {
            let source = Source::Blob(descriptor.digest);
            return Ok(Layer { descriptor, source });
        }
        let failed = |source| Error::Compress { diff_id: Box::new(*diff_id), source };
        let mut blob = store.blob_writer()?;
        begun(&mut blob)?;
        let file = BufWriter::with_capacity(BUFFER, blob);
        let (media_type, writer) = match self.compression {
            Compression::Zstd => (media_type::OCI_LAYER_ZSTD, filetree::zstd_writer(file)),
            Compression::Gzip | Compression::Uncompressed => {
                (media_type::OCI_LAYER_GZIP, filetree::gzip_writer(file))
            }
        };
        let mut tar = Measured::new(writer);
        match bytes {
            Source::Decompressed(digest, _) => decompress(store, &digest, &mut tar)?,
            Source::Blob(_) | Source::Snapshot(..) => {
                pack(store, self.flavour, id, &mut tar)?;
            }
        }
        let file = verify(tar, diff_id)?.finish().map_err(failed)?;
        let blob: BlobWriter = file.into_inner().map_err(|error| failed(error.into_error()))?;
        let size = blob.size();
        let digest = blob.commit(None, None)?;
        let descriptor = Descriptor { digest, size, ..Descriptor::of(media_type, b"") };
        store.set_packed(id, profile, &descriptor)?;
        Ok(Layer { descriptor, source: Source::Blob(digest) })
    }
}

/// Finds out how large a layer is; that it is what it should be, on the way.
pub(crate) fn measure(
    store: &Store,
    flavour: Flavour,
    id: &SnapshotId,
    diff_id: &DiffId,
) -> Result<u64> {
    let mut sink = Measured::new(io::sink());
    let within = pack(store, flavour, id, &mut sink)?;
    let size = sink.size();
    verify(sink, diff_id)?;
    if store.layer(id)?.is_some() {
        return Ok(size);
    }
    store.set_layer(
        id,
        &store::Layer {
            diff_id: *diff_id,
            size,
            contents: Some(within.contents),
            holes: within.holes,
            checksum: None,
            blob: None,
            rewritten: None,
            fetch_again: false,
        },
    )?;
    Ok(size)
}

/// Packs a snapshot; returns how much is in it.
fn pack(
    store: &Store,
    flavour: Flavour,
    id: &SnapshotId,
    out: &mut impl Write,
) -> Result<TreeSize> {
    // As the digest in the config was made: whatever was clamped, was clamped in the snapshot.
    let options = PackOptions::OWN;
    Ok(filetree::pack(&store.snapshot_dir(id), flavour, &options, out)?)
}

fn decompress(store: &Store, digest: &BlobDigest, out: &mut impl Write) -> Result<()> {
    let blob = BufReader::with_capacity(BUFFER, store.open_blob(digest)?);
    let mut plain = filetree::decompress(blob)?;
    copy(&mut plain, out).map_err(|source| Error::Copy { digest: Box::new(*digest), source })
}

/// Copies to the end, in large pieces.
fn copy(from: &mut impl Read, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns what was written into, if that was the layer.
fn verify<W: Write>(written: Measured<W>, expected: &DiffId) -> Result<W> {
    let (digest, out) = written.finish();
    let actual = DiffId::new(digest);
    if actual != *expected {
        let (expected, actual) = (Box::new(*expected), Box::new(actual));
        return Err(Error::Damaged { expected, actual });
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
