//! The times in an image: SOURCE_DATE_EPOCH in its config, and in the files of its layers where an output asks for that.
//!
//! Layers are rewritten as wholes: packed with other times and unpacked again, into a snapshot like any other. So whatever
//! takes an image of the store takes a rewritten one too. Nothing of the base is ever touched.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Write},
    time::SystemTime,
};

use filetree::{Budget, PackOptions, RootDir};
use jiff::{SignedDuration, Timestamp};
use oci::{Digest, ImageConfig, ImageId, Measured, json};
use store::{Ancestry, Image, Layer, Lease, Record, SnapshotId};

use crate::{Engine, Error, commit, rootfs};

/// How far the clock of a file system may be behind the one that is read here: files get the time of its last tick.
const TICK: SignedDuration = SignedDuration::from_millis(20);

/// What an output wants of the times in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// `source-date-epoch`: the epoch for this output instead of that of the build, in seconds since 1970; `Some(None)`
    /// for none.
    pub epoch: Option<Option<i64>>,
    /// `rewrite-timestamp`: whether no file in a new layer may be newer than the epoch.
    pub rewrite: bool,
}

/// From when to when a layer was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    began: Timestamp,
    ended: Timestamp,
}

impl Span {
    /// Reads what a record says, both RFC 3339.
    pub(crate) fn parse(began: Option<&str>, ended: &str) -> Option<Self> {
        let began: Timestamp = began?.parse().ok()?;
        // Some programs keep whole seconds only when they copy or unpack what was just made.
        let began =
            began.checked_sub(TICK).and_then(|time| Timestamp::from_second(time.as_second()));
        Some(Self { began: began.ok()?, ended: ended.parse().ok()? })
    }

    fn of_files(self) -> (filetree::Timestamp, filetree::Timestamp) {
        let time = |time| filetree::Timestamp::from_system_time(SystemTime::from(time));
        (time(self.began), time(self.ended))
    }
}

/// What a build has made, before an output says which times it wants in it.
#[derive(Debug)]
pub(crate) struct Undated {
    /// With every layer, and with the times at which layers were made.
    pub(crate) config: ImageConfig,
    /// How many entries of the history are the base's.
    pub(crate) inherited: usize,
    pub(crate) snapshots: Vec<SnapshotId>,
    /// What the image was before.
    pub(crate) ancestry: Ancestry,
    /// When the layers above those of the base were made, as far as that is known.
    pub(crate) made: Vec<Option<Span>>,
    /// `SOURCE_DATE_EPOCH` of the build.
    pub(crate) epoch: Option<i64>,
}

impl Undated {
    /// Returns the image with the times that are wanted; it is not put into the store. `lease` holds its layers.
    pub(crate) fn image(
        &self,
        engine: &Engine,
        lease: &Lease,
        times: Times,
    ) -> Result<Image, Error> {
        let limit = times.epoch.unwrap_or(self.epoch);
        let mut config = self.config.clone();
        for entry in config.history.iter_mut().skip(self.inherited) {
            // Whenever it was made: a layer of the cache is as old as it is.
            let time = self.epoch.map(written).transpose()?.or_else(|| entry.created.clone());
            entry.created = match limit {
                Some(limit) => Some(at_most(time.as_deref(), limit)?),
                None => time,
            };
            config.created.clone_from(&entry.created);
        }
        let mut snapshots = self.snapshots.clone();
        if let (true, Some(limit)) = (times.rewrite, limit) {
            self.rewrite(engine, lease, limit, &mut config, &mut snapshots)?;
        }
        let config_bytes = json::to_bytes(&config);
        let id = ImageId::new(Digest::of(&config_bytes));
        let (manifest, digests, ancestry) = (None, BTreeSet::new(), self.ancestry.clone());
        Ok(Image {
            id,
            config,
            config_bytes,
            snapshots,
            manifest,
            digests,
            ancestry,
            contents: None,
        })
    }

    /// Puts rewritten layers into the place of those above the base's.
    fn rewrite(
        &self,
        engine: &Engine,
        lease: &Lease,
        limit: i64,
        config: &mut ImageConfig,
        snapshots: &mut [SnapshotId],
    ) -> Result<(), Error> {
        let first = snapshots.len().saturating_sub(self.made.len());
        let mut made = Vec::new();
        for (number, span) in self.made.iter().enumerate() {
            let index = first + number;
            // What a command has moved or given another owner is as old as the layer it comes from.
            made.extend(span.map(Span::of_files));
            let (below, from) = self.snapshots.split_at(index);
            let layer = Rewriting { engine, lease, limit, made: &made, from: from[0], below };
            let (snapshot, layer) = layer.find_or_make()?;
            snapshots[index] = snapshot;
            config.rootfs.diff_ids[index] = layer.diff_id;
        }
        Ok(())
    }
}

/// A time as image configs write it.
fn written(seconds: i64) -> Result<String, Error> {
    let time = Timestamp::from_second(seconds).map_err(|_| Error::Epoch { seconds })?;
    Ok(time.to_string())
}

/// The earlier of the two; the limit for a time that is not known.
fn at_most(time: Option<&str>, limit: i64) -> Result<String, Error> {
    let latest = Timestamp::from_second(limit).map_err(|_| Error::Epoch { seconds: limit })?;
    let parsed = time.and_then(|time| time.parse::<Timestamp>().ok());
    match (time, parsed) {
        (Some(time), Some(parsed)) if parsed <= latest => Ok(time.to_owned()),
        _ => Ok(latest.to_string()),
    }
}

/// One layer that gets other times.
#[derive(Debug, Clone, Copy)]
struct Rewriting<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    limit: i64,
    made: &'a [(filetree::Timestamp, filetree::Timestamp)],
    from: SnapshotId,
    below: &'a [SnapshotId],
}

impl Rewriting<'_> {
    fn find_or_make(self) -> Result<(SnapshotId, Layer), Error> {
        let store = self.engine.store();
        let key = self.key();
        if let Some(record) = store.record(&key)?
            && let Some(layer) = store.layer(&record.snapshot)?
            && self.lease.hold(&record.snapshot).is_ok()
        {
            return Ok((record.snapshot, layer));
        }
        self.lease.hold(&self.from)?;
        let (snapshot, layer) = self.make()?;
        self.lease.hold(&snapshot)?;
        let description = format!("layer with times up to {}", self.limit);
        let (began, created) = (None, commit::now());
        let ingredients = Vec::new();
        let record = Record { snapshot, below: None, began, created, description, ingredients };
        store.put_record(&key, &record)?;
        Ok((snapshot, layer))
    }

    /// A snapshot's id is never given twice, so that it says what is in it.
    fn key(self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"kiln rewritten layer 1\n");
        hasher.update(format!("{} {} {:?}", self.from, self.limit, self.made).as_bytes());
        *hasher.finalize().as_bytes()
    }

    fn make(self) -> Result<(SnapshotId, Layer), Error> {
        let engine = self.engine;
        let snapshot = rootfs::fresh(engine, &[self.from])?;
        let root = RootDir::open(snapshot.fs())?;
        let mut lowers = Vec::with_capacity(self.below.len());
        for id in self.below.iter().rev() {
            lowers.push(RootDir::open(&engine.store().snapshot_dir(id))?);
        }
        let (reader, writer) = io::pipe().map_err(Error::io("open", "a pipe"))?;
        let layer = std::thread::scope(|scope| {
            let packer = scope.spawn(move || self.pack(writer));
            let unpacked = unpack(engine, reader, &root, &lowers);
            let packed =
                packer.join().unwrap_or(Err(Error::Lost { what: "the packing of a layer" }));
            match (packed, unpacked) {
                (Ok(layer), Ok(())) => Ok(layer),
                // Whoever fails first makes the other fail, who would only say that.
                (Err(error), Err(_)) if !is_broken_pipe(&error) => Err(error),
                (_, Err(error)) | (Err(error), Ok(())) => Err(error),
            }
        })?;
        let snapshot = snapshot.seal()?;
        engine.store().set_layer(&snapshot, &layer)?;
        Ok((snapshot, layer))
    }

    /// Packs the layer with its new times, and finds out what it is.
    fn pack(self, out: io::PipeWriter) -> Result<Layer, Error> {
        let limit = filetree::Timestamp::from_seconds(self.limit);
        let times = filetree::Times::UpTo { limit, made: self.made };
        let mut out = Measured::new(BufWriter::with_capacity(256 * 1024, out));
        let directory = self.engine.store().snapshot_dir(&self.from);
        let options = PackOptions { times, ..PackOptions::OWN };
        let within = filetree::pack(&directory, self.engine.flavour(), &options, &mut out)?;
        out.flush().map_err(Error::io("write", "a layer"))?;
        Ok(Layer { rewritten: Some(self.limit), ..commit::packed(out, within) })
    }
}

/// Unpacks a layer, and reads on to the end, for which the packer waits.
fn unpack(
    engine: &Engine,
    mut reader: io::PipeReader,
    root: &RootDir,
    lowers: &[RootDir],
) -> Result<(), Error> {
    // What it is made from is in the store already.
    let budget = Budget { entries: u64::MAX, bytes: u64::MAX, ..Budget::GENEROUS };
    filetree::unpack_layer(&mut reader, root, &lowers, engine.flavour(), &budget)?;
    io::copy(&mut reader, &mut io::sink()).map_err(Error::io("read", "a layer"))?;
    Ok(())
}

fn is_broken_pipe(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_was_made_from_the_second_in_which_it_was_begun() {
        let check = |began: &str, expect: &str| {
            let span = Span::parse(Some(began), "2026-01-02T03:04:09.5Z").unwrap();
            assert_eq!(
                (span.began.to_string().as_str(), span.ended.subsec_millisecond()),
                (expect, 500)
            );
        };
        check("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05Z");
        // The clock of files was behind.
        check("2026-01-02T03:04:05.01Z", "2026-01-02T03:04:04Z");
        assert_eq!(Span::parse(None, "2026-01-02T03:04:09Z"), None);
        assert_eq!(Span::parse(Some("yesterday"), "2026-01-02T03:04:09Z"), None);
    }

    #[test]
    fn times_are_limited() {
        let check = |time: Option<&str>, limit, expect: &str| {
            assert_eq!(at_most(time, limit).unwrap(), expect, "{time:?} {limit}");
        };
        check(Some("1970-01-01T00:00:07.5Z"), 8, "1970-01-01T00:00:07.5Z");
        check(Some("1970-01-01T00:00:08Z"), 8, "1970-01-01T00:00:08Z");
        check(Some("1970-01-01T00:00:08.5Z"), 8, "1970-01-01T00:00:08Z");
        check(Some("1970-01-01T02:00:00+02:00"), 8, "1970-01-01T02:00:00+02:00");
        check(Some("never"), 8, "1970-01-01T00:00:08Z");
        check(None, -1, "1969-12-31T23:59:59Z");
        assert!(matches!(at_most(None, i64::MAX), Err(Error::Epoch { seconds: i64::MAX })));
        assert!(matches!(written(i64::MIN), Err(Error::Epoch { .. })));
    }
}
