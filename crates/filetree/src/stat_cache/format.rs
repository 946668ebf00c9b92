//! What a stat cache is on the disk and in memory alike: bytes.
//!
//! One file per context, read and written in one go, like git's index. Integers are little endian.
//!
//! ```text
//! "kiln stat cache\0"          16 bytes
//! version                      u32, see VERSION
//! for each directory, sorted by path:
//!     path                     u32 length, bytes: relative to the context
//!     records                  u64 length, bytes: sorted by name, each
//!         name                 u16 length, bytes
//!         inode, size          u64, u64
//!         mtime, ctime         (i64 seconds, u32 nanoseconds) twice
//!         mode                 u16, type bits included
//!         age                  u8, saves since it was last asked for
//!         digest               32 bytes
//! BLAKE3 of all before         32 bytes
//! ```

use std::{
    io::{self, Write},
    ops::Range,
};

use super::StatKey;
use crate::Timestamp;

const MAGIC: &[u8; 16] = b"kiln stat cache\0";

/// To be raised with every change of the format or of what the digests cover.
const VERSION: u32 = 2;

/// The length of a record without its name.
const RECORD: usize = 8 + 8 + 12 + 12 + 2 + 1 + 32;

/// What is remembered of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) key: StatKey,
    pub(super) age: u8,
    pub(super) digest: [u8; 32],
}

/// A directory of a file that was read: where its parts are.
#[derive(Debug)]
pub(super) struct Directory {
    path: Range<usize>,
    records: Range<usize>,
    /// How many records are before its own.
    pub(super) first: usize,
}

/// A file that was read.
#[derive(Debug, Default)]
pub(super) struct Contents {
    bytes: Vec<u8>,
    directories: Vec<Directory>,
    count: usize,
}

impl Contents {
    /// Finds the directories; nothing is remembered when the file is not what this version writes.
    pub(super) fn parse(bytes: Vec<u8>) -> Self {
        match directories(&bytes) {
            Some((directories, count)) => Self { bytes, directories, count },
            None => Self::default(),
        }
    }

    /// The number of all records.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn directories(&self) -> &[Directory] {
        &self.directories
    }

    pub(super) fn path(&self, directory: &Directory) -> &[u8] {
        &self.bytes[directory.path.clone()]
    }

    pub(super) fn find(&self, path: &[u8]) -> Option<&Directory> {
        let index = self.directories.binary_search_by(|it| self.path(it).cmp(path)).ok()?;
        self.directories.get(index)
    }

    /// The records of a directory, each with its number among all, sorted by name.
    pub(super) fn records(
        &self,
        directory: &Directory,
    ) -> impl Iterator<Item = (usize, &[u8], Record)> {
        let records = records(&self.bytes[directory.records.clone()]).enumerate();
        records.map(|(number, (name, record))| (directory.first + number, name, record))
    }
}

/// Appends a record.
pub(super) fn put(name: &[u8], record: &Record, out: &mut Vec<u8>) {
    let Record { key: StatKey { inode, size, mtime, ctime, mode }, age, digest } = record;
    // No file system has longer names.
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(&inode.to_le_bytes());
    out.extend_from_slice(&size.to_le_bytes());
    for time in [mtime, ctime] {
        out.extend_from_slice(&time.seconds.to_le_bytes());
        out.extend_from_slice(&time.nanoseconds.to_le_bytes());
    }
    out.extend_from_slice(&mode.to_le_bytes());
    out.push(*age);
    out.extend_from_slice(digest);
}

/// The length of a record of a file of this name.
pub(super) fn length(name: &[u8]) -> usize {
    2 + name.len() + RECORD
}

/// Reads records one after the other, up to the first that is none.
pub(super) fn records(bytes: &[u8]) -> impl Iterator<Item = (&[u8], Record)> {
    let mut reader = Reader { rest: bytes };
    std::iter::from_fn(move || reader.record())
}

/// Writes the file, directory by directory.
pub(super) struct Writer<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        let mut writer = Self { out, hasher: blake3::Hasher::new() };
        writer.write(MAGIC)?;
        writer.write(&VERSION.to_le_bytes())?;
        Ok(writer)
    }

    /// Writes the next directory, unless it has no records.
    pub(super) fn directory(&mut self, path: &[u8], records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.write(&(path.len() as u32).to_le_bytes())?;
        self.write(path)?;
        self.write(&(records.len() as u64).to_le_bytes())?;
        self.write(records)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.write_all(self.hasher.finalize().as_bytes())?;
        self.out.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Finds the directories of a file and counts its records; `None` when it is not what this version writes.
fn directories(bytes: &[u8]) -> Option<(Vec<Directory>, usize)> {
    let (content, seal) = bytes.split_last_chunk::<32>()?;
    let mut reader = Reader { rest: content };
    if reader.take(MAGIC.len())? != MAGIC || reader.u32()? != VERSION {
        return None;
    }
    if blake3::hash(content) != *seal {
        return None;
    }
    let (mut directories, mut count): (Vec<Directory>, usize) = (Vec::new(), 0);
    while !reader.rest.is_empty() {
        let length = reader.u32()? as usize;
        let path = reader.range(content, length)?;
        let length = usize::try_from(reader.u64()?).ok()?;
        let records = reader.range(content, length)?;
        let last = directories.last().map(|last| &content[last.path.clone()]);
        if last.is_some_and(|last| last >= &content[path.clone()]) {
            return None;
        }
        let first = count;
        count += count_records(&content[records.clone()])?;
        directories.push(Directory { path, records, first });
    }
    directories.shrink_to_fit();
    Some((directories, count))
}

/// Counts records, all of which have to be complete and in their order.
fn count_records(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader { rest: bytes };
    let (mut count, mut last): (usize, Option<&[u8]>) = (0, None);
    while !reader.rest.is_empty() {
        let name = reader.name()?;
        reader.take(RECORD)?;
        if last.is_some_and(|last| last >= name) {
            return None;
        }
        last = Some(name);
        count += 1;
    }
    Some(count)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// Where the next bytes are in the whole.
    fn range(&mut self, whole: &[u8], length: usize) -> Option<Range<usize>> {
        let start = whole.len() - self.rest.len();
        self.take(length)?;
        Some(start..start + length)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let seconds = self.array().map(i64::from_le_bytes)?;
        Some(Timestamp { seconds, nanoseconds: self.u32()? })
    }

    fn name(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn record(&mut self) -> Option<(&'a [u8], Record)> {
        let name = self.name()?;
        let (inode, size) = (self.u64()?, self.u64()?);
        let (mtime, ctime) = (self.time()?, self.time()?);
        let (mode, [age]) = (self.u16()?, self.array()?);
        let key = StatKey { inode, size, mtime, ctime, mode };
        Some((name, Record { key, age, digest: self.array()? }))
    }
}
